"""Bounded concurrency, fair between users: the seats of priority levels (Kubernetes documentation, "API Priority and
Fairness").

Each level has its share of the server's seats, and may borrow what others lend and do not use. Beyond that a request
waits in the queue of its flow, and the flows of a level are served in turn, so that one busy user cannot starve the
others. What does not fit into the queues is refused with 429, and so is what waited too long. Flows have a queue each:
upstream deals them to a fixed number of queues by shuffle sharding, for whose sizes ours have the bounds.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable

from podwright.api import status

_REFUSED = "too many requests, please try again later"
NO_END = 1 << 30


class Seats:
    """All seats of a server, and the levels among which they are shared."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.levels: list[Level] = []
        self.waiting: set[Level] = set()

    def may_borrow(self, borrower: Level) -> bool:
        """Whether a seat is free that no other level is sure to get back for itself alone."""
        kept = 0
        used = 0
        for level in self.levels:
            used += level.executing
            if level is not borrower:
                kept += max(level.seats - level.lendable - level.executing, 0)
        return used + kept < self.total

    def given(self) -> None:
        for level in list(self.waiting):
            level.serve()


class Level:
    """A priority level. `seats` are its own, `lendable` of them others may use, `most` it may have with borrowing; a
    flow may have `per_flow` requests waiting, all flows `queued` together (0: none waits)."""

    def __init__(self, name: str, all: Seats, max_wait: float) -> None:
        self.name = name
        self.seats = self.lendable = self.most = 0
        self.per_flow = self.queued = 0
        self.limited = True
        self.executing = 0
        self.waiting = 0
        self.rejected: Counter[str] = Counter()
        """By the reason, in upstream's words."""
        self.dispatched = 0
        self._all = all
        self._max_wait = max_wait
        self._flows: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def _has_seat(self) -> bool:
        executing = self.executing
        return executing < self.seats or (executing < self.most and self._all.may_borrow(self))

    def _sit(self) -> None:
        self.executing += 1
        self.dispatched += 1

    def try_take(self) -> bool:
        """Takes a seat if one is free and nobody waits."""
        if not self._flows and self._has_seat():
            self._sit()
            return True
        return False

    def _refuse(self, reason: str, tally: Counter[str] | None) -> status.ApiError:
        self.rejected[reason] += 1
        if tally is not None:
            tally[reason] += 1
        return status.too_many_requests(_REFUSED)

    def queues(self) -> dict[str, int]:
        """How many wait, by flow."""
        return {flow: len(queue) for flow, queue in self._flows.items()}

    async def take(self, flow: str, tally: Counter[str] | None = None) -> None:
        """Waits for a seat; a refusal is counted in `tally` too. Raises ApiError (429)."""
        if self.try_take():
            return
        queue = self._flows.get(flow)
        if self.waiting >= self.queued or (queue is not None and len(queue) >= self.per_flow):
            raise self._refuse("queue-full" if self.queued else "concurrency-limit", tally)
        if queue is None:
            queue = self._flows[flow] = deque()
        seat: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(seat)
        self.waiting += 1
        self._all.waiting.add(self)
        try:
            async with asyncio.timeout(self._max_wait):
                await seat
        except BaseException as exc:
            if seat.done() and not seat.cancelled():
                self.give()
            else:
                if seat in queue:
                    queue.remove(seat)
                if not queue and self._flows.get(flow) is queue:
                    del self._flows[flow]
            refusal = self._refuse("time-out" if isinstance(exc, TimeoutError) else "cancelled", tally)
            if isinstance(exc, TimeoutError):
                raise refusal from None
            raise
        finally:
            self.waiting -= 1
            if not self._flows:
                self._all.waiting.discard(self)

    def give(self) -> None:
        self.executing -= 1
        self.serve()
        if self._all.waiting:
            self._all.given()

    def serve(self) -> None:
        """Seats for those who wait, a flow at a time."""
        while self._flows and self._has_seat():
            flow, queue = next(iter(self._flows.items()))
            seat = queue.popleft()
            if queue:
                self._flows.move_to_end(flow)
            else:
                del self._flows[flow]
            if not seat.done():
                self._sit()
                seat.set_result(None)


def share(all: Seats, levels: Iterable[tuple[Level, int, int, int | None]]) -> None:
    """Deals the seats by (level, nominal shares, lendable percent, borrowing limit percent or None for no limit)."""
    dealt = list(levels)
    whole = sum(shares for _, shares, _, _ in dealt)
    all.levels = [level for level, _, _, _ in dealt]
    for level, shares, lendable, limit in dealt:
        level.seats = -(-all.total * shares // whole) if whole else 0
        level.lendable = level.seats * lendable // 100
        level.most = all.total if limit is None else level.seats + level.seats * limit // 100
        level.serve()
