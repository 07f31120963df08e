"""How long a Job waits after failures before it makes more Pods: 10 s, doubling, at most 10 min."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from podwright.api import objects
from podwright.api.objects import Object
from podwright.controllers import pods

FIRST, MAXIMUM = 10.0, 600.0


@dataclass(slots=True)
class _Record:
    failures: int = 0
    last_failure: float = 0.0


class BackoffStore:
    """Failures since the last success, by job key; kept in memory as upstream does."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def forget(self, key: str) -> None:
        self._records.pop(key, None)

    def observe(self, key: str, succeeded: Iterable[Object], failed: Iterable[Object], now: float) -> None:
        """Pods found finished now, each told once."""
        record = self._records.setdefault(key, _Record())
        last_success = max((finished_at(p, now) for p in succeeded), default=0.0)
        for at in sorted(finished_at(p, now) for p in failed):
            if at >= last_success:
                record.failures += 1
                record.last_failure = at
        if last_success > record.last_failure:
            record.failures = 0

    def remaining(self, key: str, now: float) -> float:
        record = self._records.get(key)
        return remaining(record.failures, record.last_failure, now) if record is not None else 0.0


def remaining(failures: int, last_failure: float, now: float) -> float:
    """Never more than the whole delay, however far a clock jumped."""
    if failures <= 0:
        return 0.0
    delay = min(MAXIMUM, FIRST * 2.0 ** (failures - 1))
    return max(0.0, min(delay, last_failure + delay - now))


def finished_at(pod: Object, now: float) -> float:
    """When the last of its containers ended; else when it was to be gone; else now."""
    stamps = []
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        terminated = (status.get("state") or {}).get("terminated")
        if terminated and terminated.get("finishedAt"):
            stamps.append(objects.parse_time(terminated["finishedAt"]))
    if stamps:
        return max(stamps)
    if objects.is_deleting(pod):
        grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        return min(now, objects.parse_time(pod["metadata"]["deletionTimestamp"]) - grace)
    ready = objects.condition(pod, "Ready")
    if pods.is_finished(pod) and ready is not None and ready.get("lastTransitionTime"):
        return objects.parse_time(ready["lastTransitionTime"])
    return now
