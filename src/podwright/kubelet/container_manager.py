"""What containers have for themselves of the node, beside their limits: devices and CPUs. And the control groups above
the Pods' own, by quality of service (Kubernetes documentation, "Node Resource Managers")."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from podwright.api import objects, quantity
from podwright.api.objects import Object
from podwright.api.pods import BURSTABLE, qos_class
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.containers.resources import MIN_SHARES, pod_requests_limits, shares
from podwright.kubelet.cpu_manager import CpuManager
from podwright.kubelet.devices.claims import ClaimFailure, ClaimManager
from podwright.kubelet.devices.manager import DeviceManager, DevicesUnavailable
from podwright.kubelet.runtime_cache import RuntimeCache
from podwright.runtime.protocol import ContainerRuntime, Resources, RuntimeFailure

log = logging.getLogger(__name__)

UNEXPECTED = "UnexpectedAdmissionError"


class NotAdmitted(Exception):
    """The Pod cannot have what was set aside for it: it is refused after all."""


class ContainerManager:
    """`active` are the Pods that take up room here; `allocatable` is what Pods may use of CPU and memory, before
    eviction thresholds. Run :meth:`run` as a task once the runtime is open."""

    def __init__(
        self,
        config: KubeletConfig,
        client: Client,
        clock: Clock,
        runtime: ContainerRuntime,
        cache: RuntimeCache,
        devices_changed: Callable[[dict[str, str], dict[str, str]], None],
        health_changed: Callable[[], None],
        active: Callable[[], Iterable[Object]],
        allocatable: Mapping[str, str],
    ) -> None:
        self.devices = DeviceManager(config.data_dir / "device-plugins", clock, devices_changed)
        self.claims = ClaimManager(config.data_dir, config.node_name, client, clock, health_changed)
        self.cpus = CpuManager(config)
        self._config = config
        self._runtime = runtime
        self._cache = cache
        self._active = active
        self._allocatable = allocatable
        self._lock = asyncio.Lock()
        self._burstable = -1

    async def run(self) -> None:
        """Until cancelled."""
        await self.open()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.devices.run(), name="devices")
            group.create_task(self.claims.run(), name="claims")

    async def open(self) -> None:
        """The groups that Pods lie in, with what the node gives them; and every container on its CPUs."""
        root = self._config.pods_cgroup
        whole = Resources(
            cpu_shares=shares(quantity.milli(self._allocatable["cpu"])),
            memory_limit=quantity.value(self._allocatable["memory"]),
            memory_swap_limit=-1,
        )
        try:
            await self._runtime.update_parent_resources(root, whole)
            await self._runtime.update_parent_resources(f"{root}/besteffort", Resources(cpu_shares=MIN_SHARES))
            await self._weigh()
        except RuntimeFailure as failed:
            log.warning("the groups above the Pods have no limits: %s", failed)
        if self.cpus.policy != self.cpus.before or self.cpus.policy == "static":
            await self._move()
            try:
                self.cpus.settled()
            except OSError as failed:
                log.error("the state of the CPU manager cannot be written down: %s", failed)

    def obstacle(self, pod: Object) -> str:
        """Why the Pod cannot have what it wants for itself, in upstream's words; "" if it can."""
        why = self.cpus.obstacle(pod) or self.devices.obstacle(pod)
        return f"Allocate failed due to {why}, which is unexpected" if why else ""

    def reserve(self, pod: Object) -> None:
        """Sets aside what :meth:`obstacle` found to be there."""
        for reserve in (self.cpus.reserve, self.devices.reserve):
            try:
                reserve(pod)
            except OSError as failed:
                # It is set aside all the same; only a kubelet that starts anew would not know.
                log.error("what Pod %s has for itself cannot be written down: %s", objects.key(pod), failed)

    async def prepare(self, pod: Object) -> None:
        """Before anything of the Pod is made: its devices are handed over, its CPUs are cleared of others.

        Raises:
            NotAdmitted, ClaimFailure
        """
        try:
            await self.claims.prepare(pod)
        except OSError as failed:
            raise ClaimFailure(str(failed)) from failed
        try:
            await self.devices.allocate(pod)
        except (DevicesUnavailable, OSError) as failed:
            raise NotAdmitted(f"Allocate failed due to {failed}, which is unexpected") from failed
        if any(self.cpus.exclusive(objects.uid(pod), c["name"]) for c in pod["spec"]["containers"]):
            await self._move()
        await self.weigh()

    def health(self, pod: Object, ctr: Object) -> list[Object]:
        """allocatedResourcesStatus of a container."""
        return [*self.devices.health(objects.uid(pod), ctr["name"]), *self.claims.health(pod, ctr)]

    async def release(self, uid: str) -> None:
        """Nothing of the Pod runs any more. Raises ClaimFailure, OSError."""
        self.devices.release(uid)
        if self.cpus.release(uid):
            await self._move()
        await self.weigh()
        await self.claims.release(uid)

    async def retain(self, uids: set[str]) -> None:
        """All Pods that are here are known: what others had is free. Raises OSError."""
        self.devices.retain(uids)
        await self.claims.retain(uids)
        if self.cpus.retain(uids):
            await self._move()

    async def started(self, uid: str, container: str, container_id: str, given: str) -> None:
        """A container runs that was made with the CPUs `given`: others may have taken some meanwhile. Raises
        RuntimeFailure."""
        now = self.cpus.cpuset(uid, container)
        if now != given:
            await self._runtime.update_container_resources(container_id, Resources(cpuset_cpus=now))

    async def _move(self) -> None:
        """Every container that runs onto the CPUs that it may use now."""
        async with self._lock:
            for uid in list(self._cache.uids()):
                for container in self._cache.pod(uid).running():
                    cpus = self.cpus.cpuset(uid, container.name)
                    if not cpus:
                        continue
                    try:
                        await self._runtime.update_container_resources(container.id, Resources(cpuset_cpus=cpus))
                    except RuntimeFailure as failed:
                        log.info("CPUs of container %s: %s", container.id, failed)

    async def weigh(self) -> None:
        """What Pods request has changed."""
        try:
            await self._weigh()
        except RuntimeFailure as failed:
            log.warning("the group of Burstable Pods has other CPU shares than it should have: %s", failed)

    async def _weigh(self) -> None:
        """The Burstable Pods together weigh what they request; the others are weighed one by one beside them."""
        async with self._lock:
            milli = sum(
                quantity.milli(pod_requests_limits(pod)[0].get("cpu", "0"))
                for pod in self._active() if qos_class(pod) == BURSTABLE
            )  # fmt: skip
            if milli != self._burstable:
                group = f"{self._config.pods_cgroup}/burstable"
                await self._runtime.update_parent_resources(group, Resources(cpu_shares=shares(milli)))
                self._burstable = milli
