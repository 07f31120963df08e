"""What a process of ours that was killed had under way goes on without it: conmon, and the low-level runtime below it,
create or start a container that our successor has not heard of. They are ended before anything is begun anew."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from podwright.runtime.oci.paths import Paths

_TIMEOUT = 10.0
_BECOMING = 1.0
_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD among a process's flags."""


@contextmanager
def launching(paths: Paths, container_id: str) -> Iterator[None]:
    """Held around the start of a program for the container. A child inherits the lock until it has become that program:
    whoever gets it then sees every one of them by its command line."""
    with open(paths.bundle(container_id) / "config.json", "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def end(paths: Paths, container_ids: Collection[str], known: Collection[int] = (), *, patience: float = 0.0) -> None:
    """Returns when nothing runs for these containers any more but the `known` pids. What does not end by itself within
    `patience` seconds is killed. Blocks.

    Raises:
        TimeoutError
    """
    for container_id in container_ids:
        with contextlib.suppress(FileNotFoundError), launching(paths, container_id):
            pass
    begin = time.monotonic()
    clean = 0
    while container_ids and clean < 2:  # twice: a process that forks and ends may be missed once
        found, becoming = _processes(paths, container_ids)
        found -= set(known)
        waited = time.monotonic() - begin
        clean = 0 if found or (becoming and waited < patience + _BECOMING) else clean + 1
        if found and waited > patience + _TIMEOUT:
            raise TimeoutError(f"processes that do not die: {sorted(found)}")
        for pid in found if waited >= patience else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _processes(paths: Paths, container_ids: Collection[str]) -> tuple[set[int], bool]:
    """(those with the container's id and the runtime's root among their arguments, as conmon and the low-level runtime
    have; whether some process is just becoming a program, and shows no arguments yet)."""
    root, ids = str(paths.oci).encode(), {i.encode() for i in container_ids}
    found, becoming = set(), False
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            becoming = becoming or (arguments == [b""] and _is_alive(entry))
        except OSError:
            continue
        if root in arguments and not ids.isdisjoint(arguments):
            found.add(int(entry.name))
    return found, becoming


def _is_alive(process: Path) -> bool:
    """Neither a zombie nor a thread of the kernel's own. Raises OSError."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return fields[0] not in "ZX" and not int(fields[6]) & _KERNEL_THREAD
