"""The queue of Pods to schedule: those to try now, those that back off, and those that wait for an event which may
help them (KEP-4247)."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

from podwright.client.clock import Clock
from podwright.scheduler.framework.events import ClusterEvent
from podwright.scheduler.state.pods import PodInfo

Hint = Callable[[PodInfo, ClusterEvent], bool]
"""Whether the event may help a Pod, by the plugins that refused it."""
_EVENTS_KEPT = 2048


class SchedulingQueue:
    """`first`, `longest` bound the backoff in seconds; a Pod waits at most `stay` seconds for an event.

    `sort_key` orders Pods; `helps` is the hint. While no other Pod is to be tried, one that backs off need not wait,
    unless its last attempt ended in an error (KEP-5142)."""

    def __init__(
        self, clock: Clock, *, sort_key: Callable[[PodInfo], Any], helps: Hint, first: float = 1.0,
        longest: float = 10.0, stay: float = 300.0,
    ) -> None:
        self._clock = clock
        self._sort_key = sort_key
        self._helps = helps
        self._first = first
        self._longest = longest
        self._stay = stay
        self._active: list[tuple[Any, int, PodInfo]] = []
        self._backoff: list[tuple[float, int, PodInfo]] = []
        self._failed: list[tuple[float, int, PodInfo]] = []
        self._where: dict[str, str] = {}
        self._known: dict[str, PodInfo] = {}
        self._unschedulable: dict[str, tuple[float, PodInfo]] = {}
        self._gated: dict[str, PodInfo] = {}
        self._in_flight: dict[str, int] = {}
        self._events: deque[tuple[int, ClusterEvent]] = deque(maxlen=_EVENTS_KEPT)
        self._sequence = count(1)
        self._last_event = 0
        self._wake = asyncio.Event()

    def get(self, uid: str) -> PodInfo | None:
        return self._known.get(uid)

    def sizes(self) -> dict[str, int]:
        """How many Pods are where, by the names of upstream's pending_pods metric."""
        sizes = {"active": 0, "backoff": 0, "unschedulable": 0, "gated": 0}
        for where in self._where.values():
            if where in sizes:
                sizes[where] += 1
        return sizes

    def add(self, pod: PodInfo) -> None:
        self._known[pod.uid] = pod
        self._activate(pod)

    def gate(self, pod: PodInfo) -> None:
        """Keeps a Pod that must not be tried yet."""
        self._known[pod.uid] = pod
        self._where[pod.uid] = "gated"
        self._gated[pod.uid] = pod

    def is_gated(self, uid: str) -> bool:
        return uid in self._gated

    def remove(self, uid: str) -> None:
        self._known.pop(uid, None)
        self._where.pop(uid, None)
        self._unschedulable.pop(uid, None)
        self._gated.pop(uid, None)
        self._in_flight.pop(uid, None)

    def _activate(self, pod: PodInfo) -> None:
        self._unschedulable.pop(pod.uid, None)
        self._gated.pop(pod.uid, None)
        self._where[pod.uid] = "active"
        heapq.heappush(self._active, (self._sort_key(pod), next(self._sequence), pod))
        self._wake.set()

    def pop(self) -> PodInfo | None:
        """The next Pod to try, which is in flight until :meth:`done` or :meth:`refused`."""
        self._release()
        for heap, where in ((self._active, "active"), (self._backoff, "backoff")):
            while heap:
                _, _, pod = heapq.heappop(heap)
                if self._where.get(pod.uid) == where and self._known.get(pod.uid) is pod:
                    self._where[pod.uid] = "in flight"
                    self._in_flight[pod.uid] = self._last_event
                    pod.attempts += 1
                    return pod
        return None

    def done(self, pod: PodInfo) -> None:
        """The Pod is bound, or gone."""
        if self._known.get(pod.uid) is pod:
            self.remove(pod.uid)

    def refused(self, pod: PodInfo, plugins: frozenset[str], *, failed: bool = False) -> None:
        """Puts an in-flight Pod back: to wait for an event, or, if one came meanwhile that may help, or something
        `failed`, to back off."""
        if self._known.get(pod.uid) is not pod or pod.uid not in self._in_flight:
            return
        since = self._in_flight.pop(pod.uid)
        pod.refused_by = plugins
        now = self._clock.monotonic()
        if failed or not plugins:
            self._back_off(pod, now, self._failed)
        elif any(at > since and self._helps(pod, e) for at, e in self._events):
            self._back_off(pod, now, self._backoff)
        else:
            self._where[pod.uid] = "unschedulable"
            self._unschedulable[pod.uid] = now, pod
            self._wake.set()
        pod.added = now

    def _backoff_seconds(self, pod: PodInfo) -> float:
        return float(min(self._longest, self._first * 2.0 ** min(max(pod.attempts - 1, 0), 60)))

    def _back_off(self, pod: PodInfo, since: float, heap: list[tuple[float, int, PodInfo]]) -> None:
        due = since + self._backoff_seconds(pod)
        if due <= self._clock.monotonic():
            self._activate(pod)
            return
        self._unschedulable.pop(pod.uid, None)
        self._where[pod.uid] = "backoff"
        heapq.heappush(heap, (due, next(self._sequence), pod))
        self._wake.set()

    def activate(self, uid: str) -> None:
        """Tries a waiting Pod again at once."""
        pod = self._known.get(uid)
        if pod is not None and self._where.get(uid) in ("unschedulable", "backoff", "gated"):
            self._activate(pod)

    def happened(self, event: ClusterEvent) -> None:
        """Wakes the Pods that the event may help."""
        if self._in_flight:
            self._last_event = next(self._sequence)
            self._events.append((self._last_event, event))
        if not self._unschedulable:
            return
        judged: dict[tuple[Any, frozenset[str]], bool] = {}
        for since, pod in list(self._unschedulable.values()):
            # Equal Pods that the same plugins refused are helped by the same events.
            key = (pod.cls, pod.refused_by)
            helped = judged.get(key)
            if helped is None:
                helped = self._helps(pod, event)
                if not pod.cls.spec.get("affinity") and not pod.cls.spec.get("topologySpreadConstraints"):
                    judged[key] = helped
            if helped:
                self._back_off(pod, since, self._backoff)

    def touched(self, uid: str) -> None:
        """The Pod itself changed in a way that may help it."""
        if uid in self._unschedulable:
            since, known = self._unschedulable[uid]
            self._back_off(known, since, self._backoff)

    def _release(self) -> None:
        now = self._clock.monotonic()
        for heap in (self._backoff, self._failed):
            while heap and heap[0][0] <= now:
                _, _, pod = heapq.heappop(heap)
                if self._where.get(pod.uid) == "backoff" and self._known.get(pod.uid) is pod:
                    self._activate(pod)
        while self._unschedulable:
            since, pod = next(iter(self._unschedulable.values()))
            if since + self._stay > now:
                break
            self._activate(pod)

    def _next_due(self) -> float | None:
        due = [self._failed[0][0]] if self._failed else []
        if self._unschedulable:
            due.append(next(iter(self._unschedulable.values()))[0] + self._stay)
        return min(due, default=None)

    async def wait(self) -> None:
        """Returns when there may be a Pod to try."""
        while True:
            self._release()
            if self._active or self._backoff:
                return
            self._wake.clear()
            due = self._next_due()
            if due is None:
                await self._wake.wait()
                continue
            timer = asyncio.ensure_future(self._clock.sleep(max(0.0, due - self._clock.monotonic())))
            woken = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait((timer, woken), return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
                woken.cancel()
