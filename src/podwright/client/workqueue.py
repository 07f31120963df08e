"""A queue of keys for reconcilers: a key waits once however often it is added, and no key is worked on twice at a
time."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable

from podwright.client.clock import Clock, SystemClock


class WorkQueue:
    """Keys are strings. A key added while it is being worked on is worked on once more afterwards.

    `first` and `maximum` bound the delay in seconds of :meth:`add_rate_limited`, which doubles with each failure.
    """

    def __init__(self, *, first: float = 0.005, maximum: float = 1000.0, clock: Clock | None = None) -> None:
        self._first = first
        self._maximum = maximum
        self._clock = clock or SystemClock()
        self._ready: deque[str] = deque()
        self._waiting: set[str] = set()
        self._working: set[str] = set()
        self._failures: dict[str, int] = {}
        self._delayed: list[tuple[float, int, str]] = []
        self._due: dict[str, float] = {}
        self._sequence = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._watched: float | None = None
        """The time for which one of the waiters sleeps."""

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: str) -> None:
        if key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._working:
            self._ready.append(key)
            self._wake_one()

    def add_after(self, key: str, seconds: float) -> None:
        """Adds the key after a delay; of several delays for a key the shortest counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._sequence += 1
        heapq.heappush(self._delayed, (due, self._sequence, key))
        if self._watched is None or due < self._watched:
            self._wake_one()

    def add_rate_limited(self, key: str) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(self._maximum, self._first * 2.0 ** min(failures, 60)))

    def forget(self, key: str) -> None:
        """The key succeeded: its next failure starts from the first delay."""
        self._failures.pop(key, None)

    def failures(self, key: str) -> int:
        return self._failures.get(key, 0)

    async def get(self) -> str:
        """The next key; :meth:`done` must follow."""
        while True:
            next_due = self._release_due()
            if self._ready:
                key = self._ready.popleft()
                self._waiting.discard(key)
                self._working.add(key)
                if self._ready or (self._delayed and self._watched is None):
                    self._wake_one()
                return key
            await self._wait(next_due)

    def _wake_one(self) -> None:
        """One worker a key: to wake all of them for each costs more than the work."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def done(self, key: str) -> None:
        self._working.discard(key)
        if key in self._waiting:
            self._ready.append(key)
            self._wake_one()

    def _release_due(self) -> float | None:
        now = self._clock.monotonic()
        while self._delayed:
            due, _, key = self._delayed[0]
            if self._due.get(key) != due:
                heapq.heappop(self._delayed)
            elif due <= now:
                heapq.heappop(self._delayed)
                del self._due[key]
                self.add(key)
            else:
                return due
        return None

    async def _wait(self, due: float | None) -> None:
        """Until woken, or until `due` if no other waiter sleeps for that or an earlier time."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            if due is None or (self._watched is not None and self._watched <= due):
                await waiter
                return
            self._watched = due
            timer = asyncio.ensure_future(self._clock.sleep(max(0.0, due - self._clock.monotonic())))
            try:
                await asyncio.wait((timer, waiter), return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
                if self._watched == due:
                    self._watched = None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # It was this one's turn, and somebody must take it.
                self._wake_one()
            raise
        finally:
            if not waiter.done():
                self._waiters.remove(waiter)

    async def run(
        self, reconcile: Callable[[str], Awaitable[None]], *, workers: int = 1,
        failed: Callable[[str, Exception], None] | None = None,
    ) -> None:
        """Works on keys until cancelled. A reconcile that raises is retried with growing delay; `failed` is told."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(reconcile, failed))

    async def _work(
        self, reconcile: Callable[[str], Awaitable[None]], failed: Callable[[str, Exception], None] | None
    ) -> None:
        while True:
            key = await self.get()
            try:
                await reconcile(key)
                self.forget(key)
            except Exception as error:
                if failed is not None:
                    failed(key, error)
                self.add_rate_limited(key)
            finally:
                self.done(key)
            # A reconcile that waits for nothing, such as one refused by a server in this process, must let others work.
            await asyncio.sleep(0)
