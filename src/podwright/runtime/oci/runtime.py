"""The embedded runtime's front: every call of the protocol, handed to the part that does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from podwright.runtime import linux
from podwright.runtime.images.store import ImageStore
from podwright.runtime.oci import cgroups, conmon, engine, preparation
from podwright.runtime.oci.cgroups import ending
from podwright.runtime.oci.container import Containers
from podwright.runtime.oci.execution import exec_sync
from podwright.runtime.oci.host import Host
from podwright.runtime.oci.inotify import DirectoryWatch
from podwright.runtime.oci.paths import Paths
from podwright.runtime.oci.portforward import connect
from podwright.runtime.oci.records import SandboxRecord
from podwright.runtime.oci.sandbox import Sandboxes
from podwright.runtime.oci.sessions import AttachSession, open_exec
from podwright.runtime.oci.stats import Statistics
from podwright.runtime.oci.workers import Workers
from podwright.runtime.pod_network import PodNetwork
from podwright.runtime.protocol import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStats,
    DiskLimits,
    ExecResult,
    ExecSession,
    NoSuchThing,
    Resources,
    RuntimeFailure,
    RuntimeVersion,
    Sandbox,
    SandboxConfig,
)

_THREADS = 8


class OciRuntime:
    """Implements :class:`podwright.runtime.protocol.ContainerRuntime` with conmon, crun or runc, and overlayfs.

    `state_dir` survives a reboot, `run_dir` need not. `cgroup_root` is this node's own group below each controller's
    root. `runtime` is "auto", "crun" or "runc". Containers outlive this object and the process it is in; a later
    object with the same directories finds them again.
    """

    def __init__(
        self, *, cluster: str, node: str, state_dir: Path, run_dir: Path, images: ImageStore, network: PodNetwork,
        cgroup_root: str, runtime: str = "auto",
    ) -> None:
        self.cluster = cluster
        self.node = node
        self._paths = Paths(state_dir.absolute(), run_dir.absolute() / "runtime")
        self._images = images
        self._network = network
        self._cgroup_root = cgroup_root.rstrip("/")
        self._wanted = runtime
        self._host: Host | None = None

    @property
    def host(self) -> Host:
        if self._host is None:
            raise RuntimeError("the runtime is not open")
        return self._host

    async def open(self) -> None:
        await asyncio.to_thread(engine.prepare, self._paths)
        self._paths.make()
        groups = await asyncio.to_thread(cgroups.detect)
        await asyncio.to_thread(groups.create, f"{self._cgroup_root}/conmon")
        chosen = await asyncio.to_thread(engine.choose, self._wanted, self._paths, self._cgroup_root)
        self._host = Host(
            paths=self._paths,
            engine=chosen,
            workers=Workers(
                size=_THREADS, mount_namespace=chosen.mount_namespace, cgroups=groups,
                cgroup=f"{self._cgroup_root}/conmon",
            ),
            cgroups=groups,
            cgroup_root=self._cgroup_root,
            images=self._images,
            network=self._network,
            boot=linux.boot_id(),
        )
        self._sandboxes = Sandboxes(self._host)
        self._containers = Containers(self._host, self._sandboxes.records)
        self._statistics = Statistics(self._host)
        self._sandboxes.recover()
        # The watch stands before the exit files are looked at: none can fall between.
        self._watch = DirectoryWatch(
            self._paths.exits, self._containers.exit_file_appeared, self._look_at_exits
        )
        self._containers.recover()
        await self._containers.resume()
        await self._network.open()
        await self._network.retain([r.id for r in self._sandboxes.records.values() if r.ready])

    def _look_at_exits(self) -> None:
        for path in self._paths.exits.iterdir():
            self._containers.exit_file_appeared(path.name)

    async def close(self) -> None:
        if self._host is None:
            return
        self._watch.close()
        await self._containers.close()
        await self._network.close()
        await asyncio.to_thread(self._host.workers.close)
        self._host = None

    async def destroy(self) -> None:
        """Kills and removes everything that the runtime ever made here, its mounts and control groups, and closes.
        What `cluster down` calls after the kubelet is gone."""
        for sandbox in list(self._sandboxes.records):
            await self.remove_pod_sandbox(sandbox)
        host = self.host
        await self._network.destroy()
        await self.close()
        await asyncio.to_thread(engine.release, self._paths)
        await asyncio.to_thread(_remove_group, host.cgroups, self._cgroup_root)

    async def version(self) -> RuntimeVersion:
        return RuntimeVersion(self.host.engine.name, self.host.engine.version, ("", self.host.engine.name))

    # -- sandboxes

    async def run_pod_sandbox(self, config: SandboxConfig) -> Sandbox:
        handler = config.runtime_handler
        if handler not in ("", self.host.engine.name):
            raise RuntimeFailure(f'failed to get sandbox runtime: no runtime for "{handler}" is configured')
        record = await self._sandboxes.run(config, self._containers)
        return record.public()

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        try:
            record = self._sandboxes.get(sandbox_id)
        except NoSuchThing:
            return
        await self._stop_containers(record)
        await self._sandboxes.release(record)

    async def _stop_containers(self, sandbox: SandboxRecord) -> None:
        running = [r for r in self._containers.of_sandbox(sandbox.id) if r.state == ContainerState.RUNNING]
        async with asyncio.TaskGroup() as group:
            for record in running:
                group.create_task(self._containers.stop(record.id, 0))

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        try:
            record = self._sandboxes.get(sandbox_id)
        except NoSuchThing:
            return
        await self.stop_pod_sandbox(record.id)
        async with asyncio.TaskGroup() as group:
            for container in self._containers.of_sandbox(record.id):
                group.create_task(self._containers.remove(container.id))
        await self._sandboxes.forget(record)

    async def pod_sandbox_status(self, sandbox_id: str) -> Sandbox:
        return self._sandboxes.get(sandbox_id).public()

    async def list_pod_sandboxes(self) -> Sequence[Sandbox]:
        return [record.public() for record in self._sandboxes.records.values()]

    # -- containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        record = self._sandboxes.get(sandbox_id)
        container_id = await self._containers.create(record, config, sandbox)
        if record.disk != DiskLimits():
            limits = Resources(disk=record.disk)
            devices = preparation.devices_behind(self.host, self._containers.get(container_id))
            await self.host.workers.run(self.host.cgroups.apply, record.config.cgroup_parent, limits, devices)
        return container_id

    async def start_container(self, container_id: str) -> None:
        await self._containers.start(container_id)

    async def stop_container(self, container_id: str, timeout: float) -> None:
        await self._containers.stop(container_id, timeout)

    async def kill_container(self, container_id: str, signal: int) -> None:
        await self._containers.kill(container_id, signal)

    async def remove_container(self, container_id: str) -> None:
        await self._containers.remove(container_id)

    async def container_status(self, container_id: str) -> Container:
        return self._containers.get(container_id).public()

    async def list_containers(self) -> Sequence[Container]:
        return [record.public() for record in self._containers.listed()]

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float) -> ExecResult:
        return await exec_sync(self.host, self._containers.get(container_id), command, timeout)

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> ExecSession:
        return await open_exec(self.host, self._containers.get(container_id), command, stdin=stdin, tty=tty)

    async def attach(self, container_id: str) -> ExecSession:
        record = self._containers.get(container_id)
        return await AttachSession.open(self.host, record, lambda: self._containers.wait(record.id))

    async def port_forward(self, sandbox_id: str, port: int) -> tuple[Any, Any]:
        return await connect(self._sandboxes.get(sandbox_id), port)

    # -- resources

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        await self._containers.update(container_id, resources)

    async def update_pod_resources(self, sandbox_id: str, resources: Resources) -> None:
        record = self._sandboxes.get(sandbox_id)
        devices = dict.fromkeys(cgroups.interface.block_devices([self._paths.state]))
        for container in self._containers.listed():
            if container.sandbox_id == record.id:
                devices |= dict.fromkeys(preparation.devices_behind(self.host, container))
        try:
            await self.host.workers.run(self.host.cgroups.apply, record.config.cgroup_parent, resources, list(devices))
            await self._sandboxes.limited(record, resources)
        except OSError as error:
            raise RuntimeFailure(f'cannot set the limits of sandbox "{record.id}": {error}') from error

    async def update_parent_resources(self, cgroup_parent: str, resources: Resources) -> None:
        def apply() -> None:
            self.host.cgroups.create(cgroup_parent)
            self.host.cgroups.apply(cgroup_parent, resources)

        try:
            await self.host.workers.run(apply)
        except OSError as error:
            raise RuntimeFailure(f'cannot set the limits of group "{cgroup_parent}": {error}') from error

    async def reopen_container_log(self, container_id: str) -> None:
        record = self._containers.get(container_id)
        if record.state != ContainerState.RUNNING:
            raise RuntimeFailure(f'container "{record.id}" is not running')
        try:
            await self.host.workers.run(conmon.reopen_log, self._paths, record.id)
        except OSError as error:
            raise RuntimeFailure(f'cannot reopen the log of container "{record.id}": {error}') from error

    async def container_stats(self, container_id: str) -> ContainerStats:
        return await self._statistics.of(self._containers.get(container_id))

    def events(self) -> AsyncIterator[ContainerEvent]:
        return self._events()

    async def _events(self) -> AsyncIterator[ContainerEvent]:
        queue = self.host.events
        while True:
            yield await queue.get()


def _remove_group(groups: cgroups.Cgroups, path: str) -> None:
    """With those above it that are empty then: the cluster's, ours."""
    ending.remove_when_empty(groups, path)  # the last conmon is on its way out
    while (path := path.rpartition("/")[0]).strip("/"):
        groups.remove(path, below=False)
