"""What the whole node uses, from /proc and its filesystems."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Filesystem:
    """Bytes and inodes."""

    capacity: int
    available: int
    inodes: int
    inodes_free: int


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """`cpu` in nanoseconds since boot, memory in bytes."""

    cpu: int
    memory_total: int
    memory_available: int
    processes: int
    max_processes: int
    boot_time: float


@dataclass(frozen=True, slots=True)
class Interface:
    """Bytes and errors since the interface came up."""

    name: str
    rx_bytes: int
    rx_errors: int
    tx_bytes: int
    tx_errors: int


def interfaces(process: Path = Path("/proc/self")) -> list[Interface]:
    """Of the network namespace of a process (a directory of /proc), without loopback; none once it ended."""
    found = []
    try:
        lines = (process / "net/dev").read_text().splitlines()[2:]
    except OSError:
        return []
    for line in lines:
        name, _, rest = line.strip().partition(":")
        numbers = [int(n) for n in rest.split()]
        if name != "lo":
            found.append(Interface(name, numbers[0], numbers[2], numbers[8], numbers[10]))
    return sorted(found, key=lambda i: (i.name != "eth0", i.name))


def pressure(resource: str, proc: Path = Path("/proc")) -> dict[str, dict[str, float]]:
    """Pressure stall information of the node: {"some": {"avg10": …, "total": …}, "full": …}, times in microseconds;
    empty where the kernel has none. `resource` is cpu, memory or io."""
    found: dict[str, dict[str, float]] = {}
    try:
        lines = (proc / "pressure" / resource).read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        kind, *pairs = line.split()
        found[kind] = {key: float(value) for key, _, value in (pair.partition("=") for pair in pairs)}
    return found


def filesystem(path: Path | str) -> Filesystem:
    """Raises OSError."""
    found = os.statvfs(path)
    return Filesystem(
        found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_favail
    )


def read(proc: Path = Path("/proc")) -> NodeUsage:
    """Raises OSError."""
    memory: dict[str, int] = {}
    for line in (proc / "meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        memory[name] = int(rest.split()[0]) << 10
    cpu, booted = 0, 0.0
    for line in (proc / "stat").read_text().splitlines():
        words = line.split()
        if words[0] == "cpu":
            user, nice, system, _idle, _iowait, *others = (int(w) for w in words[1:9])
            cpu = (user + nice + system + sum(others)) * _TICK
        elif words[0] == "btime":
            booted = float(words[1])
    return NodeUsage(
        cpu=cpu,
        memory_total=memory["MemTotal"],
        memory_available=memory.get("MemAvailable", memory["MemFree"]),
        processes=int((proc / "loadavg").read_text().split()[3].partition("/")[2]),
        max_processes=int((proc / "sys/kernel/pid_max").read_text()),
        boot_time=booted,
    )


def disk_usage(directory: Path) -> tuple[int, int]:
    """(bytes, inodes) below a directory, itself included; what vanishes meanwhile does not count."""
    size = count = 0
    pending = [directory]
    seen: set[tuple[int, int]] = set()
    while pending:
        try:
            at = pending.pop()
            own = at.lstat()
            size, count = size + own.st_blocks * 512, count + 1
            with os.scandir(at) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                        continue
                    found = entry.stat(follow_symlinks=False)
                    if found.st_nlink > 1:
                        if (found.st_dev, found.st_ino) in seen:
                            continue
                        seen.add((found.st_dev, found.st_ino))
                    size, count = size + found.st_blocks * 512, count + 1
        except (FileNotFoundError, NotADirectoryError):
            continue
    return size, count
