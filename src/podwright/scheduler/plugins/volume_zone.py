"""VolumeZone: volumes with zone or region labels are used on nodes of that zone or region (Kubernetes documentation:
"Running in multiple zones")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from podwright.scheduler.framework.events import NODE, PV, PVC, STORAGE_CLASS, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.verdicts import SKIP, Reason, Refusal, SkipType
from podwright.scheduler.plugins.pod_claims import claims_of, class_of, is_claimed_by
from podwright.scheduler.state.nodes import Mask, Rows
from podwright.scheduler.state.pods import PodInfo

MESSAGE = "node(s) had no available volume zone"
_GA = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
_KEYS = (*_GA, *_GA.values())


class VolumeZone:
    """A node without any such label is taken to be of the one zone there is."""

    name = "VolumeZone"
    row_local = False
    ignores_pods = True

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._handle = handle

    def pre_filter(self, pod: PodInfo) -> Refusal | SkipType | None:
        found: list[tuple[str, frozenset[str]]] = []
        for name in (c.name for c in claims_of(pod.pod) if not c.owned):
            claim = self._handle.object_of(PERSISTENTVOLUMECLAIMS, f"{pod.namespace}/{name}")
            if claim is None:
                return Refusal(f'persistentvolumeclaim "{name}" not found')
            volume_name = (claim.get("spec") or {}).get("volumeName")
            if not volume_name:
                refusal = self._unbound(claim)
                if refusal is not None:
                    return refusal
                continue
            volume = self._handle.object_of(PERSISTENTVOLUMES, volume_name)
            if volume is None:
                return Refusal(f'persistentvolume "{volume_name}" not found')
            found += zones(volume)
        if not found:
            return SKIP
        pod.state[self.name] = found
        return None

    def _unbound(self, claim: Object) -> Refusal | None:
        class_name = class_of(claim)
        if not class_name:
            return Refusal("PersistentVolumeClaim had no pv name and storageClass name")
        storage = self._handle.object_of(STORAGECLASSES, class_name)
        if storage is None:
            return Refusal(f'storageclass.storage.k8s.io "{class_name}" not found')
        if storage.get("volumeBindingMode") == "WaitForFirstConsumer":
            return None
        return Refusal("PersistentVolume had no name")

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        nodes = self._handle.nodes
        size = len(nodes.alive.of(rows))
        fits = np.ones(size, np.bool_)
        for key, values in pod.state[self.name]:
            own = nodes.labels(key)
            allowed = own.where(("zones", values), values.__contains__)[own.column.of(rows)]
            if key in _GA:
                newer = nodes.labels(_GA[key])
                also = newer.where(("zones", values), values.__contains__)[newer.column.of(rows)]
                allowed = np.where(own.column.of(rows) == 0, also, allowed)
            fits &= allowed
        anywhere = np.ones(size, np.bool_)
        for key in _KEYS:
            anywhere &= nodes.labels(key).column.of(rows) == 0
        return np.asarray(fits | anywhere)

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        return (Reason(MESSAGE, ~self.filter(pod, rows), resolvable=False),)

    def interests(self) -> Sequence[Interest]:
        return (
            Interest(NODE, Action.ADD | Action.UPDATE_LABELS), Interest(STORAGE_CLASS, Action.ADD),
            Interest(PVC, Action.ADD | Action.UPDATE), Interest(PV, Action.ADD | Action.UPDATE),
        )  # fmt: skip

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        new = event.new or {}
        if event.kind == PVC:
            return is_claimed_by(pod.pod, new)
        if event.kind == STORAGE_CLASS:
            return new.get("volumeBindingMode") == "WaitForFirstConsumer"
        if event.kind == PV and event.old is not None:
            return zones(event.old) != zones(new)
        return True


def zones(volume: Object) -> list[tuple[str, frozenset[str]]]:
    """Labels of zones and regions, each with its values: several are joined by "__". Malformed ones are ignored."""
    found = []
    for key in _KEYS:
        text = objects.labels(volume).get(key)
        if text is not None:
            values = frozenset(v.strip() for v in text.split("__"))
            if "" not in values:
                found.append((key, values))
    return found
