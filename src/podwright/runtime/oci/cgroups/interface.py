"""What the runtime asks of control groups, and which version this host has."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from podwright.runtime.protocol import ContainerStats, Resources, RuntimeFailure


class Cgroups(Protocol):
    """All calls block, for well under a millisecond; a path that is not there is no error when reading or removing."""

    version: int

    def create(self, path: str) -> None:
        """Makes the group and those above it, with every controller that we use."""

    def remove(self, path: str, *, below: bool = True) -> bool:
        """Removes the group and those below it; False if a process is still in one. Without `below` a group with
        others below it stays."""

    def exists(self, path: str) -> bool: ...

    def apply(self, path: str, resources: Resources, devices: Sequence[str] = ()) -> None:
        """Sets the limits; disk limits on each of `devices` ("major:minor"). Raises OSError."""

    def pids(self, path: str) -> list[int]:
        """The processes in the group and in those below it."""

    def kill(self, path: str) -> None:
        """SIGKILL to every process in the group and those below it, however fast it forks."""

    def usage(self, path: str) -> ContainerStats:
        """All but the names, the time and the writable layer."""

    def oom_kills(self, path: str) -> int:
        """How many processes of the group the kernel has killed for want of memory."""

    def enter(self, path: str) -> bool:
        """Moves the calling thread, so that the processes it starts are born in the group; False where a thread
        cannot be moved alone (version 2)."""

    def adopt(self, path: str, pid: int) -> None:
        """Moves a process."""


def detect() -> Cgroups:
    """The interface to this host's control groups. Raises RuntimeFailure if there are none."""
    from podwright.runtime.oci.cgroups.v1 import CgroupsV1
    from podwright.runtime.oci.cgroups.v2 import CgroupsV2

    mounts: dict[str, Path] = {}
    unified: Path | None = None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        point = Path(head.split()[4])
        kind, _, options = tail.split(" ", 2)
        if kind == "cgroup2" and unified is None:
            unified = point
        elif kind == "cgroup":
            for option in options.split(","):
                mounts.setdefault(option.removeprefix("name="), point)
    if "memory" in mounts or "cpu" in mounts:
        return CgroupsV1(mounts, unified)
    if unified is not None:
        return CgroupsV2(unified)
    raise RuntimeFailure("no control groups are mounted on this host (expected them at /sys/fs/cgroup)")


def write(path: Path, value: str) -> None:
    with open(path, "w") as file:
        file.write(value)


def read(path: Path) -> str:
    """The file's text, "" if it is not there."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def number(path: Path) -> int:
    """The first number of a file, 0 if there is none."""
    text = read(path).split()
    return int(text[0]) if text and text[0].isdigit() else 0


def table(text: str) -> dict[str, int]:
    """Lines of "key value"."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def block_devices(paths: Iterable[Path]) -> list[str]:
    """ "major:minor" of the whole disks behind the filesystems of `paths`, or that they are themselves; those without
    one are left out."""
    found: dict[str, None] = {}
    for path in paths:
        try:
            entry = _disk(path)
        except OSError:
            continue
        if not entry.exists():
            continue
        if (entry / "partition").exists():
            entry = entry.resolve().parent
        name = read(entry / "dev").strip()
        if name:
            found[name] = None
    return list(found)


def _disk(path: Path) -> Path:
    """Below /sys/dev/block. Raises OSError."""
    status = os.stat(path)
    device = status.st_rdev if stat.S_ISBLK(status.st_mode) else status.st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    if os.major(device) == 0:
        # A filesystem over several disks, as btrfs, has a number of its own; its mount names one of them.
        for line in read(Path("/proc/self/mountinfo")).splitlines():
            mounted, _, behind = line.partition(" - ")
            if mounted.split()[2] == number and behind.split()[1].startswith("/dev/"):
                return _disk(Path(behind.split()[1]))
    return Path(f"/sys/dev/block/{number}")


def remove_tree(group: Path, *, below: bool = True) -> bool:
    """Removes the directories of control groups; a group's files go with it."""
    done = True
    for directory, _, _ in os.walk(group, topdown=False) if below else [(str(group), [], [])]:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass
        except OSError:
            done = False
    return done
