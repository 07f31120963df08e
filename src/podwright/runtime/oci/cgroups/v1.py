"""Control groups version 1: one tree a controller."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from podwright.runtime.oci.cgroups.interface import number, read, remove_tree, table, write
from podwright.runtime.protocol import ContainerStats, Resources

_BLKIO = {
    "read_bps": "blkio.throttle.read_bps_device", "write_bps": "blkio.throttle.write_bps_device",
    "read_iops": "blkio.throttle.read_iops_device", "write_iops": "blkio.throttle.write_iops_device",
}


class CgroupsV1:
    version = 1

    def __init__(self, mounts: Mapping[str, Path], unified: Path | None = None) -> None:
        """`mounts`: the mount point of each controller (and named hierarchy). `unified` is the version 2 tree of a
        hybrid host: runc makes groups there too, and crun plain directories where :mod:`engine` put a tmpfs."""
        self._mounts = dict(mounts)
        self._unified = unified
        self._trees = list(dict.fromkeys(point for name, point in mounts.items() if point.is_dir()))

    def _at(self, controller: str, path: str) -> Path | None:
        point = self._mounts.get(controller)
        return point / path.lstrip("/") if point is not None else None

    def _groups(self, path: str) -> list[Path]:
        return [tree / path.lstrip("/") for tree in self._trees]

    def create(self, path: str) -> None:
        for group in self._groups(path):
            group.mkdir(parents=True, exist_ok=True)
        self._fill_cpuset(path)

    def _fill_cpuset(self, path: str) -> None:
        """A new cpuset has no CPU and no memory node, and takes no process before it has."""
        group = self._mounts.get("cpuset")
        if group is None:
            return
        for part in path.strip("/").split("/"):
            parent, group = group, group / part
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not read(group / name).strip():
                    write(group / name, read(parent / name).strip())

    def remove(self, path: str, *, below: bool = True) -> bool:
        removed = [remove_tree(group, below=below) for group in self._groups(path)]
        done = all(removed)
        if self._unified is not None and done:
            left = self._unified / path.lstrip("/")
            if not remove_tree(left, below=below) and not (left / "cgroup.controllers").exists() and below:
                shutil.rmtree(left, ignore_errors=True)
        return done

    def exists(self, path: str) -> bool:
        return any(group.is_dir() for group in self._groups(path))

    def apply(self, path: str, resources: Resources, devices: Sequence[str] = ()) -> None:
        r = resources
        if (cpu := self._at("cpu", path)) is not None:
            if r.cpu_shares:
                write(cpu / "cpu.shares", str(r.cpu_shares))
            if r.cpu_period:
                write(cpu / "cpu.cfs_period_us", str(r.cpu_period))
            if r.cpu_quota:
                write(cpu / "cpu.cfs_quota_us", str(r.cpu_quota))
        if (cpuset := self._at("cpuset", path)) is not None:
            if r.cpuset_cpus:
                write(cpuset / "cpuset.cpus", r.cpuset_cpus)
            if r.cpuset_mems:
                write(cpuset / "cpuset.mems", r.cpuset_mems)
        if (memory := self._at("memory", path)) is not None:
            self._apply_memory(memory, r)
        if r.pids_limit and (pids := self._at("pids", path)) is not None:
            write(pids / "pids.max", "max" if r.pids_limit < 0 else str(r.pids_limit))
        if (hugetlb := self._at("hugetlb", path)) is not None:
            for size, limit in r.hugepage_limits.items():
                write(hugetlb / f"hugetlb.{size}.limit_in_bytes", str(limit))
        if (blkio := self._at("blkio", path)) is not None:
            for name, file in _BLKIO.items():
                for device in devices:
                    write(blkio / file, f"{device} {getattr(r.disk, name)}")
            for file in ("blkio.weight", "blkio.bfq.weight"):
                if r.disk.weight and (blkio / file).exists():
                    write(blkio / file, str(r.disk.weight))

    @staticmethod
    def _apply_memory(group: Path, r: Resources) -> None:
        if r.memory_limit:
            swap = group / "memory.memsw.limit_in_bytes"
            swap_limit = r.memory_swap_limit or r.memory_limit
            # The limit must never be above the one with swap: raise that first, lower it last.
            growing = r.memory_limit > number(group / "memory.limit_in_bytes")
            order = [(swap, swap_limit), (group / "memory.limit_in_bytes", r.memory_limit)]
            if r.memory_limit < 0:
                order = [(swap, -1), (group / "memory.limit_in_bytes", -1)]
            elif not growing:
                order.reverse()
            for file, value in order:
                if file.exists():
                    write(file, str(value))
        if r.memory_reservation:
            write(group / "memory.soft_limit_in_bytes", str(r.memory_reservation))

    def pids(self, path: str) -> list[int]:
        found: set[int] = set()
        for group in self._groups(path):
            for directory, _, _ in os.walk(group):
                found.update(int(pid) for pid in read(Path(directory) / "cgroup.procs").split())
            if found:
                break
        return sorted(found)

    def kill(self, path: str) -> None:
        freezer = self._at("freezer", path)
        frozen = freezer is not None and freezer.is_dir() and len(self.pids(path)) > 1
        if frozen and freezer is not None:  # so that nothing forks away from the signals
            write(freezer / "freezer.state", "FROZEN")
        try:
            for pid in self.pids(path):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        finally:
            if frozen and freezer is not None:
                write(freezer / "freezer.state", "THAWED")

    def usage(self, path: str) -> ContainerStats:
        memory, pids = self._at("memory", path), self._at("pids", path)
        cpuacct, blkio = self._at("cpuacct", path), self._at("blkio", path)
        stat = table(read(memory / "memory.stat")) if memory else {}
        used = number(memory / "memory.usage_in_bytes") if memory else 0
        moved = _blkio(read(blkio / "blkio.throttle.io_service_bytes_recursive")) if blkio else {}
        served = _blkio(read(blkio / "blkio.throttle.io_serviced_recursive")) if blkio else {}
        return ContainerStats(
            cpu_usage=number(cpuacct / "cpuacct.usage") if cpuacct else 0,
            memory_usage=used,
            memory_working_set=max(0, used - stat.get("total_inactive_file", 0)),
            memory_rss=stat.get("total_rss", 0),
            memory_page_faults=stat.get("total_pgfault", 0),
            memory_major_page_faults=stat.get("total_pgmajfault", 0),
            pids=number(pids / "pids.current") if pids else 0,
            disk_read_bytes=moved.get("Read", 0),
            disk_write_bytes=moved.get("Write", 0),
            disk_read_ops=served.get("Read", 0),
            disk_write_ops=served.get("Write", 0),
        )

    def oom_kills(self, path: str) -> int:
        memory = self._at("memory", path)
        return table(read(memory / "memory.oom_control")).get("oom_kill", 0) if memory else 0

    def enter(self, path: str) -> bool:
        for group in self._groups(path):
            write(group / "tasks", str(threading.get_native_id()))
        return True

    def adopt(self, path: str, pid: int) -> None:
        for group in self._groups(path):
            write(group / "cgroup.procs", str(pid))


def _blkio(text: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) == 3:
            sums[parts[1]] = sums.get(parts[1], 0) + int(parts[2])
    return sums

