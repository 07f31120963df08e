"""VolumeBinding: persistent volume claims and the nodes that their volumes can be used on (Kubernetes documentation:
"Volume Binding Mode")."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from podwright.api import node_affinity, objects
from podwright.api.objects import Object
from podwright.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from podwright.scheduler.framework.events import NODE, PV, PVC, STORAGE_CLASS, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.verdicts import SKIP, Code, Reason, Refusal, SkipType
from podwright.scheduler.plugins.node_affinity import matching_selector, matching_term
from podwright.scheduler.state.nodes import Mask, Rows
from podwright.scheduler.state.pods import PodInfo

SELECTED_NODE = "volume.kubernetes.io/selected-node"
NODE_CONFLICT = "node(s) had volume node affinity conflict"
BIND_CONFLICT = "node(s) didn't find available persistent volumes to bind"
_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
_WAIT = "WaitForFirstConsumer"


@dataclass(slots=True)
class _Claims:
    bound: list[Object] = field(default_factory=list)
    """The volumes of bound claims."""
    waiting: list[tuple[Object, Object]] = field(default_factory=list)
    """Claims that wait for their first consumer, each with its storage class."""


class VolumeBinding:
    """Argument ``bindTimeoutSeconds`` bounds the wait for claims to be bound, 600 by default."""

    name = "VolumeBinding"
    row_local = False

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._handle = handle
        self._timeout = float(args.get("bindTimeoutSeconds") or 600)

    def _names(self, pod: PodInfo) -> list[tuple[str, bool]]:
        found = []
        for volume in pod.cls.spec.get("volumes") or ():
            if volume.get("persistentVolumeClaim"):
                found.append((str(volume["persistentVolumeClaim"].get("claimName")), False))
            elif volume.get("ephemeral"):
                found.append((f"{objects.name(pod.pod)}-{volume.get('name')}", True))
        return found

    def pre_filter(self, pod: PodInfo) -> Refusal | SkipType | None:
        names = self._names(pod)
        if not names:
            return SKIP
        claims = _Claims()
        immediate = False
        for name, owned in names:
            claim = self._handle.object_of(PERSISTENTVOLUMECLAIMS, f"{pod.namespace}/{name}")
            if claim is None:
                what = "waiting for ephemeral volume controller to create the " if owned else ""
                said = f'{what}persistentvolumeclaim "{name}"' + ("" if owned else " not found")
                return Refusal(said, Code.UNRESOLVABLE)
            if objects.is_deleting(claim):
                return Refusal(f'persistentvolumeclaim "{name}" is being deleted', Code.UNRESOLVABLE)
            volume_name = (claim.get("spec") or {}).get("volumeName")
            if volume_name:
                volume = self._handle.object_of(PERSISTENTVOLUMES, volume_name)
                if volume is None:
                    return Refusal(f'persistentvolume "{volume_name}" not found', Code.UNRESOLVABLE)
                claims.bound.append(volume)
                continue
            class_name = (claim.get("spec") or {}).get("storageClassName") or ""
            storage = self._handle.object_of(STORAGECLASSES, class_name) if class_name else None
            if storage is not None and storage.get("volumeBindingMode") == _WAIT:
                claims.waiting.append((claim, storage))
            else:
                immediate = True
        if immediate:
            return Refusal(_UNBOUND, Code.UNRESOLVABLE)
        pod.state[self.name] = claims
        return None

    def _usable(self, volumes: Sequence[Object], rows: Rows) -> Mask:
        nodes = self._handle.nodes
        fits = np.ones(len(nodes.alive.of(rows)), np.bool_)
        for volume in volumes:
            required = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required")
            if required:
                fits &= matching_selector(nodes, node_affinity.compile(required), rows)
        return fits

    def _bindable(self, waiting: Sequence[tuple[Object, Object]], rows: Rows) -> Mask:
        nodes = self._handle.nodes
        fits = np.ones(len(nodes.alive.of(rows)), np.bool_)
        for _, storage in waiting:
            if storage.get("provisioner") == "kubernetes.io/no-provisioner":
                fits &= self._some_volume(storage, rows)
                continue
            topologies = storage.get("allowedTopologies") or ()
            if topologies:
                allowed = np.zeros(len(fits), np.bool_)
                for topology in topologies:
                    raw = {
                        "matchExpressions": [
                            {"key": e.get("key"), "operator": "In", "values": e.get("values")}
                            for e in topology.get("matchLabelExpressions") or ()
                        ]
                    }
                    term = node_affinity.term(raw)
                    allowed |= np.ones_like(allowed) if term is None else matching_term(nodes, term, rows)
                fits &= allowed
        return fits

    def _some_volume(self, storage: Object, rows: Rows) -> Mask:
        found = np.zeros(len(self._handle.nodes.alive.of(rows)), np.bool_)
        for volume in self._handle.objects_of(PERSISTENTVOLUMES):
            spec = volume.get("spec") or {}
            free = (volume.get("status") or {}).get("phase", "Available") == "Available" and not spec.get("claimRef")
            if free and spec.get("storageClassName") == objects.name(storage):
                found |= self._usable([volume], rows)
        return found

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        claims: _Claims = pod.state[self.name]
        return self._usable(claims.bound, rows) & self._bindable(claims.waiting, rows)

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        claims: _Claims = pod.state[self.name]
        return (
            Reason(NODE_CONFLICT, ~self._usable(claims.bound, rows), resolvable=False),
            Reason(BIND_CONFLICT, ~self._bindable(claims.waiting, rows), resolvable=False),
        )

    def needs_pre_bind(self, pod: PodInfo, node: str) -> bool:
        claims: _Claims | None = pod.state.get(self.name)
        return claims is not None and bool(claims.waiting)

    async def pre_bind(self, pod: PodInfo, node: str) -> Refusal | None:
        """Says the chosen node on each claim, and waits until all are bound."""
        claims: _Claims = pod.state[self.name]
        for claim, _ in claims.waiting:
            await self._handle.client.patch(
                PERSISTENTVOLUMECLAIMS, objects.name(claim), {"metadata": {"annotations": {SELECTED_NODE: node}}},
                namespace=pod.namespace,
            )  # fmt: skip
        wanted = [f"{pod.namespace}/{objects.name(claim)}" for claim, _ in claims.waiting]

        def all_bound() -> bool:
            found = (self._handle.object_of(PERSISTENTVOLUMECLAIMS, key) or {} for key in wanted)
            return all((c.get("status") or {}).get("phase") == "Bound" for c in found)

        try:
            async with asyncio.timeout(self._timeout):
                await self._handle.until(PERSISTENTVOLUMECLAIMS, all_bound)
        except TimeoutError:
            return Refusal("binding volumes: timed out waiting for the condition")
        return None

    def interests(self) -> Sequence[Interest]:
        return (
            Interest(NODE, Action.ADD | Action.UPDATE_LABELS | Action.UPDATE_TAINTS), Interest(PVC, Action.ALL),
            Interest(PV, Action.ADD | Action.UPDATE), Interest(STORAGE_CLASS, Action.ADD | Action.UPDATE),
        )  # fmt: skip

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        if event.kind != PVC:
            return True
        changed = event.new or event.old or {}
        return objects.namespace(changed) == pod.namespace and objects.name(changed) in {n for n, _ in self._names(pod)}
