"""Streams to and from containers: exec sessions, and attachment to a container's first process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Sequence

from podwright.runtime.oci import conmon
from podwright.runtime.oci.execution import ExecProcess, start
from podwright.runtime.oci.host import Host
from podwright.runtime.oci.pipes import Channel
from podwright.runtime.oci.records import ContainerRecord
from podwright.runtime.protocol import ContainerState, ExecSession, RuntimeFailure

_STDOUT, _STDERR = 2, 3
_PACKET = 8192 + 1
_MAX_UNREAD = 1 << 20


async def open_exec(
    host: Host, record: ContainerRecord, command: Sequence[str], *, stdin: bool, tty: bool
) -> ExecSession:
    return _ExecStreams(await start(host, record, command, stdin=stdin, tty=tty))


class _ExecStreams:
    """A process started by exec."""

    def __init__(self, process: ExecProcess) -> None:
        self._process = process

    async def write_stdin(self, data: bytes) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it reads no more: its own affair
                await self._process.stdin.write(data)

    async def close_stdin(self) -> None:
        stdin = self._process.stdin
        if stdin is not None and stdin is not self._process.stdout:
            stdin.close()

    async def read_stdout(self) -> bytes:
        return await self._process.stdout.read()

    async def read_stderr(self) -> bytes:
        return await self._process.stderr.read() if self._process.stderr is not None else b""

    async def resize(self, width: int, height: int) -> None:
        self._process.resize(width, height)

    async def wait(self) -> int:
        return await self._process.wait()

    async def aclose(self) -> None:
        await self._process.kill()
        self._process.close()


class AttachSession:
    """An attachment by conmon's socket: packets that begin with the number of the stream they are of."""

    def __init__(
        self, host: Host, record: ContainerRecord, channel: Channel, ended: Callable[[], Awaitable[int]]
    ) -> None:
        self._host = host
        self._record = record
        self._channel = channel
        self._ended = ended
        self._unread: dict[int, list[bytes]] = {_STDOUT: [], _STDERR: []}
        self._over = False
        self._reading = asyncio.Lock()
        self._detached = asyncio.Event()

    @classmethod
    async def open(
        cls, host: Host, record: ContainerRecord, ended: Callable[[], Awaitable[int]]
    ) -> AttachSession:
        """Raises RuntimeFailure if the container does not run."""
        if record.state != ContainerState.RUNNING:
            raise RuntimeFailure(f"container is in {record.state.value} state")
        try:
            fd = await host.workers.run(_connect, str(host.paths.attach_socket(record.id)))
        except OSError as error:
            raise RuntimeFailure(f'cannot attach to container "{record.id}": {error}') from None
        return cls(host, record, Channel(fd), ended)

    async def write_stdin(self, data: bytes) -> None:
        for offset in range(0, len(data), _PACKET - 1):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await self._channel.write(data[offset : offset + _PACKET - 1])

    async def close_stdin(self) -> None:
        """Of a container whose stdin stays open this ends the attachment, as with containerd."""
        once = self._record.config.stdin_once and not self._record.config.tty
        if self._channel.fd >= 0:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._channel.fd)) as connection:
                connection.shutdown(socket.SHUT_WR if once else socket.SHUT_RDWR)
        if not once:
            self._detached.set()

    async def read_stdout(self) -> bytes:
        return await self._read(_STDOUT)

    async def read_stderr(self) -> bytes:
        return await self._read(_STDERR)

    async def _read(self, stream: int) -> bytes:
        """Whoever reads first takes packets for both; what nobody wants is dropped in the end, so that a reader of one
        stream alone is never held up by the other."""
        while True:
            if (waiting := self._take(stream)) or self._over:
                return waiting
            async with self._reading:
                if self._unread[stream] or self._over:
                    continue
                packet = await self._channel.read(_PACKET)
                if not packet:
                    self._over = True
                    continue
                queue = self._unread.get(packet[0])
                if queue is not None and sum(map(len, queue)) < _MAX_UNREAD:
                    queue.append(packet[1:])

    def _take(self, stream: int) -> bytes:
        data = b"".join(self._unread[stream])
        self._unread[stream].clear()
        return data

    async def resize(self, width: int, height: int) -> None:
        with contextlib.suppress(OSError):  # the container ended
            await self._host.workers.run(
                conmon.set_window_size, self._host.paths, self._record.id, width=width, height=height
            )

    async def wait(self) -> int:
        """The container's exit code; 0 if the attachment ends before it."""
        ended, detached = asyncio.ensure_future(self._ended()), asyncio.ensure_future(self._detached.wait())
        try:
            await asyncio.wait((ended, detached), return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else 0
        finally:
            ended.cancel()
            detached.cancel()
            await asyncio.gather(ended, detached, return_exceptions=True)

    async def aclose(self) -> None:
        self._channel.close()


def _connect(path: str) -> int:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(5.0)
        connection.connect(path)
        connection.setblocking(False)
        return connection.detach()
    except BaseException:
        connection.close()
        raise
