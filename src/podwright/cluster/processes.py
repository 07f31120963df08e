"""The processes of a cluster: started in the background, found again by record, ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from podwright.cluster.files import read_json, write_json
from podwright.cluster.layout import Layout

READY = "ready"
FAILED = "failed "


class StartFailed(Exception):
    """A process ended, or took too long, before it was ready."""


@dataclass(frozen=True, slots=True)
class Process:
    """`started` is the kernel's start time in clock ticks: with it a reused pid is not mistaken for ours."""

    pid: int
    started: int

    def alive(self) -> bool:
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int:
    """Clock ticks since boot, 0 if there is no such (living) process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] in ("Z", "X") else int(fields[19])


def find(layout: Layout, name: str) -> Process | None:
    """The recorded process if it still runs."""
    record = read_json(layout.process_file(name))
    if not record:
        return None
    process = Process(record["pid"], record["started"])
    return process if process.alive() else None


def start(layout: Layout, name: str, arguments: Sequence[str], *, network_namespace: str = "") -> tuple[Process, int]:
    """Starts ``podwright ARGUMENTS --ready-fd N`` in a session of its own, its output going to the log file. Gives
    the process and the end of the pipe on which it reports."""
    log = layout.log_file(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    layout.run.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "podwright", *arguments, "--ready-fd", str(writer)]
    if network_namespace:
        command = ["nsenter", f"--net=/run/netns/{network_namespace}", "--", *command]
    try:
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(writer,),
                cwd="/",
            )
    finally:
        os.close(writer)
    process = Process(child.pid, start_time(child.pid))
    child.returncode = 0  # Popen would complain that it was left running: that is what it is for.
    write_json(layout.process_file(name), {"pid": process.pid, "started": process.started, "command": command})
    return process, reader


def await_ready(
    waiting: dict[str, int], layout: Layout, *, timeout: float, progress: Callable[[str, str], None] | None = None
) -> None:
    """Waits until every process (name → pipe) has said that it is ready; `progress` is told each other line.

    Raises:
        StartFailed: one ended or said why not; its log's last lines are in the message.
    """
    deadline = time.monotonic() + timeout
    buffers = dict.fromkeys(waiting, b"")
    open_pipes = {descriptor: name for name, descriptor in waiting.items()}
    try:
        while open_pipes:
            remaining = deadline - time.monotonic()
            readable = select.select(list(open_pipes), [], [], max(0.0, remaining))[0]
            if not readable:
                late = list(open_pipes.values())
                raise StartFailed(f"{', '.join(late)}: not ready within {timeout:.0f} s\n{log_tail(layout, late[0])}")
            for descriptor in readable:
                name = open_pipes[descriptor]
                data = os.read(descriptor, 65536)
                if not data:
                    raise StartFailed(f"{name}: ended before it was ready\n{log_tail(layout, name)}")
                *lines, buffers[name] = (buffers[name] + data).split(b"\n")
                for line in (raw.decode(errors="replace") for raw in lines):
                    if line.startswith(FAILED):
                        raise StartFailed(f"{name}: {line.removeprefix(FAILED)}")
                    if line == READY:
                        os.close(descriptor)
                        del open_pipes[descriptor]
                        break
                    if progress is not None:
                        progress(name, line)
    finally:
        for descriptor in open_pipes:
            os.close(descriptor)


def log_tail(layout: Layout, name: str, lines: int = 15) -> str:
    try:
        text = layout.log_file(name).read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def stop(process: Process, *, timeout: float = 10.0, force: bool = False) -> None:
    """SIGTERM (with `force`, SIGKILL), and SIGKILL after `timeout` seconds; returns when the process is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if not process.alive():
            return
        if not force:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            if select.select([descriptor], [], [], timeout)[0]:
                return
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], timeout)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


class ReadyPipe:
    """The child's side of the report; without a pipe (run by hand or by systemd) it says nothing."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def progress(self, text: str) -> None:
        self._send(text)

    def ready(self) -> None:
        self._send(READY)
        self._close()
        notify_systemd("READY=1")

    def failed(self, error: BaseException) -> None:
        cause = innermost(error)
        self._send(f"{FAILED}{type(cause).__name__}: {cause}".replace("\n", " "))
        self._close()

    def _send(self, line: str) -> None:
        if self._descriptor is not None:
            try:
                os.write(self._descriptor, line.encode() + b"\n")
            except BrokenPipeError:
                self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def notify_systemd(state: str) -> None:
    """sd_notify: tells systemd the state if it started us as a Type=notify service."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.send(state.encode())


def innermost(error: BaseException) -> BaseException:
    """What went wrong, out of the task groups around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
