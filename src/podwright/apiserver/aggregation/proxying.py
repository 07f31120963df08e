"""Requests for a group version of another API server, handed on to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import APISERVICES
from podwright.apiserver.admission.webhook_client import CallFailed
from podwright.apiserver.aggregation.backends import Backends, Remote, identity_headers
from podwright.apiserver.exchange import Bytes, Reply, Request, Stream
from podwright.apiserver.requests import Objects
from podwright.apiserver.streaming.proxy import Backend, forward

_OPENAPI = "/openapi/v3"
_PLAIN = "text/plain; charset=utf-8"
_CALL = aiohttp.ClientTimeout(total=60.0)


class Aggregator:
    """Knows which group versions are another server's. `http` gives the session that connections are kept in."""

    def __init__(self, found: Objects, backends: Backends, http: Callable[[], aiohttp.ClientSession]) -> None:
        self._backends = backends
        self._http = http
        self.remotes: dict[tuple[str, str], tuple[Remote, bool]] = {}
        """By group and version; whether it is available."""
        self.listeners: list[Callable[[], None]] = []
        self.unpublished: Callable[[str], bool] = lambda path: False
        """Whether a group version's OpenAPI document is ours to give, as its server has none."""
        self._names: dict[str, tuple[str, str]] = {}
        found.subscribe(APISERVICES, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        name = objects.name(new or old or {})
        key = self._names.pop(name, None)
        if key is not None:
            self.remotes.pop(key, None)
        remote = Remote.of(new) if new is not None else None
        if remote is not None and new is not None:
            key = self._names[name] = (remote.group, remote.version)
            self.remotes[key] = (remote, objects.condition_is_true(new, "Available"))
        elif key is None:
            return
        for listener in self.listeners:
            listener()

    async def __call__(self, request: Request) -> Reply | None:
        """None: the request is not another server's."""
        if not self.remotes:
            return None
        path = request.info.path
        parts = path.removeprefix(_OPENAPI).split("/", 4)
        if len(parts) < 4 or parts[1] != "apis":
            return None
        found = self.remotes.get((parts[2], parts[3]))
        if found is None or (path.startswith(_OPENAPI) and self.unpublished(found[0].path.lstrip("/"))):
            return None
        remote, available = found
        if not available:
            return _unavailable()
        try:
            backend = Backend(self._backends.address(remote), self._backends.tls(remote), remote.server_name)
        except CallFailed:
            return _unavailable()
        headers = identity_headers(request.user)
        if request.raw is None:
            return await self._called(request, backend, headers)
        target = request.raw._message.path.partition("?")[0]
        return Stream(lambda raw: self._forwarded(raw, backend, target, headers))

    async def _forwarded(self, raw: Any, backend: Backend, target: str, headers: list[tuple[str, str]]) -> Any:
        return await forward(raw, self._http(), backend, target, "", headers)

    async def _called(self, request: Request, backend: Backend, headers: list[tuple[str, str]]) -> Bytes:
        """For callers in this process."""
        query = urlencode(request.query.items())
        url = f"https://{backend.address.netloc}{quote(request.info.path)}" + (f"?{query}" if query else "")
        content_type = {"Content-Type": request.content_type or "application/json"}
        body = {"json": request.body_object} if request.body_object is not None else {}
        try:
            async with self._http().request(
                request.method, URL(url, encoded=True), headers=[*headers, *content_type.items()],
                ssl=backend.tls or True, server_hostname=backend.server_name, timeout=_CALL, **body,
            ) as answer:
                return Bytes(await answer.read(), answer.content_type, answer.status)
        except (aiohttp.ClientError, TimeoutError):
            return _unavailable()


def _unavailable() -> Bytes:
    return Bytes(b"service unavailable\n", _PLAIN, 503, {"X-Content-Type-Options": "nosniff"})
