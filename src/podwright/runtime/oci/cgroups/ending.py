"""The end of control groups: what is in them is killed, and they are removed. Everything here blocks, and looks again
and again: version 1 tells nobody that a group is empty."""

from __future__ import annotations

import time
from collections.abc import Mapping

from podwright.runtime.oci.cgroups.interface import Cgroups
from podwright.runtime.protocol import Resources

KILL_TIMEOUT = 10.0
_EMPTYING = 2.0


def remove_when_empty(groups: Cgroups, path: str) -> None:
    """Killed processes leave their group a moment later."""
    deadline = time.monotonic() + _EMPTYING
    while not groups.remove(path) and time.monotonic() < deadline:
        time.sleep(0.002)


def kill_all(groups: Cgroups, path: str) -> None:
    """SIGKILL to everything in the group, again and again until it is empty; for at most some seconds."""
    deadline = time.monotonic() + KILL_TIMEOUT / 2
    while groups.pids(path) and time.monotonic() < deadline:
        groups.kill(path)
        time.sleep(0.01)


def set_quotas(groups: Cgroups, quotas: Mapping[str, int]) -> None:
    """CPU quota of each group, in microseconds; -1 lifts it."""
    for path, quota in quotas.items():
        try:
            groups.apply(path, Resources(cpu_quota=quota))
        except FileNotFoundError:  # the group went with its last process
            continue
