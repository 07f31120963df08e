"""Chores: Events expire, old revisions are compacted, caches forget old changes."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque

from podwright.api import objects
from podwright.api.resources import EVENTS
from podwright.api.status import ApiError
from podwright.apiserver.cache.entries import Cached, Event
from podwright.apiserver.cache.watch_cache import WatchCache
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.registry.registry import Conflict, Missing, Registry
from podwright.store.protocol import StoreUnavailable

_log = logging.getLogger(__name__)
_ROUND = 30.0
_SLACK = 1.0
"""Seconds that a round may come early and still do what is due."""


class Upkeep:
    """Events are kept `event_ttl` seconds from their last write; revisions at least `compaction_interval`, and
    half as long again at most: a client that waits twice the interval has seen them go."""

    def __init__(self, registry: Registry, events: WatchCache, config: ApiServerConfig) -> None:
        self._registry = registry
        self._events = events
        self._config = config
        self._due: list[tuple[float, str, int]] = []
        for entry in events.objects.values():
            heapq.heappush(self._due, (_written(entry) + config.event_ttl, entry.key, entry.revision))
        events.listeners.append(self._seen)

    def _seen(self, event: Event) -> None:
        if event.type != "DELETED":
            entry = event.current
            heapq.heappush(self._due, (event.time + self._config.event_ttl, entry.key, entry.revision))

    async def run(self) -> None:
        """Until cancelled."""
        half = self._config.compaction_interval / 2
        marked = self._registry.now()
        marks = deque([self._registry.feed.revision], maxlen=3)
        while True:
            await asyncio.sleep(min(_ROUND, half, self._config.event_ttl))
            await self._expire()
            self._registry.feed.trim()
            now = self._registry.now()
            if now >= marked + half - _SLACK:
                marked = now
                marks.append(self._registry.feed.revision)
                if len(marks) == marks.maxlen:
                    await self._compact(marks[0])

    async def _compact(self, revision: int) -> None:
        try:
            await self._registry.compact(revision)
        except StoreUnavailable as exc:
            _log.warning("compaction to revision %d: %s", revision, exc)

    async def _expire(self) -> None:
        now = self._registry.now()
        while self._due and self._due[0][0] <= now:
            _, key, revision = heapq.heappop(self._due)
            entry = self._events.get(key)
            if entry is None or entry.revision != revision:
                continue
            try:
                await self._registry.commit_delete(EVENTS, entry)
            except (Conflict, Missing):
                continue
            except ApiError as exc:
                _log.warning("event %s: %s", key, exc)
                heapq.heappush(self._due, (now + _ROUND, key, revision))
                return


def _written(entry: Cached) -> float:
    metadata = entry.object.get("metadata") or {}
    try:
        return objects.parse_time(str(metadata.get("creationTimestamp")))
    except ValueError:
        return 0.0
