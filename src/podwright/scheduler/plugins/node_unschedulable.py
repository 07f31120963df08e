"""NodeUnschedulable: cordoned nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podwright.api import taints
from podwright.scheduler.framework.events import NODE, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.verdicts import SKIP, Reason, SkipType
from podwright.scheduler.state.nodes import Mask, Rows
from podwright.scheduler.state.pods import PodInfo

MESSAGE = "node(s) were unschedulable"
_TAINT = {"key": taints.UNSCHEDULABLE, "effect": taints.NO_SCHEDULE}


class NodeUnschedulable:
    """A Pod that tolerates the taint node.kubernetes.io/unschedulable may go there."""

    name = "NodeUnschedulable"
    row_local = True
    ignores_pods = True

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._nodes = handle.nodes

    def pre_filter(self, pod: PodInfo) -> SkipType | None:
        return SKIP if taints.is_tolerated(_TAINT, pod.cls.tolerations) else None

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        return np.asarray(~self._nodes.unschedulable.of(rows))

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        return (Reason(MESSAGE, self._nodes.unschedulable.of(rows), resolvable=False),)

    def interests(self) -> Sequence[Interest]:
        return (Interest(NODE, Action.ADD | Action.UPDATE_TAINTS),)

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        return not ((event.new or {}).get("spec") or {}).get("unschedulable")
