"""Port-forward: pairs of SPDY streams (data and error), each pair one TCP connection to a port of the Pod. The SPDY
connection may lie in a WebSocket; a WebSocket without one has channels (``port_channels.py``)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web

from podwright.kubelet.server import port_channels
from podwright.kubelet.server.upgrade import (
    UPGRADED,
    RawChannel,
    Upgraded,
    WebSocketChannel,
    asked_protocols,
    is_websocket,
)
from podwright.runtime.protocol import RuntimeFailure
from podwright.runtime.spdy.connection import ByteChannel, Connection, Stream

log = logging.getLogger(__name__)

PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
_PAIR_TIMEOUT = 30.0
_READ = 64 * 1024

Dial = Callable[[int], Awaitable[tuple[Any, Any]]]


async def serve(request: web.Request, dial: Dial) -> web.StreamResponse:
    """Serves connections until the client goes away. `dial` connects to a port inside the Pod."""
    channel: ByteChannel
    if is_websocket(request):
        if TUNNEL_PROTOCOL not in asked_protocols(request, "Sec-WebSocket-Protocol"):
            return await port_channels.serve(request, dial)
        websocket = web.WebSocketResponse(protocols=(TUNNEL_PROTOCOL,), max_msg_size=16 << 20, compress=False)
        await websocket.prepare(request)
        request[UPGRADED] = True
        channel = WebSocketChannel(websocket)
        response: web.StreamResponse = websocket
    else:
        if PROTOCOL not in asked_protocols(request, "X-Stream-Protocol-Version"):
            return web.Response(status=403, text=f"unable to negotiate protocol: server supports [{PROTOCOL}]")
        raw = RawChannel(request)
        raw.start({"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": PROTOCOL})
        channel, response = raw, Upgraded()
    connection = Connection(channel)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(connection.run())
            await _accept(connection, dial, group)
    finally:
        await connection.aclose()
    return response


async def _accept(connection: Connection, dial: Dial, group: asyncio.TaskGroup) -> None:
    halves: dict[str, dict[str, Stream]] = {}
    while (stream := await connection.accept()) is not None:
        # Clients before request ids were known pair the streams by the data stream's id.
        kind = stream.headers.get("streamtype", "")
        identity = stream.headers.get("requestid") or str(stream.id - (2 if kind == "data" else 0))
        pair = halves.setdefault(identity, {})
        if kind not in ("data", "error") or kind in pair or len(halves) > 1000:
            await stream.reset()
            continue
        pair[kind] = stream
        if len(pair) == 2:
            del halves[identity]
            group.create_task(_forward(connection, pair["data"], pair["error"], dial))


async def _forward(connection: Connection, data: Stream, error: Stream, dial: Dial) -> None:
    port_text = data.headers.get("port", "")
    try:
        try:
            reader, writer = await dial(int(port_text))
        except (RuntimeFailure, OSError, ValueError, TimeoutError) as failed:
            await error.write(f"an error occurred forwarding {port_text}: {failed}".encode())
            return
        try:
            async with asyncio.TaskGroup() as group:
                inward = group.create_task(_inward(data, writer))
                await _outward(data, reader)
                inward.cancel()
        finally:
            writer.close()
    except* (ConnectionError, OSError):
        pass
    finally:
        for stream in (data, error):
            with suppress(ConnectionError):
                await stream.close()
            connection.forget(stream)


async def _inward(data: Stream, writer: Any) -> None:
    with suppress(ConnectionError, OSError):
        while chunk := await data.read():
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _outward(data: Stream, reader: Any) -> None:
    with suppress(ConnectionError, OSError):
        while chunk := await reader.read(_READ):
            await data.write(chunk)
