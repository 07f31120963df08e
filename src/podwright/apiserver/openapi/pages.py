"""/openapi/v2 and /openapi/v3."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Protocol

import orjson

from podwright.api import status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver.exchange import Bytes, Request
from podwright.apiserver.handlers import Handlers
from podwright.apiserver.openapi import documents, gnostic, merging
from podwright.apiserver.registry.registry import Registry

_V3_ROOT = "/openapi/v3"
_JSON = "application/json"
_PROTOBUF = "application/com.github.proto-openapi.spec.{}.v1.0+protobuf"
_ASKED = "application/com.github.proto-openapi.spec.{}@v1.0+protobuf"
"""What clients ask for; it is no valid media type, so the answer bears the other."""


class Said(Protocol):
    """What another API server publishes (aggregation.availability.Published)."""

    @property
    def third(self) -> str | None: ...

    @property
    def second(self) -> Object | None: ...


@dataclass(frozen=True, slots=True)
class _Served:
    """What was served at one moment: definitions come and go while documents are made of it in a thread."""

    rows: list[Resource]
    versions: dict[str, list[Resource]]
    custom: documents.CustomSchemas
    changes: int


class OpenAPI:
    """Documents by group version, each with the hash of its bytes. A changed custom resource throws away only its own
    group version (and the v2 document)."""

    def __init__(self, registry: Registry, custom: documents.CustomSchemas) -> None:
        self._registry = registry
        self._custom = custom
        self._v3: dict[str, tuple[bytes, str]] = {}
        self._v3_protobuf: dict[str, bytes] = {}
        self._v2: dict[str, tuple[bytes, str]] = {}
        """By media type."""
        self._root: tuple[bytes, str] | None = None
        self.remote: dict[str, Said] = {}
        """Other API servers' group versions, by path."""
        self._gate = asyncio.Lock()
        self._changes = 0
        """A document that was begun before a change is answered with, but not kept."""

    def install(self, handlers: Handlers) -> None:
        handlers.pages["/openapi/v2"] = self._page_v2
        handlers.pages[_V3_ROOT] = self._page_root
        handlers.page_trees.append((_V3_ROOT + "/", self._page_v3))

    def gives(self, path: str) -> bool:
        """Whether a remote group version's document is made here, of the second form that its server has."""
        said = self.remote.get(path)
        return said is not None and said.third is None and said.second is not None

    def changed(self, group: str, version: str) -> None:
        self._changes += 1
        self._v3.pop(_path(group, version), None)
        self._v3_protobuf.pop(_path(group, version), None)
        self._v2.clear()
        self._root = None

    def _served(self) -> _Served:
        rows = list(self._registry.table)
        known = {row: self._custom(row) for row in rows if row.custom}
        versions: dict[str, list[Resource]] = {}
        for row in rows:
            versions.setdefault(_path(row.group, row.version), []).append(row)
        return _Served(rows, versions, known.__getitem__, self._changes)

    async def _document(self, path: str, served: _Served) -> tuple[bytes, str]:
        kept = self._v3.get(path)
        if kept is None:
            second = self.remote[path].second if self.gives(path) else None
            rows = served.versions.get(path) or []
            kept = await _made(
                lambda: documents.v3(rows, served.custom, served.rows) if second is None else merging.third_form(second)
            )
            if served.changes == self._changes:
                self._v3[path] = kept
        return kept

    async def _protobuf(self, path: str, body: bytes) -> bytes:
        kept = self._v3_protobuf.get(path)
        if kept is None:
            kept = await asyncio.to_thread(lambda: gnostic.encode(orjson.loads(body)))
            if self._v3.get(path, (b"",))[0] is body:
                self._v3_protobuf[path] = kept
        return kept

    async def _page_root(self, request: Request) -> Bytes:
        async with self._gate:
            kept = self._root
            if kept is None:
                served, paths = self._served(), {}
                for path in sorted(served.versions):
                    _, tag = await self._document(path, served)
                    paths[path] = {"serverRelativeURL": f"{_V3_ROOT}/{path}?hash={tag}"}
                for path, said in self.remote.items():
                    if self.gives(path):
                        _, tag = await self._document(path, served)
                    elif said.third is None:
                        paths.pop(path, None)
                        continue
                    else:
                        tag = said.third
                    paths[path] = {"serverRelativeURL": f"{_V3_ROOT}/{path}" + (f"?hash={tag}" if tag else "")}
                body = orjson.dumps({"paths": paths})
                kept = (body, _tag(body))
                if served.changes == self._changes:
                    self._root = kept
        return _answer(request, *kept)

    async def _page_v3(self, request: Request) -> Bytes:
        path = request.info.path.removeprefix(_V3_ROOT + "/").rstrip("/")
        served = self._served()
        if path not in served.versions and not self.gives(path):
            raise status.path_not_found()
        media = _media(request.headers.get("Accept") or "", "v3")
        body, tag = await self._document(path, served)
        asked = request.query.get("hash")
        if asked and asked != tag:
            return Bytes(b"", "", 301, {"Location": f"{_V3_ROOT}/{path}?hash={tag}"})
        if media != _JSON:
            body = await self._protobuf(path, body)
        answer = _answer(request, body, tag, media)
        if asked:
            expires = formatdate(time.time() + 365 * 86400, usegmt=True)
            answer.headers |= {"Cache-Control": "public, immutable", "Expires": expires}
        return answer

    async def _page_v2(self, request: Request) -> Bytes:
        media = _media(request.headers.get("Accept") or "", "v2")
        async with self._gate:
            kept = self._v2.get(media)
            if kept is None:
                served = self._served()
                rows = [row for row in served.rows if _path(row.group, row.version) not in self.remote]
                others = [said.second for said in self.remote.values() if said.second is not None]
                form = orjson.dumps if media == _JSON else gnostic.encode
                kept = await _made(lambda: merging.merge(documents.v2(rows, served.custom), others), form)
                if served.changes == self._changes:
                    self._v2[media] = kept
        return _answer(request, *kept, media)


def _media(accept: str, form: str) -> str:
    """Raises ApiError (406)."""
    protobuf = _PROTOBUF.format(form)
    clauses = [clause.partition(";")[0].strip().lower() for clause in accept.split(",")] if accept else ["*/*"]
    for clause in clauses:
        if clause in (_JSON, "application/*", "*/*"):
            return _JSON
        if clause in (protobuf, _ASKED.format(form)):
            return protobuf
    raise status.not_acceptable([_JSON, protobuf])


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _tag(body: bytes) -> str:
    return hashlib.sha512(body).hexdigest().upper()


async def _made(
    build: Callable[[], Object], form: Callable[[Object], bytes] = orjson.dumps
) -> tuple[bytes, str]:
    def run() -> tuple[bytes, str]:
        body = form(build())
        return body, _tag(body)

    return await asyncio.to_thread(run)


def _answer(request: Request, body: bytes, tag: str, media: str = _JSON) -> Bytes:
    headers = {"ETag": f'"{tag}"', "Vary": "Accept"}
    if request.headers.get("If-None-Match") in (f'"{tag}"', tag):
        return Bytes(b"", "", 304, headers)
    return Bytes(body, media, 200, headers)
