"""Upgraded connections (WebSocket, SPDY/3.1) relayed as they are: the request is sent on, and once the backend has
switched protocols, bytes go both ways untouched, each side waiting for the other when it is slow.

The relay does not know what it carries, so that every subprotocol of exec, attach and port-forward passes, also those
that tunnel SPDY in a WebSocket.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from podwright.api.status import bad_request, failure

CONNECT_TIMEOUT = 10.0
HEAD_TIMEOUT = 240.0
"""Seconds until the backend must have answered an upgrade: a kubelet may wait for its container runtime."""
MAX_HEAD = 64 * 1024
MAX_ERROR_BODY = 256 * 1024
_BEARER_PROTOCOL = "base64url.bearer.authorization.k8s.io."
_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade", "host", "content-length", "authorization", "accept-encoding",
    }
)


def wants_upgrade(request: web.BaseRequest) -> bool:
    connection = ",".join(request.headers.getall("Connection", ()))
    return "upgrade" in (part.strip().lower() for part in connection.split(",")) and "Upgrade" in request.headers


def subprotocols(request: web.BaseRequest) -> list[str]:
    """The WebSocket subprotocols that a client offers, without the one that is a token."""
    offered = (p.strip() for value in request.headers.getall("Sec-WebSocket-Protocol", ()) for p in value.split(","))
    return [p for p in offered if p and not p.startswith(_BEARER_PROTOCOL)]


def forwarded_headers(request: web.BaseRequest, identity: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    """What goes on to a backend: everything but hop-by-hop headers and credentials (impersonation included). To one
    that is told who asks by `identity`, the client's own X-Remote- headers do not go either."""
    headers = [*identity]
    for key, value in request.headers.items():
        lower = key.lower()
        if lower in _HOP_BY_HOP or lower.startswith("impersonate-") or (identity and lower.startswith("x-remote-")):
            continue
        if lower == "sec-websocket-protocol":
            kept = [p for p in (p.strip() for p in value.split(",")) if not p.startswith(_BEARER_PROTOCOL)]
            if not kept:
                continue
            value = ", ".join(kept)
        headers.append((key, value))
    return headers


class _Side(asyncio.Protocol):
    """One end. Until it has a peer, what comes in is kept for the reader of the head."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Side | None = None
        self.buffer = bytearray()
        self.arrived = asyncio.Event()
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)
            return
        self.buffer += data
        self.arrived.set()
        if len(self.buffer) > MAX_HEAD + MAX_ERROR_BODY and self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        self.ended.set()
        self.arrived.set()

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    async def read_until(self, mark: bytes, limit: int) -> bytes:
        """Takes bytes up to and with `mark`. Raises ConnectionError at the end of the stream, ValueError past the
        limit."""
        while (at := self.buffer.find(mark)) < 0:
            if len(self.buffer) > limit:
                raise ValueError("too long")
            await self._more()
        return self._take(at + len(mark))

    async def read_exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            await self._more()
        return self._take(count)

    async def read_to_end(self, limit: int) -> bytes:
        while len(self.buffer) < limit and not self.ended.is_set():
            self.arrived.clear()
            await self.arrived.wait()
        return self._take(min(len(self.buffer), limit))

    async def _more(self) -> None:
        if self.ended.is_set():
            raise ConnectionResetError("connection closed")
        self.arrived.clear()
        await self.arrived.wait()

    def _take(self, count: int) -> bytes:
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken


class Relayed(web.StreamResponse):
    """Stands for a response that the relay has written itself."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def relay(
    request: web.BaseRequest, host: str, port: int, target: str, *, tls: ssl.SSLContext | None,
    identity: Sequence[tuple[str, str]] = (), server_name: str | None = None,
) -> web.StreamResponse:
    """Sends an upgrade request on to ``host:port``, `target` being path and query, and relays until one side closes.
    `identity` are headers that say who asks; `server_name` is whose certificate is wanted, if not the host's.

    Raises:
        ApiError: 400 the request asks for no upgrade; 500 the backend cannot be reached. If it refuses to switch, its
        answer is given as it is.
    """
    if not wants_upgrade(request):
        raise bad_request("Upgrade request required")
    backend = await _connect(host, port, tls, server_name or host)
    assert backend.transport is not None
    try:
        backend.transport.write(_head(request, host, port, target, identity))
        try:
            async with asyncio.timeout(HEAD_TIMEOUT):
                head = await backend.read_until(b"\r\n\r\n", MAX_HEAD)
                status = int(head.split(b" ", 2)[1])
                if status != 101:
                    return await _refusal(backend, head, status)
        except (TimeoutError, ValueError, IndexError, ConnectionError) as error:
            raise _unreachable(host, port, str(error) or "timed out") from None
        await _splice(request, backend, head)
    finally:
        backend.transport.close()
    return Relayed()


async def _connect(host: str, port: int, tls: ssl.SSLContext | None, server_name: str) -> _Side:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, side = await loop.create_connection(
                _Side, host, port, ssl=tls, server_hostname=server_name if tls is not None else None
            )
    except (OSError, TimeoutError) as error:
        raise _unreachable(host, port, str(error) or "i/o timeout") from None
    return side


def _unreachable(host: str, port: int, why: str) -> Exception:
    message = f"error dialing backend: dial tcp {host}:{port}: {why}"
    return failure(500, "InternalError", message)


def _head(
    request: web.BaseRequest, host: str, port: int, target: str, identity: Sequence[tuple[str, str]]
) -> bytes:
    headers = [("Host", f"{host}:{port}"), ("Connection", "Upgrade"), ("Upgrade", request.headers["Upgrade"])]
    headers += forwarded_headers(request, identity)
    if request.method in ("POST", "PUT", "PATCH"):
        headers.append(("Content-Length", "0"))
    lines = [f"{request.method} {target} HTTP/1.1", *(f"{key}: {value}" for key, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


async def _refusal(backend: _Side, head: bytes, status: int) -> web.Response:
    """The backend's answer as an ordinary response."""
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(":")
        headers[key.strip().lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts: list[bytes] = []
        while size := int((await backend.read_until(b"\r\n", MAX_HEAD)).split(b";")[0].strip() or b"0", 16):
            parts.append(await backend.read_exactly(size))
            await backend.read_exactly(2)
            if sum(map(len, parts)) > MAX_ERROR_BODY:
                break
        body = b"".join(parts)
    elif "content-length" in headers:
        body = await backend.read_exactly(min(int(headers["content-length"]), MAX_ERROR_BODY))
    else:
        body = await backend.read_to_end(MAX_ERROR_BODY)
    content_type = headers.get("content-type", "text/plain")
    return web.Response(status=status, body=body, headers={"Content-Type": content_type})


async def _splice(request: web.BaseRequest, backend: _Side, head: bytes) -> None:
    """Takes the client's connection over from the HTTP server and joins it with the backend's."""
    transport: Any = request.transport
    if transport is None or backend.transport is None:
        return
    server_protocol = request.protocol
    early = getattr(server_protocol, "_message_tail", b"")
    client = _Side()
    client.transport = transport
    client.peer, backend.peer = backend, client
    transport.set_protocol(client)
    transport.write(head)
    if backend.buffer:
        transport.write(backend._take(len(backend.buffer)))
    if early:
        backend.transport.write(early)
    transport.resume_reading()
    backend.transport.resume_reading()
    try:
        waits = [asyncio.ensure_future(side.ended.wait()) for side in (client, backend)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
    finally:
        # Closing flushes what is still buffered; the HTTP server then learns that its connection is gone.
        transport.set_protocol(server_protocol)
        if client.ended.is_set() and transport.is_closing():
            server_protocol.connection_lost(None)
        transport.close()
