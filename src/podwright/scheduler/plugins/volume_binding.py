"""VolumeBinding: persistent volume claims and the nodes that their volumes can be used on (Kubernetes documentation:
"Volume Binding Mode")."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podwright.api import node_affinity, objects, quantity
from podwright.api.objects import Object
from podwright.api.resources import (
    CSIDRIVERS,
    CSISTORAGECAPACITIES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    STORAGECLASSES,
)
from podwright.api.selectors.labels import InvalidSelector, from_label_selector
from podwright.scheduler.framework.events import (
    CSI_DRIVER,
    CSI_STORAGE_CAPACITY,
    NODE,
    PV,
    PVC,
    STORAGE_CLASS,
    Action,
    ClusterEvent,
    Interest,
)
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.verdicts import SKIP, Reason, Refusal, SkipType
from podwright.scheduler.plugins.node_affinity import matching_selector, matching_term
from podwright.scheduler.plugins.pod_claims import claims_of, class_of, is_claimed_by
from podwright.scheduler.state.nodes import Ints, Mask, Rows
from podwright.scheduler.state.pods import PodInfo

SELECTED_NODE = "volume.kubernetes.io/selected-node"
NODE_CONFLICT = "node(s) had volume node affinity conflict"
BIND_CONFLICT = "node(s) didn't find available persistent volumes to bind"
NOT_ENOUGH_SPACE = "node(s) did not have enough free storage"
_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
_NO_PROVISIONER = "kubernetes.io/no-provisioner"
_WAIT = "WaitForFirstConsumer"


@dataclass(slots=True)
class _Claims:
    bound: list[Object] = field(default_factory=list)
    """The volumes of bound claims."""
    waiting: list[tuple[Object, Object]] = field(default_factory=list)
    """Claims that wait for their first consumer, each with its storage class."""


class VolumeBinding:
    """Arguments: ``bindTimeoutSeconds`` bounds the wait for claims to be bound, 600 by default; ``shape`` (points of
    utilization and score) switches scoring by how full volumes would be on, as upstream's StorageCapacityScoring."""

    name = "VolumeBinding"
    row_local = False

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._handle = handle
        self._timeout = float(args.get("bindTimeoutSeconds") or 600)
        self._shape = [(int(p.get("utilization") or 0), int(p.get("score") or 0) * 10) for p in args.get("shape") or ()]
        if any(a[0] >= b[0] for a, b in pairwise(self._shape)):
            raise ValueError("shape: utilization values must be sorted")
        self._assumed: dict[str, str] = {}
        """Volumes promised to claims, by name."""

    def pre_filter(self, pod: PodInfo) -> Refusal | SkipType | None:
        names = claims_of(pod.pod)
        if not names:
            return SKIP
        claims = _Claims()
        immediate = False
        for name, owned in names:
            claim = self._handle.object_of(PERSISTENTVOLUMECLAIMS, f"{pod.namespace}/{name}")
            if claim is None:
                what = "waiting for ephemeral volume controller to create the " if owned else ""
                said = f'{what}persistentvolumeclaim "{name}"' + ("" if owned else " not found")
                return Refusal(said)
            if objects.is_deleting(claim):
                return Refusal(f'persistentvolumeclaim "{name}" is being deleted')
            volume_name = (claim.get("spec") or {}).get("volumeName")
            if volume_name:
                volume = self._handle.object_of(PERSISTENTVOLUMES, volume_name)
                if volume is None:
                    return Refusal(f'persistentvolume "{volume_name}" not found')
                claims.bound.append(volume)
                continue
            class_name = class_of(claim)
            storage = self._handle.object_of(STORAGECLASSES, class_name) if class_name else None
            if storage is not None and storage.get("volumeBindingMode") == _WAIT:
                claims.waiting.append((claim, storage))
            else:
                immediate = True
        if immediate:
            return Refusal(_UNBOUND)
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

    def _bindable(self, claims: Sequence[tuple[Object, Object]], rows: Rows) -> tuple[Mask, Mask]:
        """Rows where each claim finds a volume or may have one made, and rows where there is too little space to make
        one."""
        size = len(self._handle.nodes.alive.of(rows))
        fits, cramped = np.ones(size, np.bool_), np.zeros(size, np.bool_)
        found = self._matched(claims, rows)
        for (claim, storage), matched in zip(claims, found, strict=True):
            if storage.get("provisioner") == _NO_PROVISIONER:
                fits &= matched
                continue
            fits &= matched | self._allowed(storage, rows)
            cramped |= ~matched & ~self._has_space(claim, storage, rows)
        return fits, cramped

    def _allowed(self, storage: Object, rows: Rows) -> Mask:
        """The rows on which a class makes volumes."""
        nodes = self._handle.nodes
        topologies = storage.get("allowedTopologies") or ()
        allowed = np.full(len(nodes.alive.of(rows)), not topologies, np.bool_)
        for topology in topologies:
            raw = {
                "matchExpressions": [
                    {"key": e.get("key"), "operator": "In", "values": e.get("values")}
                    for e in topology.get("matchLabelExpressions") or ()
                ]
            }
            term = node_affinity.term(raw)
            allowed |= np.ones_like(allowed) if term is None else matching_term(nodes, term, rows)
        return allowed

    def _has_space(self, claim: Object, storage: Object, rows: Rows) -> Mask:
        """By the CSIStorageCapacity objects of a driver that says it has such (Kubernetes documentation: "Storage
        Capacity")."""
        nodes = self._handle.nodes
        driver = self._handle.object_of(CSIDRIVERS, str(storage.get("provisioner"))) or {}
        if not (driver.get("spec") or {}).get("storageCapacity"):
            return np.ones(len(nodes.alive.of(rows)), np.bool_)
        wanted = _request(claim)
        enough = np.zeros(len(nodes.alive.of(rows)), np.bool_)
        for capacity in self._handle.objects_of(CSISTORAGECAPACITIES):
            topology = capacity.get("nodeTopology")
            if capacity.get("storageClassName") != objects.name(storage) or topology is None:
                continue
            limit = capacity.get("maximumVolumeSize") or capacity.get("capacity")
            if limit is None or quantity.value(limit) < wanted:
                continue
            pairs = topology.get("matchLabels") or {}
            raw = [{"key": k, "operator": "In", "values": [v]} for k, v in pairs.items()]
            term = node_affinity.term({"matchExpressions": [*raw, *(topology.get("matchExpressions") or ())]})
            enough |= np.ones_like(enough) if term is None else matching_term(nodes, term, rows)
        return enough

    def _matched(self, claims: Sequence[tuple[Object, Object]], rows: Rows) -> list[Mask]:
        """For each claim the rows where a volume waits for it. On one node no volume serves two claims; the smallest
        claim chooses first, and takes the smallest volume."""
        size = len(self._handle.nodes.alive.of(rows))
        matched = [np.zeros(size, np.bool_) for _ in claims]
        taken: dict[str, Mask] = {}
        volumes = sorted(self._handle.objects_of(PERSISTENTVOLUMES), key=_capacity) if claims else []
        for i in sorted(range(len(claims)), key=lambda i: _request(claims[i][0])):
            claim = claims[i][0]
            for volume in volumes:
                name = objects.name(volume)
                if self._assumed.get(name, objects.key(claim)) != objects.key(claim) or not _suits(volume, claim):
                    continue
                free = self._usable([volume], rows) & ~matched[i] & ~taken.get(name, np.zeros(size, np.bool_))
                matched[i] |= free
                taken[name] = taken.get(name, np.zeros(size, np.bool_)) | free
        return matched

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        claims: _Claims = pod.state[self.name]
        fits, cramped = self._bindable(claims.waiting, rows)
        return self._usable(claims.bound, rows) & fits & ~cramped

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        claims: _Claims = pod.state[self.name]
        fits, cramped = self._bindable(claims.waiting, rows)
        return (
            Reason(NODE_CONFLICT, ~self._usable(claims.bound, rows), resolvable=False),
            Reason(BIND_CONFLICT, ~fits, resolvable=False),
            Reason(NOT_ENOUGH_SPACE, fits & cramped, resolvable=False),
        )

    def pre_score(self, pod: PodInfo, feasible: Ints) -> SkipType | None:
        claims: _Claims | None = pod.state.get(self.name)
        return None if self._shape and claims is not None and claims.waiting else SKIP

    def score(self, pod: PodInfo, rows: Rows) -> Ints:
        """How full the smallest volumes that serve the claims would be, or the space that new ones are cut from; the
        mean over the claims."""
        claims: _Claims = pod.state[self.name]
        size = len(self._handle.nodes.alive.of(rows))
        total = np.zeros(size)
        for claim, storage in claims.waiting:
            have = self._capacity_for(claim, storage, rows)
            used = np.divide(100.0 * _request(claim), have, out=np.zeros(size), where=have > 0)
            points, scores = zip(*self._shape, strict=True)
            total += np.where(have > 0, np.interp(np.minimum(used, 100), points, scores), 0.0)
        return np.asarray(total / len(claims.waiting), np.int64)

    def _capacity_for(self, claim: Object, storage: Object, rows: Rows) -> NDArray[np.float64]:
        """The size of the smallest volume that waits on each row, else the space to make one; 0 if unknown."""
        have = np.zeros(len(self._handle.nodes.alive.of(rows)))
        for volume in sorted(self._handle.objects_of(PERSISTENTVOLUMES), key=_capacity):
            if _suits(volume, claim):
                have[self._usable([volume], rows) & (have == 0)] = _capacity(volume)
        return have

    def reserve(self, pod: PodInfo, node: str) -> Refusal | None:
        """Keeps the volumes that will serve the claims from other Pods until the claims are bound."""
        claims: _Claims | None = pod.state.get(self.name)
        row = self._handle.nodes.row_of(node)
        if claims is None or not claims.waiting or row is None:
            return None
        rows = np.array([row], np.intp)
        volumes = sorted(self._handle.objects_of(PERSISTENTVOLUMES), key=_capacity)
        for claim, _ in sorted(claims.waiting, key=lambda c: _request(c[0])):
            for volume in volumes:
                name = objects.name(volume)
                if name not in self._assumed and _suits(volume, claim) and self._usable([volume], rows)[0]:
                    self._assumed[name] = objects.key(claim)
                    break
        return None

    def unreserve(self, pod: PodInfo, node: str) -> None:
        claims: _Claims | None = pod.state.get(self.name)
        self._release({objects.key(c) for c, _ in claims.waiting} if claims is not None else set())

    def post_bind(self, pod: PodInfo, node: str) -> None:
        self.unreserve(pod, node)

    def _release(self, keys: set[str]) -> None:
        for name in [n for n, key in self._assumed.items() if key in keys]:
            del self._assumed[name]

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
            Interest(CSI_STORAGE_CAPACITY, Action.ADD | Action.UPDATE), Interest(CSI_DRIVER, Action.UPDATE),
        )  # fmt: skip

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        return event.kind != PVC or is_claimed_by(pod.pod, event.new or event.old or {})


def _request(claim: Object) -> int:
    resources = (claim.get("spec") or {}).get("resources") or {}
    return quantity.value(str((resources.get("requests") or {}).get("storage") or 0))


def _capacity(volume: Object) -> int:
    return quantity.value(str(((volume.get("spec") or {}).get("capacity") or {}).get("storage") or 0))


def _suits(volume: Object, claim: Object) -> bool:
    """Whether a volume may be bound to a claim, wherever it lies."""
    spec, wanted = volume.get("spec") or {}, claim.get("spec") or {}
    ref = spec.get("claimRef")
    if ref is not None:
        mine = (ref.get("namespace"), ref.get("name")) == (objects.namespace(claim), objects.name(claim))
        return mine and ref.get("uid") in (None, "", objects.uid(claim))
    if objects.is_deleting(volume) or (volume.get("status") or {}).get("phase", "Available") != "Available":
        return False
    if class_of(volume) != class_of(claim) or _capacity(volume) < _request(claim):
        return False
    if (spec.get("volumeMode") or "Filesystem") != (wanted.get("volumeMode") or "Filesystem"):
        return False
    if not set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ()):
        return False
    if (spec.get("volumeAttributesClassName") or "") != (wanted.get("volumeAttributesClassName") or ""):
        return False
    try:
        return wanted.get("selector") is None or from_label_selector(wanted["selector"]).matches(objects.labels(volume))
    except InvalidSelector:
        return False
