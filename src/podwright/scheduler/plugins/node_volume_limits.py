"""NodeVolumeLimits: how many volumes of a CSI driver a node can take (Kubernetes documentation: "Node-specific Volume
Limits")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import (
    CSINODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    STORAGECLASSES,
    VOLUMEATTACHMENTS,
)
from podwright.scheduler.framework.events import (
    ASSIGNED_POD,
    CSI_NODE,
    PVC,
    VOLUME_ATTACHMENT,
    Action,
    ClusterEvent,
    Interest,
)
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.verdicts import SKIP, Reason, Refusal, SkipType
from podwright.scheduler.plugins.pod_claims import claims_of, class_of, is_claimed_by
from podwright.scheduler.state.nodes import Mask, Rows
from podwright.scheduler.state.pods import PodInfo

MESSAGE = "node(s) exceed max volume count"
_NO_PROVISIONER = "kubernetes.io/no-provisioner"

Volumes = frozenset[tuple[str, str]]
"""Driver, and the key of the claim that stands for the volume."""


class NodeVolumeLimits:
    """A volume counts once a node, however many Pods use it there. What the Pods of a node use is kept until the row
    changes."""

    name = "NodeVolumeLimits"
    row_local = False

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._handle = handle
        self._used: dict[int, Volumes] = {}
        self._position = -1
        self._epoch = -1
        self._limits: tuple[str, dict[str, dict[str, int]]] = ("", {})
        self._attached: tuple[str, dict[str, set[tuple[str, str]]]] = ("", {})

    def _volume(self, key: str) -> tuple[str, str] | None:
        """A claim's driver with the claim; None if no driver is known."""
        claim = self._handle.object_of(PERSISTENTVOLUMECLAIMS, key)
        if claim is None:
            return None
        name = (claim.get("spec") or {}).get("volumeName")
        volume = self._handle.object_of(PERSISTENTVOLUMES, name) if name else None
        if volume is not None:
            driver = ((volume.get("spec") or {}).get("csi") or {}).get("driver")
            return (str(driver), key) if driver else None
        storage = self._handle.object_of(STORAGECLASSES, class_of(claim)) or {}
        driver = storage.get("provisioner")
        return (str(driver), key) if driver and driver != _NO_PROVISIONER else None

    def _volumes(self, pod: Object) -> Volumes:
        keys = (f"{objects.namespace(pod)}/{c.name}" for c in claims_of(pod))
        return frozenset(v for v in map(self._volume, keys) if v is not None)

    def pre_filter(self, pod: PodInfo) -> Refusal | SkipType | None:
        claims = claims_of(pod.pod)
        if not claims:
            return SKIP
        for claim in claims:
            if self._handle.object_of(PERSISTENTVOLUMECLAIMS, f"{pod.namespace}/{claim.name}") is None:
                return Refusal(f'persistentvolumeclaim "{claim.name}" not found')
        wanted = self._volumes(pod.pod)
        limits = self._by_driver()
        if not any(driver in limits for driver, _ in wanted):
            return SKIP
        pod.state[self.name] = wanted
        return None

    def _by_driver(self) -> dict[str, dict[str, int]]:
        """The limit of each driver on each node that has one."""
        version = self._handle.version_of(CSINODES)
        if self._limits[0] != version or not version:
            found: dict[str, dict[str, int]] = {}
            for node in self._handle.objects_of(CSINODES):
                for driver in (node.get("spec") or {}).get("drivers") or ():
                    count = (driver.get("allocatable") or {}).get("count")
                    if count is not None:
                        found.setdefault(str(driver.get("name")), {})[objects.name(node)] = int(count)
            self._limits = version, found
        return self._limits[1]

    def _attachments(self) -> dict[str, set[tuple[str, str]]]:
        version = self._handle.version_of(VOLUMEATTACHMENTS)
        if self._attached[0] != version or not version:
            found: dict[str, set[tuple[str, str]]] = {}
            for attachment in self._handle.objects_of(VOLUMEATTACHMENTS):
                spec = attachment.get("spec") or {}
                name = (spec.get("source") or {}).get("persistentVolumeName") or ""
                volume = self._handle.object_of(PERSISTENTVOLUMES, name) or {}
                ref = (volume.get("spec") or {}).get("claimRef") or {}
                key = f"{ref.get('namespace')}/{ref.get('name')}" if ref else name
                found.setdefault(str(spec.get("nodeName")), set()).add((str(spec.get("attacher")), key))
            self._attached = version, found
        return self._attached[1]

    def _used_on(self, row: int) -> Volumes:
        nodes = self._handle.nodes
        changed = nodes.log.since(self._position) if self._epoch == nodes.epoch else None
        if changed is None:
            self._used.clear()
        else:
            for each in changed:
                self._used.pop(each, None)
        self._position, self._epoch = nodes.log.end, nodes.epoch
        known = self._used.get(row)
        if known is None:
            known = frozenset[tuple[str, str]]().union(
                *(self._volumes(p.pod) for p in nodes.node_at(row).pods.values())
            )
            self._used[row] = known
        return known

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        nodes = self._handle.nodes
        numbers = np.arange(nodes.size)[rows]
        places = {int(row): i for i, row in enumerate(numbers)}
        fits = np.ones(len(numbers), np.bool_)
        wanted: Volumes = pod.state[self.name]
        attached = self._attachments()
        for driver, limits in self._by_driver().items():
            mine = {v for v in wanted if v[0] == driver}
            if not mine:
                continue
            for name, limit in limits.items():
                row = nodes.row_of(name)
                if row is None or row not in places:
                    continue
                there = {v for v in self._used_on(row) if v[0] == driver}
                there |= {v for v in attached.get(name, ()) if v[0] == driver}
                new = len(mine - there)
                if new and len(there) + new > limit:
                    fits[places[row]] = False
        return fits

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        return (Reason(MESSAGE, ~self.filter(pod, rows)),)

    def interests(self) -> Sequence[Interest]:
        return (
            Interest(CSI_NODE, Action.ADD | Action.UPDATE), Interest(ASSIGNED_POD, Action.DELETE),
            Interest(PVC, Action.ADD), Interest(VOLUME_ATTACHMENT, Action.DELETE),
        )  # fmt: skip

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        if event.kind == ASSIGNED_POD:
            return bool(claims_of(event.old or {}))
        return event.kind != PVC or is_claimed_by(pod.pod, event.new or {})
