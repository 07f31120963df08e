"""Port-forward over a WebSocket's numbered channels, which clients in Python and JavaScript speak: two channels a port,
an even one for data and the odd one after it for errors. Each begins with the port, two bytes, the low one first.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web

from podwright.kubelet.server.upgrade import UPGRADED, asked_protocols
from podwright.runtime.protocol import RuntimeFailure

BINARY, TEXT = "v4.channel.k8s.io", "v4.base64.channel.k8s.io"
_READ = 64 * 1024
_MESSAGES = 16

Dial = Callable[[int], Awaitable[tuple[Any, Any]]]


def ports(values: Sequence[str]) -> list[int]:
    """The ports that the query names. Raises ValueError."""
    named = [part for value in values for part in value.split(",") if part]
    if not named:
        raise ValueError('query parameter "port" is required')
    found = []
    for text in named:
        if not text.isdecimal() or not 0 < int(text) < 1 << 16:
            raise ValueError(f"unable to parse {text!r} as a port")
        found.append(int(text))
    return found


async def serve(request: web.Request, dial: Dial) -> web.StreamResponse:
    """Forwards the ports in the query until the client goes away or every connection has ended."""
    try:
        wanted = ports(request.query.getall("port", []))
    except ValueError as bad:
        return web.Response(status=400, text=str(bad))
    asked = asked_protocols(request, "Sec-WebSocket-Protocol")
    chosen = next((p for p in asked if p in (BINARY, TEXT)), "")
    if asked and not chosen:
        return web.Response(status=400, text=f"unable to negotiate protocol: client supports {asked}")
    websocket = web.WebSocketResponse(protocols=(chosen,) if chosen else (), max_msg_size=16 << 20, compress=False)
    await websocket.prepare(request)
    request[UPGRADED] = True
    channels = _Channels(websocket, is_text=chosen == TEXT)
    inward = [asyncio.Queue[bytes](maxsize=_MESSAGES) for _ in wanted]
    try:
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(channels.read_into(inward))
            forwards = [
                group.create_task(_forward(channels, 2 * i, port, inward[i], dial)) for i, port in enumerate(wanted)
            ]
            done = group.create_task(_all(forwards))
            await asyncio.wait([reader, done], return_when=asyncio.FIRST_COMPLETED)
            for task in (reader, done, *forwards):
                task.cancel()
    finally:
        await websocket.close()
    return websocket


async def _all(forwards: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.wait(forwards)


class _Channels:
    def __init__(self, websocket: web.WebSocketResponse, *, is_text: bool) -> None:
        self._websocket = websocket
        self._is_text = is_text

    async def send(self, channel: int, data: bytes) -> None:
        with suppress(ConnectionError):
            if self._is_text:
                await self._websocket.send_str(f"{channel}{base64.b64encode(data).decode()}")
            else:
                await self._websocket.send_bytes(bytes((channel,)) + data)

    async def read_into(self, inward: Sequence[asyncio.Queue[bytes]]) -> None:
        """Until the client goes away."""
        while True:
            message = await self._websocket.receive()
            if message.type is WSMsgType.BINARY and message.data:
                channel, data = message.data[0], bytes(message.data[1:])
            elif message.type is WSMsgType.TEXT and message.data[:1].isdecimal():
                try:
                    channel, data = int(message.data[0]), base64.b64decode(message.data[1:])
                except binascii.Error:
                    return
            elif message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
                continue
            else:
                return
            if data and channel % 2 == 0 and channel // 2 < len(inward):
                await inward[channel // 2].put(data)


async def _forward(channels: _Channels, number: int, port: int, inward: asyncio.Queue[bytes], dial: Dial) -> None:
    for channel in (number, number + 1):
        await channels.send(channel, port.to_bytes(2, "little"))
    try:
        reader, writer = await dial(port)
    except (RuntimeFailure, OSError, TimeoutError) as failed:
        await channels.send(number + 1, f"an error occurred forwarding {port}: {failed}".encode())
        return
    try:
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(_write(inward, writer))
            with suppress(OSError):
                while chunk := await reader.read(_READ):
                    await channels.send(number, chunk)
            writing.cancel()
    finally:
        writer.close()


async def _write(inward: asyncio.Queue[bytes], writer: Any) -> None:
    with suppress(OSError):
        while True:
            writer.write(await inward.get())
            await writer.drain()
