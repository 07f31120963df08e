"""NodeResourcesBalancedAllocation: prefers nodes whose resources would be used in like proportion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.protocols import MAX_SCORE
from podwright.scheduler.framework.verdicts import SKIP, SkipType
from podwright.scheduler.plugins.node_resources_fit import ARRAYS, NUMBERS, Arithmetic, amounts
from podwright.scheduler.state.nodes import Ints, Rows, only
from podwright.scheduler.state.pods import PodInfo


class NodeResourcesBalancedAllocation:
    """100 less the standard deviation of the used fractions. Nothing is said of Pods that request none of the
    resources."""

    name = "NodeResourcesBalancedAllocation"
    row_local = True

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._nodes = handle.nodes
        listed = args.get("resources") or [{"name": "cpu"}, {"name": "memory"}]
        self._resources = [str(r["name"]) for r in listed]

    def pre_score(self, pod: PodInfo, feasible: Ints) -> SkipType | None:
        return None if any(pod.cls.requests.get(r) for r in self._resources) else SKIP

    def score(self, pod: PodInfo, rows: Rows) -> Ints:
        if only(rows) is not None:
            return np.array([int((1 - self._deviation(pod, rows, NUMBERS)) * float(MAX_SCORE))])
        deviation = np.broadcast_to(self._deviation(pod, rows, ARRAYS), len(self._nodes.alive.of(rows)))
        return ((1 - deviation) * float(MAX_SCORE)).astype(np.int64)

    def _deviation(self, pod: PodInfo, rows: Rows, by: Arithmetic) -> Any:
        where = by.where
        parts = []
        for resource in self._resources:
            found = amounts(self._nodes, pod, resource, rows, real=True)
            if found is not None:
                have, used = found
                there = have > 0
                parts.append((there, where(there, by.least(used / where(there, have, 1), 1.0), 0.0)))
        if len(parts) == 2:
            (there0, first), (there1, second) = parts
            return where(there0 & there1, abs((first - second) / 2), 0.0)
        count: Any = sum(where(there, 1, 0) for there, _ in parts)
        safe = where(count > 0, count, 1)
        mean = sum(fraction for _, fraction in parts) / safe
        squares = sum(where(there, (fraction - mean) * (fraction - mean), 0.0) for there, fraction in parts)
        return where(count > 1, by.root(squares / safe), 0.0)
