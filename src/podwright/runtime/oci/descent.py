"""Kills a process with all that came of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable

_PATIENCE = 2.0


def children(pid: int) -> list[int]:
    """Of all its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(child) for child in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def _session(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[3])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _marked(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def _tree(roots: Iterable[int]) -> list[int]:
    found: list[int] = []
    queue = list(roots)
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children(pid)
    return found


def kill_session(leader: int, candidates: Callable[[], list[int]], mark: str = "") -> None:
    """SIGKILL to every descendant of `leader`, and to every one of `candidates()` (the processes of its control
    group) in a session that a descendant is in: a child that was orphaned is no descendant any more, but still of the
    session. One that made a session of its own is known by `mark`, a NAME=value put into the environment of the
    first process, as long as it keeps its environment. Repeats until none is left. Blocks."""
    sessions: set[int] = set()
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        members = set(candidates())
        marked = [pid for pid in members if mark and _marked(pid, mark.encode())]
        doomed = set(_tree([*children(leader), *marked]))
        sessions.update(_session(pid) for pid in doomed & members)
        doomed.update(pid for pid in members if _session(pid) in sessions)
        if not doomed:
            return
        for sign in (signal.SIGSTOP, signal.SIGKILL):
            for pid in doomed:
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    pass
        time.sleep(0.001)
