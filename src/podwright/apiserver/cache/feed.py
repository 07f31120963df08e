"""Brings the store's changes into the watch caches, in revision order, and tells who waits how far it is."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable

from podwright.api.objects import Object
from podwright.apiserver.cache.watch_cache import WatchCache
from podwright.store.protocol import Change, Compacted, Store, StoreUnavailable

_ROOT = "/registry/"
_PAGE = 5000
_log = logging.getLogger(__name__)


class Feed:
    """All caches of one API server. A write is answered only once the feed has passed its revision, so whoever wrote
    reads its own write; with a store that others write too, reads wait for the store's revision first."""

    def __init__(self, store: Store, clock: Callable[[], float], paths: Iterable[str]) -> None:
        self._store = store
        self._clock = clock
        self.caches: dict[str, WatchCache] = {}
        self.revision = 0
        self.lost = False
        """The store cannot be watched: the caches stand still."""
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0
        self.written: dict[bytes, Object] = {}
        """What this process is writing: stored bytes → the object they are of."""
        for path in paths:
            self.cache(path)

    def cache(self, path: str) -> WatchCache:
        """The cache of a storage path ("pods", "services/specs", "example.com/widgets"), made when first asked for."""
        cache = self.caches.get(path)
        if cache is None:
            cache = self.caches[path] = WatchCache(path, by_node=path == "pods")
            cache.floor = cache.changed = self.revision
        return cache

    def _find(self, key: str) -> tuple[WatchCache, str] | None:
        parts = key.split("/", 4)
        if len(parts) < 4:
            return None
        cache = self.caches.get(parts[2])
        if cache is not None:
            return cache, key[len(cache.prefix) :]
        if len(parts) < 5:
            return None
        return (cache := self.cache(f"{parts[2]}/{parts[3]}")), key[len(cache.prefix) :]

    async def load(self) -> None:
        """Reads everything once, at one revision."""
        start, revision = "", 0
        while True:
            page = await self._store.list(_ROOT, start=start, limit=_PAGE, revision=revision)
            revision = page.revision
            for entry in page.entries:
                found = self._find(entry.key)
                if found:
                    found[0].load(found[1], entry.value, entry.revision)
            if not page.more or not page.entries:
                break
            start = page.entries[-1].key + "\0"
        self.revision = revision
        for cache in self.caches.values():
            cache.floor = revision
            cache.changed = revision

    async def run(self) -> None:
        """Follows the store until cancelled. A lost backend is watched anew from the last revision; after a gap that
        the store no longer has, caches are compared with a fresh read. While it is lost nobody watches: clients turn
        to a server that still has the store."""
        delay = 0.05
        while True:
            try:
                watch = await self._store.watch(_ROOT, after=self.revision)
                self.lost = False
                try:
                    async for changes in watch:
                        delay = 0.05
                        self._apply(changes)
                finally:
                    await watch.aclose()
                return
            except Compacted:
                await self._reload()
            except StoreUnavailable as exc:
                _log.warning("store lost, watching again in %.1f s: %s", delay, exc)
                self.lost = True
                for cache in self.caches.values():
                    cache.close_watches()
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    def _apply(self, changes: Iterable[Change]) -> None:
        now = self._clock()
        for change in changes:
            found = self._find(change.key)
            if found is not None:
                cache, key = found
                try:
                    last = change.previous.value if change.previous is not None else None
                    parsed = self.written.pop(change.value, None) if change.value is not None else None
                    cache.apply(key, change.value, change.revision, now, last, parsed)
                except ValueError:
                    _log.exception("%s at revision %d cannot be read", change.key, change.revision)
            self.revision = change.revision
        self._wake()

    def _wake(self) -> None:
        waiters = self._waiters
        while waiters and waiters[0][0] <= self.revision:
            future = heapq.heappop(waiters)[2]
            if not future.done():
                future.set_result(None)

    async def _reload(self) -> None:
        """After a gap in the store's history: everything is read anew, and every watch ends."""
        revision = await self._store.revision()
        for cache in self.caches.values():
            cache.reset(revision)
        await self.load()
        self._wake()

    async def reached(self, revision: int, within: float = 30.0) -> None:
        """Waits until the caches have passed `revision`. Raises TimeoutError."""
        if revision <= self.revision:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiters, (revision, self._count, future))
        async with asyncio.timeout(within):
            await future

    def trim(self) -> None:
        now = self._clock()
        for cache in self.caches.values():
            cache.trim(now)
