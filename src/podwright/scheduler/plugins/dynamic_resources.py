"""DynamicResources: devices for the ResourceClaims of a Pod (Kubernetes documentation: "Dynamic Resource Allocation",
KEP-4381)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from podwright.api import node_affinity, objects
from podwright.api.objects import Object
from podwright.api.resources import DEVICECLASSES, DEVICETAINTRULES, RESOURCECLAIMS, RESOURCESLICES
from podwright.scheduler.framework.events import (
    DEVICE_CLASS,
    DEVICE_TAINT_RULE,
    NODE,
    PENDING_POD,
    RESOURCE_CLAIM,
    RESOURCE_SLICE,
    Action,
    ClusterEvent,
    Interest,
)
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.verdicts import SKIP, Reason, Refusal, SkipType
from podwright.scheduler.plugins.device_allocation import (
    AllocationFailed,
    Allocator,
    Result,
    Wanted,
    allocation_of,
    requests_of,
)
from podwright.scheduler.plugins.devices import Counters, DeviceId, Pool, pools_of
from podwright.scheduler.state.nodes import Mask, Rows
from podwright.scheduler.state.pods import PodInfo

FINALIZER = "resource.kubernetes.io/delete-protection"
CANNOT_ALLOCATE = "cannot allocate all claims"
NOT_HERE = "resourceclaim not available on the node"
_MOST_CONSUMERS = 256
_SEEN_SECONDS = 30
"""How long what was written may take to come back by the watch."""


@dataclass(slots=True)
class _State:
    claims: list[Object] = field(default_factory=list)
    open: list[tuple[Object, list[list[Wanted]]]] = field(default_factory=list)
    """Claims to allocate, with their requests."""
    allocator: Allocator | None = None
    found: dict[str, list[list[Result]] | None] = field(default_factory=dict)
    """By node, what the search gave."""


class DynamicResources:
    name = "DynamicResources"
    row_local = False

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._handle = handle
        self._pools: tuple[tuple[str, str], list[Pool]] = ("", ""), []
        self._in_flight: dict[str, Object] = {}
        """Allocations on their way to the API, by the claim's uid."""

    def pre_filter(self, pod: PodInfo) -> Refusal | SkipType | None:
        if not pod.cls.spec.get("resourceClaims"):
            return SKIP
        state = _State()
        try:
            state.claims = self._claims(pod)
            for claim in state.claims:
                self._look_at(claim, pod, state)
        except AllocationFailed as refused:
            return Refusal(str(refused))
        if not state.claims:
            return SKIP
        if state.open:
            state.allocator = self._allocator()
        pod.state[self.name] = state
        return None

    def _claims(self, pod: PodInfo) -> list[Object]:
        made = {s.get("name"): s for s in (pod.pod.get("status") or {}).get("resourceClaimStatuses") or ()}
        found = []
        for entry in pod.cls.spec["resourceClaims"]:
            name = entry.get("resourceClaimName")
            if entry.get("resourceClaimTemplateName"):
                if entry["name"] not in made:
                    raise AllocationFailed(f'pod "{pod.key}": ResourceClaim not created yet')
                name = made[entry["name"]].get("resourceClaimName")
            if not name:
                continue
            claim = self._handle.object_of(RESOURCECLAIMS, f"{pod.namespace}/{name}")
            if claim is None:
                raise AllocationFailed(f'resourceclaim.resource.k8s.io "{name}" not found')
            if objects.is_deleting(claim):
                raise AllocationFailed(f'resourceclaim "{name}" is being deleted')
            owner = objects.controller_of(claim)
            if entry.get("resourceClaimTemplateName") and (owner or {}).get("uid") != pod.uid:
                raise AllocationFailed(f"ResourceClaim {objects.key(claim)} was not created for pod {pod.key} "
                                       "(pod is not owner)")  # fmt: skip
            found.append(claim)
        return found

    def _look_at(self, claim: Object, pod: PodInfo, state: _State) -> None:
        status = claim.get("status") or {}
        if status.get("allocation"):
            reserved = status.get("reservedFor") or ()
            if len(reserved) >= _MOST_CONSUMERS and not _is_reserved(claim, pod):
                raise AllocationFailed("resourceclaim in use")
            return
        if objects.uid(claim) in self._in_flight:
            raise AllocationFailed(f"resource claim {objects.key(claim)} is in the process of being allocated")
        classes = lambda name: self._handle.object_of(DEVICECLASSES, name)  # noqa: E731
        state.open.append((claim, requests_of(claim, classes)))

    def _allocator(self) -> Allocator:
        version = self._handle.version_of(RESOURCESLICES), self._handle.version_of(DEVICETAINTRULES)
        if self._pools[0] != version or not all(version):
            slices, rules = (self._handle.objects_of(row) for row in (RESOURCESLICES, DEVICETAINTRULES))
            self._pools = version, pools_of(slices, list(rules))
        pools = self._pools[1]
        taken: set[DeviceId] = set()
        allocations = [(c.get("status") or {}).get("allocation") for c in self._handle.objects_of(RESOURCECLAIMS)]
        for allocation in (*allocations, *self._in_flight.values()):
            for result in ((allocation or {}).get("devices") or {}).get("results") or ():
                if not result.get("adminAccess"):
                    taken.add((result.get("driver"), result.get("pool"), result.get("device")))
        used: dict[tuple[str, str], Counters] = {}
        for pool in pools:
            for device in pool.devices if pool.counters else ():
                if device.id in taken:
                    counters = used.setdefault((pool.driver, pool.name), {})
                    for counter, amount in device.consumes.items():
                        counters[counter] = counters.get(counter, 0) + amount
        return Allocator(pools, frozenset(taken), used)

    def _here(self, state: _State, node: Object) -> bool:
        """Whether what the Pod's claims hold already can be used on a node."""
        for claim in state.claims:
            selector = ((claim.get("status") or {}).get("allocation") or {}).get("nodeSelector")
            if selector and not node_affinity.compile(selector).matches(node):
                return False
        return True

    def _search(self, state: _State, node: Object) -> list[list[Result]] | None:
        name = objects.name(node)
        if name not in state.found:
            assert state.allocator is not None
            state.found[name] = state.allocator.allocate(state.open, node)
        return state.found[name]

    def _judged(self, pod: PodInfo, rows: Rows) -> tuple[Mask, Mask]:
        """Rows where the claims' devices are not, and rows without enough devices."""
        nodes = self._handle.nodes
        state: _State = pod.state[self.name]
        numbers = np.arange(nodes.size)[rows]
        elsewhere, short = np.zeros(len(numbers), np.bool_), np.zeros(len(numbers), np.bool_)
        for i, row in enumerate(numbers):
            entry = nodes.rows[int(row)]
            if entry is None or entry.node is None:
                continue
            if not self._here(state, entry.node):
                elsewhere[i] = True
            elif state.open and self._search(state, entry.node) is None:
                short[i] = True
        return elsewhere, short

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        elsewhere, short = self._judged(pod, rows)
        return ~(elsewhere | short)

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        elsewhere, short = self._judged(pod, rows)
        return Reason(NOT_HERE, elsewhere, resolvable=False), Reason(CANNOT_ALLOCATE, short, resolvable=False)

    def reserve(self, pod: PodInfo, node: str) -> Refusal | None:
        state: _State | None = pod.state.get(self.name)
        found = state.found.get(node) if state is not None else None
        if state is None or not state.open:
            return None
        if found is None:
            return Refusal(CANNOT_ALLOCATE)
        for (claim, _), results in zip(state.open, found, strict=True):
            self._in_flight[objects.uid(claim)] = allocation_of(claim, results)
        return None

    def unreserve(self, pod: PodInfo, node: str) -> None:
        state: _State | None = pod.state.get(self.name)
        for claim, _ in state.open if state is not None else ():
            self._in_flight.pop(objects.uid(claim), None)

    def needs_pre_bind(self, pod: PodInfo, node: str) -> bool:
        return pod.state.get(self.name) is not None

    async def pre_bind(self, pod: PodInfo, node: str) -> Refusal | None:
        """Writes the allocations, and that the Pod uses the claims."""
        state: _State = pod.state[self.name]
        for claim in state.claims:
            await self._write(claim, pod)
        key_of = {f"{pod.namespace}/{objects.name(c)}" for c in state.claims}
        async with asyncio.timeout(_SEEN_SECONDS):
            await self._handle.until(RESOURCECLAIMS, lambda: all(self._seen(key) for key in key_of))
        self.unreserve(pod, node)
        return None

    def _seen(self, key: str) -> bool:
        claim = self._handle.object_of(RESOURCECLAIMS, key)
        return claim is None or bool((claim.get("status") or {}).get("allocation"))

    async def _write(self, claim: Object, pod: PodInfo) -> None:
        claim = await self._handle.client.get(RESOURCECLAIMS, objects.name(claim), namespace=pod.namespace)
        allocation = self._in_flight.get(objects.uid(claim))
        if _is_reserved(claim, pod) and allocation is None:
            return
        finalizers = claim["metadata"].get("finalizers") or []
        if allocation is not None and FINALIZER not in finalizers:
            meta = {**claim["metadata"], "finalizers": [*finalizers, FINALIZER]}
            claim = await self._handle.client.update(RESOURCECLAIMS, {**claim, "metadata": meta})
        status = dict(claim.get("status") or {})
        if allocation is not None:
            status["allocation"] = allocation
        consumer = {"resource": "pods", "name": objects.name(pod.pod), "uid": pod.uid}
        if not _is_reserved(claim, pod):
            status["reservedFor"] = [*(status.get("reservedFor") or ()), consumer]
        await self._handle.client.update_status(RESOURCECLAIMS, {**claim, "status": status})

    def interests(self) -> Sequence[Interest]:
        return (
            Interest(NODE, Action.ADD | Action.UPDATE_LABELS), Interest(RESOURCE_CLAIM, Action.ALL),
            Interest(DEVICE_CLASS, Action.ADD | Action.UPDATE), Interest(RESOURCE_SLICE, Action.ADD | Action.UPDATE),
            Interest(DEVICE_TAINT_RULE, Action.UPDATE | Action.DELETE),
            Interest(PENDING_POD, Action.UPDATE_OTHER),
        )  # fmt: skip

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        changed = event.new or event.old or {}
        if event.kind == PENDING_POD:
            return objects.uid(changed) == pod.uid
        if event.kind != RESOURCE_CLAIM:
            return True
        if _has_devices(event.old) and not _has_devices(event.new):
            return True
        if objects.namespace(changed) != pod.namespace or event.new is None:
            return False
        made = (pod.pod.get("status") or {}).get("resourceClaimStatuses") or ()
        names = {e.get("resourceClaimName") for e in (*(pod.cls.spec.get("resourceClaims") or ()), *made)}
        return objects.name(changed) in names or (objects.controller_of(changed) or {}).get("uid") == pod.uid


def _is_reserved(claim: Object, pod: PodInfo) -> bool:
    return any(c.get("uid") == pod.uid for c in (claim.get("status") or {}).get("reservedFor") or ())


def _has_devices(claim: Object | None) -> bool:
    return bool(((claim or {}).get("status") or {}).get("allocation"))
