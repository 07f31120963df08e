"""Containers over a CRI socket. What CRI has no words for (disk limits, numbers of processes, a Pod's own limits) is
set in the control groups directly: the runtime is on the same machine, as CRI demands."""

from __future__ import annotations

import asyncio
import base64
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from podwright.api.objects import Object
from podwright.runtime.cri import answers, requests
from podwright.runtime.cri.answers import CGROUP_PARENT, OWNER
from podwright.runtime.cri.calls import IMAGES, Calls, NoAnswer
from podwright.runtime.cri.changes import Changes
from podwright.runtime.cri.streams import Session
from podwright.runtime.oci import cgroups
from podwright.runtime.oci.portforward import dial
from podwright.runtime.protocol import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStats,
    DiskLimits,
    ExecResult,
    ExecSession,
    NamespaceMode,
    NoSuchThing,
    Resources,
    RuntimeFailure,
    RuntimeVersion,
    Sandbox,
    SandboxConfig,
)

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_CALL_SECONDS = 120.0
_EXEC_MARGIN = 1.0
_ENDLESS = 365 * 86400.0
_TOGETHER = 16


class CriRuntime:
    """Implements :class:`podwright.runtime.protocol.ContainerRuntime`. Only what carries `owner` in a label is seen:
    the socket may serve others too."""

    def __init__(self, socket: Path, *, owner: str) -> None:
        self._call = Calls(socket)
        self._labels = {OWNER: owner}
        self._changes = Changes(self._call, self._labels)
        self._beyond: dict[str, Resources] = {}
        """Container → the limits that CRI could not carry, until it has started and so has a control group."""

    async def open(self) -> None:
        try:
            await self.version()
            self._groups = await asyncio.to_thread(cgroups.detect)
            status = await self._call("Status")
        except TimeoutError as late:
            raise RuntimeFailure(str(late)) from late
        for condition in (status.get("status") or {}).get("conditions") or ():
            if not condition.get("status"):
                log.warning("runtime at %s: %s: %s", self._call.socket, condition["type"], condition.get("message", ""))
        await self._changes.open()

    async def close(self) -> None:
        await self._changes.close()
        self._call.close()

    async def destroy(self) -> None:
        """Kills and removes everything of this owner, and closes."""
        for sandbox in await self._sandbox_ids():
            await self.remove_pod_sandbox(sandbox)
        await self.close()

    async def version(self) -> RuntimeVersion:
        found = await self._call("Version")
        return RuntimeVersion(found.get("runtime_name", ""), found.get("runtime_version", ""))

    # -- sandboxes

    async def run_pod_sandbox(self, config: SandboxConfig) -> Sandbox:
        await asyncio.to_thread(self._groups.create, config.cgroup_parent)
        config.log_directory.mkdir(parents=True, exist_ok=True)
        made = requests.sandbox(config, self._labels, {CGROUP_PARENT: config.cgroup_parent})
        request = {"config": made, "runtime_handler": config.runtime_handler}
        answer = await self._told(self._call("RunPodSandbox", request))
        return await self.pod_sandbox_status(answer["pod_sandbox_id"])

    async def stop_pod_sandbox(self, sandbox_id: str) -> None:
        await self._gone(self._call("StopPodSandbox", {"pod_sandbox_id": sandbox_id}))

    async def remove_pod_sandbox(self, sandbox_id: str) -> None:
        try:
            parent = (await self.pod_sandbox_status(sandbox_id)).cgroup_parent
        except NoSuchThing:
            return
        await self.stop_pod_sandbox(sandbox_id)
        await self._gone(self._call("RemovePodSandbox", {"pod_sandbox_id": sandbox_id}))
        if parent:
            await asyncio.to_thread(self._groups.remove, parent)

    async def pod_sandbox_status(self, sandbox_id: str) -> Sandbox:
        request = {"pod_sandbox_id": sandbox_id, "verbose": True}
        return answers.sandbox(await self._told(self._call("PodSandboxStatus", request)))

    async def list_pod_sandboxes(self) -> Sequence[Sandbox]:
        return await _existing(self.pod_sandbox_status, await self._sandbox_ids())

    async def _sandbox_ids(self) -> list[str]:
        found = await self._told(self._call("ListPodSandbox", {"filter": {"label_selector": self._labels}}))
        return [item["id"] for item in found.get("items") or ()]

    # -- containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        if config.log_path:
            (sandbox.log_directory / config.log_path).parent.mkdir(parents=True, exist_ok=True)
        made = requests.container(config, self._labels, unified=self._groups.version == 2)
        request: Object = {
            "pod_sandbox_id": sandbox_id, "config": made,
            "sandbox_config": requests.sandbox(sandbox, self._labels, {CGROUP_PARENT: sandbox.cgroup_parent}),
        }
        container_id = str((await self._told(self._call("CreateContainer", request)))["container_id"])
        beyond = Resources(disk=config.resources.disk, pids_limit=config.resources.pids_limit)
        if beyond != Resources():
            self._beyond[container_id] = beyond
        await self._changes.look()
        return container_id

    async def start_container(self, container_id: str) -> None:
        try:
            await self._told(self._call("StartContainer", {"container_id": container_id}))
        except NoSuchThing:
            raise
        except RuntimeFailure as failed:
            self._beyond.pop(container_id, None)
            await self._changes.look()
            raise RuntimeFailure(str(failed), "RunContainerError") from failed
        await self._changes.look()
        beyond = self._beyond.pop(container_id, None)
        if beyond is not None:
            await self._limit((await self.container_status(container_id)).cgroup, beyond)

    async def _limit(self, group: str, limits: Resources) -> None:
        devices = [] if limits.disk == DiskLimits() else await self._devices()
        try:
            await asyncio.to_thread(self._groups.apply, group, limits, devices)
        except OSError as error:
            raise RuntimeFailure(f'cannot set the limits of group "{group}": {error}') from error

    async def _devices(self) -> list[str]:
        """The disks behind the runtime's filesystems."""
        usage = await self._told(self._call("ImageFsInfo", service=IMAGES))
        places = [(f.get("fs_id") or {}).get("mountpoint") for f in usage.get("image_filesystems") or ()]
        return await asyncio.to_thread(cgroups.interface.block_devices, [Path(p) for p in places if p])

    async def stop_container(self, container_id: str, timeout: float) -> None:
        seconds = math.ceil(timeout)
        request = {"container_id": container_id, "timeout": seconds}
        await self._gone(self._call("StopContainer", request, timeout=seconds + _CALL_SECONDS))

    async def kill_container(self, container_id: str, signal: int) -> None:
        pid = (await self.container_status(container_id)).pid
        if not pid:
            raise RuntimeFailure(f'container "{container_id}" is not running')
        try:
            os.kill(pid, signal)
        except ProcessLookupError:
            return

    async def remove_container(self, container_id: str) -> None:
        await self._gone(self._call("RemoveContainer", {"container_id": container_id}))
        await self._changes.look()

    async def container_status(self, container_id: str) -> Container:
        request = {"container_id": container_id, "verbose": True}
        answer = await self._told(self._call("ContainerStatus", request))
        return answers.container(answer, await self._changes.sandbox_of(container_id))

    async def list_containers(self) -> Sequence[Container]:
        return await _existing(self.container_status, await self._changes.look())

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float) -> ExecResult:
        seconds = math.ceil(timeout)
        request = {"container_id": container_id, "cmd": list(command), "timeout": seconds}
        try:
            answer = await self._call("ExecSync", request, timeout=(seconds or _ENDLESS) + _EXEC_MARGIN)
        except RuntimeFailure as failed:
            # containerd tells of its own deadline as of any other failure, and not before the last child of the
            # command has let go of its output.
            if seconds and (isinstance(failed, NoAnswer) or "exceeded" in str(failed)):
                raise TimeoutError(str(failed)) from failed
            raise
        out, err = (base64.b64decode(answer.get(name, "")) for name in ("stdout", "stderr"))
        return ExecResult(answer.get("exit_code", 0), out, err)

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> ExecSession:
        request = {
            "container_id": container_id, "cmd": list(command), "tty": tty, "stdin": stdin, "stdout": True,
            "stderr": not tty,
        }  # fmt: skip
        answer = await self._told(self._call("Exec", request))
        return await Session.open(answer["url"], stdin=stdin, tty=tty)

    async def attach(self, container_id: str) -> ExecSession:
        told = answers.info(
            await self._told(self._call("ContainerStatus", {"container_id": container_id, "verbose": True}))
        )
        config, process = told.get("config") or {}, (told.get("runtimeSpec") or {}).get("process") or {}
        tty, stdin = bool(process.get("terminal")), bool(config.get("stdin", True))
        request = {
            "container_id": container_id, "tty": tty, "stdin": stdin, "stdout": True, "stderr": not tty,
        }  # fmt: skip
        answer = await self._told(self._call("Attach", request))

        async def ended() -> int:
            await self._changes.exited(container_id)
            return (await self.container_status(container_id)).exit_code

        # The runtime closes the stdin of a container that takes one client only; any other outlives its clients.
        detaches = tty or not config.get("stdin_once")
        return await Session.open(answer["url"], stdin=stdin, tty=tty, ended=ended, detaches=detaches)

    async def port_forward(self, sandbox_id: str, port: int) -> tuple[Any, Any]:
        sandbox = await self.pod_sandbox_status(sandbox_id)
        if not sandbox.netns and sandbox.namespaces.network != NamespaceMode.NODE:
            raise RuntimeFailure(f'the runtime does not tell the network namespace of sandbox "{sandbox_id}"')
        return await dial(sandbox.netns, port, sandbox_id)

    # -- resources

    async def update_container_resources(self, container_id: str, resources: Resources) -> None:
        limits = requests.resources(resources, unified=self._groups.version == 2)
        await self._told(self._call("UpdateContainerResources", {"container_id": container_id, "linux": limits}))
        beyond = Resources(disk=resources.disk, pids_limit=resources.pids_limit)
        if beyond != Resources():
            await self._limit((await self.container_status(container_id)).cgroup, beyond)

    async def update_pod_resources(self, sandbox_id: str, resources: Resources) -> None:
        sandbox = await self.pod_sandbox_status(sandbox_id)
        await self._limit(sandbox.cgroup_parent, resources)

    async def update_parent_resources(self, cgroup_parent: str, resources: Resources) -> None:
        await asyncio.to_thread(self._groups.create, cgroup_parent)
        await self._limit(cgroup_parent, resources)

    async def reopen_container_log(self, container_id: str) -> None:
        await self._told(self._call("ReopenContainerLog", {"container_id": container_id}))

    async def container_stats(self, container_id: str) -> ContainerStats:
        status = await self.container_status(container_id)
        if status.state != ContainerState.RUNNING:
            raise RuntimeFailure(f'container "{container_id}" is not running')
        usage = await asyncio.to_thread(self._groups.usage, status.cgroup)
        answer = await self._told(self._call("ContainerStats", {"container_id": container_id}))
        layer = (answer.get("stats") or {}).get("writable_layer") or {}
        size, inodes = ((layer.get(field) or {}).get("value", 0) for field in ("used_bytes", "inodes_used"))
        return replace(
            usage, container_id=container_id, name=status.name, at=time.time(), rootfs_bytes=size, rootfs_inodes=inodes
        )

    def events(self) -> AsyncIterator[ContainerEvent]:
        return self._changes.events()

    @staticmethod
    async def _told(call: Awaitable[Object]) -> Object:
        """A deadline of the runtime's own is a failure like any other."""
        try:
            return await call
        except TimeoutError as late:
            raise RuntimeFailure(str(late)) from late

    async def _gone(self, call: Awaitable[Object]) -> None:
        try:
            await self._told(call)
        except NoSuchThing:
            return


async def _existing(status: Callable[[str], Awaitable[_T]], ids: Sequence[str]) -> list[_T]:
    """Of those that are still there."""
    slots = asyncio.Semaphore(_TOGETHER)

    async def one(identity: str) -> _T | None:
        async with slots:
            try:
                return await status(identity)
            except NoSuchThing:
                return None

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(identity)) for identity in ids]
    return [found for task in tasks if (found := task.result()) is not None]
