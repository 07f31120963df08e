"""How many replicas a metric asks for: usage over target, with Pods that say nothing counted against the change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podwright.api import objects, quantity
from podwright.api.objects import Object
from podwright.controllers import pods
from podwright.controllers.autoscaling.metrics import NoMetrics, PodMetric
from podwright.controllers.config import ControllerConfig


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far from 1 the ratio may be without a change, downwards and upwards (KEP-4951)."""

    down: float
    up: float

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(slots=True)
class _Groups:
    ready: int
    unready: set[str]
    missing: set[str]
    ignored: set[str]


def _group(
    found: Sequence[Object], metrics: Mapping[str, PodMetric], resource: str, config: ControllerConfig, now: float
) -> _Groups:
    groups = _Groups(0, set(), set(), set())
    for pod in found:
        name = objects.name(pod)
        if objects.is_deleting(pod) or pods.phase(pod) == "Failed":
            groups.ignored.add(name)
            continue
        if pods.phase(pod) == "Pending":
            groups.unready.add(name)
            continue
        metric = metrics.get(name)
        if metric is None:
            groups.missing.add(name)
            continue
        if resource == "cpu" and _is_warming_up(pod, metric, config, now):
            groups.unready.add(name)
            continue
        groups.ready += 1
    return groups


def _is_warming_up(pod: Object, metric: PodMetric, config: ControllerConfig, now: float) -> bool:
    """The CPU that a Pod takes to start says nothing about its load."""
    ready = objects.condition(pod, "Ready")
    started = (pod.get("status") or {}).get("startTime")
    if ready is None or not started:
        return True
    since, start = ready.get("lastTransitionTime"), objects.parse_time(started)
    changed = objects.parse_time(since) if since else 0.0
    if start + config.hpa_cpu_initialization_period > now:
        return ready.get("status") == "False" or metric.timestamp < changed + metric.window
    return ready.get("status") == "False" and start + config.hpa_initial_readiness_delay > changed


def _requests(found: Sequence[Object], resource: str, container: str) -> dict[str, int]:
    """Thousandths by Pod.

    Raises:
        NoMetrics: a container requests nothing, so that no percentage of it can be had.
    """
    wanted: dict[str, int] = {}
    for pod in found:
        spec = pod.get("spec") or {}
        level = ((spec.get("resources") or {}).get("requests") or {}).get(resource)
        if level is not None and not container:
            wanted[objects.name(pod)] = quantity.milli(level)
            continue
        sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
        total = 0
        for each in (*(spec.get("containers") or ()), *sidecars):
            if container and each.get("name") != container:
                continue
            request = ((each.get("resources") or {}).get("requests") or {}).get(resource)
            if request is None:
                raise NoMetrics(
                    f"missing request for {resource} in container {each.get('name')} of Pod {objects.name(pod)}"
                )
            total += quantity.milli(request)
        wanted[objects.name(pod)] = total
    return wanted


def by_utilization(
    current: int, target: int, metrics: Mapping[str, PodMetric], found: Sequence[Object], resource: str,
    container: str, tolerance: Tolerance, config: ControllerConfig, now: float,
) -> tuple[int, int, int]:  # fmt: skip
    """(replicas, utilization in percent, average value in thousandths) for a target in percent of requests."""
    groups = _group(found, metrics, resource, config, now)
    requests = _requests(found, resource, container)
    used = {n: m.value for n, m in metrics.items() if n not in groups.ignored | groups.unready and n in requests}
    if not used:
        raise NoMetrics("did not receive metrics for targeted pods (pods might be unready)")

    def ratio_of(values: Mapping[str, int]) -> tuple[float, int]:
        asked = sum(requests[n] for n in values)
        utilization = sum(values.values()) * 100 // asked if asked else 0
        return utilization / target, utilization

    ratio, utilization = ratio_of(used)
    average = sum(used.values()) // len(used)
    if not (groups.unready and ratio > 1.0) and not groups.missing:
        size = current if tolerance.covers(ratio) else math.ceil(ratio * groups.ready - 1e-9)
        return size, utilization, average
    padded = dict(used)
    if groups.missing:
        for name in groups.missing:
            if name not in requests:
                continue
            # Assumed to be at least fully used when shrinking, idle when growing.
            padded[name] = requests[name] * max(100, target) // 100 if ratio < 1.0 else 0
    if ratio > 1.0:
        padded.update({n: 0 for n in groups.unready if n in requests})
    again, _ = ratio_of(padded)
    return _settle(current, ratio, again, len(padded), tolerance), utilization, average


def by_average(
    current: int, target: int, metrics: Mapping[str, PodMetric], found: Sequence[Object], resource: str,
    tolerance: Tolerance, config: ControllerConfig, now: float,
) -> tuple[int, int]:  # fmt: skip
    """(replicas, average value in thousandths) for a target average value a Pod, in thousandths."""
    groups = _group(found, metrics, resource, config, now)
    names = {objects.name(p) for p in found}
    used = {n: m.value for n, m in metrics.items() if n not in groups.ignored | groups.unready and n in names}
    if not used:
        raise NoMetrics("did not receive metrics for targeted pods (pods might be unready)")
    average = sum(used.values()) // len(used)
    ratio = average / target
    if not (groups.unready and ratio > 1.0) and not groups.missing:
        return (current if tolerance.covers(ratio) else math.ceil(ratio * groups.ready - 1e-9)), average
    padded = dict(used)
    for name in groups.missing:
        padded[name] = target if ratio < 1.0 else 0
    if ratio > 1.0:
        padded.update(dict.fromkeys(groups.unready, 0))
    again = sum(padded.values()) / len(padded) / target
    return _settle(current, ratio, again, len(padded), tolerance), average


def _settle(current: int, ratio: float, again: float, counted: int, tolerance: Tolerance) -> int:
    """With the silent Pods counted in, a change must still be wanted, and in the same direction."""
    if tolerance.covers(again) or (ratio < 1.0 < again) or (again < 1.0 < ratio):
        return current
    size = math.ceil(again * counted - 1e-9)
    if (again < 1.0 and size > current) or (again > 1.0 and size < current):
        return current
    return size


def by_value(current: int, ready: int, value: int, target: int, tolerance: Tolerance) -> int:
    """For one number about the whole, against a target value."""
    ratio = value / target
    return current if tolerance.covers(ratio) else math.ceil(ratio * ready - 1e-9)


def by_total(current: int, status_replicas: int, value: int, target: int, tolerance: Tolerance) -> int:
    """For one number about the whole, against a target for each replica."""
    ratio = value / (target * status_replicas) if status_replicas else math.inf
    return current if tolerance.covers(ratio) else math.ceil(value / target - 1e-9)
