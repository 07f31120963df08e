"""Connections that stop being HTTP: a raw SPDY upgrade, or bytes tunnelled through a WebSocket's messages."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from aiohttp import WSMsgType, web

_HIGH_WATER = 1 << 20

UPGRADED = "podwright.upgraded"
"""Set on a request once its connection has switched protocols."""


class RawChannel(asyncio.Protocol):
    """The connection of `request`, taken over from the HTTP server after 101 Switching Protocols was sent."""

    def __init__(self, request: web.BaseRequest) -> None:
        transport: Any = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self._request = request
        self._transport = transport
        self._server_protocol = request.protocol
        self._received: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def start(self, headers: Mapping[str, str]) -> None:
        """Switches protocols, with these response headers."""
        lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in headers.items())]
        self._request[UPGRADED] = True
        early = getattr(self._server_protocol, "_message_tail", b"")
        if early:
            self.data_received(early)
        self._transport.set_protocol(self)
        self._transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._received.append(data)
        self._size += len(data)
        self._changed.set()
        if self._size > _HIGH_WATER:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._changed.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def read(self) -> bytes:
        while not self._received:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._received.popleft()
        self._size -= len(data)
        if self._size <= _HIGH_WATER // 2 and not self._transport.is_closing():
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        if self._ended or self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)
        await self._writable.wait()

    async def aclose(self) -> None:
        """Gives the dead connection back to the HTTP server, which lets go of it."""
        self._transport.set_protocol(self._server_protocol)
        if self._ended and self._transport.is_closing():
            self._server_protocol.connection_lost(None)
        self._transport.close()


class WebSocketChannel:
    """Bytes as the binary messages of a WebSocket, whose borders mean nothing."""

    def __init__(self, websocket: web.WebSocketResponse) -> None:
        self._websocket = websocket

    async def read(self) -> bytes:
        while True:
            message = await self._websocket.receive()
            if message.type is WSMsgType.BINARY:
                if message.data:
                    return bytes(message.data)
            elif message.type is not WSMsgType.TEXT:
                return b""

    async def write(self, data: bytes) -> None:
        await self._websocket.send_bytes(data)

    async def aclose(self) -> None:
        await self._websocket.close()


class Upgraded(web.StreamResponse):
    """Stands for a response that was written past the HTTP server."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


def asked_protocols(request: web.BaseRequest, header: str) -> list[str]:
    """The protocols that a client offers, in its order."""
    return [p.strip() for value in request.headers.getall(header, ()) for p in value.split(",") if p.strip()]


def is_websocket(request: web.BaseRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"
