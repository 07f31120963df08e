"""The addresses behind the Service kubernetes: those of every API server of the cluster that lives.

As upstream's lease endpoint reconciler: each server puts itself under /registry/masterleases and renews that entry;
one that is not renewed for a while is of a dead server, and whoever notices takes it out. How long, everybody judges by
the own clock since the entry last changed, so clocks need not agree. A server that has the store alone is its only
endpoint, and keeps no entry.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence

import orjson

from podwright.api.objects import Object
from podwright.api.resources import ENDPOINTS, ENDPOINTSLICES
from podwright.api.status import ApiError
from podwright.apiserver import bootstrap
from podwright.apiserver.cache.entries import Event
from podwright.apiserver.objects import CacheObjects
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.requests import Writer
from podwright.store.protocol import Entry, KeyExists, KeyMissing, RevisionMismatch, StoreUnavailable

_log = logging.getLogger(__name__)

PREFIX = "/registry/masterleases/"
_RENEW_SECONDS = 10.0
_TTL_SECONDS = 15.0
_NAME = {"name": "kubernetes", "namespace": "default"}


class Peers:
    """`address` and `port` are where this server is reached; `monotonic` gives seconds."""

    def __init__(
        self, registry: Registry, writer: Writer, address: str, port: Callable[[], int], *,
        renew_seconds: float = _RENEW_SECONDS, ttl_seconds: float = _TTL_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._registry = registry
        self._objects = CacheObjects(registry)
        self._writer = writer
        self._address = address
        self._port = port
        self._renew = renew_seconds
        self._ttl = ttl_seconds
        self._monotonic = monotonic
        self._seen: dict[str, tuple[int, float]] = {}
        """Key → the entry's revision, and when it was first seen."""
        self._wake = asyncio.Event()
        for row in (ENDPOINTS, ENDPOINTSLICES):
            registry.cache(row).listeners.append(self._changed)

    def _changed(self, event: Event) -> None:
        """Of several servers each writes the endpoints: what one changed the others see in their next round."""
        if event.current.key == "default/kubernetes" and (event.type == "DELETED" or self._registry.exclusive):
            self._wake.set()

    async def run(self) -> None:
        """Renews the own entry, looks after the others and after what was taken away, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._registry.exclusive else self._renew):
                    await self._wake.wait()
            self._wake.clear()
            await self.reconcile()

    async def reconcile(self) -> None:
        """One round. A store that is lost is left to the next one."""
        try:
            if self._registry.exclusive:
                addresses: Sequence[str] = [self._address]
            else:
                await self._put()
                addresses = await self._living()
            await self._publish(addresses)
        except (StoreUnavailable, ApiError) as failed:
            _log.warning("endpoints of the kubernetes Service: %s", failed)

    async def leave(self) -> None:
        """The server stops: nobody should come to it any more. Does nothing for one that has the store alone."""
        if self._registry.exclusive:
            return
        try:
            async with asyncio.timeout(2.0):
                await self._take_out(PREFIX + self._address, 0)
                addresses = await self._living()
                if addresses:
                    await self._publish(addresses)
        except (StoreUnavailable, ApiError, TimeoutError) as failed:
            _log.warning("endpoints of the kubernetes Service: %s", failed)

    async def _put(self) -> None:
        store, key = self._registry.store, PREFIX + self._address
        subset: Object = {"addresses": [{"ip": self._address}]}
        # The time only makes each renewal a change.
        value = orjson.dumps(
            {"kind": "Endpoints", "apiVersion": "v1", "metadata": {"generation": time.time_ns()}, "subsets": [subset]}
        )
        entry = await store.get(key)
        try:
            if entry is None:
                await store.create(key, value)
            else:
                await store.update(key, value, expected=entry.revision)
        except (KeyExists, KeyMissing, RevisionMismatch):
            _log.warning("another API server has the address %s too", self._address)

    async def _living(self) -> list[str]:
        now = self._monotonic()
        entries: Sequence[Entry] = (await self._registry.store.list(PREFIX)).entries
        self._seen = {
            e.key: known if (known := self._seen.get(e.key)) and known[0] == e.revision else (e.revision, now)
            for e in entries
        }
        living = []
        for key, (revision, since) in self._seen.items():
            if now - since < self._ttl:
                living.append(key.removeprefix(PREFIX))
            else:
                await self._take_out(key, revision)
        return sorted(living)

    async def _take_out(self, key: str, revision: int) -> None:
        try:
            await self._registry.store.delete(key, expected=revision)
        except (KeyMissing, RevisionMismatch):
            return  # another server was first, or its owner lives

    async def _publish(self, addresses: Sequence[str]) -> None:
        await self._registry.fresh()
        ports = [{"name": "https", "port": self._port(), "protocol": "TCP"}]
        endpoints: Object = {
            "metadata": {**_NAME, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": a} for a in addresses], "ports": ports}],
        }
        slice_: Object = {
            "metadata": {**_NAME, "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv6" if ":" in self._address else "IPv4",
            "endpoints": [{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
            "ports": ports,
        }
        await bootstrap.ensure(self._writer, self._objects, ENDPOINTS, endpoints, ("subsets",))
        await bootstrap.ensure(self._writer, self._objects, ENDPOINTSLICES, slice_, ("endpoints", "ports"))
