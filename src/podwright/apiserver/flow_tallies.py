"""What the requests of each flow schema do at its priority level, and have done: for /metrics, with upstream's names,
and for the dumps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from podwright.apiserver.inflight import Level

if TYPE_CHECKING:
    from podwright.apiserver.exchange import Request

_PREFIX = "apiserver_flowcontrol_"
_WAITS = (0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)


@dataclass(slots=True, eq=False)
class Visit:
    """A request that waits or has a seat. Times in seconds since the epoch; `started` is 0 while it waits."""

    request: Request
    arrived: float
    started: float = 0.0


@dataclass(slots=True)
class Tally:
    level: str = ""
    schema: str = ""
    waiting: dict[int, Visit] = field(default_factory=dict)
    executing: dict[int, Visit] = field(default_factory=dict)
    dispatched: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    waited: Histogram | None = None

    async def wait(self, level: Level, flow: str, visit: Visit) -> None:
        """Raises ApiError (429)."""
        self.waiting[id(visit)] = visit
        try:
            await level.take(flow, self.rejected)
        finally:
            del self.waiting[id(visit)]

    def begin(self, visit: Visit, now: float) -> None:
        visit.started = now
        self.dispatched += 1
        self.executing[id(visit)] = visit
        if self.waited is not None:
            self.waited.observe(now - visit.arrived)

    def end(self, visit: Visit) -> None:
        del self.executing[id(visit)]


class Tallies(Collector):
    """One by priority level and flow schema. `levels` gives the priority levels as they are."""

    def __init__(self) -> None:
        self.levels: Callable[[], Sequence[Level]] = list
        self._all: dict[tuple[str, str], Tally] = {}
        self._waits = Histogram(
            f"{_PREFIX}request_wait_duration_seconds", "Length of time a request waited for its seat.",
            ("priority_level", "flow_schema", "execute"), buckets=_WAITS, registry=None,
        )

    def of(self, level: str, schema: str, *, limited: bool) -> Tally:
        found = self._all.get((level, schema))
        if found is None:
            waited = self._waits.labels(level, schema, "true") if limited else None
            found = self._all[level, schema] = Tally(level, schema, waited=waited)
        return found

    def at(self, level: str) -> list[Tally]:
        return [tally for (name, _), tally in sorted(self._all.items()) if name == level]

    def collect(self) -> Iterable[Metric]:
        limits: tuple[tuple[str, str, Callable[[Level], int]], ...] = (
            ("nominal_limit_seats", "Seats of the priority level's own.", lambda level: level.seats),
            ("lower_limit_seats", "Seats that are never lent.", lambda level: level.seats - level.lendable),
            ("upper_limit_seats", "Seats that it has at most, with borrowing.", lambda level: level.most),
            ("current_limit_seats", "Seats that it has now.", lambda level: max(level.seats, level.executing)),
        )
        for name, text, of_level in limits:
            gauge = GaugeMetricFamily(_PREFIX + name, text, labels=("priority_level",))
            for level in self.levels():
                if level.limited:
                    gauge.add_metric((level.name,), of_level(level))
            yield gauge
        labels = ("priority_level", "flow_schema")
        counts: tuple[tuple[str, str, Callable[[Tally], int]], ...] = (
            ("current_executing_requests", "Requests that have a seat.", lambda tally: len(tally.executing)),
            ("current_executing_seats", "Seats that are taken.", lambda tally: len(tally.executing)),
            ("current_inqueue_requests", "Requests that wait for a seat.", lambda tally: len(tally.waiting)),
            ("current_inqueue_seats", "Seats that are waited for.", lambda tally: len(tally.waiting)),
        )
        for name, text, of_tally in counts:
            gauge = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
            for tally in self._all.values():
                gauge.add_metric((tally.level, tally.schema), of_tally(tally))
            yield gauge
        dispatched = CounterMetricFamily(f"{_PREFIX}dispatched_requests", "Requests that got a seat.", labels=labels)
        rejected = CounterMetricFamily(
            f"{_PREFIX}rejected_requests", "Requests that got none, by the reason.", labels=(*labels, "reason")
        )
        for tally in self._all.values():
            dispatched.add_metric((tally.level, tally.schema), tally.dispatched)
            for reason, count in tally.rejected.items():
                rejected.add_metric((tally.level, tally.schema, reason), count)
        yield dispatched
        yield rejected
        yield from self._waits.collect()
