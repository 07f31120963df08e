"""The deprecated ComponentStatus: scheduler, controller-manager and etcd-0, asked when somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from podwright.api import status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver.cache.entries import Cached
from podwright.apiserver.exchange import Many, One, Reply, Request
from podwright.apiserver.registry import lists
from podwright.apiserver.registry.registry import Registry

_PORTS = {"scheduler": 10259, "controller-manager": 10257}
_STORE = "etcd-0"
_TIMEOUT = aiohttp.ClientTimeout(total=20.0)
_MOST = 10240


class ComponentStatuses:
    """As upstream, components are looked for at their secure ports on this machine, whoever answers there; those that
    run in this process (`here`) are well, or the process would have ended with them."""

    def __init__(self, http: Callable[[], aiohttp.ClientSession]) -> None:
        self._http = http
        self.here: set[str] = set()

    async def __call__(self, registry: Registry, request: Request, row: Resource) -> Reply:
        name = request.info.name
        if name and name != _STORE and name not in _PORTS:
            raise status.not_found("", row.plural, name)
        names = [name] if name else [*_PORTS, _STORE]
        found = [_object(row, *answer) for answer in await asyncio.gather(*(self._ask(registry, n) for n in names))]
        if name:
            return One(row, object=found[0])
        wanted = lists.filter_of(registry, row, request)
        entries = (Cached.from_object(n, obj, 0) for n, obj in zip(names, found, strict=True))
        return Many(row, [entry for entry in entries if wanted.matches(entry)], 0)

    async def _ask(self, registry: Registry, name: str) -> tuple[str, bool, str]:
        if name == _STORE:
            lost = registry.feed.lost
            return name, not lost, "the store is not available" if lost else "ok"
        if name in self.here:
            return name, True, "ok"
        url = f"https://127.0.0.1:{_PORTS[name]}/healthz"
        try:
            async with self._http().get(url, ssl=False, timeout=_TIMEOUT, allow_redirects=False) as answer:
                body = (await answer.content.read(_MOST)).decode("utf-8", "replace")
                well = 200 <= answer.status < 400
                return name, well, body if well else f"HTTP probe failed with statuscode: {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            cause = getattr(error, "os_error", error)
            why = "connect: connection refused" if isinstance(cause, ConnectionRefusedError) else str(error)
            return name, False, f'Get "{url}": dial tcp 127.0.0.1:{_PORTS[name]}: {why}'


def _object(row: Resource, name: str, well: bool, message: str) -> Object:
    return {
        "kind": row.kind, "apiVersion": row.api_version, "metadata": {"name": name},
        "conditions": [{"type": "Healthy", "status": "True" if well else "False", "message": message}],
    }
