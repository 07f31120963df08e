"""The scheduler: takes Pods without a node from the API, decides, and binds."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable

from podwright.api import node_affinity, objects, pods, quantity, taints
from podwright.api.objects import Object
from podwright.api.resources import NODES, PERSISTENTVOLUMECLAIMS, PODS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock, SystemClock
from podwright.client.events import NORMAL, WARNING, EventRecorder
from podwright.client.informers import Informer
from podwright.client.transport import ServerUnreachable
from podwright.client.workqueue import WorkQueue

log = logging.getLogger(__name__)

NAME = "default-scheduler"
_BINDERS = 32
_SELECTED = "volume.kubernetes.io/selected-node"
_EFFECTS = ("NoSchedule", "NoExecute")


class Scheduler:
    """Runs until cancelled: one decision at a time, binds beside it. A Pod that fits nowhere is looked at again when a
    node or a bound Pod changes."""

    def __init__(self, client: Client, *, clock: Clock | None = None) -> None:
        self._client = client
        self._clock = clock or SystemClock()
        self._pods = Informer(client, PODS, clock=self._clock)
        self._nodes = Informer(client, NODES, clock=self._clock)
        self._pods.add_index("node", lambda p: (_node(p),) if _node(p) and not pods.is_terminal(p) else ())
        self._queue = WorkQueue(first=1.0, maximum=10.0, clock=self._clock)
        self._recorder = EventRecorder(client, NAME, clock=self._clock)
        self._assumed: dict[str, tuple[str, Object]] = {}
        self._waiting: set[str] = set()
        self._slots = asyncio.Semaphore(_BINDERS)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._nodes.run(), name="nodes")
            group.create_task(self._pods.run(), name="pods")
            group.create_task(self._recorder.run(), name="events")
            await self._nodes.synced()
            await self._pods.synced()
            self._pods.add_handler(self._pod_changed)
            self._nodes.add_handler(self._node_changed)
            while True:
                key = await self._queue.get()
                self._queue.done(key)
                pod = self._pods.get(key)
                if pod is None or not _is_ours(pod) or objects.uid(pod) in self._assumed:
                    continue
                node, refusals = self._decide(pod)
                if node:
                    self._assumed[objects.uid(pod)] = (node, pod)
                    await self._slots.acquire()
                    group.create_task(self._bind(pod, node))
                else:
                    self._waiting.add(key)
                    group.create_task(self._tell(pod, refusals))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _is_ours(new):
            if old is None or old["metadata"].get("generation") != new["metadata"].get("generation"):
                self._queue.add(objects.key(new))
            return
        last = new or old
        assert last is not None
        if new is None or _node(new):
            self._assumed.pop(objects.uid(last), None)
        if (new is None or pods.is_terminal(new)) and _node(last):
            self._wake()

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (old is None or _matters(old) != _matters(new)):
            self._wake()

    def _wake(self) -> None:
        for key in self._waiting:
            self._queue.add(key)
        self._waiting.clear()

    def _decide(self, pod: Object) -> tuple[str, Counter[str]]:
        """The best node, or "" and how many nodes refused for which reason."""
        wanted = pods.requests(pod)
        ports = set(pods.host_ports(pod))
        counted: Counter[str] = Counter()
        best: tuple[float, int, str] | None = None
        for node in self._nodes.items():
            here = self._on(objects.name(node))
            used = total(here)
            reasons = refusals(pod, node, wanted, used, len(here), ports, here)
            if reasons:
                counted.update(reasons)
                continue
            candidate = (score(node, wanted, used), -len(here), objects.name(node))
            if best is None or candidate > best:
                best = candidate
        return (best[2] if best else ""), counted

    def _on(self, node: str) -> list[Object]:
        bound = list(self._pods.by_index("node", node))
        return bound + [p for n, p in self._assumed.values() if n == node]

    async def _bind(self, pod: Object, node: str) -> None:
        binding: Object = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {
                "name": objects.name(pod),
                "namespace": objects.namespace(pod),
                "uid": objects.uid(pod),
            },
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._choose_for_volumes(pod, node)
            await self._client.create(
                PODS, binding, namespace=objects.namespace(pod), name=objects.name(pod), subresource="binding"
            )
        except (ApiError, ServerUnreachable) as failed:
            log.info("binding %s to %s: %s", objects.key(pod), node, failed)
            self._assumed.pop(objects.uid(pod), None)
            self._queue.add_rate_limited(objects.key(pod))
        else:
            self._queue.forget(objects.key(pod))
            text = f"Successfully assigned {objects.key(pod)} to {node}"
            self._recorder.event(pod, NORMAL, "Scheduled", text)
        finally:
            self._slots.release()

    async def _choose_for_volumes(self, pod: Object, node: str) -> None:
        """Claims that wait for their first consumer learn on which node it will be. The kubelet waits for the
        volume."""
        for volume in pod["spec"].get("volumes") or []:
            source = volume.get("persistentVolumeClaim")
            name = source["claimName"] if source else ""
            if "ephemeral" in volume:
                name = f"{objects.name(pod)}-{volume['name']}"
            if not name:
                continue
            namespace = objects.namespace(pod)
            claim = await self._client.get(PERSISTENTVOLUMECLAIMS, name, namespace=namespace)
            if not (claim.get("spec") or {}).get("volumeName") and _SELECTED not in objects.annotations(claim):
                patch = {"metadata": {"annotations": {_SELECTED: node}}}
                await self._client.patch(PERSISTENTVOLUMECLAIMS, name, patch, namespace=namespace)

    async def _tell(self, pod: Object, refusals: Counter[str]) -> None:
        """Event and condition of a Pod that fits nowhere."""
        total = len(self._nodes)
        if total:
            why = ", ".join(sorted(f"{count} {reason}" for reason, count in refusals.items()))
            message = f"0/{total} nodes are available: {why}."
        else:
            message = "no nodes available to schedule pods"
        self._recorder.event(pod, WARNING, "FailedScheduling", message)
        before = objects.condition(pod, "PodScheduled") or {}
        if (before.get("status"), before.get("message")) == ("False", message):
            return
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": objects.format_time(self._clock.now()),
        }
        others = [c for c in (pod.get("status") or {}).get("conditions") or [] if c["type"] != "PodScheduled"]
        try:
            await self._client.patch(
                PODS,
                objects.name(pod),
                {"status": {"conditions": [*others, condition]}},
                namespace=objects.namespace(pod),
                subresource="status",
            )
        except (ApiError, ServerUnreachable) as failed:
            log.info("status of %s: %s", objects.key(pod), failed)


def _node(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _is_ours(pod: Object) -> bool:
    spec = pod.get("spec") or {}
    return (
        not spec.get("nodeName")
        and spec.get("schedulerName", NAME) == NAME
        and not spec.get("schedulingGates")
        and not objects.is_deleting(pod)
        and not pods.is_terminal(pod)
    )


def _matters(node: Object) -> tuple[object, ...]:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return (spec.get("taints"), spec.get("unschedulable"), status.get("allocatable"), objects.labels(node))


def total(bound: Iterable[Object]) -> Counter[str]:
    used: Counter[str] = Counter()
    for pod in bound:
        used.update({k: int(v) for k, v in pods.requests(pod).items()})
    return used


def _allocatable(node: Object, resource: str) -> int:
    value = ((node.get("status") or {}).get("allocatable") or {}).get(resource, "0")
    return quantity.milli(value) if resource == "cpu" else quantity.value(value)


def refusals(
    pod: Object,
    node: Object,
    wanted: dict[str, int],
    used: Counter[str],
    count: int,
    ports: set[tuple[str, str, int]],
    here: list[Object],
) -> list[str]:
    """Every reason for which the node is not for the Pod, in upstream's words."""
    spec = node.get("spec") or {}
    tolerations = (pod.get("spec") or {}).get("tolerations") or []
    if spec.get("unschedulable") and not taints.is_tolerated(
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}, tolerations
    ):
        return ["node(s) were unschedulable"]
    if taints.untolerated(spec.get("taints") or [], tolerations, _EFFECTS):
        return ["node(s) had untolerated taint(s)"]
    if not node_affinity.pod_matches_node(pod, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    if ports and any(ports & set(pods.host_ports(other)) for other in here):
        return ["node(s) didn't have free ports for the requested pod ports"]
    reasons = []
    if count + 1 > _allocatable(node, "pods"):
        reasons.append("Too many pods")
    for resource, amount in wanted.items():
        if amount and used[resource] + amount > _allocatable(node, resource):
            reasons.append(f"Insufficient {resource}")
    return reasons


def score(node: Object, wanted: dict[str, int], used: Counter[str]) -> float:
    """Least allocated: the share of CPU and memory that is left."""
    shares = []
    for resource, least in (("cpu", 100), ("memory", 200 << 20)):
        room = _allocatable(node, resource) or 1
        shares.append(1.0 - (used[resource] + (wanted.get(resource) or least)) / room)
    return sum(shares) / len(shares)
