"""VolumeRestrictions: a claim with access mode ReadWriteOncePod has one Pod in the whole cluster (KEP-2485)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PERSISTENTVOLUMECLAIMS
from podwright.scheduler.framework.events import ASSIGNED_POD, PVC, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.verdicts import SKIP, Code, Reason, Refusal, SkipType
from podwright.scheduler.state.nodes import Mask, Rows
from podwright.scheduler.state.pods import PodInfo

MESSAGE = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"


class VolumeRestrictions:
    """Whichever node the other Pod is on, every node is refused; preempting the other Pod helps."""

    name = "VolumeRestrictions"
    row_local = False

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._handle = handle

    def pre_filter(self, pod: PodInfo) -> Refusal | SkipType | None:
        exclusive = set()
        for name in _claims(pod.cls.spec):
            claim = self._handle.object_of(PERSISTENTVOLUMECLAIMS, f"{pod.namespace}/{name}")
            if claim is None:
                return Refusal(f'persistentvolumeclaim "{name}" not found', Code.UNRESOLVABLE)
            if "ReadWriteOncePod" in ((claim.get("spec") or {}).get("accessModes") or ()):
                exclusive.add(name)
        if not exclusive:
            return SKIP
        pod.state[self.name] = exclusive
        return None

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        size = len(self._handle.nodes.alive.of(rows))
        return np.zeros(size, np.bool_) if self._taken(pod) else np.ones(size, np.bool_)

    def _taken(self, pod: PodInfo) -> bool:
        exclusive: set[str] = pod.state[self.name]
        return any(
            objects.namespace(other.pod) == pod.namespace
            and objects.uid(other.pod) != objects.uid(pod.pod)
            and not exclusive.isdisjoint(_claims(other.pod.get("spec") or {}))
            for other in self._handle.state.pods()
        )

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        return (Reason(MESSAGE, ~self.filter(pod, rows)),)

    def interests(self) -> Sequence[Interest]:
        return (Interest(ASSIGNED_POD, Action.DELETE), Interest(PVC, Action.ADD | Action.UPDATE))

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        changed = event.new or event.old or {}
        if objects.namespace(changed) != pod.namespace:
            return False
        if event.kind == PVC:
            return objects.name(changed) in _claims(pod.cls.spec)
        return not set(_claims(changed.get("spec") or {})).isdisjoint(_claims(pod.cls.spec))


def _claims(spec: Object) -> list[str]:
    """Names of the claims that volumes name outright: a generic ephemeral volume's claim is its Pod's own anyway."""
    found = (v.get("persistentVolumeClaim") for v in spec.get("volumes") or ())
    return [str(source.get("claimName")) for source in found if source]
