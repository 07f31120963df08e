"""The transport to API servers on other machines (or in other processes): HTTPS with a client certificate or token."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import TypeVar

import aiohttp
import orjson

from podwright.api.objects import Object
from podwright.api.status import ApiError, failure
from podwright.client.transport import Call, ServerUnreachable, WatchEvent

_T = TypeVar("_T")
log = logging.getLogger(__name__)

_CALL_TIMEOUT = 35.0
_CONNECT_TIMEOUT = 5.0
_FAILOVER_SECONDS = 1.5
"""How long a server may leave packets unanswered."""
_SILENCE = 5.0
"""With several servers: after how long one that says nothing is asked whether it lives."""
_ELSEWHERE = (500, 502, 503, 504)
"""Answers after which a server is asked whether it is ready: it may have lost its store, or stop."""
_TOKEN_SECONDS = 60.0
_READ_CHUNK_LIMIT = 64 << 20


class HttpsTransport:
    """Talks to the first of `servers` (base URLs) that answers, and stays with it until it fails: refuses connections,
    leaves packets unanswered for 1.5 s, hangs, or is not ready any more. Calls and watches that are under way on a
    failed server end, as lost. `servers` may be set anew at any time.

    The server's certificate is judged by `tls`, or by the CA in `ca_file`. `token_file` is read again a minute after
    it was read last, so that rotated tokens are picked up; `token` may be set anew at any time.
    """

    def __init__(
        self, servers: Sequence[str], *, ca_file: Path | None = None, certificate: tuple[Path, Path] | None = None,
        tls: ssl.SSLContext | None = None, token: str = "", token_file: Path | None = None,
        user_agent: str = "podwright",
    ) -> None:
        self._servers: list[str] = []
        self._current = 0
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._retired: list[aiohttp.ClientSession] = []
        self._left: dict[str, asyncio.Event] = {}
        self._heard: dict[str, float] = {}
        self.servers = servers
        self._tls = tls or ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        if certificate is not None:
            self._tls.load_cert_chain(str(certificate[0]), str(certificate[1]))
        self._headers = {"Accept": "application/json", "User-Agent": user_agent}
        self.token = token
        self._token_file = token_file
        self._token_read = float("-inf")

    @property
    def servers(self) -> Sequence[str]:
        """Base URLs, in the order in which they are tried."""
        return self._servers

    @servers.setter
    def servers(self, servers: Sequence[str]) -> None:
        if not servers:
            raise ValueError("no server given")
        known = self._servers[self._current] if self._servers else ""
        self._servers = [s.rstrip("/") for s in servers]
        self._current = self._servers.index(known) if known in self._servers else 0

    def _session(self, server: str) -> aiohttp.ClientSession:
        session = self._sessions.get(server)
        if session is None:
            session = self._sessions[server] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._tls, limit=0, keepalive_timeout=60, socket_factory=self._open_socket
                ),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=_CALL_TIMEOUT, sock_connect=self._connect_timeout()),
                read_bufsize=1 << 20,
            )
        return session

    def _connect_timeout(self) -> float:
        return _CONNECT_TIMEOUT if len(self._servers) == 1 else _FAILOVER_SECONDS

    @staticmethod
    def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A machine that is gone says nothing. Upstream's clients find out by HTTP/2 pings, we by the kernel's.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2),
            (socket.TCP_USER_TIMEOUT, int(1000 * _FAILOVER_SECONDS)),
        ):  # fmt: skip
            made.setsockopt(socket.IPPROTO_TCP, option, value)
        return made

    def _credentials(self) -> dict[str, str]:
        now = time.monotonic()
        if self._token_file is not None and now >= self._token_read + _TOKEN_SECONDS:
            try:
                self.token = self._token_file.read_text().strip()
            except OSError as missing:
                raise ServerUnreachable(f"no token: {missing}") from missing
            self._token_read = now
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    async def call(self, call: Call) -> Object:
        data = None if call.body is None else orjson.dumps(call.body)
        headers = self._credentials()
        if data is not None:
            headers["Content-Type"] = call.content_type
        last: Exception | None = None
        for _ in self._servers:
            server = self._servers[self._current]
            try:
                status, body = await self._alive(server, self._exchange(server, call, data, headers))
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as failed:
                # Nothing was sent: another server may be asked without doubling a write.
                await self._turn_from(server)
                last = failed
            except (aiohttp.ClientError, TimeoutError) as failed:
                await self._turn_from(server)
                if call.method != "GET":
                    raise ServerUnreachable(f"{call.method} {call.path}: {failed!r}") from failed
                last = failed
            else:
                if status not in _ELSEWHERE or await self._ready(server):
                    return _decode(status, body)
                await self._turn_from(server)
                try:
                    return _decode(status, body)
                except ApiError as refused:
                    if call.method != "GET":  # It may have taken effect.
                        raise
                    last = refused
        if isinstance(last, ApiError):
            raise last
        raise ServerUnreachable(f"{call.method} {call.path}: {last!r}") from last

    async def _exchange(
        self, server: str, call: Call, data: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        async with self._session(server).request(
            call.method, server + call.path, params=call.query, data=data, headers=headers
        ) as response:
            return response.status, await response.read()

    async def _alive(self, server: str, doing: Coroutine[None, None, _T]) -> _T:
        """What `doing` gives. Raises TimeoutError when it takes long and the server turns out to hang, or when another
        call found that the server fails."""
        if len(self._servers) == 1:
            return await doing
        task = asyncio.ensure_future(doing)
        left = asyncio.ensure_future(self._left.setdefault(server, asyncio.Event()).wait())
        try:
            while not task.done():
                await asyncio.wait((task, left), timeout=_SILENCE, return_when=asyncio.FIRST_COMPLETED)
                if not task.done() and (left.done() or not await self._lives(server)):
                    raise TimeoutError(f"{server} fails")
            self._heard[server] = time.monotonic()
            return task.result()
        finally:
            task.cancel()
            left.cancel()
            await asyncio.wait((task, left))

    async def _lives(self, server: str) -> bool:
        """Whether it was heard of in time, by whatever call, or answers now."""
        return time.monotonic() - self._heard.get(server, float("-inf")) < _SILENCE or await self._ready(server)

    async def _ready(self, server: str) -> bool:
        """Whether the server says so itself, unless it is the only one."""
        if len(self._servers) == 1:
            return True
        try:
            async with asyncio.timeout(_FAILOVER_SECONDS):
                async with self._session(server).get(f"{server}/readyz", headers=self._credentials()) as response:
                    if response.status != 200:
                        return False
        except (aiohttp.ClientError, TimeoutError):
            return False
        self._heard[server] = time.monotonic()
        return True

    async def _turn_from(self, failed: str) -> None:
        """Uses another server from now on, and ends everything that still hangs on this one."""
        if len(self._servers) == 1 or self._servers[self._current] != failed:
            return
        self._current = (self._current + 1) % len(self._servers)
        log.warning("%s fails, turning to %s", failed, self._servers[self._current])
        left = self._left.pop(failed, None)
        if left is not None:
            left.set()
        session = self._sessions.pop(failed, None)
        if session is not None:
            await session.close()

    async def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        server = self._servers[self._current]
        query = {**call.query, "watch": "1"}
        try:
            async with self._session(server).get(
                server + call.path,
                params=query,
                headers=self._credentials(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout()),
            ) as response:
                if response.status != 200:
                    body = await response.read()
                    if response.status in _ELSEWHERE and not await self._ready(server):
                        await self._turn_from(server)
                    _decode(response.status, body)
                async for event in _events(self._chunks(server, response.content), call):
                    yield event
        except (aiohttp.ClientError, asyncio.IncompleteReadError, TimeoutError) as failed:
            await self._turn_from(server)
            raise ServerUnreachable(f"watch {call.path}: {failed!r}") from failed

    async def _chunks(self, server: str, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
        while chunk := await self._alive(server, content.readany()):
            yield chunk

    def renew(self, certificate: tuple[Path, Path]) -> None:
        """Shows this client certificate on connections that are made from now on. Calls and watches that are under way
        go on with the old one."""
        self._tls.load_cert_chain(str(certificate[0]), str(certificate[1]))
        self._retired += self._sessions.values()
        self._sessions = {}

    async def aclose(self) -> None:
        sessions, self._sessions, self._retired = [*self._sessions.values(), *self._retired], {}, []
        for session in sessions:
            await session.close()

async def _events(chunks: AsyncIterator[bytes], call: Call) -> AsyncIterator[WatchEvent]:
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        *lines, rest = pending.split(b"\n")
        pending = bytearray(rest)
        if len(pending) > _READ_CHUNK_LIMIT:
            raise ServerUnreachable(f"watch {call.path}: event without an end")
        for line in lines:
            if line:
                yield _event(line)


def _event(line: bytes | bytearray) -> WatchEvent:
    event = orjson.loads(line)
    if event["type"] == "ERROR":
        raise ApiError(event["object"])
    return WatchEvent(event["type"], event["object"])


def _decode(status: int, body: bytes) -> Object:
    try:
        decoded = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        decoded = None
    if status >= 400:
        if isinstance(decoded, dict) and decoded.get("kind") == "Status":
            raise ApiError(decoded)
        text = body[:300].decode(errors="replace")
        raise failure(status, "Unknown", f"the server answered {status}: {text}")
    if not isinstance(decoded, dict):
        raise ServerUnreachable(f"the server answered {status} with something that is no object")
    return decoded
