"""The transport to API servers on other machines (or in other processes): HTTPS with a client certificate or token."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import aiohttp
import orjson

from podwright.api.objects import Object
from podwright.api.status import ApiError, failure
from podwright.client.transport import Call, ServerUnreachable, WatchEvent

log = logging.getLogger(__name__)

_CALL_TIMEOUT = 35.0
_CONNECT_TIMEOUT = 5.0
_FAILOVER_SECONDS = 1.5
"""How long a server may leave packets unanswered."""
_SILENCE = 10.0
"""With several servers: how long one may think about a read."""
_ELSEWHERE = (502, 503, 504)
"""Answers of a server that cannot serve just now (it lost its store, it stops); another may."""
_TOKEN_SECONDS = 60.0
_READ_CHUNK_LIMIT = 64 << 20


class HttpsTransport:
    """Talks to the first of `servers` (base URLs) that answers, and stays with it until it fails: refuses connections,
    leaves packets unanswered for 1.5 s, or says that it cannot serve. Watches that run on a failed server end, as lost.
    `servers` may be set anew at any time.

    The server's certificate is judged by `tls`, or by the CA in `ca_file`. `token_file` is read again a minute after
    it was read last, so that rotated tokens are picked up; `token` may be set anew at any time.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        ca_file: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
        tls: ssl.SSLContext | None = None,
        token: str = "",
        token_file: Path | None = None,
        user_agent: str = "podwright",
    ) -> None:
        self._servers: list[str] = []
        self._current = 0
        self._watching: dict[str, set[aiohttp.ClientResponse]] = {}
        self.servers = servers
        self._tls = tls or ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        if certificate is not None:
            self._tls.load_cert_chain(str(certificate[0]), str(certificate[1]))
        self._headers = {"Accept": "application/json", "User-Agent": user_agent}
        self.token = token
        self._token_file = token_file
        self._token_read = float("-inf")
        self._session: aiohttp.ClientSession | None = None

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

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=self._tls, limit=0, keepalive_timeout=60, socket_factory=self._open_socket
                ),
                headers=self._headers,
                read_bufsize=1 << 20,
            )
        return self._session

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

    def _timeout(self, method: str) -> aiohttp.ClientTimeout:
        if len(self._servers) == 1:
            return aiohttp.ClientTimeout(total=_CALL_TIMEOUT, connect=_CONNECT_TIMEOUT)
        # Webhooks may take a write half a minute.
        silence = _SILENCE if method == "GET" else None
        return aiohttp.ClientTimeout(total=_CALL_TIMEOUT, sock_connect=_FAILOVER_SECONDS, sock_read=silence)

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
        for _ in self._servers:
            server = self._servers[self._current]
            try:
                async with self._open_session().request(
                    call.method, server + call.path, params=call.query, data=data, headers=headers,
                    timeout=self._timeout(call.method),
                ) as response:
                    body = await response.read()
                if response.status not in _ELSEWHERE or len(self._servers) == 1:
                    return _decode(response.status, body)
                self._next_server(server)
                try:
                    return _decode(response.status, body)
                except ApiError as refused:
                    if call.method != "GET":  # It may have taken effect.
                        raise
                    last: Exception = refused
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as failed:
                # Nothing was sent: another server may be asked without doubling a write.
                self._next_server(server)
                last = failed
            except (aiohttp.ClientError, TimeoutError) as failed:
                self._next_server(server)
                if call.method != "GET":
                    raise ServerUnreachable(f"{call.method} {call.path}: {failed!r}") from failed
                last = failed
        if isinstance(last, ApiError):
            raise last
        raise ServerUnreachable(f"{call.method} {call.path}: {last!r}") from last

    def _next_server(self, failed: str) -> None:
        """Turns from a server that failed, with everything that still hangs on it."""
        if len(self._servers) == 1 or self._servers[self._current] != failed:
            return
        self._current = (self._current + 1) % len(self._servers)
        log.warning("%s fails, turning to %s", failed, self._servers[self._current])
        for response in self._watching.pop(failed, ()):
            response.close()

    async def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        server = self._servers[self._current]
        query = {**call.query, "watch": "1"}
        connect = _CONNECT_TIMEOUT if len(self._servers) == 1 else _FAILOVER_SECONDS
        try:
            async with self._open_session().get(
                server + call.path,
                params=query,
                headers=self._credentials(),
                timeout=aiohttp.ClientTimeout(total=None, connect=connect, sock_read=None),
            ) as response:
                if response.status != 200:
                    if response.status in _ELSEWHERE:
                        self._next_server(server)
                    _decode(response.status, await response.read())
                with self._hangs_on(server, response):
                    async for event in _events(response.content, call):
                        yield event
        except (aiohttp.ClientError, asyncio.IncompleteReadError, TimeoutError) as failed:
            self._next_server(server)
            raise ServerUnreachable(f"watch {call.path}: {failed!r}") from failed

    @contextlib.contextmanager
    def _hangs_on(self, server: str, response: aiohttp.ClientResponse) -> Iterator[None]:
        running = self._watching.setdefault(server, set())
        running.add(response)
        try:
            yield
        finally:
            running.discard(response)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _events(content: aiohttp.StreamReader, call: Call) -> AsyncIterator[WatchEvent]:
    pending = bytearray()
    async for chunk in content.iter_any():
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
