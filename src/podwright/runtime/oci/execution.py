"""Processes run in a container beside its first one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

import orjson

from podwright.runtime.oci import descent, terminal
from podwright.runtime.oci.host import Host, new_id
from podwright.runtime.oci.pipes import Channel, wait_process
from podwright.runtime.oci.records import ContainerRecord
from podwright.runtime.protocol import ContainerState, ExecResult, RuntimeFailure

_MAX_COMPLAINT = 65536
_MARK = "PODWRIGHT_EXEC"


class ExecProcess:
    """A started process: the low-level runtime's, which waits for the one in the container and has its exit code.

    `stdin`, `stdout` and `stderr` are our ends; with a terminal `stdin` and `stdout` are the same and `stderr` is None.
    """

    def __init__(
        self, host: Host, record: ContainerRecord, process: subprocess.Popen[bytes], complaint: int,
        stdin: Channel | None, stdout: Channel, stderr: Channel | None, mark: str = "",
    ) -> None:
        self._mark = mark
        self._host = host
        self._record = record
        self._process = process
        self._complaint = complaint
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._code: int | None = None

    async def wait(self) -> int:
        """The exit code, 128 + signal if a signal ended it.

        Raises:
            RuntimeFailure: the command could not be started.
        """
        if self._code is None:
            code = await wait_process(self._process)
            self._code = code if code >= 0 else 128 - code
        if self._code != 0 and self._complaint >= 0:
            words = os.pread(self._complaint, _MAX_COMPLAINT, 0).decode(errors="replace").strip()
            if words:
                raise RuntimeFailure(_explain(words))
        return self._code

    async def kill(self) -> None:
        """Kills the process in the container with its children, then waits for its end."""
        if self._process.poll() is None:
            await self._host.workers.run(
                descent.kill_session, self._process.pid, lambda: self._host.cgroups.pids(self._record.cgroup),
                self._mark,
            )
            self._process.send_signal(signal.SIGKILL)
            await wait_process(self._process)

    def resize(self, width: int, height: int) -> None:
        """The size of its terminal, in characters. Nothing happens without one, or after its end."""
        if self.stderr is not None or self.stdout.fd < 0 or not os.isatty(self.stdout.fd):
            return
        terminal.set_size(self.stdout.fd, width=width, height=height)
        if self._host.engine.name != "crun" and self._process.poll() is None:
            self._process.send_signal(signal.SIGWINCH)  # runc copies the size to the container's terminal

    def close(self) -> None:
        for channel in (self.stdin, self.stdout, self.stderr):
            if channel is not None:
                channel.close()
        if self._complaint >= 0:
            os.close(self._complaint)
            self._complaint = -1


def _explain(words: str) -> str:
    """crun logs "time=… level=error msg="…"", runc the like; the message is what a user can use."""
    _, found, message = words.splitlines()[-1].partition('msg="')
    text = message.removesuffix('"').replace('\\"', '"') if found else words
    return f"failed to exec in container: {text}"


def process_document(
    host: Host, record: ContainerRecord, command: Sequence[str], *, tty: bool, mark: str = ""
) -> dict[str, Any]:
    """The container's own process with another command line, and one more environment variable."""
    document = orjson.loads((host.paths.bundle(record.id) / "config.json").read_bytes())["process"]
    document["args"] = list(command)
    document["terminal"] = tty
    document.pop("oomScoreAdj", None)
    if mark:
        document["env"].append(mark)
    if tty and not any(entry.startswith("TERM=") for entry in document["env"]):
        document["env"].append("TERM=xterm")
    return dict(document)


def check(record: ContainerRecord, command: Sequence[str]) -> None:
    if record.state != ContainerState.RUNNING:
        raise RuntimeFailure(f"container is in {record.state.value} state")
    if not command:
        raise RuntimeFailure("exec needs a command")


def _spawn(
    host: Host, record: ContainerRecord, command: Sequence[str], stdin: bool, tty: bool, mark: str
) -> tuple[subprocess.Popen[bytes], int, int]:
    """(process, complaints, terminal or -1). Blocks. The document and the runtime's complaints travel in memory
    files."""
    document = os.memfd_create("process", os.MFD_CLOEXEC)
    complaint = os.memfd_create("complaint", os.MFD_CLOEXEC)
    master = -1
    try:
        os.write(document, orjson.dumps(process_document(host, record, command, tty=tty, mark=mark)))
        arguments = [
            host.engine.path, "--root", str(host.paths.oci), f"--log=/proc/self/fd/{complaint}",
            "exec", "--process", f"/proc/self/fd/{document}", record.id,
        ]  # fmt: skip
        if tty and host.engine.name == "crun":
            process, master = terminal.start_with_socket(arguments, host.paths.run, (document, complaint))
        elif tty:
            process, master = terminal.start_with_copy(arguments, (document, complaint))
        else:
            process = subprocess.Popen(
                arguments, pass_fds=(document, complaint), stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, cwd="/", start_new_session=True,
            )
    except BaseException:
        os.close(complaint)
        raise
    finally:
        os.close(document)
    return process, complaint, master


async def start(
    host: Host, record: ContainerRecord, command: Sequence[str], *, stdin: bool, tty: bool = False, mark: str = ""
) -> ExecProcess:
    """Starts `command` on a terminal, or with pipes as its stdio (/dev/null if not `stdin`)."""
    check(record, command)
    process, complaint, master = await host.workers.run(_spawn, host, record, command, stdin, tty, mark)
    if tty:
        console = Channel(master if master >= 0 else os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        return ExecProcess(host, record, process, complaint, console if stdin else None, console, None)
    assert process.stdout is not None and process.stderr is not None
    ends = [
        Channel(os.dup(file.fileno())) if file is not None else None
        for file in (process.stdin, process.stdout, process.stderr)
    ]
    for file in (process.stdin, process.stdout, process.stderr):
        if file is not None:
            file.close()
    assert ends[1] is not None
    return ExecProcess(host, record, process, complaint, ends[0], ends[1], ends[2], mark)


async def exec_sync(host: Host, record: ContainerRecord, command: Sequence[str], timeout: float) -> ExecResult:
    process = await start(host, record, command, stdin=False, mark=f"{_MARK}={new_id()[:16]}")
    try:
        async with asyncio.timeout(timeout or None), asyncio.TaskGroup() as group:
            stdout = group.create_task(_drain(process.stdout))
            stderr = group.create_task(_drain(process.stderr))
            code = group.create_task(process.wait())
        return ExecResult(code.result(), stdout.result(), stderr.result())
    except TimeoutError:
        raise TimeoutError(f"command {list(command)} timed out after {timeout:g} s") from None
    except BaseExceptionGroup as group_error:
        failures = group_error.subgroup(RuntimeFailure)
        if failures is not None:
            raise failures.exceptions[0] from None
        raise
    finally:
        await process.kill()
        process.close()


async def _drain(channel: Channel | None) -> bytes:
    chunks = []
    while channel is not None and (data := await channel.read()):
        chunks.append(data)
    return b"".join(chunks)
