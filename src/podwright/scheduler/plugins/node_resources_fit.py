"""NodeResourcesFit: room for what the Pod requests, and scores by how full a node would be (Kubernetes documentation:
"Resource Bin Packing"). Disk I/O requests (podwright.io/disk-…) are resources like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

import numpy as np

from podwright.scheduler.framework.events import ASSIGNED_POD, NODE, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.protocols import MAX_SCORE
from podwright.scheduler.framework.verdicts import Reason
from podwright.scheduler.state.nodes import INT64, Ints, Mask, NodeTable, Rows
from podwright.scheduler.state.pods import PodInfo

_SCALE_LIMIT = 2**56
_TOO_MANY = "Too many pods"


def amounts(nodes: NodeTable, pod: PodInfo, resource: str, rows: Rows, *, real: bool) -> tuple[Ints, Ints] | None:
    """Allocatable, and requested with the Pod; None for an extended resource that the Pod does not ask for. Unless
    `real`, CPU and memory count with the defaults for containers that request none."""
    asked = pod.cls.requests.get(resource, 0)
    if asked == 0 and "/" in resource:
        return None
    allocatable, requested, _ = nodes.resource(resource)
    used = requested.of(rows)
    if not real and resource in nodes.non_zero:
        used = nodes.non_zero[resource].of(rows)
        asked = pod.cls.non_zero_cpu if resource == "cpu" else pod.cls.non_zero_memory
    have = np.minimum(allocatable.of(rows), _SCALE_LIMIT)
    return have, np.minimum(used, _SCALE_LIMIT) + min(asked, _SCALE_LIMIT)


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
        fits: Mask = nodes.free["pods"].of(rows) >= 1
        for resource, amount in pod.cls.requests.items():
            if self._counts(resource):
                fits &= nodes.resource(resource)[2].of(rows) >= min(amount, INT64)
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
        count = len(self._nodes.alive.of(rows))
        total, weights = np.zeros(count, np.int64), np.zeros(count, np.int64)
        for resource, weight in self._weights:
            found = amounts(self._nodes, pod, resource, rows, real=False)
            if found is None:
                continue
            have, used = found
            there = have > 0
            safe = np.where(there, have, 1)
            if self._type == "LeastAllocated":
                score = np.where(used > have, 0, (have - used) * MAX_SCORE // safe)
            elif self._type == "MostAllocated":
                score = np.minimum(used, have) * MAX_SCORE // safe
            else:
                score = self._ratio(np.where(used > have, 100, used * 100 // safe))
                there &= score > 0
            total += np.where(there, score * weight, 0)
            weights += np.where(there, weight, 0)
        if self._type == "RequestedToCapacityRatio":
            return np.where(weights > 0, np.rint(total / np.maximum(weights, 1)), 0).astype(np.int64)
        return np.where(weights > 0, total // np.maximum(weights, 1), 0)

    def _ratio(self, utilization: Ints) -> Ints:
        """The broken line through the shape's points, in whole numbers that are cut towards zero."""
        points = self._shape
        score = np.full_like(utilization, points[-1][1])
        for (x0, y0), (x1, y1) in reversed(list(pairwise(points))):
            step = (y1 - y0) * (utilization - x0)
            cut = np.sign(step) * (np.abs(step) // (x1 - x0))
            score = np.where(utilization <= x1, y0 + cut, score)
        return np.where(utilization <= points[0][0], points[0][1], score)

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
