"""Marks nodes that fall silent as Unknown, keeps their taints true to their conditions, and has their Pods evicted at
a bounded rate."""

from __future__ import annotations

from dataclasses import dataclass

from podwright.api import objects, taints
from podwright.api.objects import Object
from podwright.api.resources import LEASES, NODES, PODS
from podwright.api.status import ApiError
from podwright.client.events import NORMAL, WARNING
from podwright.controllers import pods, refs
from podwright.controllers.frame import Context, Controller
from podwright.controllers.node_lifecycle import conditions
from podwright.controllers.node_lifecycle.zones import Zones

LEASE_NAMESPACE = "kube-node-lease"
HEARTBEAT_LEASE = "podwright.io/heartbeat-lease"
"""Annotation of a node whose heartbeat is a Lease that it shares with others: simulated nodes have it."""
_EVICT = "evict/"


@dataclass(slots=True)
class _Pulse:
    """When a node was last heard of, by our own monotonic clock: nobody's wall clock is believed."""

    at: float
    heartbeat: str = ""
    renewed: str = ""


class NodeLifecycleController(Controller):
    """Keys: a node's name, or "evict/ZONE" for the next eviction of a zone. A node's silence is noticed by a timer that
    its heartbeats push back in memory: a quiet cluster costs no API call."""

    name = "node-lifecycle-controller"
    account = "node-controller"
    workers = 4

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pulses: dict[str, _Pulse] = {}
        self._ready: dict[str, str] = {}
        self._zones = Zones(self.config)
        self.pods = self.informer(PODS, node=refs.by_node)
        self.nodes = self.informer(NODES, self._node_changed)
        self.leases = self.own_informer(LEASES, self._lease_changed, namespace=LEASE_NAMESPACE)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            name = objects.name(old)
            self._pulses.pop(name, None)
            self._ready.pop(name, None)
            self.events.event(old, NORMAL, "RemovingNode", f"Removing Node {name} from Controller")
            self._after_zone_change(self._zones.remove(name))
            return
        name = objects.name(new)
        ready = objects.condition(new, "Ready") or {}
        heartbeat = str(ready.get("lastHeartbeatTime") or "")
        pulse = self._pulses.get(name)
        if old is None and self.nodes.has_synced():
            self.events.event(new, NORMAL, "RegisteredNode", f"Registered Node {name} in Controller")
        if pulse is None:
            self._pulses[name] = _Pulse(self.clock.monotonic(), heartbeat)
        elif pulse.heartbeat != heartbeat:
            pulse.at, pulse.heartbeat = self.clock.monotonic(), heartbeat
        if old is None or _what_matters(old) != _what_matters(new):
            self.queue.add(name)

    def _lease_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        renewed = str((new.get("spec") or {}).get("renewTime") or "")
        pulse = self._pulses.setdefault(objects.name(new), _Pulse(self.clock.monotonic()))
        if renewed and pulse.renewed != renewed:
            if pulse.renewed or pulse.heartbeat:
                pulse.at = self.clock.monotonic()
            pulse.renewed = renewed

    async def reconcile(self, key: str) -> None:
        if key.startswith(_EVICT):
            await self._evict_next(key.removeprefix(_EVICT))
            return
        node = self.nodes.get(key)
        if node is None:
            return
        node = await self._check_pulse(key, node)
        ready = conditions.ready_status(node)
        before = self._ready.get(key)
        self._ready[key] = ready
        if ready != "True" and before == "True":
            self.events.event(node, NORMAL, "NodeNotReady", f"Node {key} status is now: NodeNotReady")
            await self._mark_pods_not_ready(key)
        self._after_zone_change(self._zones.observe(key, conditions.zone_of(node), ready))
        await self._set_taints(key, node, ready)

    async def _check_pulse(self, key: str, node: Object) -> Object:
        pulse = self._pulses.setdefault(key, _Pulse(self.clock.monotonic()))
        known = objects.condition(node, "Ready") is not None
        grace = self.config.node_monitor_grace_period if known else self.config.node_startup_grace_period
        shared = self._pulses.get(objects.annotations(node).get(HEARTBEAT_LEASE, ""))
        left = max(pulse.at, shared.at if shared is not None else 0.0) + grace - self.clock.monotonic()
        if left > 0:
            self.queue.add_after(key, left)
            return node
        unknown = conditions.silenced(node, objects.format_time(self.clock.now()))
        if unknown is None:
            return node
        status = {**(node.get("status") or {}), "conditions": unknown}
        return await self.client.update_status(NODES, {**node, "status": status})

    async def _mark_pods_not_ready(self, node: str) -> None:
        """Services must not send traffic to a node that nobody hears of."""
        for pod in self.pods.by_index("node", node):
            if not pods.is_ready(pod):
                continue
            changed = []
            for condition in (pod.get("status") or {}).get("conditions") or ():
                if condition["type"] == "Ready":
                    condition = {**condition, "status": "False",
                                 "lastTransitionTime": objects.format_time(self.clock.now())}  # fmt: skip
                changed.append(condition)
            self.events.event(pod, WARNING, "NodeNotReady", "Node is not ready")
            patch = {"metadata": {"uid": objects.uid(pod)}, "status": {"conditions": changed}}
            try:
                await self.client.patch(
                    PODS, objects.name(pod), patch, namespace=objects.namespace(pod), subresource="status"
                )
            except ApiError as refused:
                if refused.code not in (404, 409):
                    raise

    async def _set_taints(self, key: str, node: Object, ready: str) -> None:
        execute: str | bool | None = None
        taken = False
        if ready == "True" or self._zones.halted:
            self._zones.discard(key)
        else:
            # A taint that stands only changes its name at once; a new one waits for the zone's turn.
            wanted = taints.UNREACHABLE if ready == "Unknown" else taints.NOT_READY
            standing = any(taints.has(node, t, taints.NO_EXECUTE) for t in (taints.NOT_READY, taints.UNREACHABLE))
            if standing:
                execute = wanted
            else:
                zone = self._zones.add(key)
                first, _ = self._zones.take(zone, self.clock.monotonic())
                taken = first == key
                execute = wanted if taken else True
                if first is not None and not taken:
                    self._zones.put_back(first)
                self.queue.add(_EVICT + zone)
        try:
            await self._write_taints(node, execute)
        except Exception:
            if taken:
                self._zones.put_back(key)
            raise

    async def _evict_next(self, zone: str) -> None:
        name, wait = self._zones.take(zone, self.clock.monotonic())
        if wait is not None:
            self.queue.add_after(_EVICT + zone, wait)
        if name is None:
            return
        node = self.nodes.get(name)
        ready = conditions.ready_status(node) if node is not None else "True"
        if node is not None and ready != "True":
            try:
                await self._write_taints(node, taints.UNREACHABLE if ready == "Unknown" else taints.NOT_READY)
            except Exception:
                self._zones.put_back(name)
                raise
        self.queue.add(_EVICT + zone)

    async def _write_taints(self, node: Object, execute: str | bool | None) -> None:
        now = objects.format_time(self.clock.now())
        wanted = conditions.with_taints(node, conditions.schedule_taints(node), execute, now)
        if wanted is not None:
            meta = {"uid": objects.uid(node), "resourceVersion": node["metadata"].get("resourceVersion")}
            await self.client.patch(NODES, objects.name(node), {"metadata": meta, "spec": {"taints": wanted or None}})

    def _after_zone_change(self, changed: bool) -> None:
        if not changed:
            return
        if self._zones.halted:
            self._zones.clear()
        for zone in self._zones.zones():
            self.queue.add(_EVICT + zone)
        for name, ready in self._ready.items():
            if ready != "True":
                self.queue.add(name)


def _what_matters(node: Object) -> tuple[object, ...]:
    """All of a node that this controller answers to, but for heartbeats."""
    states = tuple((c.get("type"), c.get("status")) for c in (node.get("status") or {}).get("conditions") or ())
    return states, (node.get("spec") or {}).get("unschedulable"), taints.of(node), conditions.zone_of(node)
