"""NodeResourcesBalancedAllocation: prefers nodes whose resources would be used in like proportion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.protocols import MAX_SCORE
from podwright.scheduler.framework.verdicts import SKIP, SkipType
from podwright.scheduler.plugins.node_resources_fit import amounts
from podwright.scheduler.state.nodes import Ints, Rows
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
        size = len(self._nodes.alive.of(rows))
        count, total, parts = np.zeros(size), np.zeros(size), []
        for resource in self._resources:
            found = amounts(self._nodes, pod, resource, rows, real=True)
            if found is None:
                continue
            have, used = found
            there = have > 0
            fraction = np.where(there, np.minimum(used / np.where(there, have, 1), 1.0), 0.0)
            parts.append((there, fraction))
            count += there
            total += fraction
        if len(parts) == 2:
            (there0, first), (there1, second) = parts
            deviation = np.where(there0 & there1, np.abs((first - second) / 2), 0.0)
        else:
            safe = np.maximum(count, 1)
            mean = total / safe
            squares = sum((np.where(there, (f - mean) * (f - mean), 0.0) for there, f in parts), np.zeros(size))
            deviation = np.where(
                count > 2, np.sqrt(squares / safe), np.where(count == 2, np.sqrt(squares / 2), 0.0)
            )
        return ((1 - deviation) * float(MAX_SCORE)).astype(np.int64)
