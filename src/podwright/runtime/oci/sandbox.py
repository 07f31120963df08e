"""The life of sandboxes: namespaces, shared memory, network, control group."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Protocol

from podwright.runtime import linux
from podwright.runtime.oci import namespaces, records, rootfs, user_namespaces
from podwright.runtime.oci.host import Host, new_id
from podwright.runtime.oci.records import SandboxRecord
from podwright.runtime.protocol import (
    DnsConfig,
    NamespaceMode,
    Resources,
    RuntimeFailure,
    SandboxConfig,
)

_PINNED = ("net", "ipc", "uts")


class Reapers(Protocol):
    """Who can give a sandbox the process that holds its shared PID namespace, and take it away again."""

    async def start_reaper(self, sandbox: SandboxRecord) -> None: ...

    async def remove(self, container_id: str) -> None: ...


class Sandboxes:
    """All sandboxes of the node, by id."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.records: dict[str, SandboxRecord] = {}

    def get(self, sandbox_id: str) -> SandboxRecord:
        return records.by_id(self.records, sandbox_id, "sandbox")

    async def run(self, config: SandboxConfig, reapers: Reapers) -> SandboxRecord:
        """`reapers` is asked for one if the Pod's containers share their processes. Raises RuntimeFailure; nothing is
        left then."""
        host = self._host
        if not config.cgroup_parent:
            raise RuntimeFailure("the sandbox has no cgroup parent")
        record = SandboxRecord(new_id(), config, time.time(), host.boot)
        own_network = config.namespaces.network == NamespaceMode.POD
        if own_network:
            record.netns = str(host.paths.namespace(record.id, "net"))
        try:
            await host.workers.run(self._make, record)
            if own_network:
                record.ips = tuple(
                    await host.network.setup(record.id, record.netns, config.metadata, config.port_mappings)
                )
            if config.namespaces.pid == NamespaceMode.POD:
                await reapers.start_reaper(record)
            await host.workers.run(records.save, host.paths.sandbox_record(record.id), record)
        except BaseException as error:
            if record.init_container:
                await reapers.remove(record.init_container)
            if own_network:
                await host.network.teardown(record.id, record.netns)
            await host.workers.run(self._discard, record.id)
            if isinstance(error, OSError | ValueError):
                raise RuntimeFailure(f"failed to create pod sandbox: {error}") from error
            raise
        self.records[record.id] = record
        return record

    def _make(self, record: SandboxRecord) -> None:
        host, config = self._host, record.config
        run = host.paths.sandbox_run(record.id)
        run.mkdir()
        (run / "cgroup").write_text(config.cgroup_parent)
        host.cgroups.create(config.cgroup_parent)
        wanted = set()
        if config.namespaces.network == NamespaceMode.POD:
            wanted |= {"net", "uts"}
        if config.namespaces.ipc == NamespaceMode.POD:
            wanted.add("ipc")
        hostname = config.hostname or os.uname().nodename
        pins = {kind: run / kind for kind in _PINNED if kind in wanted}
        mappings = config.namespaces.user_namespace
        if mappings:
            pins["user"] = run / "user"
            user_namespaces.make(pins, mappings, hostname=hostname, sysctls=config.sysctls)
        else:
            namespaces.make(pins, hostname=hostname, sysctls=config.sysctls)
        if "ipc" in wanted:
            shm = run / "shm"
            shm.mkdir()
            flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
            options = f"mode=1777,size={config.shm_size}"
            if mappings:
                owner = user_namespaces.host_root(mappings)
                options += f",uid={owner},gid={owner}"
            linux.mount("shm", shm, "tmpfs", flags, options)
        _write_shared(run / "hostname", f"{hostname}\n")
        if config.dns is not None:
            _write_shared(run / "resolv.conf", resolv_conf(config.dns))
        if config.log_directory != Path():
            config.log_directory.mkdir(parents=True, exist_ok=True)

    def _discard(self, sandbox_id: str) -> None:
        """Takes back all of a sandbox that was never finished, so that has no record."""
        told = self._host.paths.sandbox_run(sandbox_id) / "cgroup"
        parent = told.read_text() if told.exists() else ""
        self._unmake(sandbox_id)
        if parent and all(r.config.cgroup_parent != parent for r in self.records.values()):
            self._host.cgroups.remove(parent)

    def _unmake(self, sandbox_id: str) -> None:
        """Gives back what a sandbox without processes holds. Idempotent."""
        run = self._host.paths.sandbox_run(sandbox_id)
        rootfs.unmount(run / "shm")
        for kind in (*_PINNED, "user"):
            if (run / kind).exists():
                namespaces.unpin(run / kind)
        shutil.rmtree(run, ignore_errors=True)

    async def limited(self, record: SandboxRecord, resources: Resources) -> None:
        """Remembers the Pod's CPU quota, which is lifted while its containers are killed, and its disk limits, which
        hold for disks too that later containers bring along."""
        quota = resources.cpu_quota or record.cpu_quota
        if (quota, resources.disk) != (record.cpu_quota, record.disk):
            record.cpu_quota, record.disk = quota, resources.disk
            await self._host.workers.run(records.save, self._host.paths.sandbox_record(record.id), record)

    async def release(self, record: SandboxRecord) -> None:
        """The sandbox is over, its containers are dead: gives back network and namespaces. Idempotent."""
        record.ready = False
        if record.netns:
            await self._host.network.teardown(record.id, record.netns)
        await self._host.workers.run(self._release, record)

    def _release(self, record: SandboxRecord) -> None:
        self._unmake(record.id)
        records.save(self._host.paths.sandbox_record(record.id), record)

    async def forget(self, record: SandboxRecord) -> None:
        """Removes the last trace; its containers are removed already."""
        others = [r for r in self.records.values() if r.id != record.id]
        parent = record.config.cgroup_parent
        shared = any(r.config.cgroup_parent == parent for r in others)
        await self._host.workers.run(self._forget, record, not shared)
        self.records.pop(record.id, None)

    def _forget(self, record: SandboxRecord, remove_cgroup: bool) -> None:
        group = record.config.cgroup_parent
        if remove_cgroup and record.boot == self._host.boot and not self._host.cgroups.remove(group):
            self._host.cgroups.kill(group)
            raise RuntimeFailure(f"there are processes left in control group {group}")
        # Last: whoever is killed before it finds the rest by it.
        self._host.paths.sandbox_record(record.id).unlink(missing_ok=True)

    def recover(self) -> None:
        """Finds all sandboxes on disk; one of an earlier boot is not ready. Blocks for a moment."""
        paths = self._host.paths
        for path in paths.sandboxes.glob("*.json"):
            record = records.load(SandboxRecord, path)
            if record is None:
                path.unlink()
                continue
            if record.boot != self._host.boot or not self._pins_stand(record):
                record.ready = False
            self.records[record.id] = record
        for left in (paths.run / "sandboxes").iterdir():
            if left.name not in self.records:
                self._discard(left.name)

    def _pins_stand(self, record: SandboxRecord) -> bool:
        run = self._host.paths.sandbox_run(record.id)
        return (not record.netns or linux.is_mount_point(record.netns)) and run.is_dir()


def resolv_conf(dns: DnsConfig) -> str:
    lines = [f"nameserver {server}" for server in dns.servers]
    if dns.searches:
        lines.insert(0, f"search {' '.join(dns.searches)}")
    if dns.options:
        lines.append(f"options {' '.join(dns.options)}")
    return "\n".join(lines) + "\n"


def _write_shared(path: Path, text: str) -> None:
    """A file that containers see by a bind mount, whatever user they run as."""
    path.write_text(text)
    path.chmod(0o644)
