"""Registering the node and keeping its status in the API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NODES
from podwright.api.status import ApiError
from podwright.client.backoff import Backoff
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.events import NORMAL, EventRecorder
from podwright.client.transport import STRATEGIC_MERGE_PATCH, ServerUnreachable
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.node import machine as machines
from podwright.kubelet.node.lease import NodeLease
from podwright.kubelet.node.machine import Machine
from podwright.kubelet.node.status import NodeHealth, status
from podwright.runtime.protocol import Image, ImageService, RuntimeFailure, RuntimeVersion

log = logging.getLogger(__name__)

_VOLATILE = ("lastHeartbeatTime",)


class NodeManager:
    """Run :meth:`run` as a task. `registered` is set once the Node exists and says Ready."""

    def __init__(
        self,
        client: Client,
        config: KubeletConfig,
        machine: Machine,
        images: ImageService,
        recorder: EventRecorder,
        clock: Clock,
        health: Callable[[], NodeHealth],
    ) -> None:
        self._client = client
        self._config = config
        self._machine = machine
        self._images = images
        self._recorder = recorder
        self._clock = clock
        self._health = health
        self._runtime = RuntimeVersion("podwright", "0")
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._written_at = float("-inf")
        self._adopted: dict[str, str] = {}
        self._healthy: dict[str, str] = {}
        self.capacity = machines.capacity(machine, config)
        self.allocatable = machines.allocatable(self.capacity, config)
        self.volumes_in_use: Callable[[], Sequence[str]] = tuple
        """What must not be detached from the node."""
        self.registered = asyncio.Event()
        self.node: Object | None = None

    @property
    def labels(self) -> dict[str, str]:
        """The node's labels: the API's word, or before that what it registers with."""
        return objects.labels(self.node) if self.node is not None else self._own_labels()

    @property
    def taints(self) -> list[Object]:
        if self.node is None:
            return list(self._config.taints)
        return list((self.node.get("spec") or {}).get("taints") or ())

    def runtime_known(self, version: RuntimeVersion) -> None:
        self._runtime = version

    def changed(self) -> None:
        """Health or capacity changed: the status is written soon."""
        self._settled.clear()
        self._wake.set()

    async def settled(self) -> None:
        """Returns when the API has the status as it is now."""
        await self._settled.wait()

    def set_capacity(self, changes: dict[str, str]) -> None:
        """More, or other, resources: measured disk throughput."""
        self.capacity = {**self.capacity, **changes}
        self.allocatable = {**machines.allocatable(self.capacity, self._config), **self._healthy}
        self.changed()

    def set_devices(self, capacity: dict[str, str], allocatable: dict[str, str]) -> None:
        """What device plugins have; of it, what can be given."""
        if any(self.capacity.get(name) != amount for name, amount in capacity.items()) or allocatable != self._healthy:
            self._healthy = allocatable
            self._adopted = {name: amount for name, amount in self._adopted.items() if name not in capacity}
            self.set_capacity(capacity)

    def seen(self, node: Object | None) -> None:
        """The Node object changed in the API."""
        if node is not None:
            self.node = node
            self._adopt((node.get("status") or {}).get("capacity") or {})
        elif self.node is not None:
            log.warning("the Node object %s was deleted: registering anew", self._config.node_name)
            self.node = None
            self._wake.set()

    def _adopt(self, found: dict[str, str]) -> None:
        """Extended resources that somebody else puts into the node's capacity stay there, and all of them can be given
        to Pods; when they are taken out again, they are gone (Kubernetes documentation, "Advertise Extended Resources
        for a Node")."""
        own = {name for name in self.capacity if name not in self._adopted}
        adopted = {name: value for name, value in found.items() if "/" in name and name not in own}
        if adopted != self._adopted:
            kept = {name: value for name, value in self.capacity.items() if name in own}
            self._adopted = adopted
            self.capacity = kept
            self.set_capacity(adopted)

    def _own_labels(self) -> dict[str, str]:
        return {
            "beta.kubernetes.io/arch": self._machine.architecture,
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": self._machine.architecture,
            "kubernetes.io/hostname": self._config.host_name,
            "kubernetes.io/os": "linux",
            **self._config.node_labels,
        }

    def _object(self, found_images: list[Image]) -> Object:
        node: Object = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self._config.node_name,
                "labels": self._own_labels(),
                "annotations": {
                    "volumes.kubernetes.io/controller-managed-attach-detach": "true",
                    **self._config.node_annotations,
                },
            },
            "spec": {},
            "status": self._status({}, found_images),
        }
        if self._config.taints:
            node["spec"]["taints"] = list(self._config.taints)
        if self._config.pod_cidr:
            node["spec"].update(podCIDR=self._config.pod_cidr, podCIDRs=[self._config.pod_cidr])
        if self._config.provider_id:
            node["spec"]["providerID"] = self._config.provider_id
        return node

    def _status(self, before: Object, found_images: list[Image]) -> Object:
        return status(
            self._config,
            self._machine,
            self._runtime,
            capacity=self.capacity,
            allocatable=self.allocatable,
            health=self._health(),
            volumes_in_use=self.volumes_in_use(),
            found_images=found_images,
            before=before,
            now=self._clock.now(),
        )

    async def run(self) -> None:
        """Registers, then keeps Lease and status until cancelled."""
        node = await self._register()
        ready = f"Node {self._config.node_name} status is now: NodeReady"
        self._recorder.event(self._about(node), NORMAL, "Starting", "Starting kubelet.")
        self._recorder.event(self._about(node), NORMAL, "NodeReady", ready)
        async with asyncio.TaskGroup() as group:
            group.create_task(NodeLease(self._client, self._config, self._clock).run(objects.uid(node)))
            group.create_task(self._keep())

    def _about(self, node: Object) -> Object:
        # Events about nodes carry the node's name as uid, as upstream's kubelet writes them.
        return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": objects.name(node), "uid": objects.name(node)}}

    async def _register(self) -> Object:
        backoff = Backoff(first=0.05, maximum=5.0)
        while True:
            try:
                found = await self._get_or_create()
                self.node = found
                self.registered.set()
                return found
            except (ApiError, ServerUnreachable) as failed:
                log.info("node %s not registered yet: %s", self._config.node_name, failed)
                await self._clock.sleep(backoff.next())

    async def _get_or_create(self) -> Object:
        found_images = await self._list_images()
        if self._config.register_node:
            try:
                created = await self._client.create(NODES, self._object(found_images))
                self._written_at = self._clock.monotonic()
                if (created.get("status") or {}).get("capacity"):
                    return created
                return await self._write(created, found_images)
            except ApiError as refused:
                if refused.code != 409:
                    raise
        existing = await self._client.get(NODES, self._config.node_name)
        wanted = self._own_labels()
        if any(objects.labels(existing).get(k) != v for k, v in wanted.items()):
            existing = await self._client.patch(
                NODES, self._config.node_name, {"metadata": {"labels": wanted}}
            )
        return await self._write(existing, found_images)

    async def _list_images(self) -> list[Image]:
        try:
            return list(await self._images.list_images())
        except RuntimeFailure as failed:
            log.warning("images cannot be listed: %s", failed)
            return []

    async def _keep(self) -> None:
        backoff = Backoff(first=0.1, maximum=5.0)
        while True:
            await self._wait()
            try:
                if self.node is None:
                    await self._register()
                    continue
                found_images = await self._list_images()
                before = self.node.get("status") or {}
                due = self._clock.monotonic() - self._written_at >= self._config.node_status_report_period
                if due or _lasting(self._status(before, found_images)) != _lasting(before):
                    self.node = await self._write(self.node, found_images)
                backoff.reset()
                if not self._wake.is_set():
                    self._settled.set()
            except (ApiError, ServerUnreachable) as failed:
                log.warning("status of node %s not written: %s", self._config.node_name, failed)
                if isinstance(failed, ApiError) and failed.code == 404:
                    self.node = None
                await self._clock.sleep(backoff.next())
                self._wake.set()

    async def _wait(self) -> None:
        timer = asyncio.ensure_future(self._clock.sleep(self._config.node_status_period))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((timer, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()
        self._wake.clear()

    async def _write(self, node: Object, found_images: list[Image]) -> Object:
        wanted = self._status(node.get("status") or {}, found_images)
        # The list of addresses is replaced as a whole: by its merge key two of one type would be one.
        wanted["addresses"] = [*wanted["addresses"], {"$patch": "replace"}]
        before = (node.get("status") or {})
        for kind in ("capacity", "allocatable"):
            gone = {name: None for name in before.get(kind) or {} if name not in wanted[kind]}
            wanted[kind] = {**gone, **wanted[kind]}
        written = await self._client.patch(
            NODES,
            objects.name(node),
            {"status": wanted},
            subresource="status",
            content_type=STRATEGIC_MERGE_PATCH,
        )
        self._written_at = self._clock.monotonic()
        return written


def _lasting(found: Object) -> Object:
    """A status without heartbeat times and without what others write."""
    names = ("capacity", "allocatable", "addresses", "daemonEndpoints", "nodeInfo", "images", "volumesInUse")
    kept: Object = {name: found.get(name) for name in names}
    kept["conditions"] = sorted(
        ({k: v for k, v in c.items() if k not in _VOLATILE} for c in found.get("conditions") or ()),
        key=lambda c: str(c["type"]),
    )
    return kept
