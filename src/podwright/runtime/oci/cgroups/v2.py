"""Control groups version 2: one tree for all controllers."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podwright.runtime.oci.cgroups.interface import number, read, remove_tree, table, write
from podwright.runtime.protocol import ContainerStats, Resources

_WANTED = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


class CgroupsV2:
    version = 2

    def __init__(self, root: Path) -> None:
        self._root = root

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def create(self, path: str) -> None:
        group = self._root
        for part in path.strip("/").split("/"):
            self._enable(group)
            group = group / part
            group.mkdir(exist_ok=True)

    @staticmethod
    def _enable(group: Path) -> None:
        """Hands every controller that there is down to the children of `group`."""
        there = read(group / "cgroup.controllers").split()
        handed = read(group / "cgroup.subtree_control").split()
        for name in _WANTED:
            if name in there and name not in handed:
                write(group / "cgroup.subtree_control", f"+{name}")

    def remove(self, path: str, *, below: bool = True) -> bool:
        return remove_tree(self._at(path), below=below)

    def exists(self, path: str) -> bool:
        return self._at(path).is_dir()

    def apply(self, path: str, resources: Resources, devices: Sequence[str] = ()) -> None:
        group, r = self._at(path), resources
        if r.cpu_shares:
            write(group / "cpu.weight", str(weight(r.cpu_shares)))
        if r.cpu_quota:
            period = r.cpu_period or 100_000
            write(group / "cpu.max", f"{'max' if r.cpu_quota < 0 else r.cpu_quota} {period}")
        if r.cpuset_cpus:
            write(group / "cpuset.cpus", r.cpuset_cpus)
        if r.cpuset_mems:
            write(group / "cpuset.mems", r.cpuset_mems)
        if r.memory_limit:
            write(group / "memory.max", "max" if r.memory_limit < 0 else str(r.memory_limit))
            swap = (r.memory_swap_limit or r.memory_limit) - r.memory_limit
            if (group / "memory.swap.max").exists():
                write(group / "memory.swap.max", "max" if r.memory_swap_limit < 0 else str(max(0, swap)))
        if r.memory_reservation:
            write(group / "memory.low", str(r.memory_reservation))
        if r.pids_limit:
            write(group / "pids.max", "max" if r.pids_limit < 0 else str(r.pids_limit))
        for size, limit in r.hugepage_limits.items():
            if limit or (group / f"hugetlb.{size}.max").exists():
                write(group / f"hugetlb.{size}.max", str(limit))
        for device in devices:
            write(group / "io.max", f"{device} {io_max(r)}")
        for file in ("io.weight", "io.bfq.weight"):
            if r.disk.weight and (group / file).exists():
                write(group / file, str(r.disk.weight))
        for name, value in r.unified.items():
            if "/" in name:
                raise ValueError(f"{name!r} is no cgroup file")
            write(group / name, value)

    def pids(self, path: str) -> list[int]:
        found: set[int] = set()
        for directory, _, _ in os.walk(self._at(path)):
            found.update(int(pid) for pid in read(Path(directory) / "cgroup.procs").split())
        return sorted(found)

    def kill(self, path: str) -> None:
        group = self._at(path)
        try:
            write(group / "cgroup.kill", "1")
        except FileNotFoundError:  # before Linux 5.14, or the group is gone
            for pid in self.pids(path):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def usage(self, path: str) -> ContainerStats:
        group = self._at(path)
        stat = table(read(group / "memory.stat"))
        used = number(group / "memory.current")
        disk: dict[str, int] = {}
        for line in read(group / "io.stat").splitlines():
            for pair in line.split()[1:]:
                key, _, value = pair.partition("=")
                if value.isdigit():
                    disk[key] = disk.get(key, 0) + int(value)
        return ContainerStats(
            cpu_usage=table(read(group / "cpu.stat")).get("usage_usec", 0) * 1000,
            memory_usage=used,
            memory_working_set=max(0, used - stat.get("inactive_file", 0)),
            memory_rss=stat.get("anon", 0),
            memory_page_faults=stat.get("pgfault", 0),
            memory_major_page_faults=stat.get("pgmajfault", 0),
            pids=number(group / "pids.current"),
            disk_read_bytes=disk.get("rbytes", 0),
            disk_write_bytes=disk.get("wbytes", 0),
            disk_read_ops=disk.get("rios", 0),
            disk_write_ops=disk.get("wios", 0),
            psi={name: psi(read(group / f"{name}.pressure")) for name in ("cpu", "memory", "io")},
        )

    def oom_kills(self, path: str) -> int:
        return table(read(self._at(path) / "memory.events")).get("oom_kill", 0)

    def enter(self, path: str) -> bool:
        return False

    def adopt(self, path: str, pid: int) -> None:
        write(self._at(path) / "cgroup.procs", str(pid))


def weight(shares: int) -> int:
    """cpu.weight (1 to 10,000) of version 1's cpu.shares (2 to 262,144), as the kubelet converts them."""
    return 1 + ((max(2, min(shares, 262_144)) - 2) * 9_999) // 262_142


def io_max(resources: Resources) -> str:
    """A line of io.max without its device; no limit is "max"."""
    d = resources.disk
    pairs = {"rbps": d.read_bps, "wbps": d.write_bps, "riops": d.read_iops, "wiops": d.write_iops}
    return " ".join(f"{key}={value or 'max'}" for key, value in pairs.items())


def psi(text: str) -> dict[str, Any]:
    """A pressure file: {"some": {"avg10": 0.0, …, "total": microseconds}, "full": {…}}."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        kind, *pairs = line.split()
        values = (pair.partition("=") for pair in pairs)
        found[kind] = {key: int(value) if key == "total" else float(value) for key, _, value in values}
    return found
