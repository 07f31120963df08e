"""What happened in the cluster, as the queue and the plugins' queueing hints see it (KEP-4247 "Per-plugin callback
functions for accurate requeueing")."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto

from podwright.api.objects import Object


class Action(Flag):
    """What changed about an object. An update may be several at once."""

    ADD = auto()
    DELETE = auto()
    UPDATE_ALLOCATABLE = auto()
    UPDATE_LABELS = auto()
    UPDATE_TAINTS = auto()
    UPDATE_CONDITION = auto()
    UPDATE_ANNOTATIONS = auto()
    UPDATE_SCALE_DOWN = auto()
    UPDATE_TOLERATIONS = auto()
    UPDATE_GATES = auto()
    UPDATE_OTHER = auto()
    UPDATE = (
        UPDATE_ALLOCATABLE | UPDATE_LABELS | UPDATE_TAINTS | UPDATE_CONDITION | UPDATE_ANNOTATIONS
        | UPDATE_SCALE_DOWN | UPDATE_TOLERATIONS | UPDATE_GATES | UPDATE_OTHER
    )
    ALL = ADD | DELETE | UPDATE


NODE = "Node"
ASSIGNED_POD = "AssignedPod"
PENDING_POD = "PendingPod"
NAMESPACE = "Namespace"
PVC = "PersistentVolumeClaim"
PV = "PersistentVolume"
STORAGE_CLASS = "StorageClass"
CSI_NODE = "CSINode"
CSI_DRIVER = "CSIDriver"
CSI_STORAGE_CAPACITY = "CSIStorageCapacity"
VOLUME_ATTACHMENT = "VolumeAttachment"
RESOURCE_CLAIM = "ResourceClaim"
RESOURCE_SLICE = "ResourceSlice"
DEVICE_CLASS = "DeviceClass"
DEVICE_TAINT_RULE = "DeviceTaintRule"


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """`kind` is one of this module's constants. `old` and `new` are the object before and after, as far as known."""

    kind: str
    action: Action
    old: Object | None = None
    new: Object | None = None


@dataclass(frozen=True, slots=True)
class Interest:
    """The events that may make a Pod schedulable which a plugin refused."""

    kind: str
    actions: Action = Action.ALL

    def covers(self, event: ClusterEvent) -> bool:
        return event.kind == self.kind and bool(self.actions & event.action)
