"""A watch over HTTP: events go straight into the connection's buffer; a reader that is too slow loses the watch.

Over a WebSocket, which browsers need, each event is a message: text if it is JSON, else binary without the length that
a stream has."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import Any

from aiohttp import web

from podwright.api.status import ApiError, bad_request
from podwright.apiserver.cache.entries import Cached, Event
from podwright.apiserver.cache.subscriptions import Item
from podwright.apiserver.encoding import Encoder
from podwright.apiserver.http.connections import Connection
from podwright.apiserver.http.responses import Finished, head
from podwright.apiserver.negotiation import JSON, Form
from podwright.apiserver.registry.watches import Watch, next_bookmark
from podwright.apiserver.streaming.relay import subprotocols, wants_upgrade

_WRITE_AHEAD = 256 * 1024
"""Bytes put into the connection's buffer at once."""
_PENDING_BYTES = 16 * 1024 * 1024
_UNCONVERTED = 65536
"""Events that wait for a conversion webhook."""
_STALL_SECONDS = 60.0
_CLOSE_SECONDS = 1.0


class HttpSink:
    """Sends frames. While the connection takes them nothing is queued; otherwise a bounded queue holds them."""

    def __init__(self, watch: Watch, encoder: Encoder, form: Form, include: str, transport: asyncio.Transport) -> None:
        self._watch = watch
        self._encoder = encoder
        self._form = form
        self._include = include
        self._transport = transport
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._first = True
        self._conversion = encoder.conversion(watch.row)
        self._unconverted: deque[Item] = deque()
        self.finished = False
        self.initial = True
        self.wake = asyncio.Event()
        self.ended = False

    def send(self, type: str, entry: Cached, event: Event | None) -> None:
        if self.ended:
            return
        if self._conversion is not None:
            self._unconverted.append((type, entry, event))
            if len(self._unconverted) > _UNCONVERTED and not self.initial:
                self.end()
            self.wake.set()
            return
        self._encode(type, entry, event)

    async def convert(self) -> None:
        """Events that a webhook must convert first are put in order once it has; one that it cannot convert ends the
        watch."""
        if self._conversion is None:
            return
        while self._unconverted and not self.ended:
            batch = list(self._unconverted)
            try:
                settled = await self._watch.settled(batch, self._conversion)
                for _ in batch:
                    self._unconverted.popleft()
                for item in settled:
                    self._encode(*item)
            except ApiError as error:  # also of a definition that changed meanwhile
                self._unconverted.clear()
                self.put(self._encoder.error_frame(error, self._form))
                self.finish()
                return

    def _encode(self, type: str, entry: Cached, event: Event | None) -> None:
        first = self._first and bool(self._form.shape)
        chunk = self._encoder.frame(
            self._watch.row, self._form, self._include, type, entry, event, first
        )
        self._first = False
        self.put(chunk)

    def put(self, chunk: bytes) -> None:
        if not self._pending and not self.initial and self._transport.get_write_buffer_size() < _WRITE_AHEAD:
            if self._transport.is_closing():
                self.end()
                return
            self._transport.write(self.framed(chunk))
            return
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)
        if self._pending_bytes > _PENDING_BYTES and not self.initial:
            self.end()
            return
        self.wake.set()

    def framed(self, chunk: bytes) -> bytes:
        """A chunk of a chunked body as it goes over this connection."""
        return chunk

    def take(self, limit: int) -> bytes:
        """Up to about `limit` bytes of what is queued."""
        parts: list[bytes] = []
        size = 0
        while self._pending and size < limit:
            part = self._pending.popleft()
            size += len(part)
            parts.append(self.framed(part))
        self._pending_bytes -= size
        return b"".join(parts)

    def finish(self) -> None:
        """What is queued is still sent."""
        self.finished = True
        self.wake.set()

    def leave(self) -> None:
        """The reader wants no more."""
        self.ended = True
        self.wake.set()

    def end(self) -> None:
        """At once: whoever waits for the reader waits no longer."""
        self._transport.abort()
        self.leave()


class WebSocketSink(HttpSink):
    """The same as messages."""

    def framed(self, chunk: bytes) -> bytes:
        body = chunk[chunk.index(b"\r\n") + 2 : -2]
        if self._form.media == JSON:
            first = 0x81
        else:
            first, body = 0x82, body[4:]
        if len(body) < 126:
            return b"%c%c%b" % (first, len(body), body)
        if len(body) < 65536:
            return struct.pack("!BBH", first, 126, len(body)) + body
        return struct.pack("!BBQ", first, 127, len(body)) + body


async def serve_watch(
    request: web.BaseRequest, watch: Watch, encoder: Encoder, form: Form, include: str, headers: list[tuple[str, str]],
    now: float, stopping: asyncio.Event,
) -> Finished | web.StreamResponse:
    """Writes the response until the time is up, the client leaves or falls too far behind, or the server stops."""
    connection: Any = request.protocol
    assert isinstance(connection, Connection)
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    upgraded = "websocket" in request.headers.get("Upgrade", "").lower() and wants_upgrade(request)
    headers = [*headers, ("Content-Type", encoder.watch_type(form))]
    sink = (WebSocketSink if upgraded else HttpSink)(watch, encoder, form, include, transport)
    subscription = watch.attach(sink)
    connection.on_lost = sink.end
    try:
        if upgraded:
            return await _over_websocket(request, sink, watch, headers, stopping)
        transport.write(head(200, [*headers, ("Transfer-Encoding", "chunked")], now) + b"\r\n")
        await _pump(request, sink, watch, stopping)
    finally:
        subscription.stop()
        connection.on_lost = None
    clean = not sink.ended and not transport.is_closing()
    if clean:
        transport.write(b"0\r\n\r\n")
    elif not transport.is_closing():
        transport.abort()
    return _Ended(clean)


async def _over_websocket(
    request: web.BaseRequest, sink: HttpSink, watch: Watch, headers: list[tuple[str, str]], stopping: asyncio.Event
) -> web.StreamResponse:
    """Raises ApiError (400) for a handshake that is none. A single subprotocol is agreed to whatever it is, as upstream
    does."""
    socket = web.WebSocketResponse(protocols=subprotocols(request), compress=False, timeout=_CLOSE_SECONDS)
    socket.headers.extend(headers)
    try:
        await socket.prepare(request)
    except web.HTTPBadRequest as error:
        raise bad_request(error.text or "bad handshake") from None

    async def listen() -> None:
        async for _ in socket:
            pass  # nothing is asked of a reader; pings are answered on the way
        sink.leave()

    async with asyncio.TaskGroup() as tasks:
        listener = tasks.create_task(listen())
        await _pump(request, sink, watch, stopping)
        listener.cancel()
    await socket.close(drain=False)
    return socket


async def _pump(request: web.BaseRequest, sink: HttpSink, watch: Watch, stopping: asyncio.Event) -> None:
    """Sends what the watch gives until it is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + watch.timeout
    bookmark_at = next_bookmark(loop.time(), deadline)
    while not sink.ended and not stopping.is_set():
        finished = sink.finished
        await sink.convert()
        if not await _flush(request, sink) or finished:
            return
        sink.initial = False
        at = loop.time()
        if at >= deadline:
            return
        if watch.bookmarks and at >= bookmark_at:
            bookmark_at = next_bookmark(at, deadline)
            sink.send("BOOKMARK", watch.bookmark(), None)
        until = min(deadline, bookmark_at) if watch.bookmarks else deadline
        sink.wake.clear()
        if sink.finished:
            continue
        try:
            async with asyncio.timeout(max(until - at, 0.01)):
                await sink.wake.wait()
        except TimeoutError:
            continue


async def _flush(request: web.BaseRequest, sink: HttpSink) -> bool:
    """Writes what is queued at the reader's pace. False if it stands still."""
    writer = request._payload_writer
    while True:
        data = sink.take(_WRITE_AHEAD)
        if not data:
            return True
        transport = request.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        try:
            async with asyncio.timeout(_STALL_SECONDS):
                await writer.drain()
        except (TimeoutError, ConnectionError):
            sink.end()
            return False


class _Ended(Finished):
    """The response is already written."""

    __slots__ = ()

    def __init__(self, keep_alive: bool) -> None:
        super().__init__(200, b"", b"", keep_alive)

    async def prepare(self, request: web.BaseRequest) -> None:
        """All was written."""

