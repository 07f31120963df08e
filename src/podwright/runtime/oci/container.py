"""The life of containers: created, started, exited, removed; found again after a restart of ours."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal as signals
import time
from collections.abc import Sequence
from pathlib import Path

from podwright.runtime import linux
from podwright.runtime.oci import conmon, leftovers, preparation, reaper, records, recovery
from podwright.runtime.oci.cgroups import ending
from podwright.runtime.oci.host import Host, new_id
from podwright.runtime.oci.launching import explain, start_created
from podwright.runtime.oci.records import ContainerRecord, SandboxRecord
from podwright.runtime.oci.signal_names import signal_number
from podwright.runtime.protocol import (
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    DiskLimits,
    EventType,
    NamespaceMode,
    NoSuchThing,
    Resources,
    RuntimeFailure,
    SandboxConfig,
)

_CANNOT_START = 128
_EASY_DEATH = 0.1
"""Seconds in which a container dies of one SIGKILL if nothing holds it back."""


class Containers:
    """All containers of the node, by id. `sandboxes` gives the records of the sandboxes they are in."""

    def __init__(self, host: Host, sandboxes: dict[str, SandboxRecord]) -> None:
        self._host = host
        self._sandboxes = sandboxes
        self.records: dict[str, ContainerRecord] = {}
        self._exited: dict[str, asyncio.Event] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._starting: set[str] = set()
        self._conmon_fds: dict[str, int] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._unstarted: list[ContainerRecord] = []

    # -- finding

    def get(self, container_id: str) -> ContainerRecord:
        """By id or by an unambiguous beginning of one. Raises NoSuchThing."""
        return records.by_id(self.records, container_id, "container")

    def of_sandbox(self, sandbox_id: str) -> list[ContainerRecord]:
        return [r for r in self.records.values() if r.sandbox_id == sandbox_id]

    # -- creating

    async def create(self, sandbox: SandboxRecord, config: ContainerConfig, sandbox_config: SandboxConfig) -> str:
        if not sandbox.ready:
            raise RuntimeFailure(f'sandbox "{sandbox.id}" is not ready', "CreateContainerError")
        image = self._host.images.status(config.image)
        if image is None:
            raise RuntimeFailure(f'image "{config.image}" is not present', "CreateContainerError")
        container_id = new_id()
        target = self._pid_target(sandbox, config)
        record = ContainerRecord(
            id=container_id,
            sandbox_id=sandbox.id,
            config=config,
            image_id=image.id,
            image_ref=image.repo_digests[0] if image.repo_digests else image.id,
            boot=self._host.boot,
            created_at=time.time(),
            cgroup=f"{sandbox.config.cgroup_parent}/{container_id}",
            log_path=sandbox.config.log_directory / config.log_path if config.log_path else Path("/dev/null"),
            stop_signal=config.stop_signal or str(image.config.get("StopSignal") or "") or "SIGTERM",
            user=(0, 0, ()),
            resources=config.resources,
            shares_pids=bool(target) or config.security.namespaces.pid == NamespaceMode.NODE,
        )
        signal_number(record.stop_signal)
        await self._host.workers.run(
            preparation.prepare, self._host, record, sandbox, sandbox_config, target.pid if target else 0
        )
        self.add(record)
        self._emit(EventType.CREATED, record)
        return container_id

    async def start_reaper(self, sandbox: SandboxRecord) -> None:
        """Gives the sandbox the process that holds its shared PID namespace."""
        record = await self._host.workers.run(reaper.prepare, self._host, sandbox)
        self.add(record)
        sandbox.init_container = record.id
        await self.start(record.id)

    def add(self, record: ContainerRecord) -> None:
        self.records[record.id] = record
        self._exited[record.id] = asyncio.Event()
        self._locks[record.id] = asyncio.Lock()

    def _pid_target(self, sandbox: SandboxRecord, config: ContainerConfig) -> ContainerRecord | None:
        """The container whose PID namespace the new one joins."""
        options = config.security.namespaces
        if options.pid == NamespaceMode.TARGET:
            target = self.get(options.target_id)
            if target.state != ContainerState.RUNNING:
                raise RuntimeFailure(f'target container "{options.target_id}" is not running', "CreateContainerError")
            return target
        if options.pid == NamespaceMode.POD and sandbox.init_container:
            return self.get(sandbox.init_container)
        return None

    # -- starting

    async def start(self, container_id: str) -> None:
        record = self.get(container_id)
        async with self._locks[record.id]:
            if record.state != ContainerState.CREATED:
                raise RuntimeFailure(f'container "{record.id}" is in state {record.state.value}, not created')
            self._starting.add(record.id)
            try:
                await self._host.workers.run(self._start, record)
            except conmon.CannotLaunch as error:
                reason, message = explain(str(error), record)
                record.state = ContainerState.EXITED
                record.started_at = 0.0
                record.finished_at = time.time()
                record.exit_code, record.reason, record.message = _CANNOT_START, "StartError", message
                await self._host.workers.run(self._bury, record)
                self._exited[record.id].set()
                self._emit(EventType.STOPPED, record)
                raise RuntimeFailure(message, reason) from None
            finally:
                self._starting.discard(record.id)
            self._watch_conmon(record)
            self._emit(EventType.STARTED, record)
        if (self._host.paths.exits / record.id).exists():
            self.exit_file_appeared(record.id)

    def _start(self, record: ContainerRecord) -> None:
        """Blocks. The record is saved before the process runs, so that no restart of ours can forget it."""
        host = self._host
        if (host.paths.oci / record.id).exists():  # left by a process of ours that died at this very point
            recovery.undo_launch(host, record)
        preparation.make_working_directory(host, record)
        with leftovers.launching(host.paths, record.id):
            conmon.launch(host.engine, host.paths, record)
            if host.cgroups.version == 2:
                host.cgroups.adopt(f"{host.cgroup_root}/conmon", record.conmon_pid)
            record.started_at = time.time()
            record.state = ContainerState.RUNNING
            records.save(host.paths.running_record(record.id), record)
            start_created(host.engine, host.paths, record.id)

    def _watch_conmon(self, record: ContainerRecord) -> None:
        """conmon may be killed by somebody: then no exit file will ever come."""
        if not preparation.alive(record.conmon_pid, record.conmon_start):
            self._conmon_died(record.id)
            return
        try:
            fd = os.pidfd_open(record.conmon_pid)
        except ProcessLookupError:
            self._conmon_died(record.id)
            return
        self._conmon_fds[record.id] = fd
        asyncio.get_running_loop().add_reader(fd, self._conmon_died, record.id)

    def _conmon_died(self, container_id: str) -> None:
        self._forget_conmon(container_id)
        record = self.records.get(container_id)
        if record is not None and record.state == ContainerState.RUNNING:
            self._end(record)

    def _forget_conmon(self, container_id: str) -> None:
        fd = self._conmon_fds.pop(container_id, -1)
        if fd >= 0:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)

    # -- ending

    def exit_file_appeared(self, container_id: str) -> None:
        record = self.records.get(container_id)
        if record is None or container_id in self._starting or record.state != ContainerState.RUNNING:
            return
        self._end(record)

    def _end(self, record: ContainerRecord) -> None:
        """The container's process is gone: the state changes at once, the clearing up follows in a thread."""
        record.state = ContainerState.EXITED
        self._read_exit(record)
        burial = self._host.workers.run(self._bury, record)
        task = asyncio.get_running_loop().create_task(burial, name=f"exit of {record.id[:12]}")
        self._endings[record.id] = task
        task.add_done_callback(lambda _: self._endings.pop(record.id, None))
        self._exited[record.id].set()
        self._emit(EventType.STOPPED, record)

    def _read_exit(self, record: ContainerRecord) -> None:
        paths = self._host.paths
        for path in (paths.exits / record.id, paths.persist(record.id) / "exit"):
            try:
                record.exit_code = int(path.read_text() or recovery.LOST)
                record.finished_at = max(path.stat().st_mtime, record.started_at)
                break
            except (FileNotFoundError, ValueError):
                continue
        else:
            record.exit_code, record.finished_at = recovery.LOST, time.time()
            record.message = "the process that held the container was lost, and its exit code with it"
            record.reason = "Error"
            return
        if self._was_oom_killed(record):
            record.reason = "OOMKilled"
        else:
            record.reason = "Completed" if record.exit_code == 0 else "Error"

    def _was_oom_killed(self, record: ContainerRecord) -> bool:
        if (self._host.paths.persist(record.id) / "oom").exists():
            return True
        return record.boot == self._host.boot and self._host.cgroups.oom_kills(record.cgroup) > 0

    def _bury(self, record: ContainerRecord) -> None:
        """Blocks. Saves how it ended, then lets go of what an exited container does not need."""
        host = self._host
        records.save(host.paths.container_record(record.id), record)
        if record.boot == host.boot:
            if record.shares_pids or record.exit_code == recovery.LOST:
                ending.kill_all(host.cgroups, record.cgroup)
            # Version 1 would give the Pod no less than a group below it has, though nobody is in that any more.
            host.cgroups.remove(record.cgroup)
        preparation.unmount(host, record.id)

    async def update(self, container_id: str, resources: Resources) -> None:
        """Changes limits of a container in its life; what is 0 in `resources` stays as it is."""
        record = self.get(container_id)
        async with self._locks[record.id]:
            try:
                await self._host.workers.run(self._update, record, resources)
            except (OSError, ValueError) as error:
                raise RuntimeFailure(f'cannot set the limits of container "{record.id}": {error}') from error

    def _update(self, record: ContainerRecord, resources: Resources) -> None:
        host = self._host
        merged = merge(record.resources, resources)
        if record.state == ContainerState.CREATED:
            preparation.rewrite_resources(host, record, merged)
        elif record.state == ContainerState.RUNNING:
            host.cgroups.apply(record.cgroup, resources, preparation.devices_behind(host, record))
        record.resources = merged
        running = record.state == ContainerState.RUNNING
        records.save((host.paths.running_record if running else host.paths.container_record)(record.id), record)

    async def wait(self, container_id: str) -> int:
        """The exit code, once there is one."""
        record = self.get(container_id)
        await self._exited[record.id].wait()
        return record.exit_code

    async def kill(self, container_id: str, signal: int) -> None:
        record = self.get(container_id)
        if record.state != ContainerState.RUNNING:
            return
        try:
            fd = os.pidfd_open(record.pid)
        except ProcessLookupError:
            return
        try:
            if linux.process_start(record.pid) == record.pid_start:
                signals.pidfd_send_signal(fd, signal)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)

    async def stop(self, container_id: str, timeout: float) -> None:
        record = self.get(container_id)
        if record.state != ContainerState.RUNNING:
            return
        if timeout > 0:
            await self.kill(record.id, signal_number(record.stop_signal))
            if await self._dies_within(record, timeout):
                return
        await self.kill(record.id, signals.SIGKILL)
        if not await self._dies_within(record, _EASY_DEATH):
            await self._exterminate(record)

    async def _dies_within(self, record: ContainerRecord, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._exited[record.id].wait()
        except TimeoutError:
            return False
        return True

    async def _exterminate(self, record: ContainerRecord) -> None:
        """Many processes under a CPU quota take turns to die: it is lifted for that time, of the Pod too."""
        host, sandbox = self._host, self._sandboxes[record.sandbox_id]
        quotas = {sandbox.config.cgroup_parent: sandbox.cpu_quota} if sandbox.cpu_quota > 0 else {}
        try:
            await host.workers.run(ending.set_quotas, host.cgroups, dict.fromkeys((*quotas, record.cgroup), -1))
            await host.workers.run(ending.kill_all, host.cgroups, record.cgroup)
            if not await self._dies_within(record, ending.KILL_TIMEOUT):
                raise RuntimeFailure(f'container "{record.id}" does not die')
        finally:
            await host.workers.run(ending.set_quotas, host.cgroups, quotas)

    async def remove(self, container_id: str) -> None:
        try:
            record = self.get(container_id)
        except NoSuchThing:
            return
        async with self._locks[record.id]:
            await self.stop(record.id, 0)
            if (burial := self._endings.get(record.id)) is not None:
                await asyncio.wait([burial])
            await self._host.workers.run(self._delete, record)
            self._forget_conmon(record.id)
            self.records.pop(record.id, None)
            self._exited.pop(record.id, None)
            self._emit(EventType.DELETED, record)
        self._locks.pop(record.id, None)

    def _delete(self, record: ContainerRecord) -> None:
        host = self._host
        if record.boot == host.boot and host.cgroups.exists(record.cgroup):
            if not host.cgroups.remove(record.cgroup):
                ending.kill_all(host.cgroups, record.cgroup)
                ending.remove_when_empty(host.cgroups, record.cgroup)
        preparation.discard(host, record.id)

    # -- after a restart of ours

    def recover(self) -> None:
        """Finds all containers on disk. Blocks for a moment; call it before anything else."""
        for container_id, record in recovery.find(self._host).items():
            if record is None or record.sandbox_id not in self._sandboxes:
                recovery.delete_orphan(self._host, container_id, record)
                continue
            self.add(record)
            if record.state == ContainerState.CREATED:
                recovery.settle_created(self._host, record)
            if record.state == ContainerState.RUNNING:
                self._recover_running(record)
            if record.state == ContainerState.EXITED:
                self._exited[record.id].set()
                preparation.unmount(self._host, record.id)  # we may have died between the note of its end and this

    async def resume(self) -> None:
        """After :meth:`recover`: starts what was noted as running by a process that died just before it started it."""
        for record in self._unstarted:
            await self._host.workers.run(start_created, self._host.engine, self._host.paths, record.id)
        self._unstarted.clear()

    def _recover_running(self, record: ContainerRecord) -> None:
        paths = self._host.paths
        over = record.boot != self._host.boot or (paths.exits / record.id).exists()
        if not over:
            if recovery.fifo(paths, record.id).exists() and preparation.alive(record.pid, record.pid_start):
                self._unstarted.append(record)
            self._watch_conmon(record)
        else:
            self._end(record)

    async def settle(self) -> None:
        """Waits until what began at exits is done."""
        if self._endings:
            await asyncio.wait(list(self._endings.values()))

    async def close(self) -> None:
        for container_id in list(self._conmon_fds):
            self._forget_conmon(container_id)
        await self.settle()

    def _emit(self, kind: EventType, record: ContainerRecord) -> None:
        sandbox = self._sandboxes.get(record.sandbox_id)
        if record.hidden:
            if kind == EventType.STOPPED and sandbox is not None and sandbox.ready:
                sandbox.ready = False  # its PID namespace is gone, and with it every process
                self._host.emit(
                    ContainerEvent(kind, "", sandbox.id, sandbox.config.metadata.uid, record.finished_at)
                )
            return
        uid = sandbox.config.metadata.uid if sandbox is not None else ""
        at = {EventType.STARTED: record.started_at, EventType.STOPPED: record.finished_at}.get(kind, time.time())
        self._host.emit(ContainerEvent(kind, record.id, record.sandbox_id, uid, at))

    def listed(self) -> Sequence[ContainerRecord]:
        return [r for r in self.records.values() if not r.hidden]


def merge(old: Resources, new: Resources) -> Resources:
    """`old` with what `new` sets."""
    changes = {f.name: getattr(new, f.name) for f in dataclasses.fields(new) if getattr(new, f.name)}
    if new.disk == DiskLimits():
        changes.pop("disk", None)
    return dataclasses.replace(old, **changes)
