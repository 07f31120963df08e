"""Exec and attach: the runtime gives a URL, behind which its streaming server speaks SPDY."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import orjson

from podwright.runtime.protocol import RuntimeFailure
from podwright.runtime.spdy.connection import Connection, Stream

_TIMEOUT = 10.0
_MAX_HEAD = 16 * 1024
_REQUEST = (
    "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n"
)


class _Bytes:
    """The upgraded connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(65536)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def aclose(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class Session:
    """Implements :class:`podwright.runtime.protocol.ExecSession`. `ended`, for an attachment, gives the container's
    exit code; with `detaches` the attachment is over once its stdin is closed."""

    def __init__(
        self, connection: Connection, ended: Callable[[], Awaitable[int]] | None, detaches: bool
    ) -> None:
        self._connection = connection
        self._ended = ended
        self._detaches = detaches
        self._detached = False
        self._streams: dict[str, Stream] = {}
        self._reading = asyncio.create_task(connection.run(), name="cri stream")

    @classmethod
    async def open(
        cls, url: str, *, stdin: bool, tty: bool, ended: Callable[[], Awaitable[int]] | None = None,
        detaches: bool = False,
    ) -> Session:
        """Raises RuntimeFailure."""
        names = ["error", *(["stdin"] if stdin else []), "stdout", "resize" if tty else "stderr"]
        try:
            async with asyncio.timeout(_TIMEOUT):
                session = cls(Connection(await _upgraded(url)), ended, detaches)
                try:
                    for name in names:
                        session._streams[name] = await session._connection.open({"streamtype": name})
                except BaseException:
                    await session.aclose()
                    raise
        except (OSError, EOFError, ValueError) as failed:
            raise RuntimeFailure(f"streaming server of the runtime: {failed or type(failed).__name__}") from failed
        return session

    async def write_stdin(self, data: bytes) -> None:
        if "stdin" in self._streams:
            with contextlib.suppress(ConnectionError):  # it reads no more: its own affair
                await self._streams["stdin"].write(data)

    async def close_stdin(self) -> None:
        self._detached = self._detaches
        if "stdin" in self._streams:
            with contextlib.suppress(ConnectionError):
                await self._streams["stdin"].close()

    async def read_stdout(self) -> bytes:
        return await self._streams["stdout"].read()

    async def read_stderr(self) -> bytes:
        return await self._streams["stderr"].read() if "stderr" in self._streams else b""

    async def resize(self, width: int, height: int) -> None:
        if "resize" in self._streams:
            with contextlib.suppress(ConnectionError):
                await self._streams["resize"].write(orjson.dumps({"Width": width, "Height": height}))

    async def wait(self) -> int:
        """Raises RuntimeFailure if the command could not be run."""
        said = b""
        while data := await self._streams["error"].read():
            said += data
        if self._ended is not None:
            return 0 if self._detached else await self._ended()
        return _exit_code(said)

    async def aclose(self) -> None:
        await self._connection.aclose()
        self._reading.cancel()
        await asyncio.wait((self._reading,))


def _exit_code(said: bytes) -> int:
    """From the Status that ends a session."""
    status = orjson.loads(said) if said else {}
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise RuntimeFailure(status.get("message") or "the runtime ended the session without a word")


async def _upgraded(url: str) -> _Bytes:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port, ssl=parts.scheme == "https" or None, limit=_MAX_HEAD
    )
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    writer.write(_REQUEST.format(path=path, host=parts.netloc).encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first = head.split(b"\r\n")[0].decode(errors="replace")
        if first.split()[1:2] != ["101"]:
            raise ValueError(first)
    except BaseException:
        writer.close()
        raise
    return _Bytes(reader, writer)
