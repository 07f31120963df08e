"""Node ports that are given out, marked in the store in upstream's form (a RangeAllocation, a bit for each port): no
two servers of one store give one out twice."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable, Iterator

import orjson

from podwright.api.objects import Object
from podwright.api.resources import SERVICES
from podwright.apiserver.registry.registry import Registry, store_failure
from podwright.store.protocol import KeyExists, KeyMissing, RevisionMismatch, StoreUnavailable

_log = logging.getLogger(__name__)

KEY = "/registry/ranges/servicenodeports"
_ORPHAN_SECONDS = 60.0
"""A mark without a Service may be of one that is just being written."""


def in_use(service: Object) -> set[int]:
    spec = service.get("spec") or {}
    found = {port["nodePort"] for port in spec.get("ports") or [] if port.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        found.add(spec["healthCheckNodePort"])
    return found


class Marked(Exception):
    """These ports are given out already."""

    def __init__(self, ports: frozenset[int]) -> None:
        super().__init__(f"{sorted(ports)}")
        self.ports = ports


class Marks:
    """The ports `first` to `last`. A server that has its store alone needs no marks. Calls raise ApiError (503)."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last
        self._unused: dict[int, float] = {}
        """Since when a mark is known that no Service has."""

    async def claim(self, registry: Registry, ports: Iterable[int]) -> None:
        """All of them or none. Raises Marked."""
        wanted = _bits(ports)

        def mark(before: int) -> int:
            if before & wanted:
                raise Marked(frozenset(_numbers(before & wanted)))
            return before | wanted

        await self._change(registry, mark)

    async def release(self, registry: Registry, ports: Iterable[int]) -> None:
        gone = _bits(ports)
        await self._change(registry, lambda before: before & ~gone)

    async def repair(self, registry: Registry) -> None:
        """Marks what Services have, and takes away what none has had for a while."""

        def rebuild(before: int) -> int:
            used = _bits(p for s in registry.read_all(SERVICES) for p in in_use(s))
            self._unused = {port: self._unused.get(port, now) for port in _numbers(before & ~used)}
            young = [port for port, since in self._unused.items() if now - since < _ORPHAN_SECONDS]
            for port in self._unused.keys() - young:
                _log.info("the node port %d was given out, and no Service has it: it is free again", port)
            return used | _bits(young)

        now = registry.now()
        await self._change(registry, rebuild)

    async def _change(self, registry: Registry, change: Callable[[int], int]) -> None:
        store = registry.store
        if registry.exclusive:
            return
        while True:
            try:
                entry = await store.get(KEY)
                before = _decode(entry.value) if entry is not None else 0
                after = change(before)
                if after == before:
                    return
                if entry is None:
                    await store.create(KEY, self._encode(after))
                else:
                    await store.update(KEY, self._encode(after), expected=entry.revision)
                return
            except (KeyExists, KeyMissing, RevisionMismatch):
                continue  # another server was faster, and got on with it
            except StoreUnavailable as lost:
                raise store_failure(lost) from lost

    def _encode(self, bits: int) -> bytes:
        bits = (bits >> self._first) & ((1 << (self._last - self._first + 1)) - 1)
        data = base64.b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "big")).decode()
        return orjson.dumps(
            {"kind": "RangeAllocation", "apiVersion": "v1", "metadata": {}, "range": f"{self._first}-{self._last}",
             "data": data}
        )  # fmt: skip


def _decode(value: bytes) -> int:
    allocation = orjson.loads(value)
    first = int(allocation["range"].partition("-")[0])
    return int.from_bytes(base64.b64decode(allocation.get("data") or ""), "big") << first


def _bits(ports: Iterable[int]) -> int:
    return sum(1 << port for port in set(ports))


def _numbers(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
