"""/openapi/v2 and /openapi/v3."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import orjson

from podwright.api import status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver.exchange import Bytes, Request
from podwright.apiserver.handlers import Handlers
from podwright.apiserver.openapi import documents
from podwright.apiserver.registry.registry import Registry

_V3_ROOT = "/openapi/v3"
_JSON = "application/json"


class OpenAPI:
    """Documents by group version, each with the hash of its bytes. A changed custom resource throws away only its own
    group version (and the v2 document)."""

    def __init__(self, registry: Registry, custom: documents.CustomSchemas) -> None:
        self._registry = registry
        self._custom = custom
        self._v3: dict[str, tuple[bytes, str]] = {}
        self._v2: tuple[bytes, str] | None = None
        self._root: tuple[bytes, str] | None = None
        self._gate = asyncio.Lock()

    def install(self, handlers: Handlers) -> None:
        handlers.pages["/openapi/v2"] = self._page_v2
        handlers.pages[_V3_ROOT] = self._page_root
        handlers.page_trees.append((_V3_ROOT + "/", self._page_v3))

    def changed(self, group: str, version: str) -> None:
        self._v3.pop(_path(group, version), None)
        self._v2 = self._root = None

    def _versions(self) -> dict[str, list[Resource]]:
        found: dict[str, list[Resource]] = {}
        for row in self._registry.table:
            found.setdefault(_path(row.group, row.version), []).append(row)
        return found

    async def _document(self, path: str, rows: list[Resource]) -> tuple[bytes, str]:
        kept = self._v3.get(path)
        if kept is None:
            all_rows = list(self._registry.table)
            kept = await _made(lambda: documents.v3(rows, self._custom, all_rows))
            self._v3[path] = kept
        return kept

    async def _page_root(self, request: Request) -> Bytes:
        async with self._gate:
            if self._root is None:
                paths: Object = {}
                for path, rows in sorted(self._versions().items()):
                    _, tag = await self._document(path, rows)
                    paths[path] = {"serverRelativeURL": f"{_V3_ROOT}/{path}?hash={tag}"}
                body = orjson.dumps({"paths": paths})
                self._root = (body, _tag(body))
        return _answer(request, *self._root)

    async def _page_v3(self, request: Request) -> Bytes:
        path = request.info.path.removeprefix(_V3_ROOT + "/").rstrip("/")
        rows = self._versions().get(path)
        if rows is None:
            raise status.path_not_found()
        body, tag = await self._document(path, rows)
        answer = _answer(request, body, tag)
        asked = request.query.get("hash")
        if asked == tag:
            answer.headers["Cache-Control"] = "public, immutable"
        return answer

    async def _page_v2(self, request: Request) -> Bytes:
        async with self._gate:
            if self._v2 is None:
                rows = list(self._registry.table)
                self._v2 = await _made(lambda: documents.v2(rows, self._custom))
        accept = request.headers.get("Accept") or ""
        if accept and "json" not in accept and "*/*" not in accept:
            raise status.not_acceptable([_JSON])
        return _answer(request, *self._v2)


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _tag(body: bytes) -> str:
    return hashlib.sha512(body).hexdigest().upper()


async def _made(build: Callable[[], Object]) -> tuple[bytes, str]:
    def run() -> tuple[bytes, str]:
        body = orjson.dumps(build())
        return body, _tag(body)

    return await asyncio.to_thread(run)


def _answer(request: Request, body: bytes, tag: str) -> Bytes:
    headers = {"ETag": f'"{tag}"', "Vary": "Accept"}
    if request.headers.get("If-None-Match") in (f'"{tag}"', tag):
        return Bytes(b"", "", 304, headers)
    return Bytes(body, _JSON, 200, headers)
