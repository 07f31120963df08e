"""A SPDY connection: the client opens streams, both sides send on them."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from podwright.runtime.spdy.frames import (
    GOAWAY,
    PING,
    RST_STREAM,
    SYN_STREAM,
    Decoder,
    Encoder,
    Frame,
    ProtocolError,
)

_CHUNK = 32 * 1024
_HIGH_WATER = 1 << 20
_REFUSED_STREAM, _PROTOCOL_ERROR = 3, 1


class ByteChannel(Protocol):
    """What carries the connection: a raw upgraded connection, or the messages of a WebSocket."""

    async def read(self) -> bytes:
        """b"" at the end."""

    async def write(self, data: bytes) -> None: ...

    async def aclose(self) -> None: ...


class Stream:
    """One stream that the client opened. `headers` are what it opened it with (lower-case names)."""

    def __init__(self, connection: Connection, identity: int, headers: Mapping[str, str]) -> None:
        self.id = identity
        self.headers = headers
        self._connection = connection
        self._received: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._local_ended = False

    async def read(self) -> bytes:
        """The next bytes; b"" once the client has closed its side or the connection is gone."""
        while not self._received:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._received.popleft()
        self._size -= len(data)
        self._connection.taken()
        return data

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError when the connection is gone."""
        for at in range(0, len(data), _CHUNK):
            await self._connection.send_data(self.id, data[at : at + _CHUNK])

    async def close(self) -> None:
        """Ends our side. Idempotent."""
        if not self._local_ended:
            self._local_ended = True
            await self._connection.send_data(self.id, b"", fin=True)

    async def reset(self) -> None:
        await self._connection.reset(self.id)

    def received(self, data: bytes, *, fin: bool) -> None:
        if data:
            self._received.append(data)
            self._size += len(data)
        if fin:
            self._ended = True
        self._changed.set()

    @property
    def waiting_bytes(self) -> int:
        return self._size


class Connection:
    """Run :meth:`run` as a task; :meth:`accept` gives each stream the client opens. Who is the client himself opens
    them by :meth:`open`."""

    def __init__(self, channel: ByteChannel) -> None:
        self._channel = channel
        self._decoder = Decoder()
        self._encoder = Encoder()
        self._streams: dict[int, Stream] = {}
        self._new: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._closed = False
        self._room = asyncio.Event()
        self._room.set()
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Reads until the client goes away. A stream that nobody reads stops the reading for all (they share one
        connection), so that nothing grows without bound."""
        try:
            while data := await self._channel.read():
                for frame in self._decoder.feed(data):
                    await self._handle(frame)
                await self._room.wait()
        except (ProtocolError, ConnectionError):
            pass
        finally:
            self._closed = True
            for stream in self._streams.values():
                stream.received(b"", fin=True)
            self._new.put_nowait(None)

    async def accept(self) -> Stream | None:
        """None once the client is gone."""
        if self._closed and self._new.empty():
            return None
        return await self._new.get()

    async def open(self, headers: Mapping[str, str]) -> Stream:
        """Raises ConnectionError."""
        if self._closed:
            raise ConnectionResetError("the server is gone")
        async with self._sending:
            stream = Stream(self, 2 * len(self._streams) + 1, headers)
            self._streams[stream.id] = stream
            await self._channel.write(self._encoder.syn_stream(stream.id, headers))
        return stream

    async def aclose(self) -> None:
        if not self._closed:
            last = max(self._streams, default=0)
            try:
                await self._send(self._encoder.goaway(last))
            except ConnectionError:
                pass
        await self._channel.aclose()

    def forget(self, stream: Stream) -> None:
        """The stream is done with on both sides."""
        self._streams.pop(stream.id, None)
        self.taken()

    def taken(self) -> None:
        if sum(s.waiting_bytes for s in self._streams.values()) < _HIGH_WATER:
            self._room.set()

    async def send_data(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        await self._send(self._encoder.data(stream, data, fin=fin))

    async def reset(self, stream: int) -> None:
        await self._send(self._encoder.rst_stream(stream, _REFUSED_STREAM))

    async def _send(self, data: bytes) -> None:
        if self._closed:
            raise ConnectionResetError("the client is gone")
        async with self._sending:
            await self._channel.write(data)

    async def _handle(self, frame: Frame) -> None:
        if frame.kind == 0:
            stream = self._streams.get(frame.stream)
            if stream is not None:
                stream.received(frame.data, fin=frame.fin)
                if sum(s.waiting_bytes for s in self._streams.values()) >= _HIGH_WATER:
                    self._room.clear()
        elif frame.kind == SYN_STREAM:
            if frame.stream in self._streams or not frame.stream & 1:
                await self._send(self._encoder.rst_stream(frame.stream, _PROTOCOL_ERROR))
                return
            stream = Stream(self, frame.stream, frame.headers)
            self._streams[frame.stream] = stream
            if frame.fin:
                stream.received(b"", fin=True)
            # Header blocks share one compression state, so frames with headers leave in the order they are made.
            async with self._sending:
                await self._channel.write(self._encoder.syn_reply(frame.stream))
            self._new.put_nowait(stream)
        elif frame.kind == RST_STREAM:
            stream = self._streams.pop(frame.stream, None)
            if stream is not None:
                stream.received(b"", fin=True)
                self.taken()
        elif frame.kind == PING:
            (identity,) = struct.unpack("!I", frame.data[:4])
            if identity & 1:  # Odd ids are the client's; even ones would answer pings of ours.
                await self._send(self._encoder.ping(frame.data[:4]))
        elif frame.kind == GOAWAY:
            self._new.put_nowait(None)
