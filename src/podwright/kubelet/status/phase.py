"""The phase of a Pod, from its containers' statuses (documentation page "Pod Lifecycle")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from podwright.api import pods
from podwright.api.objects import Object
from podwright.kubelet.restart_policy import should_restart

PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"
RESTARTING_ALL = "RestartingAllContainers"


@dataclass(slots=True)
class _Count:
    """How many sidecars and main containers are in which state. `lasting` are stopped ones that do not run again."""

    waiting: int = 0
    running: int = 0
    stopped: int = 0
    lasting: int = 0
    succeeded: int = 0
    unknown: int = 0


def phase(
    pod: Object, statuses: Mapping[str, Object], *, ending: bool, initialized: bool
) -> str:
    """`statuses` by container name, init containers included. `ending`: nothing will be started any more.
    `initialized`: a main container of this sandbox has been started."""
    pending_init, init_failed = _ordinary_inits(pod, statuses)
    if init_failed:
        return FAILED
    count = _Count()
    pending_sidecars = _sidecars(pod, statuses, count)
    _mains(pod, statuses, count)
    if pending_init or (pending_sidecars and not initialized) or count.waiting:
        return PENDING
    if count.unknown:
        return PENDING
    if count.running:
        return RUNNING
    if not count.stopped:
        return PENDING
    if ending and not pods.is_static(pod):
        return SUCCEEDED if count.stopped == count.succeeded else FAILED
    if count.stopped != count.lasting:
        return RUNNING
    return SUCCEEDED if count.stopped == count.succeeded else FAILED


def _ordinary_inits(pod: Object, statuses: Mapping[str, Object]) -> tuple[int, bool]:
    pending, failed = 0, False
    for ctr in pods.init_containers(pod):
        if pods.is_sidecar(ctr):
            continue
        status = statuses.get(ctr["name"])
        ended = _ended(status)
        if ended is None:
            pending += 1
        elif ended["exitCode"] != 0 and not _runs_again(pod, ctr, ended):
            failed = True
    return pending, failed


def _ended(status: Object | None) -> Object | None:
    """The last end of a container that does not run now."""
    if status is None:
        return None
    state = status.get("state") or {}
    if "terminated" in state:
        return dict(state["terminated"])
    if "waiting" in state:
        last = (status.get("lastState") or {}).get("terminated")
        return dict(last) if last else None
    return None


def _runs_again(pod: Object, ctr: Object, ended: Object) -> bool:
    return ended.get("reason") == RESTARTING_ALL or should_restart(pod, ctr, int(ended["exitCode"]))


def _sidecars(pod: Object, statuses: Mapping[str, Object], count: _Count) -> int:
    """Ended sidecars do not count for the phase."""
    pending = 0
    for ctr in pods.init_containers(pod):
        if not pods.is_sidecar(ctr):
            continue
        status = statuses.get(ctr["name"])
        if status is None:
            count.unknown += 1
            continue
        state = status.get("state") or {}
        if "running" in state:
            pending += not status.get("started")
            count.running += 1
        elif "waiting" in state and _ended(status) is None:
            pending += 1
            count.waiting += 1
    return pending


def _mains(pod: Object, statuses: Mapping[str, Object], count: _Count) -> None:
    for ctr in pods.containers(pod):
        status = statuses.get(ctr["name"])
        state = (status or {}).get("state") or {}
        ended = _ended(status)
        if "running" in state:
            count.running += 1
        elif ended is not None:
            count.stopped += 1
            count.lasting += not _runs_again(pod, ctr, ended)
            count.succeeded += "terminated" in state and ended["exitCode"] == 0
        elif "waiting" in state:
            count.waiting += 1
        else:
            count.unknown += 1
