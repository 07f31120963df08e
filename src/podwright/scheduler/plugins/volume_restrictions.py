"""VolumeRestrictions: a claim with access mode ReadWriteOncePod has one Pod in the whole cluster (KEP-2485), and a disk
that cannot be mounted twice has one Pod on a node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PERSISTENTVOLUMECLAIMS
from podwright.scheduler.framework.events import ASSIGNED_POD, PVC, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.verdicts import SKIP, Reason, Refusal, SkipType
from podwright.scheduler.state.nodes import Mask, Rows
from podwright.scheduler.state.pods import PodInfo

DISK_CONFLICT = "node(s) had no available disk"
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
                return Refusal(f'persistentvolumeclaim "{name}" not found')
            if "ReadWriteOncePod" in ((claim.get("spec") or {}).get("accessModes") or ()):
                exclusive.add(name)
        disks = _disks(pod.cls.spec)
        if not exclusive and not disks:
            return SKIP
        pod.state[self.name] = exclusive, disks
        return None

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        return ~(self._taken(pod, rows) | self._conflicting(pod, rows))

    def _taken(self, pod: PodInfo, rows: Rows) -> Mask:
        exclusive: set[str] = pod.state[self.name][0]
        taken = bool(exclusive) and any(
            objects.namespace(other.pod) == pod.namespace
            and objects.uid(other.pod) != objects.uid(pod.pod)
            and not exclusive.isdisjoint(_claims(other.pod.get("spec") or {}))
            for other in self._handle.state.pods()
        )
        return np.full(len(self._handle.nodes.alive.of(rows)), taken, np.bool_)

    def _conflicting(self, pod: PodInfo, rows: Rows) -> Mask:
        nodes = self._handle.nodes
        conflicts = np.zeros(nodes.size, np.bool_)
        disks: list[Disk] = pod.state[self.name][1]
        if disks:
            for other in self._handle.state.pods():
                row = nodes.row_of(other.node)
                if row is not None and any(_conflict(a, b) for b in _disks(other.cls.spec) for a in disks):
                    conflicts[row] = True
        return conflicts[rows]

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        conflicts = self._conflicting(pod, rows)
        return Reason(DISK_CONFLICT, conflicts), Reason(MESSAGE, self._taken(pod, rows) & ~conflicts)

    def interests(self) -> Sequence[Interest]:
        return (Interest(ASSIGNED_POD, Action.DELETE), Interest(PVC, Action.ADD | Action.UPDATE))

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        changed = event.new or event.old or {}
        if objects.namespace(changed) != pod.namespace:
            return False
        if event.kind == PVC:
            return objects.name(changed) in _claims(pod.cls.spec)
        theirs = changed.get("spec") or {}
        return not set(_claims(theirs)).isdisjoint(_claims(pod.cls.spec)) or any(
            _conflict(a, b) for a in _disks(pod.cls.spec) for b in _disks(theirs)
        )


def _claims(spec: Object) -> list[str]:
    """Names of the claims that volumes name outright: a generic ephemeral volume's claim is its Pod's own anyway."""
    found = (v.get("persistentVolumeClaim") for v in spec.get("volumes") or ())
    return [str(source.get("claimName")) for source in found if source]


Disk = tuple[str, frozenset[str], bool]
"""Kind and identity, of which one in common makes two the same disk; read-only."""


def _disks(spec: Object) -> list[Disk]:
    found: list[Disk] = []
    for volume in spec.get("volumes") or ():
        if gce := volume.get("gcePersistentDisk"):
            found.append(("gce", frozenset((str(gce.get("pdName")),)), bool(gce.get("readOnly"))))
        if aws := volume.get("awsElasticBlockStore"):
            # Never shared, read-only or not.
            found.append(("aws", frozenset((str(aws.get("volumeID")),)), False))
        if iscsi := volume.get("iscsi"):
            found.append(("iscsi", frozenset((str(iscsi.get("iqn")),)), bool(iscsi.get("readOnly"))))
        if rbd := volume.get("rbd"):
            image = f"{rbd.get('pool') or 'rbd'}/{rbd.get('image')}"
            found.append(("rbd " + image, frozenset(rbd.get("monitors") or ()), bool(rbd.get("readOnly"))))
    return found


def _conflict(a: Disk, b: Disk) -> bool:
    return a[0] == b[0] and not a[1].isdisjoint(b[1]) and not (a[2] and b[2])
