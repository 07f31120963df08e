"""Kills a process with all that came of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable

_PATIENCE = 2.0


def children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _session(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[3])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _tree(roots: Iterable[int]) -> list[int]:
    found: list[int] = []
    queue = list(roots)
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children(pid)
    return found


def kill_session(parent: int, candidates: Callable[[], list[int]]) -> None:
    """SIGKILL to every descendant of `parent`, and to every one of `candidates()` in the sessions that they lead:
    a child that was orphaned is no descendant any more, but still of the session. Repeats until none is left. Blocks.
    """
    sessions = set(children(parent))
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        doomed = set(_tree(children(parent)))
        if sessions:
            doomed.update(pid for pid in candidates() if _session(pid) in sessions)
        if not doomed:
            return
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            for pid in doomed:
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    pass
        time.sleep(0.001)
