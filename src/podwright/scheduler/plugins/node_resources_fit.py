"""NodeResourcesFit: room for what the Pod requests, and scores by how full a node would be (Kubernetes documentation:
"Resource Bin Packing"). Disk I/O requests (podwright.io/disk-…) are resources like any other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from podwright.scheduler.framework.events import ASSIGNED_POD, NODE, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.protocols import MAX_SCORE
from podwright.scheduler.framework.verdicts import Reason
from podwright.scheduler.state.nodes import INT64, Ints, Mask, NodeTable, Rows, only
from podwright.scheduler.state.pods import PodInfo

_SCALE_LIMIT = 2**56
_TOO_MANY = "Too many pods"


def _choice(condition: bool, yes: Any, no: Any) -> Any:
    return yes if condition else no


class Arithmetic(NamedTuple):
    """The same formulas serve all rows, as arrays, and one row, as Python's numbers."""

    where: Callable[..., Any]
    least: Callable[..., Any]
    rounded: Callable[..., Any]
    root: Callable[..., Any]


ARRAYS = Arithmetic(np.where, np.minimum, np.rint, np.sqrt)
NUMBERS = Arithmetic(_choice, min, round, math.sqrt)


def amounts(nodes: NodeTable, pod: PodInfo, resource: str, rows: Rows, *, real: bool) -> tuple[Any, Any] | None:
    """Allocatable, and requested with the Pod: arrays, or numbers for one row; None for an extended resource that the
    Pod does not ask for. Unless `real`, CPU and memory count with the defaults for containers that request none."""
    asked = pod.cls.requests.get(resource, 0)
    if asked == 0 and "/" in resource:
        return None
    allocatable, requested, _ = nodes.resource(resource)
    if not real and resource in nodes.non_zero:
        requested = nodes.non_zero[resource]
        asked = pod.cls.non_zero_cpu if resource == "cpu" else pod.cls.non_zero_memory
    asked = min(asked, _SCALE_LIMIT)
    if (row := only(rows)) is not None:
        return min(int(allocatable.array[row]), _SCALE_LIMIT), min(int(requested.array[row]), _SCALE_LIMIT) + asked
    return np.minimum(allocatable.of(rows), _SCALE_LIMIT), np.minimum(requested.of(rows), _SCALE_LIMIT) + asked


class NodeResourcesFit:
    name = "NodeResourcesFit"
    row_local = True

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._nodes = handle.nodes
        strategy = args.get("scoringStrategy") or {}
        self._type = strategy.get("type") or "LeastAllocated"
        if self._type not in ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"):
            raise ValueError(f"scoringStrategy.type: unsupported value: {self._type}")
        listed = strategy.get("resources") or [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1}]
        self._weights = [(str(r["name"]), int(r.get("weight") or 1)) for r in listed]
        shape = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or ()
        if self._type == "RequestedToCapacityRatio" and not shape:
            raise ValueError("scoringStrategy.requestedToCapacityRatio.shape: at least one point must be specified")
        self._shape = [(int(p.get("utilization") or 0), int(p.get("score") or 0) * 10) for p in shape]
        if any(a[0] >= b[0] for a, b in pairwise(self._shape)):
            raise ValueError("scoringStrategy.requestedToCapacityRatio.shape: utilization values must be sorted")
        self._ignored = frozenset(args.get("ignoredResources") or ())
        self._ignored_groups = tuple(args.get("ignoredResourceGroups") or ())

    def _counts(self, resource: str) -> bool:
        if "/" not in resource:
            return True
        group = resource.partition("/")[0]
        return resource not in self._ignored and not any(fnmatchcase(group, g) for g in self._ignored_groups)

    def free_amounts(self, pod: PodInfo) -> Mapping[str, int]:
        asked = pod.cls.requests.items()
        return {"pods": 1, **{resource: min(amount, INT64) for resource, amount in asked if self._counts(resource)}}

    def shortage(self, resource: str) -> str:
        return _TOO_MANY if resource == "pods" else f"Insufficient {resource}"

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        nodes = self._nodes
        needs = self.free_amounts(pod).items()
        if (row := only(rows)) is not None:
            return np.array([all(nodes.resource(resource)[2].array[row] >= amount for resource, amount in needs)])
        fits = np.ones(len(nodes.alive.of(rows)), np.bool_)
        for resource, amount in needs:
            fits &= nodes.resource(resource)[2].of(rows) >= amount
        return fits

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        nodes = self._nodes
        found = [Reason(_TOO_MANY, nodes.free["pods"].of(rows) < 1)]
        for resource, amount in pod.cls.requests.items():
            if self._counts(resource):
                allocatable, _, free = nodes.resource(resource)
                short = free.of(rows) < min(amount, INT64)
                never = short & (allocatable.of(rows) < min(amount, INT64))
                found.append(Reason(self.shortage(resource), short & ~never))
                found.append(Reason(self.shortage(resource), never, resolvable=False))
        return found

    def score(self, pod: PodInfo, rows: Rows) -> Ints:
        if only(rows) is not None:
            return np.array([self._score(pod, rows, NUMBERS)], np.int64)
        scores: Ints = np.broadcast_to(self._score(pod, rows, ARRAYS), len(self._nodes.alive.of(rows)))
        return scores.astype(np.int64)

    def _score(self, pod: PodInfo, rows: Rows, by: Arithmetic) -> Any:
        where = by.where
        total: Any = 0
        weights: Any = 0
        for resource, weight in self._weights:
            found = amounts(self._nodes, pod, resource, rows, real=False)
            if found is None:
                continue
            have, used = found
            there = have > 0
            safe = where(there, have, 1)
            if self._type == "LeastAllocated":
                score = where(used > have, 0, (have - used) * MAX_SCORE // safe)
            elif self._type == "MostAllocated":
                score = by.least(used, have) * MAX_SCORE // safe
            else:
                score = self._ratio(where(used > have, 100, used * 100 // safe), where)
                there = there & (score > 0)
            total = total + where(there, score * weight, 0)
            weights = weights + where(there, weight, 0)
        divisor = where(weights > 0, weights, 1)
        return by.rounded(total / divisor) if self._type == "RequestedToCapacityRatio" else total // divisor

    def _ratio(self, utilization: Any, where: Callable[..., Any]) -> Any:
        """The broken line through the shape's points, in whole numbers that are cut towards zero."""
        points = self._shape
        score: Any = points[-1][1]
        for (x0, y0), (x1, y1) in reversed(list(pairwise(points))):
            step = (y1 - y0) * (utilization - x0)
            cut = where(step < 0, -(-step // (x1 - x0)), step // (x1 - x0))
            score = where(utilization <= x1, y0 + cut, score)
        return where(utilization <= points[0][0], points[0][1], score)

    def interests(self) -> Sequence[Interest]:
        return (
            Interest(ASSIGNED_POD, Action.DELETE | Action.UPDATE_SCALE_DOWN),
            Interest(NODE, Action.ADD | Action.UPDATE_ALLOCATABLE),
        )

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        if event.kind != NODE or event.new is None:
            return True
        row = self._nodes.row_of(str(event.new["metadata"]["name"]))
        return row is None or bool(self.filter(pod, np.array([row]))[0])
