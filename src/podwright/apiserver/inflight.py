"""Bounded concurrency, fair between users: upstream's priority and fairness in its simplest true form.

Reads and writes have a limit each. Beyond it a request waits in the queue of its flow (its user); the flows are served
in turn, so that one busy user cannot starve the others. A flow's queue is short: what does not fit is refused with
429, and so is what waited too long.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from podwright.api import status
from podwright.apiserver.requests import UserInfo

_QUEUE_PER_FLOW = 50
_QUEUES_PER_USER_EXEMPT = ("system:masters",)
_MUTATING = frozenset(("create", "update", "patch", "delete", "deletecollection"))
_REFUSED = "too many requests, please try again later"


class Limit:
    """One pool of seats."""

    def __init__(self, seats: int, max_wait: float) -> None:
        self._free = seats
        self._max_wait = max_wait
        self._flows: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.executing = 0
        self.waiting = 0
        self.rejected = 0

    def try_take(self) -> bool:
        """Takes a seat if one is free and nobody waits."""
        if self._free > 0 and not self._flows:
            self._free -= 1
            self.executing += 1
            return True
        return False

    async def take(self, flow: str) -> None:
        """Waits for a seat. Raises ApiError (429)."""
        if self.try_take():
            return
        queue = self._flows.get(flow)
        if queue is None:
            queue = self._flows[flow] = deque()
        if len(queue) >= _QUEUE_PER_FLOW:
            self.rejected += 1
            raise status.too_many_requests(_REFUSED)
        seat: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(seat)
        self.waiting += 1
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
            if isinstance(exc, TimeoutError):
                self.rejected += 1
                raise status.too_many_requests(_REFUSED) from None
            raise
        finally:
            self.waiting -= 1

    def give(self) -> None:
        self._free += 1
        self.executing -= 1
        while self._flows and self._free > 0:
            flow, queue = next(iter(self._flows.items()))
            seat = queue.popleft()
            if queue:
                self._flows.move_to_end(flow)
            else:
                del self._flows[flow]
            if not seat.done():
                self._free -= 1
                self.executing += 1
                seat.set_result(None)


class InFlight:
    """The two pools of a server. Administrators (system:masters) and watches are exempt."""

    def __init__(self, reads: int, writes: int, request_timeout: float) -> None:
        self.reads = Limit(reads, request_timeout / 4)
        self.writes = Limit(writes, request_timeout / 4)

    def pool(self, verb: str, user: UserInfo, subresource: str) -> Limit | None:
        """None: exempt."""
        if verb in ("watch", "proxy", "connect") or subresource in ("exec", "attach", "portforward", "proxy", "log"):
            return None
        if any(group in _QUEUES_PER_USER_EXEMPT for group in user.groups):
            return None
        return self.writes if verb in _MUTATING else self.reads

    @asynccontextmanager
    async def seat(self, verb: str, user: UserInfo, subresource: str = "") -> AsyncIterator[None]:
        pool = self.pool(verb, user, subresource)
        if pool is None:
            yield
            return
        await pool.take(user.name)
        try:
            yield
        finally:
            pool.give()
