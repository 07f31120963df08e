"""The transport to API servers on other machines (or in other processes): HTTPS with a client certificate or token."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import orjson

from podwright.api.objects import Object
from podwright.api.status import ApiError, failure
from podwright.client.transport import Call, ServerUnreachable, WatchEvent

_CALL_TIMEOUT = 35.0
_CONNECT_TIMEOUT = 5.0
_TOKEN_SECONDS = 60.0
_READ_CHUNK_LIMIT = 64 << 20


class HttpsTransport:
    """Talks to the first of `servers` (base URLs) that answers, and stays with it until it fails.

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
        if not servers:
            raise ValueError("no server given")
        self._servers = [s.rstrip("/") for s in servers]
        self._current = 0
        self._tls = tls or ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        if certificate is not None:
            self._tls.load_cert_chain(str(certificate[0]), str(certificate[1]))
        self._headers = {"Accept": "application/json", "User-Agent": user_agent}
        self.token = token
        self._token_file = token_file
        self._token_read = float("-inf")
        self._session: aiohttp.ClientSession | None = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=0, keepalive_timeout=60),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=_CALL_TIMEOUT, connect=_CONNECT_TIMEOUT),
                read_bufsize=1 << 20,
            )
        return self._session

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
                    call.method, server + call.path, params=call.query, data=data, headers=headers
                ) as response:
                    body = await response.read()
                    return _decode(response.status, body)
            except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as failed:
                # Nothing was sent: another server may be asked without doubling a write.
                self._next_server(server)
                last: Exception = failed
            except (aiohttp.ClientError, TimeoutError) as failed:
                self._next_server(server)
                if call.method != "GET":
                    raise ServerUnreachable(f"{call.method} {call.path}: {failed!r}") from failed
                last = failed
        raise ServerUnreachable(f"{call.method} {call.path}: {last!r}") from last

    def _next_server(self, failed: str) -> None:
        if self._servers[self._current] == failed:
            self._current = (self._current + 1) % len(self._servers)

    async def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        server = self._servers[self._current]
        query = {**call.query, "watch": "1"}
        try:
            async with self._open_session().get(
                server + call.path,
                params=query,
                headers=self._credentials(),
                timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_TIMEOUT, sock_read=None),
            ) as response:
                if response.status != 200:
                    _decode(response.status, await response.read())
                pending = bytearray()
                async for chunk in response.content.iter_any():
                    pending += chunk
                    *lines, rest = pending.split(b"\n")
                    pending = bytearray(rest)
                    if len(pending) > _READ_CHUNK_LIMIT:
                        raise ServerUnreachable(f"watch {call.path}: event without an end")
                    for line in lines:
                        if line:
                            yield _event(line)
        except (aiohttp.ClientError, asyncio.IncompleteReadError, TimeoutError) as failed:
            self._next_server(server)
            raise ServerUnreachable(f"watch {call.path}: {failed!r}") from failed

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


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
