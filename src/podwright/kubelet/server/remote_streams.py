"""The streams of exec and attach as clients carry them: channels of a WebSocket, or streams of SPDY."""

from __future__ import annotations

import asyncio
from typing import Protocol

import orjson
from aiohttp import WSMsgType, web

from podwright.api.objects import Object
from podwright.kubelet.server.upgrade import UPGRADED, RawChannel, Upgraded, asked_protocols, is_websocket
from podwright.runtime.spdy.connection import Connection, Stream

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
_CLOSE = 255
WEBSOCKET_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io")
SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io")
_SPDY_VERSION_HEADER = "X-Stream-Protocol-Version"
_STREAMS_TIMEOUT = 30.0


class NoProtocol(Exception):
    """The client offers no protocol that we speak; the message lists ours."""


class RemoteStreams(Protocol):
    """One client's streams. Writes raise ConnectionError when it is gone."""

    response: web.StreamResponse

    async def read_stdin(self) -> bytes:
        """b"" when the client closed its standard input, or is gone."""

    async def read_resize(self) -> tuple[int, int] | None:
        """(width, height); None when no more will come."""

    async def write_stdout(self, data: bytes) -> None: ...

    async def write_stderr(self, data: bytes) -> None: ...

    async def finish(self, status: Object) -> None:
        """Tells how it ended and closes everything."""

    async def gone(self) -> None:
        """Returns when the client is gone."""


async def open_streams(
    request: web.Request, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
) -> RemoteStreams:
    """Upgrades the request.

    Raises:
        NoProtocol: no protocol in common. ConnectionError: the client went away, or opened too few streams.
    """
    if is_websocket(request):
        asked = asked_protocols(request, "Sec-WebSocket-Protocol")
        chosen = next((p for p in WEBSOCKET_PROTOCOLS if p in asked), None)
        if asked and chosen is None:
            raise NoProtocol(f"unable to negotiate protocol: client supports {asked}, server {WEBSOCKET_PROTOCOLS}")
        websocket = web.WebSocketResponse(
            protocols=(chosen,) if chosen else (), heartbeat=None, max_msg_size=16 << 20, compress=False
        )
        await websocket.prepare(request)
        request[UPGRADED] = True
        return WebSocketStreams(websocket, chosen or "channel.k8s.io", stdin=stdin)
    asked = asked_protocols(request, _SPDY_VERSION_HEADER)
    chosen = next((p for p in SPDY_PROTOCOLS if p in asked), None)
    if chosen is None:
        raise NoProtocol(f"unable to upgrade: unable to negotiate protocol: client supports {asked}")
    channel = RawChannel(request)
    channel.start({"Connection": "Upgrade", "Upgrade": "SPDY/3.1", _SPDY_VERSION_HEADER: chosen})
    connection = Connection(channel)
    expected = {"error"} | {n for n, wanted in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)) if wanted}
    if tty and chosen != "v2.channel.k8s.io":
        expected.add("resize")
    return await SpdyStreams.accept(connection, expected, structured=chosen == "v4.channel.k8s.io")


class WebSocketStreams:
    """A message is a channel number and bytes. With v5, the number 255 and a channel number close that channel."""

    def __init__(self, websocket: web.WebSocketResponse, protocol: str, *, stdin: bool) -> None:
        self.response: web.StreamResponse = websocket
        self._websocket = websocket
        self._structured = protocol != "channel.k8s.io"
        self._stdin: asyncio.Queue[bytes] = asyncio.Queue(maxsize=64)
        self._resize: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue()
        self._wants_stdin = stdin
        self._gone = asyncio.Event()
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        try:
            while True:
                message = await self._websocket.receive()
                if message.type is WSMsgType.TEXT:
                    data = message.data.encode()
                elif message.type is WSMsgType.BINARY:
                    data = bytes(message.data)
                else:
                    return
                if data:
                    await self._handle(data[0], data[1:])
        finally:
            self._gone.set()
            self._resize.put_nowait(None)
            await self._stdin.put(b"")

    async def _handle(self, channel: int, data: bytes) -> None:
        if channel == STDIN:
            if data and self._wants_stdin:
                await self._stdin.put(data)
        elif channel == RESIZE:
            size = parse_size(data)
            if size is not None:
                self._resize.put_nowait(size)
        elif channel == _CLOSE and data[:1] == bytes([STDIN]):
            await self._stdin.put(b"")

    async def read_stdin(self) -> bytes:
        return await self._stdin.get()

    async def read_resize(self) -> tuple[int, int] | None:
        return await self._resize.get()

    async def write_stdout(self, data: bytes) -> None:
        await self._send(STDOUT, data)

    async def write_stderr(self, data: bytes) -> None:
        await self._send(STDERR, data)

    async def _send(self, channel: int, data: bytes) -> None:
        if self._websocket.closed:
            raise ConnectionResetError("the client is gone")
        await self._websocket.send_bytes(bytes([channel]) + data)

    async def finish(self, status: Object) -> None:
        try:
            if not self._websocket.closed:
                await self._send(ERROR, error_text(status, structured=self._structured))
                self._reader.cancel()
                await asyncio.gather(self._reader, return_exceptions=True)
                await self._websocket.close()
        except ConnectionError:
            pass
        finally:
            self._reader.cancel()

    async def gone(self) -> None:
        await self._gone.wait()


class SpdyStreams:
    """A stream each for error, stdin, stdout, stderr and resize, opened by the client."""

    def __init__(
        self, connection: Connection, streams: dict[str, Stream], reader: asyncio.Task[None], structured: bool
    ) -> None:
        self.response: web.StreamResponse = Upgraded()
        self._connection = connection
        self._streams = streams
        self._reader = reader
        self._structured = structured
        self._resize_pending = b""

    @classmethod
    async def accept(cls, connection: Connection, expected: set[str], *, structured: bool) -> SpdyStreams:
        reader = asyncio.ensure_future(connection.run())
        streams: dict[str, Stream] = {}
        try:
            async with asyncio.timeout(_STREAMS_TIMEOUT):
                while not expected <= set(streams):
                    stream = await connection.accept()
                    if stream is None:
                        raise ConnectionResetError("the client opened too few streams")
                    streams[stream.headers.get("streamtype", "")] = stream
        except (TimeoutError, ConnectionError) as failed:
            await connection.aclose()
            reader.cancel()
            raise ConnectionResetError(f"waiting for streams: {failed}") from failed
        return cls(connection, streams, reader, structured)

    async def read_stdin(self) -> bytes:
        return await self._streams["stdin"].read()

    async def read_resize(self) -> tuple[int, int] | None:
        if "resize" not in self._streams:
            return None
        while True:
            data = await self._streams["resize"].read()
            if not data:
                return None
            self._resize_pending += data
            complete, _, rest = self._resize_pending.rpartition(b"}")
            if complete:
                self._resize_pending = rest
                size = parse_size(complete.rpartition(b"{")[1] + complete.rpartition(b"{")[2] + b"}")
                if size is not None:
                    return size

    async def write_stdout(self, data: bytes) -> None:
        await self._streams["stdout"].write(data)

    async def write_stderr(self, data: bytes) -> None:
        await self._streams["stderr"].write(data)

    async def finish(self, status: Object) -> None:
        try:
            text = error_text(status, structured=self._structured)
            if text:
                await self._streams["error"].write(text)
            for name in ("stdout", "stderr", "error"):
                if name in self._streams:
                    await self._streams[name].close()
        except ConnectionError:
            pass
        finally:
            await self._connection.aclose()
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def gone(self) -> None:
        await asyncio.wait((self._reader,))


def parse_size(data: bytes) -> tuple[int, int] | None:
    try:
        size = orjson.loads(data)
        return int(size["Width"]), int(size["Height"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None


def error_text(status: Object, *, structured: bool) -> bytes:
    """What goes on the error stream: the Status, or for old protocols the message of a failure."""
    if structured:
        return orjson.dumps(status)
    return b"" if status.get("status") == "Success" else str(status.get("message", "")).encode()
