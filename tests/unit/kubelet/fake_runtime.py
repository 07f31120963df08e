"""A ContainerRuntime and ImageService in memory. "Processes" are scripts: a container's command says what it does.

``["sleep", "N"]`` runs N seconds (fake or real, as the loop goes), ``["exit", "N"]`` ends at once with code N, or, with
"already" as third word, before anybody has seen it run; anything else runs until it is stopped. ``["ignore-term"]``
only ends on SIGKILL. Tests may also call :meth:`FakeRuntime.exit`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from podwright.client.clock import Clock, SystemClock
from podwright.kubelet.labels import POD_UID
from podwright.runtime.protocol import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStats,
    EventType,
    ExecResult,
    FilesystemUsage,
    Image,
    ImagePullFailure,
    NoSuchThing,
    RegistryAuth,
    Resources,
    RuntimeFailure,
    RuntimeVersion,
    Sandbox,
    SandboxConfig,
    SandboxState,
)

BUSYBOX = "docker.io/library/busybox:1.36"


class FakeRuntime:
    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.sandboxes: dict[str, Sandbox] = {}
        self.configs: dict[str, ContainerConfig] = {}
        self.sandbox_configs: dict[str, SandboxConfig] = {}
        self.containers: dict[str, Container] = {}
        self.calls: list[str] = []
        self.updates: list[tuple[str, Resources]] = []
        self.parents: dict[str, Resources] = {}
        self.fail: dict[str, RuntimeFailure] = {}
        """Method name (or "method:container name") → what it raises."""
        self.exec_results: dict[tuple[str, ...], ExecResult] = {}
        self.exec_seconds: dict[tuple[str, ...], float] = {}
        self.stop_order: list[str] = []
        self.start_order: list[str] = []
        self._ids = itertools.count(1)
        self._queues: list[asyncio.Queue[ContainerEvent]] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._gone: dict[str, asyncio.Event] = {}

    def _check(self, method: str, name: str = "") -> None:
        self.calls.append(f"{method}:{name}" if name else method)
        for key in (method, f"{method}:{name}"):
            if key in self.fail:
                raise self.fail[key]

    def _tell(self, kind: EventType, uid: str, sandbox: str, container: str = "") -> None:
        event = ContainerEvent(kind, container, sandbox, uid, self.clock.now())
        for queue in self._queues:
            queue.put_nowait(event)

    async def open(self) -> None:
        self._check("open")

    async def close(self) -> None:
        self.calls.append("close")

    async def version(self) -> RuntimeVersion:
        return RuntimeVersion("fake", "1.0")

    async def run_pod_sandbox(self, config: SandboxConfig) -> Sandbox:
        self._check("run_pod_sandbox", config.metadata.name)
        await asyncio.sleep(0)
        number = next(self._ids)
        sandbox = Sandbox(
            id=f"sandbox-{number}",
            metadata=config.metadata,
            state=SandboxState.READY,
            created_at=self.clock.now(),
            ips=[] if config.namespaces.network.value == "node" else [f"10.1.0.{number}"],
            netns=f"/run/netns/{number}",
            labels=dict(config.labels),
            annotations=dict(config.annotations),
            cgroup_parent=config.cgroup_parent,
            namespaces=config.namespaces,
        )
        self.sandboxes[sandbox.id] = sandbox
        self.sandbox_configs[sandbox.id] = config
        return sandbox

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        self._check("stop_pod_sandbox")
        sandbox = self.sandboxes.get(sandbox_id)
        if sandbox is None:
            return
        for container in list(self.containers.values()):
            if container.sandbox_id == sandbox_id and container.state is ContainerState.RUNNING:
                self.exit(container.id, 137, signal=9)
        self.sandboxes[sandbox_id] = replace(sandbox, state=SandboxState.NOTREADY)

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        self._check("remove_pod_sandbox")
        await self.stop_pod_sandbox(sandbox_id)
        for container in list(self.containers.values()):
            if container.sandbox_id == sandbox_id:
                del self.containers[container.id]
        self.sandboxes.pop(sandbox_id, None)

    async def pod_sandbox_status(self, sandbox_id: str) -> Sandbox:
        if sandbox_id not in self.sandboxes:
            raise NoSuchThing(sandbox_id)
        return self.sandboxes[sandbox_id]

    async def list_pod_sandboxes(self) -> Sequence[Sandbox]:
        self._check("list_pod_sandboxes")
        return list(self.sandboxes.values())

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        self._check("create_container", config.name)
        if self.sandboxes[sandbox_id].state is not SandboxState.READY:
            raise RuntimeFailure("sandbox is not ready")
        container_id = f"c{next(self._ids):04d}{config.name}"
        self.configs[container_id] = config
        self.containers[container_id] = Container(
            id=container_id,
            sandbox_id=sandbox_id,
            name=config.name,
            attempt=config.attempt,
            image=config.image,
            image_ref=f"{config.image}@sha256:{'0' * 64}",
            state=ContainerState.CREATED,
            created_at=self.clock.now(),
            labels=dict(config.labels),
            annotations=dict(config.annotations),
            log_path=sandbox.log_directory / config.log_path,
            mounts=config.mounts,
            resources=config.resources,
            stop_signal=config.stop_signal or "SIGTERM",
        )
        self._gone[container_id] = asyncio.Event()
        return container_id

    async def start_container(self, container_id: str) -> None:
        container = self._container(container_id)
        self._check("start_container", container.name)
        self.start_order.append(container.name)
        now = self.clock.now()
        self.containers[container_id] = replace(
            container, state=ContainerState.RUNNING, started_at=now, pid=1000 + next(self._ids)
        )
        self._tell(EventType.STARTED, container.labels[POD_UID], container.sandbox_id, container_id)
        config = self.configs[container_id]
        command = [*(config.command or ()), *(config.args or ())]
        loop = asyncio.get_running_loop()
        if command == ["exit", "0", "already"]:
            self.exit(container_id, 0)
        elif command[:1] == ["exit"]:
            self._timers[container_id] = loop.call_later(0.001, self.exit, container_id, int(command[1]))
        elif command[:1] == ["sleep"]:
            code = int(command[2]) if len(command) > 2 else 0
            self._timers[container_id] = loop.call_later(float(command[1]), self.exit, container_id, code)

    def exit(self, container_id: str, code: int, *, signal: int = 0, reason: str = "") -> None:
        """The container's process ends now."""
        container = self.containers.get(container_id)
        if container is None or container.state is not ContainerState.RUNNING:
            return
        timer = self._timers.pop(container_id, None)
        if timer is not None:
            timer.cancel()
        self.stop_order.append(container.name)
        self.containers[container_id] = replace(
            container,
            state=ContainerState.EXITED,
            finished_at=self.clock.now(),
            exit_code=code,
            signal=signal,
            reason=reason or ("Completed" if code == 0 else "Error"),
            pid=0,
        )
        self._gone[container_id].set()
        self._tell(EventType.STOPPED, container.labels[POD_UID], container.sandbox_id, container_id)

    def _container(self, container_id: str) -> Container:
        if container_id not in self.containers:
            raise NoSuchThing(container_id)
        return self.containers[container_id]

    async def stop_container(self, container_id: str, timeout: float) -> None:
        container = self._container(container_id)
        self._check("stop_container", container.name)
        self.calls.append(f"grace:{container.name}:{timeout:g}")
        if container.state is not ContainerState.RUNNING:
            return
        config = self.configs[container_id]
        if "ignore-term" not in [*(config.command or ())]:
            await asyncio.sleep(0.001)
            self.exit(container_id, 143, signal=15)
            return
        try:
            async with asyncio.timeout(timeout):
                await self._gone[container_id].wait()
        except TimeoutError:
            self.exit(container_id, 137, signal=9)

    async def kill_container(self, container_id: str, signal: int) -> None:
        self.exit(container_id, 128 + signal, signal=signal)

    async def remove_container(self, container_id: str) -> None:
        container = self.containers.get(container_id)
        if container is None:
            return
        self._check("remove_container", container.name)
        self.exit(container_id, 137, signal=9)
        del self.containers[container_id]
        self._tell(EventType.DELETED, container.labels[POD_UID], container.sandbox_id, container_id)

    async def container_status(self, container_id: str) -> Container:
        return self._container(container_id)

    async def list_containers(self) -> Sequence[Container]:
        return list(self.containers.values())

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        self._check("update_container_resources", self._container(container_id).name)
        self.updates.append((container_id, resources))
        self.containers[container_id] = replace(self._container(container_id), resources=resources)

    async def update_pod_resources(self, sandbox_id: str, resources: Resources) -> None:
        self._check("update_pod_resources")
        self.updates.append((sandbox_id, resources))

    async def update_parent_resources(self, cgroup_parent: str, resources: Resources) -> None:
        self.parents[cgroup_parent] = resources

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float) -> ExecResult:
        self._check("exec_sync", self._container(container_id).name)
        await asyncio.sleep(self.exec_seconds.get(tuple(command), 0))
        return self.exec_results.get(tuple(command), ExecResult(0, b"", b""))

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Any:
        raise RuntimeFailure("no streams here")

    async def attach(self, container_id: str) -> Any:
        raise RuntimeFailure("no streams here")

    async def port_forward(self, sandbox_id: str, port: int) -> tuple[Any, Any]:
        raise RuntimeFailure("no streams here")

    async def reopen_container_log(self, container_id: str) -> None:
        self._check("reopen_container_log")

    async def container_stats(self, container_id: str) -> ContainerStats:
        raise NoSuchThing(container_id)

    async def events(self) -> AsyncIterator[ContainerEvent]:
        queue: asyncio.Queue[ContainerEvent] = asyncio.Queue()
        self._queues.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.remove(queue)

    def named(self, name: str) -> list[Container]:
        """Containers of that name, the oldest first."""
        return sorted((c for c in self.containers.values() if c.name == name), key=lambda c: c.id)


class FakeImages:
    """Has busybox. `registry` is what can be pulled; `pull_failure` what a pull raises."""

    def __init__(self) -> None:
        self.local: dict[str, Image] = {}
        self.registry: set[str] = set()
        self.pulls: list[tuple[str, RegistryAuth | None]] = []
        self.pull_failure: ImagePullFailure | None = None
        self.pull_seconds = 0.0
        self.add(BUSYBOX)

    def add(self, reference: str, user: str = "") -> Image:
        image = Image(
            id=f"sha256:{hash(reference) & 0xFFFFFFFF:064x}",
            repo_tags=[reference],
            repo_digests=[f"{reference.rpartition(':')[0]}@sha256:{'1' * 64}"],
            size=1000,
            user=user,
        )
        self.local[reference] = self.local[image.id] = image
        return image

    async def list_images(self) -> Sequence[Image]:
        return list({i.id: i for i in self.local.values()}.values())

    async def image_status(self, reference: str) -> Image | None:
        return self.local.get(reference) or self.local.get(f"docker.io/library/{reference}")

    async def pull_image(self, reference: str, auth: RegistryAuth | None = None) -> str:
        self.pulls.append((reference, auth))
        await asyncio.sleep(self.pull_seconds)
        if reference not in self.registry:
            raise self.pull_failure or ImagePullFailure("manifest unknown", "ErrImagePull")
        return self.add(reference).id

    async def remove_image(self, reference: str) -> None:
        image = self.local.get(reference)
        if image is not None:
            self.local = {k: v for k, v in self.local.items() if v.id != image.id}

    async def filesystem_usage(self) -> FilesystemUsage:
        return FilesystemUsage(str(Path("/")), 1000, 10)
