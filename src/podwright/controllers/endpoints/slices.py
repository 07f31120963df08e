"""EndpointSlices of a Service: the addresses of its Pods, by address type and ports, at most 100 a slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import ENDPOINTSLICES, NODES
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.events import NORMAL, WARNING
from podwright.client.informers import latest
from podwright.controllers import pods
from podwright.controllers.endpoints import backends, reconciler, topology
from podwright.controllers.frame import Context, ignore_not_found, is_terminating_namespace

MANAGER = "endpointslice-controller.k8s.io"
_PATIENCE = 5.0
"""Seconds after which a write that the cache never showed is taken to have been undone by somebody."""
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


def by_service(piece: Object) -> list[str]:
    """Index function: "namespace/service" of a slice."""
    service = objects.labels(piece).get(backends.SERVICE_NAME)
    return [f"{objects.namespace(piece)}/{service}"] if service else []


async def write(client: Client, made: reconciler.Plan, written: Callable[[Object], None] = lambda _: None) -> None:
    """Carries the plan out; `written` is told of each slice that stands now. What is gone, or cannot be made because
    its namespace is being deleted, is left at that. Raises ApiError."""
    for piece in made.update:
        written(await client.update(ENDPOINTSLICES, piece))
    for piece in made.create:
        try:
            written(await client.create(ENDPOINTSLICES, piece))
        except ApiError as refused:
            if not is_terminating_namespace(refused):
                raise
    for piece in made.delete:
        await ignore_not_found(client.delete(
            ENDPOINTSLICES, objects.name(piece), namespace=objects.namespace(piece), uid=objects.uid(piece)
        ))


class EndpointSliceController(backends.BackendController):
    name = "endpointslice-controller"
    account = "endpointslice-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._unseen: dict[str, dict[str, tuple[int, float]]] = {}
        self._told: dict[tuple[str, str], str] = {}
        """By Service and address type, what the last event about hints said."""
        self.slices = self.informer(ENDPOINTSLICES, self._slice_changed, service=by_service)
        self.informer(NODES, self._node_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        """Endpoints show the zone of their node; hints may follow the zones' CPU. Both hardly ever change, so that
        looking at all Services is no loss."""
        moved = _zone(old) != _zone(new)
        if moved or _size(old) != _size(new):
            for service in self.services.items():
                if backends.selector_of(service) and (moved or topology.is_asked_for(service)):
                    self.queue.add(objects.key(service))

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        piece = latest(old, new)
        if objects.labels(piece).get(backends.MANAGED_BY) != MANAGER:
            return
        for key in by_service(piece):
            unseen = self._unseen.get(key, {})
            revision, _ = unseen.get(objects.name(piece), (0, 0.0))
            if new is None or int(new["metadata"]["resourceVersion"]) >= revision:
                unseen.pop(objects.name(piece), None)
                if not unseen:
                    self._unseen.pop(key, None)
            if new is None or int(new["metadata"]["resourceVersion"]) != revision:
                self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        service = self.services.get(key)
        if service is None or objects.is_deleting(service) or not backends.selector_of(service):
            if service is None:
                await write(self.client, reconciler.Plan(delete=self._mine(key)))
                for told in [t for t in self._told if t[0] == key]:
                    del self._told[told]
            return
        if self._is_behind(key):
            # The cache does not show our own last writes yet: planning on it would make slices twice.
            self.queue.add_after(key, 0.1)
            return
        existing = self._mine(key)
        desired = self._desired(service)
        made = reconciler.plan(
            existing, desired, labels=self._labels(service), annotations=self._trigger(service),
            maximum=self.config.max_endpoints_per_slice,
        )  # fmt: skip
        await write(self.client, made, lambda piece: self._note(key, piece))

    def _note(self, key: str, piece: Object) -> None:
        revision = int(piece["metadata"]["resourceVersion"])
        cached = self.slices.get(objects.key(piece))
        if cached is None or int(cached["metadata"]["resourceVersion"]) < revision:
            self._unseen.setdefault(key, {})[objects.name(piece)] = revision, self.clock.monotonic()

    def _is_behind(self, key: str) -> bool:
        now = self.clock.monotonic()
        return any(now - at < _PATIENCE for _, at in self._unseen.get(key, {}).values())

    def _mine(self, key: str) -> list[Object]:
        return [
            s
            for s in self.slices.by_index("service", key)
            if objects.labels(s).get(backends.MANAGED_BY) == MANAGER and not objects.is_deleting(s)
        ]

    def _labels(self, service: Object) -> dict[str, str]:
        own = {backends.SERVICE_NAME: objects.name(service), backends.MANAGED_BY: MANAGER}
        if backends.is_headless(service):
            own[backends.HEADLESS_LABEL] = ""
        inherited = {k: v for k, v in objects.labels(service).items() if k != backends.HEADLESS_LABEL}
        return {**inherited, **own}

    def _trigger(self, service: Object) -> dict[str, str]:
        times = [c.get("lastTransitionTime") or "" for p in self.selected(service)
                 if (c := objects.condition(p, "Ready")) is not None]  # fmt: skip
        newest = max((t for t in times if t), default="")
        return {TRIGGER: newest} if newest else {}

    def _desired(self, service: Object) -> dict[str, tuple[Object, list[Object]]]:
        desired: dict[str, tuple[Object, list[Object]]] = {}
        chosen = [p for p in self.selected(service) if backends.is_listed(p)]
        for family in backends.families(service):
            found = False
            for pod in sorted(chosen, key=objects.name):
                address = backends.address_of(pod, family)
                if address is None:
                    continue
                found = True
                ports = backends.ports_on(service, pod)
                key = reconciler.port_key(family, ports)
                if key not in desired:
                    desired[key] = self._empty(service, family, ports), []
                desired[key][1].append(self._endpoint(service, pod, address))
            if not found:
                desired[reconciler.port_key(family, ())] = self._empty(service, family, []), []
            if topology.is_asked_for(service):
                entries = [e for key, (_, found_) in desired.items() if key.startswith(family) for e in found_]
                self._spread(service, family, [e for e in entries if e["conditions"]["ready"]])
        return desired

    def _spread(self, service: Object, family: str, ready: list[Object]) -> None:
        """Gives the endpoints their hints for zones, or none; an event says so when that changes."""
        try:
            zones = topology.spread(ready, topology.zone_shares(self.nodes.items()))
        except topology.NoHints as why:
            kind, reason, text = WARNING, "TopologyAwareHintsDisabled", str(why)
        else:
            kind, reason, text = NORMAL, "TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled"
            for entry, zone in zip(ready, zones, strict=True):
                entry["hints"] = {"forZones": [{"name": zone}]}
        told = objects.key(service), family
        if self._told.get(told) != text:
            self._told[told] = text
            self.events.event(service, kind, reason, f"{text}, addressType: {family}")

    def _empty(self, service: Object, family: str, ports: list[Object]) -> Object:
        piece: Object = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "generateName": pods.pod_prefix(objects.name(service)),
                "namespace": objects.namespace(service),
                "labels": self._labels(service),
                "ownerReferences": [objects.owner_reference({"apiVersion": "v1", "kind": "Service", **service})],
            },
            "addressType": family,
            "endpoints": [],
        }
        if ports:
            piece["ports"] = ports
        return piece

    def _endpoint(self, service: Object, pod: Object, address: str) -> Object:
        spec = service.get("spec") or {}
        ready, terminating = pods.is_ready(pod), objects.is_deleting(pod)
        entry: Object = {
            "addresses": [address],
            "conditions": {
                "ready": bool(spec.get("publishNotReadyAddresses")) or (ready and not terminating),
                "serving": ready,
                "terminating": terminating,
            },
            "targetRef": backends.target_ref(pod),
        }
        node_name = pods.node_name(pod)
        if node_name:
            entry["nodeName"] = node_name
            zone = _zone(self.nodes.get(node_name))
            if zone:
                entry["zone"] = zone
        hostname = backends.hostname_for(service, pod)
        if hostname:
            entry["hostname"] = hostname
        hints = {} if topology.is_asked_for(service) else self._hints(spec.get("trafficDistribution"), entry)
        if hints and entry["conditions"]["ready"]:
            entry["hints"] = hints
        return entry

    @staticmethod
    def _hints(distribution: Any, entry: Object) -> Object:
        """Traffic of a zone (or node) shall stay in it (KEP-4444, KEP-3015)."""
        hints: Object = {}
        if distribution in ("PreferClose", "PreferSameZone", "PreferSameNode") and entry.get("zone"):
            hints["forZones"] = [{"name": entry["zone"]}]
        if distribution == "PreferSameNode" and entry.get("nodeName"):
            hints["forNodes"] = [{"name": entry["nodeName"]}]
        return hints


def _zone(node: Object | None) -> str:
    return objects.labels(node).get(backends.ZONE, "") if node is not None else ""


def _size(node: Object | None) -> tuple[object, ...]:
    """What of a node counts for the share of its zone."""
    if node is None:
        return ()
    return (objects.condition_is_true(node, "Ready"), ((node.get("status") or {}).get("allocatable") or {}).get("cpu"))
