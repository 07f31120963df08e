"""Keeps a number of simulated nodes: registers them, speaks for their Pods, and renews one Lease for all of them."""

from __future__ import annotations

import asyncio
import logging

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import LEASES, NODES, PODS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock, SystemClock
from podwright.client.informers import Informer
from podwright.client.transport import STRATEGIC_MERGE_PATCH, ServerUnreachable
from podwright.client.workqueue import WorkQueue
from podwright.kubelet.node.lease import NAMESPACE as LEASE_NAMESPACE
from podwright.kubelet.simulated import nodes, pods

log = logging.getLogger(__name__)

LEASE = "simulated-nodes"
_WORKERS = 64
_LEASE_SECONDS = 40
_NOT_READY = "node.kubernetes.io/not-ready"
_DOOMED = 143
"""128 + SIGTERM: how a container ends that does not handle being stopped."""


class Simulator:
    """`count` nodes, simulated-1 to simulated-N. Run :meth:`run` as a task, then await :meth:`ready`.

    `lease_period` in seconds: all nodes' heartbeats are one write so often, which Podwright's node lifecycle controller
    understands by the nodes' annotation.
    """

    def __init__(
        self, client: Client, count: int, *, lease_period: float = 10.0, clock: Clock | None = None
    ) -> None:
        self._client = client
        self._count = count
        self._lease_period = lease_period
        self._clock = clock or SystemClock()
        self._queue = WorkQueue(first=0.05, maximum=30.0, clock=self._clock)
        self._nodes = Informer(client, NODES, label_selector=f"{nodes.SIMULATED}=true", clock=self._clock)
        self._pods = Informer(client, PODS, clock=self._clock)
        self._names = {nodes.node_name(n) for n in range(1, count + 1)}
        self._pending: set[str] = set()
        self._ready = asyncio.Event()
        self._addresses: dict[str, dict[int, str]] = {}
        """Node → last part of the address in its range → uid of the Pod that has it."""
        self._held: dict[str, tuple[str, int]] = {}
        self._lease: Object | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._nodes.run(), name="simulated nodes")
            await self._nodes.synced()
            await self._renew()
            group.create_task(self._heartbeat(), name="simulated heartbeat")
            await self._register()
            self._nodes.add_handler(self._node_changed)
            self._pods.add_handler(self._pod_changed)
            group.create_task(self._pods.run(), name="simulated nodes' pods")
            await self._queue.run(self._reconcile, workers=_WORKERS, failed=self._failed)

    async def ready(self) -> None:
        """Returns once every node is registered and takes Pods."""
        await self._ready.wait()

    def _failed(self, key: str, error: Exception) -> None:
        if isinstance(error, ApiError | ServerUnreachable):
            log.info("simulated %s: %s", key, error)
        else:
            log.error("simulated %s failed", key, exc_info=error)

    # Nodes

    async def _register(self) -> None:
        known = {objects.name(n) for n in self._nodes.items()}
        missing = iter([n for n in range(1, self._count + 1) if nodes.node_name(n) not in known])

        async def register() -> None:
            for number in missing:
                try:
                    await self._client.create(NODES, nodes.node(number, self._clock.now(), LEASE))
                except ApiError as refused:
                    if refused.code != 409:
                        raise

        self._pending = set(self._names)
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(register())

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        name = objects.name(new)
        if name not in self._names:
            return
        if not objects.condition_is_true(new, "Ready"):
            self._queue.add(f"node/{name}")
            return
        taints = (new.get("spec") or {}).get("taints") or ()
        if self._pending and not any(t["key"] == _NOT_READY for t in taints):
            self._pending.discard(name)
            if not self._pending:
                self._ready.set()

    async def _heartbeat(self) -> None:
        while True:
            await self._clock.sleep(self._lease_period)
            try:
                await self._renew()
            except (ApiError, ServerUnreachable) as failed:
                log.warning("lease %s not renewed: %s", LEASE, failed)
                self._lease = None

    async def _renew(self) -> None:
        spec = {
            "holderIdentity": LEASE, "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": objects.format_micro_time(self._clock.now()),
        }  # fmt: skip
        lease: Object = {
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": LEASE_NAMESPACE}, "spec": spec,
        }  # fmt: skip
        if self._lease is None:
            try:
                self._lease = await self._client.create(LEASES, lease)
                return
            except ApiError as refused:
                if refused.code != 409:
                    raise
            self._lease = await self._client.get(LEASES, LEASE, namespace=LEASE_NAMESPACE)
        self._lease = await self._client.update(LEASES, {**self._lease, "spec": spec})

    # Pods

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new if new is not None else old
        assert pod is not None
        name = (pod.get("spec") or {}).get("nodeName")
        if name not in self._names:
            return
        if new is None or (old is not None and objects.uid(old) != objects.uid(pod)):
            self._release(objects.uid(old or pod))
        if new is None:
            return
        self._claim(new)
        self._queue.add(objects.key(new))

    def _claim(self, pod: Object) -> None:
        """A Pod keeps the address that its status has, also over our own restart."""
        ip = (pod.get("status") or {}).get("podIP")
        uid = objects.uid(pod)
        if not ip or uid in self._held or pod["spec"].get("hostNetwork"):
            return
        name = pod["spec"]["nodeName"]
        last = int(ip.rpartition(".")[2]) % nodes.pod_range(1).num_addresses
        self._addresses.setdefault(name, {})[last] = uid
        self._held[uid] = name, last

    def _address(self, pod: Object) -> str:
        name, uid = pod["spec"]["nodeName"], objects.uid(pod)
        number = nodes.number_of(name)
        if pod["spec"].get("hostNetwork"):
            return nodes.address(number)
        network = nodes.pod_range(number)
        if uid not in self._held:
            taken = self._addresses.setdefault(name, {})
            last = next((n for n in range(2, network.num_addresses - 1) if n not in taken), None)
            if last is None:
                raise OSError(f"node {name} has no free Pod address")
            taken[last] = uid
            self._held[uid] = name, last
        return str(network.network_address + self._held[uid][1])

    def _release(self, uid: str) -> None:
        held = self._held.pop(uid, None)
        if held is not None:
            self._addresses[held[0]].pop(held[1], None)

    async def _reconcile(self, key: str) -> None:
        if key.startswith("node/"):
            await self._make_ready(key.removeprefix("node/"))
            return
        pod = self._pods.get(key)
        if pod is None or pod["spec"].get("nodeName") not in self._names:
            return
        phase = (pod.get("status") or {}).get("phase")
        over = phase in ("Succeeded", "Failed")
        if objects.is_deleting(pod):
            await self._end_deleted(pod, over)
        elif over:
            self._release(objects.uid(pod))
        elif phase != "Running" or self._gates_moved(pod):
            await self._write(pod, self._running(pod))
        elif (left := self._time_left(pod)) is not None:
            if left > 0:
                self._queue.add_after(key, left)
            else:
                await self._write(pod, pods.ended(pod, code=pods.exit_code(pod), now=self._now()))

    async def _make_ready(self, name: str) -> None:
        """Whoever marked the node as silent is told that it is not."""
        known = self._nodes.get(name)
        if known is None or objects.condition_is_true(known, "Ready"):
            return
        await self._client.patch(
            NODES, name, {"status": {"conditions": nodes.conditions(self._clock.now())}}, subresource="status",
            content_type=STRATEGIC_MERGE_PATCH,
        )  # fmt: skip

    def _now(self) -> str:
        return objects.format_time(self._clock.now())

    def _running(self, pod: Object) -> Object:
        host = nodes.address(nodes.number_of(pod["spec"]["nodeName"]))
        return pods.running(pod, host_ip=host, pod_ip=self._address(pod), now=self._now())

    @staticmethod
    def _gates_moved(pod: Object) -> bool:
        gates = pod["spec"].get("readinessGates")
        if not gates:
            return False
        ready = all(objects.condition_is_true(pod, g["conditionType"]) for g in gates)
        return ready != objects.condition_is_true(pod, "Ready")

    def _time_left(self, pod: Object) -> float | None:
        seconds = pods.ends_after(pod)
        if seconds is None:
            return None
        return objects.parse_time(pod["status"]["startTime"]) + seconds - self._clock.now()

    async def _end_deleted(self, pod: Object, over: bool) -> None:
        if pod["metadata"].get("finalizers"):
            # Whoever holds it back, as the Job controller does, wants to read how it ended.
            if not over:
                await self._write(pod, pods.ended(pod, code=_DOOMED, now=self._now()))
            if pod["metadata"].get("deletionGracePeriodSeconds") == 0:
                return
        try:
            await self._client.delete(
                PODS, objects.name(pod), namespace=objects.namespace(pod), grace_period_seconds=0,
                uid=objects.uid(pod),
            )  # fmt: skip
        except ApiError as refused:
            if refused.code not in (404, 409):
                raise

    async def _write(self, pod: Object, status: Object) -> None:
        patch = {"metadata": {"uid": objects.uid(pod)}, "status": status}
        try:
            await self._client.patch(
                PODS, objects.name(pod), patch, namespace=objects.namespace(pod), subresource="status",
                content_type=STRATEGIC_MERGE_PATCH,
            )  # fmt: skip
        except ApiError as refused:
            if refused.code not in (404, 409):
                raise
