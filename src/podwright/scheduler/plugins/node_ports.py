"""NodePorts: host ports that are taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podwright.scheduler.framework.events import ASSIGNED_POD, NODE, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.verdicts import SKIP, Reason, SkipType
from podwright.scheduler.state.nodes import Mask, Rows
from podwright.scheduler.state.pods import PodInfo

MESSAGE = "node(s) didn't have free ports for the requested pod ports"
_ANY = "0.0.0.0"


class NodePorts:
    """A port on 0.0.0.0 conflicts with the same port on every address."""

    name = "NodePorts"
    row_local = True

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._nodes = handle.nodes

    def pre_filter(self, pod: PodInfo) -> SkipType | None:
        return None if pod.cls.ports else SKIP

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        free = np.ones(len(self._nodes.alive.of(rows)), np.bool_)
        for protocol, ip, port in pod.cls.ports:
            for taken, column in self._nodes.port_columns(protocol, port).items():
                if _ANY in (ip, taken) or ip == taken:
                    free &= column.of(rows) == 0
        return free

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        return (Reason(MESSAGE, ~self.filter(pod, rows)),)

    def interests(self) -> Sequence[Interest]:
        return (Interest(ASSIGNED_POD, Action.DELETE), Interest(NODE, Action.ADD))

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        if event.kind == NODE:
            return True
        containers = ((event.old or {}).get("spec") or {}).get("containers") or ()
        return any(p.get("hostPort") for c in containers for p in c.get("ports") or ())
