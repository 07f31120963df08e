"""What a scheduler counts, by upstream's names (Kubernetes documentation: "Kubernetes Metrics Reference"). As upstream,
a process has one set, in Prometheus' own registry: whoever serves /metrics for the process shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from time import perf_counter

from prometheus_client import Counter, Gauge, Histogram

SCHEDULED, UNSCHEDULABLE, ERROR = "scheduled", "unschedulable", "error"
"""Results of an attempt."""


def _powers(first: float, factor: float, count: int) -> list[float]:
    return [first * factor**i for i in range(count)]


attempts = Counter(
    "scheduler_schedule_attempts_total",
    "Attempts to schedule Pods, by result: 'unschedulable' found no node, 'error' is the scheduler's own trouble.",
    ("result", "profile"),
)
attempt_seconds = Histogram(
    "scheduler_scheduling_attempt_duration_seconds", "Seconds of an attempt: deciding and binding.",
    ("result", "profile"), buckets=_powers(0.001, 2, 15),
)
algorithm_seconds = Histogram(
    "scheduler_scheduling_algorithm_duration_seconds", "Seconds of deciding.", buckets=_powers(0.001, 2, 15)
)
sli_seconds = Histogram(
    "scheduler_pod_scheduling_sli_duration_seconds",
    "Seconds from a Pod's entering the queue, over all of its attempts, until it was bound.",
    ("attempts",), buckets=_powers(0.01, 2, 20),
)
pod_attempts = Histogram(
    "scheduler_pod_scheduling_attempts", "Attempts that a Pod needed.", buckets=_powers(1, 2, 5)
)
point_seconds = Histogram(
    "scheduler_framework_extension_point_duration_seconds", "Seconds of all plugins of an extension point.",
    ("extension_point", "status", "profile"), buckets=_powers(0.0001, 2, 12),
)
plugin_seconds = Histogram(
    "scheduler_plugin_execution_duration_seconds", "Seconds of a plugin at an extension point, of one attempt in ten.",
    ("plugin", "extension_point", "status"), buckets=_powers(0.00001, 1.5, 20),
)
victims = Histogram("scheduler_preemption_victims", "Victims of a preemption.", buckets=_powers(1, 2, 7))
preemptions = Counter("scheduler_preemption_attempts_total", "Attempts to preempt.")
pending = Gauge(
    "scheduler_pending_pods", "Pods that wait: active, in backoff, unschedulable, or gated.", ("queue",)
)
cache_size = Gauge("scheduler_cache_size", "Nodes, Pods and assumed Pods that the scheduler knows.", ("type",))


# To look a child up anew each time costs more than to count.
at = cache(point_seconds.labels)
_attempts = cache(attempts.labels)
_attempt_seconds = cache(attempt_seconds.labels)
_sli_seconds = cache(sli_seconds.labels)


@contextmanager
def at_point(point: str, profile: str) -> Iterator[None]:
    """Times all plugins of an extension point."""
    status, began = "Success", perf_counter()
    try:
        yield
    except BaseException:
        status = "Error"
        raise
    finally:
        at(point, status, profile).observe(perf_counter() - began)


def attempted(result: str, profile: str, seconds: float) -> None:
    _attempts(result, profile).inc()
    _attempt_seconds(result, profile).observe(seconds)


def bound(tries: int, seconds: float) -> None:
    """A Pod is bound, so many seconds after it entered the queue."""
    pod_attempts.observe(tries)
    _sli_seconds(str(tries) if tries < 16 else "16+").observe(seconds)


def follow(queue: Callable[[], Mapping[str, int]], cache: Mapping[str, Callable[[], float]]) -> None:
    """Shows the sizes of this queue and of this cache from now on."""
    for where in ("active", "backoff", "unschedulable", "gated"):
        pending.labels(where).set_function(lambda where=where: float(queue()[where]))  # type: ignore[misc]
    for kind, size in cache.items():
        cache_size.labels(kind).set_function(size)
