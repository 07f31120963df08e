"""Starts conmon, the small process that holds a container: its stdio, its log file, its exit code.

conmon is told of two pipes by environment: it starts work when the first is written to or closed, and reports the
container's pid, or what went wrong, on the second (both as CRI-O and podman use it).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import orjson

from podwright.runtime import linux
from podwright.runtime.oci.engine import Engine
from podwright.runtime.oci.paths import Paths
from podwright.runtime.oci.records import ContainerRecord

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_MAX_REPORT = 65536
_NO_LOG = Path("/dev/null")


class CannotLaunch(Exception):
    """The low-level runtime's own words."""


def launch(engine: Engine, paths: Paths, record: ContainerRecord) -> None:
    """Has the container created (its process waits to be started) and fills in the record's pids. Blocks.

    Raises:
        CannotLaunch: nothing is left of it then, but its control group and runtime state may be.
    """
    config = record.config
    command = [
        engine.conmon, "--api-version", "1",
        "--cid", record.id, "--cuuid", paths.short(record.id), "--name", config.name,
        "--runtime", engine.path, "--runtime-arg", "--root", "--runtime-arg", str(paths.oci),
        "--bundle", str(paths.bundle(record.id)),
        "--container-pidfile", str(paths.pidfile(record.id)),
        "--conmon-pidfile", str(paths.conmon_pidfile(record.id)),
        "--exit-dir", str(paths.exits),
        "--persist-dir", str(paths.persist(record.id)),
        "--socket-dir-path", str(paths.attach),
        "--log-path", "none" if record.log_path == _NO_LOG else f"k8s-file:{record.log_path}",
        "--log-level", "error",
        # Its fsync of the log would only delay the news of the exit: a log outlives us either way.
        "--no-sync-log",
    ]  # fmt: skip
    if config.tty:
        command.append("--terminal")
    if config.stdin:
        command.append("--stdin")
        if not config.stdin_once:
            command.append("--leave-stdin-open")
    report = _run(command)
    if "data" not in report or int(report["data"]) <= 0:
        raise CannotLaunch(str(report.get("message") or "").strip() or "conmon died without a word")
    record.pid = int(report["data"])
    record.pid_start = linux.process_start(record.pid)
    record.conmon_pid = read_pid(paths.conmon_pidfile(record.id))
    record.conmon_start = linux.process_start(record.conmon_pid)


def _run(command: list[str]) -> dict[str, Any]:
    sync_read, sync_write = os.pipe()
    start_read, start_write = os.pipe()
    try:
        process = subprocess.Popen(
            command,
            env={**_ENVIRONMENT, "_OCI_SYNCPIPE": str(sync_write), "_OCI_STARTPIPE": str(start_read)},
            pass_fds=(sync_write, start_read),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
    finally:
        os.close(sync_write)
        os.close(start_read)
    os.write(start_write, b"x")
    os.close(start_write)
    with open(sync_read, "rb") as pipe:
        line = pipe.readline(_MAX_REPORT)
    process.wait()
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {"message": line.decode(errors="replace")}
    return found if isinstance(found, dict) else {}


def read_pid(path: Path) -> int:
    """The pid in a pid file, 0 if there is none."""
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def set_window_size(paths: Paths, container_id: str, *, width: int, height: int) -> None:
    _control(paths, container_id, f"1 {height} {width}\n")


def reopen_log(paths: Paths, container_id: str) -> None:
    _control(paths, container_id, "2 0 0\n")


def _control(paths: Paths, container_id: str, line: str) -> None:
    """Raises OSError if no conmon listens."""
    fd = os.open(paths.bundle(container_id) / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)
