"""SchedulingGates (KEP-3521)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podwright.api.objects import Object
from podwright.scheduler.framework.events import PENDING_POD, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.verdicts import Refusal
from podwright.scheduler.state.pods import PodInfo


class SchedulingGates:
    """Holds Pods that have spec.schedulingGates out of the queue."""

    name = "SchedulingGates"

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        pass

    def pre_enqueue(self, pod: Object) -> Refusal | None:
        gates = [g.get("name") for g in (pod.get("spec") or {}).get("schedulingGates") or ()]
        if not gates:
            return None
        return Refusal(f"waiting for scheduling gates: [{' '.join(map(str, gates))}]")

    def interests(self) -> Sequence[Interest]:
        return (Interest(PENDING_POD, Action.UPDATE_GATES),)

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        return True
