"""A cluster's or node's cgroups as a whole: who is in them, end everything, remove them. Version 1, 2 and hybrid."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def _hierarchies() -> list[Path]:
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return [p for p in _ROOT.iterdir() if p.is_dir() and not p.is_symlink()]


def directories(path: str) -> list[Path]:
    """The directories of the cgroup `path` ("/podwright/NAME") in every hierarchy that has it."""
    found = (h / path.lstrip("/") for h in _hierarchies())
    return [p for p in found if p.is_dir()]


def processes(path: str) -> set[int]:
    """Pids in the cgroup and everything below it."""
    pids: set[int] = set()
    for top in directories(path):
        for directory in _deepest_first(top):
            with suppress(OSError):
                pids.update(int(p) for p in (directory / "cgroup.procs").read_text().split())
    return pids


def kill(path: str, *, timeout: float = 10.0) -> None:
    """SIGKILL to everything in it, again and again, until it is empty.

    Raises:
        TimeoutError: something does not die (it hangs in the kernel).
    """
    deadline = time.monotonic() + timeout
    while pids := processes(path) - {os.getpid()}:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(pids)} in {path} do not end")
        time.sleep(0.005)


def remove(path: str) -> None:
    """Removes the empty cgroup with everything below it, in every hierarchy."""
    for top in directories(path):
        for directory in _deepest_first(top):
            with suppress(FileNotFoundError):
                directory.rmdir()


def _deepest_first(top: Path) -> Iterator[Path]:
    for current, _, _ in os.walk(top, topdown=False):
        yield Path(current)
