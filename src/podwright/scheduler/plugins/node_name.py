"""NodeName: a Pod that names its node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podwright.scheduler.framework.events import NODE, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.verdicts import SKIP, Reason, SkipType
from podwright.scheduler.state.nodes import Mask, Rows
from podwright.scheduler.state.pods import PodInfo

MESSAGE = "node(s) didn't match the requested node name"


class NodeName:
    name = "NodeName"
    row_local = True
    ignores_pods = True

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._nodes = handle.nodes

    def pre_filter(self, pod: PodInfo) -> SkipType | None:
        return None if pod.cls.spec.get("nodeName") else SKIP

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        fits = np.zeros(self._nodes.size, np.bool_)
        row = self._nodes.row_of(str(pod.cls.spec["nodeName"]))
        if row is not None:
            fits[row] = True
        return fits[rows]

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        return (Reason(MESSAGE, ~self.filter(pod, rows), resolvable=False),)

    def interests(self) -> Sequence[Interest]:
        return (Interest(NODE, Action.ADD),)

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        return True
