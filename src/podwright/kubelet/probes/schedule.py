"""What is due when: one heap and one sleeping task for all probes of the node."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Generic, TypeVar

from podwright.client.clock import Clock

T = TypeVar("T")


class Schedule(Generic[T]):
    """Times are the clock's monotonic seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, T]] = []
        self._order = itertools.count()
        self._sooner = asyncio.Event()
        self._asleep_until = 0.0

    def add(self, due: float, what: T) -> None:
        heapq.heappush(self._heap, (due, next(self._order), what))
        if due < self._asleep_until:
            self._sooner.set()

    async def run(self, start: Callable[[float, T], None]) -> None:
        """Calls `start(due, what)` for each when it is due, until cancelled."""
        while True:
            now = self._clock.monotonic()
            while self._heap and self._heap[0][0] <= now:
                due, _, what = heapq.heappop(self._heap)
                start(due, what)
            self._sooner.clear()
            self._asleep_until = self._heap[0][0] if self._heap else float("inf")
            await self._sleep(self._asleep_until - now)
            self._asleep_until = 0.0

    async def _sleep(self, seconds: float) -> None:
        if seconds == float("inf"):
            await self._sooner.wait()
            return
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        sooner = asyncio.ensure_future(self._sooner.wait())
        try:
            await asyncio.wait((timer, sooner), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            sooner.cancel()
