"""What a runtime that starts anew finds of its predecessor's containers on disk, and what is undone of them: the
predecessor may have died at any point. Everything here blocks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from podwright.runtime.oci import conmon, leftovers, preparation, records
from podwright.runtime.oci.cgroups import ending
from podwright.runtime.oci.host import Host
from podwright.runtime.oci.paths import Paths
from podwright.runtime.oci.records import ContainerRecord
from podwright.runtime.protocol import ContainerState

LOST = 255
"""The exit code of a process whose own nobody knows."""
_STARTING = 10.0


def find(host: Host) -> dict[str, ContainerRecord | None]:
    """Records by id, None for what is not whole. Nothing that was under way goes on any more."""
    paths = host.paths
    names = {d.name for directory in (paths.containers, paths.bundles) for d in directory.iterdir()}
    found = {name: _load(host, name) for name in names}
    _end_leftovers(paths, {i: record for i, record in found.items() if record and record.boot == host.boot})
    return found


def _load(host: Host, container_id: str) -> ContainerRecord | None:
    paths = host.paths
    record = records.load(ContainerRecord, paths.container_record(container_id))
    if record is None or record.state == ContainerState.EXITED or record.boot != host.boot:
        return record
    return records.load(ContainerRecord, paths.running_record(container_id)) or record


def _end_leftovers(paths: Paths, found: Mapping[str, ContainerRecord]) -> None:
    """Of our predecessor, who may have died while containers were being created or started. A creation is undone; a
    start is over in a moment, and cut short it would leave a process that nobody can start any more."""
    created = [i for i, record in found.items() if record.state == ContainerState.CREATED]
    leftovers.end(paths, created)
    starting = {
        i: record for i, record in found.items()
        if record.state == ContainerState.RUNNING and fifo(paths, i).exists()
    }  # fmt: skip
    known = {pid for record in starting.values() for pid in (record.pid, record.conmon_pid)}
    leftovers.end(paths, starting, known, patience=_STARTING)


def fifo(paths: Paths, container_id: str) -> Path:
    """It is there from the creation of a process to its start."""
    return paths.oci / container_id / "exec.fifo"


def settle_created(host: Host, record: ContainerRecord) -> None:
    """We may have died between conmon's launch and the note of it: that process never ran a step. Undone."""
    pid = conmon.read_pid(host.paths.pidfile(record.id))
    if record.boot != host.boot or not host.paths.rootfs(record.id).exists():
        record.state = ContainerState.EXITED
        record.exit_code, record.reason = LOST, "Error"
        record.message = "the machine was restarted"
        record.finished_at = time.time()
    elif pid or (host.paths.oci / record.id).exists():
        undo_launch(host, record)


def undo_launch(host: Host, record: ContainerRecord) -> None:
    """Takes away a process that was created but never let go."""
    host.cgroups.kill(record.cgroup)
    ending.remove_when_empty(host.cgroups, record.cgroup)
    preparation.forget_process(host, record.id)


def delete_orphan(host: Host, container_id: str, record: ContainerRecord | None) -> None:
    if record is not None and record.boot == host.boot:
        host.cgroups.kill(record.cgroup)
        ending.remove_when_empty(host.cgroups, record.cgroup)
    preparation.discard(host, container_id)
