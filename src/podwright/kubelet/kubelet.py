"""The kubelet, put together: sources of Pods on one side, the container runtime on the other, a worker for each Pod in
between, and the node's own word to the API."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from podwright.api import objects, pods, quantity
from podwright.api.objects import Object
from podwright.api.resources import NODES, PODS, RUNTIMECLASSES, SERVICES
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock, SystemClock
from podwright.client.events import NORMAL, WARNING
from podwright.client.informers import Informer
from podwright.client.transport import ServerUnreachable
from podwright.kubelet.admission import NodeView
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.container_manager import ContainerManager
from podwright.kubelet.containers.resolv_conf import host_config
from podwright.kubelet.containers.resources import CgroupPolicy
from podwright.kubelet.devices.pod_resources import PodResources
from podwright.kubelet.events import PatientRecorder
from podwright.kubelet.garbage_collection import GarbageCollector
from podwright.kubelet.hooks import HookRunner
from podwright.kubelet.image_access import ImageAccess
from podwright.kubelet.images import ImageManager
from podwright.kubelet.log_rotation import LogRotation
from podwright.kubelet.mirror_pods import MirrorPods
from podwright.kubelet.node import disk_speed
from podwright.kubelet.node import machine as machines
from podwright.kubelet.node.logind import ShutdownWatch
from podwright.kubelet.node.node_manager import NodeManager
from podwright.kubelet.node.shutdown import end_pods
from podwright.kubelet.node.shutdown import periods as shutdown_periods
from podwright.kubelet.node.status import NodeHealth
from podwright.kubelet.plugins.registration import PluginKind, PluginWatcher
from podwright.kubelet.pod_manager import PodManager
from podwright.kubelet.pod_status import Verdict
from podwright.kubelet.pod_workers import PodWorkers
from podwright.kubelet.probing import NoProbes, ProbeManager
from podwright.kubelet.referenced_objects import ReferencedObjects
from podwright.kubelet.runtime_cache import PodRuntime, RuntimeCache
from podwright.kubelet.sources.static_directory import StaticPodDirectory
from podwright.kubelet.sources.static_url import StaticPodUrl
from podwright.kubelet.status.status_manager import StatusManager
from podwright.kubelet.sync.backoff import RestartBackoff
from podwright.kubelet.termination import ContainerKiller
from podwright.kubelet.user_namespaces import UserNamespaces
from podwright.kubelet.volumes.certificates import PodCertificates
from podwright.kubelet.volumes.csi.drivers import CsiDrivers
from podwright.kubelet.volumes.csi.volumes import CsiVolumes
from podwright.kubelet.volumes.manager import VolumeManager
from podwright.kubelet.volumes.mount_points import make_shared
from podwright.kubelet.volumes.tokens import ServiceAccountTokens
from podwright.kubelet.worker_context import NodeFacts, WorkerContext
from podwright.runtime.protocol import Container, ContainerRuntime, ImageService

log = logging.getLogger(__name__)

_SHUTTING_DOWN = "node is shutting down"
_LAST_WORDS_TIMEOUT = 5.0
_APPARMOR = Path("/sys/module/apparmor/parameters/enabled")


class Kubelet:
    """Runs the Pods of one node. :meth:`run` opens the runtime and keeps everything until it is cancelled; cancelling
    it ends no container.

    Static Pods run without any API server; everything else waits for it.
    """

    def __init__(
        self,
        config: KubeletConfig,
        client: Client,
        runtime: ContainerRuntime,
        images: ImageService,
        clock: Clock | None = None,
        *,
        probes: ProbeManager | None = None,
    ) -> None:
        self.config = config
        self.client = client
        self.runtime = runtime
        self.image_service = images
        self.clock = clock or SystemClock()
        self.recorder = PatientRecorder(client, "kubelet", host=config.node_name, clock=self.clock)
        self.pods = PodManager()
        self.cache = RuntimeCache(runtime, self.clock)
        self.statuses = StatusManager(client, self.pods, self.clock)
        self.probes: ProbeManager = probes or NoProbes()
        self.referenced = ReferencedObjects(client, self.clock)
        config.data_dir.mkdir(parents=True, exist_ok=True)
        self.machine = machines.read(config.data_dir)
        self.node = NodeManager(client, config, self.machine, images, self.recorder, self.clock, self._health)
        self.csi = CsiVolumes(config, client, CsiDrivers(client, config.node_name), self.node.changed)
        self.node.volumes_in_use = self.csi.in_use
        self._certificates = PodCertificates(client, self.referenced, config.node_name, self.clock)
        self._pressure: dict[str, tuple[str, str]] = {}
        self._not_ready = "container runtime is not up"
        self._shutting_down = False
        self.started = asyncio.Event()
        """The runtime is open and what it has is known."""
        self._api_pods = Informer(
            client, PODS, field_selector=f"spec.nodeName={config.node_name}", clock=self.clock
        )
        self._api_node = Informer(
            client, NODES, field_selector=f"metadata.name={config.node_name}", clock=self.clock
        )
        self._services = Informer(client, SERVICES, clock=self.clock)
        self._mirrors = MirrorPods(client, self.pods, config.node_name, self.clock)
        self._static: dict[str, dict[str, Object]] = {}
        self._static_known: set[str] = set()
        self.manager = ContainerManager(
            config,
            client,
            self.clock,
            runtime,
            self.cache,
            self._devices_changed,
            self._health_changed,
            self.active_pods,
            machines.allocatable(self.node.capacity, replace(config, eviction_hard={})),
        )
        self.exits: Counter[tuple[str, int, str]] = Counter()
        self._context = self._wire()
        self.workers = PodWorkers(self._context, self._view, self._ended)
        self.garbage = GarbageCollector(config, runtime, images, self._context.images, self.cache, self.clock)
        self._logs = LogRotation(
            runtime,
            self.cache,
            self.clock,
            max_size=config.container_log_max_size,
            max_files=config.container_log_max_files,
        )
        self.probes.listen(self.workers)
        self.referenced.listen(self.workers.references_changed)

    def _wire(self) -> WorkerContext:
        config, clock = self.config, self.clock
        hooks = HookRunner(self.runtime, clock)
        pull_backoff = RestartBackoff(
            clock,
            initial=config.image_pull_initial,
            maximum=config.image_pull_maximum,
            reset=2 * config.image_pull_maximum,
        )
        return WorkerContext(
            config=config,
            clock=clock,
            runtime=self.runtime,
            cache=self.cache,
            images=ImageManager(
                self.image_service,
                self.referenced,
                self.recorder,
                clock,
                pull_backoff,
                ImageAccess(
                    config.image_access_dir or config.data_dir / "image-access",
                    config.image_verification,
                    config.images_not_verified,
                ),
                parallel=config.max_parallel_image_pulls,
            ),
            volumes=VolumeManager(
                config,
                self.referenced,
                ServiceAccountTokens(self.client, clock),
                self.image_service,
                clock,
                self.csi,
                self._certificates,
            ),
            statuses=self.statuses,
            probes=self.probes,
            recorder=self.recorder,
            hooks=hooks,
            killer=ContainerKiller(self.runtime, hooks, self.recorder, clock),
            referenced=self.referenced,
            restarts=RestartBackoff(
                clock,
                initial=config.crash_loop_initial,
                maximum=config.crash_loop_maximum,
                reset=config.crash_loop_reset,
            ),
            user_namespaces=UserNamespaces(config.user_namespace_ids),
            node=NodeFacts(
                host_ips=tuple(config.node_ips),
                allocatable=self.node.allocatable,
                policy=CgroupPolicy(
                    cpu_quota=config.cpu_cfs_quota,
                    cpu_period=config.cpu_cfs_quota_period,
                    memory_capacity=self.machine.memory,
                    pod_pids_limit=config.pod_pids_limit,
                    cgroup_version=self.machine.cgroup_version,
                    swap_capacity=self.machine.swap,
                    swap_behavior=config.swap_behavior,
                    hugepages=tuple(self.machine.hugepages),
                ),
                host_dns=host_config(config.resolv_conf),
            ),
            manager=self.manager,
            services=self._services.items,
            runtime_handler=self._runtime_handler,
            others=self._others,
            exits=self.exits,
        )

    # Running.

    async def run(self) -> None:
        """Until cancelled. Raises RuntimeFailure if there is no working container runtime."""
        await asyncio.to_thread(self._make_directories)
        await self.runtime.open()
        try:
            await self.cache.relist()
            self._adopt()
            self.node.runtime_known(await self.runtime.version())
            self._not_ready = ""
            self.started.set()
            async with asyncio.TaskGroup() as group:
                for name, task in self._tasks().items():
                    group.create_task(task, name=f"kubelet {name}")
        finally:
            await self.runtime.close()

    def _tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        self._api_pods.add_handler(self._api_pod_changed)
        self._api_node.add_handler(self._node_changed)
        tasks: dict[str, Coroutine[Any, Any, None]] = {
            "workers": self.workers.run(),
            "runtime events": self.cache.follow(self.workers.wake),
            "events": self.recorder.run(),
            "statuses": self.statuses.run(),
            "references": self.referenced.run(),
            "node": self.node.run(),
            "disk speed": self._measure_disk(),
            "own node": self._api_node.run(),
            "services": self._services.run(),
            "mirrors": self._mirrors.run(),
            "probes": self.probes.run(),
            "orphans": self._clear_orphans(),
            "garbage": self.garbage.run(),
            "logs": self._logs.run(),
            "pods": self._follow_pods(),
            "plugins": self._plugins().run(),
            "containers": self.manager.run(),
            "pod resources": PodResources(
                self.config.data_dir / "pod-resources" / "kubelet.sock", self.manager, self.active_pods
            ).run(),
            "CSINode": self.csi.drivers.announce(self.node.registered, self.clock),
        }
        graces = sum(seconds for _, seconds in shutdown_periods(self.config))
        if graces > 0:
            tasks["shutdown"] = ShutdownWatch(
                self._shutdown_changed,
                self.clock,
                longest=graces + _LAST_WORDS_TIMEOUT,
                name=f"podwright-{self.config.cgroup_root.strip('/').replace('/', '-')}",
                address=self.config.system_bus,
            ).run()
        if self.config.static_pod_path is not None:
            tasks["static pods"] = StaticPodDirectory(
                self.config.static_pod_path,
                self.config.node_name,
                self.clock,
                lambda found: self._static_changed("file", found),
                self._manifest_broken,
            ).run()
        if self.config.static_pod_url:
            tasks["static pods from URL"] = StaticPodUrl(
                self.config.static_pod_url,
                self.config.node_name,
                self.clock,
                lambda found: self._static_changed("http", found),
                period=self.config.static_pod_url_period,
                headers=self.config.static_pod_url_headers,
            ).run()
        return tasks

    def _plugins(self) -> PluginWatcher:
        devices, claims = self.manager.devices, self.manager.claims
        kinds = {
            "CSIPlugin": PluginKind(self.csi.drivers.register, self.csi.drivers.deregister),
            "DevicePlugin": PluginKind(devices.register, devices.deregister),
            "DRAPlugin": PluginKind(claims.register, claims.deregister),
        }
        return PluginWatcher(self.config.data_dir / "plugins_registry", kinds, self.clock)

    def _make_directories(self) -> None:
        for directory in (self.config.pods_dir, self.config.logs_dir, self.config.seccomp_dir):
            directory.mkdir(parents=True, exist_ok=True)
        try:
            make_shared(self.config.data_dir)
        except OSError as failed:
            log.warning("%s cannot be made a shared mount: %s", self.config.data_dir, failed)

    def _adopt(self) -> None:
        """What earlier sandboxes hold, that new ones must not get."""
        for uid in self.cache.uids():
            sandbox = self.cache.pod(uid).sandbox
            if sandbox is not None and sandbox.namespaces.user_namespace:
                self._context.user_namespaces.taken(uid, sandbox.namespaces.user_namespace)

    async def _follow_pods(self) -> None:
        """The Pods of the API; with environment variables for Services, so these are known first."""
        await self._services.synced()
        await self._api_pods.run()

    async def _clear_orphans(self) -> None:
        """Once every source has spoken, what nobody wants goes."""
        await self._api_pods.synced()
        self.workers.remove_orphans(objects.uid(p) for p in self.pods.all())
        await self.manager.retain({worker.uid for worker in self.workers.all()} | set(self.cache.uids()))

    # What the sources say.

    def _api_pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new if new is not None else old
        assert pod is not None
        if pods.is_mirror(pod):
            if new is not None:
                self.pods.put(new)
            else:
                self.pods.remove(pod)
            self._mirrors.check(objects.key(pod))
            static = self.pods.static_of(pod)
            if static is not None:
                self.statuses.poke(objects.uid(static))
            return
        if new is not None:
            self.pods.put(new)
            self.workers.update(new)
            if self.workers.is_ending(objects.uid(new)):
                self.statuses.poke(objects.uid(new))
        else:
            self.pods.remove(pod)
            self.workers.remove(objects.uid(pod))
            if self.workers.get(objects.uid(pod)) is None:
                self.statuses.forget(objects.uid(pod))

    def _static_changed(self, source: str, found: Sequence[Object]) -> None:
        before = self._static.get(source, {})
        now = {objects.uid(p): p for p in found}
        self._static[source] = now
        for uid, pod in before.items():
            if uid not in now:
                self.pods.remove(pod)
                self.workers.remove(uid)
                self._mirrors.check(objects.key(pod))
        for uid, pod in now.items():
            if uid not in before:
                self.pods.put(pod)
                self.workers.update(pod)
                self._mirrors.check(objects.key(pod))

    def _manifest_broken(self, path: Path, complaint: str) -> None:
        self.recorder.event(self._about_node(), WARNING, "FailedStaticPod", f"static Pod manifest {path}: {complaint}")

    def _about_node(self) -> Object:
        name = self.config.node_name
        return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "uid": name}}

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        self.node.seen(new)
        if new is not None:
            self._context.volumes.node_labels = objects.labels(new)
            self._certificates.node_uid = objects.uid(new)
            for uid in self.csi.node_changed(new):
                self.workers.wake(uid)

    def _ended(self, pod: Object) -> None:
        """Nothing of the Pod is left on the node."""
        uid = objects.uid(pod)
        if self.pods.get(uid) is None:
            self.statuses.forget(uid)

    # What the parts ask.

    def _health(self) -> NodeHealth:
        return NodeHealth(self._not_ready, dict(self._pressure))

    def _view(self) -> NodeView:
        return NodeView(
            name=self.config.node_name,
            labels=self.node.labels,
            taints=self.node.taints,
            allocatable=self.node.allocatable,
            architecture=self.machine.architecture,
            allowed_unsafe_sysctls=self.config.allowed_unsafe_sysctls,
            apparmor=_apparmor_enabled(),
            pressure=frozenset(self._pressure),
            shutting_down=self._shutting_down,
            obstacle=self.manager.obstacle,
        )

    def _others(self, uid: str) -> Iterable[Object]:
        return self.workers.others(uid)

    async def _runtime_handler(self, name: str) -> str:
        try:
            found = await self.referenced.find(RUNTIMECLASSES, "", name)
        except (ApiError, ServerUnreachable) as refused:
            raise LookupError(f'failed to get RuntimeClass "{name}": {refused}') from refused
        if found is None:
            raise LookupError(f'RuntimeClass "{name}" not found')
        return str(found.get("handler") or "")

    # What server, eviction and others use.

    def pod_status(self, uid: str) -> Object | None:
        """The newest status of a Pod here."""
        return self.statuses.get(uid)

    def pod_runtime(self, uid: str) -> PodRuntime:
        """What the runtime has of a Pod."""
        return self.cache.pod(uid)

    def find_container(self, namespace: str, name: str, container: str) -> Container | None:
        """The newest container of a Pod by names."""
        pod = self.pods.by_name(namespace, name)
        return self.cache.pod(objects.uid(pod)).latest(container) if pod is not None else None

    def active_pods(self) -> Iterable[Object]:
        """Pods that are here and have not ended."""
        return self.workers.active()

    def evict(self, uid: str, verdict: Verdict) -> asyncio.Event | None:
        """Ends a Pod as Failed; the event is set when nothing of it runs."""
        return self.workers.evict(uid, verdict)

    async def shut_down(self) -> None:
        """The machine goes down (or the node is stopped for good): no Pod comes any more, and those that are here are
        ended within the configured graces. Returns when they are and the API knows. Never called for a mere end of
        this process."""
        self.recorder.event(self._about_node(), NORMAL, "NodeShutdown", "Shutdown manager detected shutdown event")
        self._shutting_down = True
        self._not_ready = _SHUTTING_DOWN
        self.node.changed()
        await end_pods(list(self.active_pods()), self._end_for_good, shutdown_periods(self.config))
        try:
            async with asyncio.timeout(_LAST_WORDS_TIMEOUT):
                await self.statuses.settled()
                await self.node.settled()
        except TimeoutError:
            log.warning("the API was not told of everything that the shutdown ended")

    def _end_for_good(self, uid: str, verdict: Verdict) -> asyncio.Event | None:
        worker = self.workers.get(uid)
        if worker is None:
            return None
        worker.terminate(verdict)
        return worker.unmounted

    async def _shutdown_changed(self, going_down: bool) -> None:
        if going_down:
            await self.shut_down()
            return
        cancelled = "Shutdown manager detected shutdown cancellation"
        self.recorder.event(self._about_node(), NORMAL, "NodeShutdown", cancelled)
        self._shutting_down = False
        if self._not_ready == _SHUTTING_DOWN:
            self._not_ready = ""
        self.node.changed()

    def set_capacity(self, changes: dict[str, str]) -> None:
        """The node has more, or other, resources: measured disk throughput."""
        self.node.set_capacity(changes)
        self._context.node.allocatable = self.node.allocatable

    def _devices_changed(self, capacity: dict[str, str], allocatable: dict[str, str]) -> None:
        self.node.set_devices(capacity, allocatable)
        self._context.node.allocatable = self.node.allocatable
        self._health_changed()

    def _health_changed(self) -> None:
        """Of devices: the statuses of Pods that have some tell of it."""
        for uid in {*self.manager.devices.users(), *self.manager.claims.users()}:
            self.workers.wake(uid)

    async def _measure_disk(self) -> None:
        """After the node is Ready: the probe must not delay it. What the configuration says is not measured."""
        cache, directory, told = self.config.disk_speed_cache, self.config.data_dir, self.config.capacity
        if cache is None or told.keys() >= set(disk_speed.NAMES):
            return
        await self.node.registered.wait()
        try:
            found = await asyncio.to_thread(disk_speed.measured_once, cache, directory)
        except OSError as failed:
            log.warning("the disk behind %s cannot be measured: %s", directory, failed)
            return
        self.set_capacity({name: quantity.canonical(speed) for name, speed in found.items() if name not in told})

    def set_pressure(self, condition: str, pressed: bool, reason: str = "", message: str = "") -> None:
        """MemoryPressure, DiskPressure or PIDPressure begins or ends."""
        before = dict(self._pressure)
        if pressed:
            self._pressure[condition] = (reason, message)
        else:
            self._pressure.pop(condition, None)
        if before != self._pressure:
            self.node.changed()


def _apparmor_enabled() -> bool:
    try:
        return _APPARMOR.read_text().strip() == "Y"
    except OSError:
        return False
