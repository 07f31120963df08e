"""Connections: who is at the other end, and how long it may dawdle."""

from __future__ import annotations

import _ssl
import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

HEADER_SECONDS = 20.0
"""How long a client may take to send a request's head."""
IDLE_SECONDS = 120.0
MAX_HEADER_BYTES = 32768
MAX_HEADERS = 200
_REMEMBERED = 8192


class Connection(RequestHandler):
    """One client connection. Closes itself when a head does not arrive in time (slow loris)."""

    def __init__(self, manager: Server, *, loop: asyncio.AbstractEventLoop, **kwargs: Any) -> None:
        super().__init__(manager, loop=loop, **kwargs)
        self._authorities = manager.authorities
        self.certificate: bytes | None = None
        self.authority: bytes | None = None
        """The trusted certificate that the client's leads to."""
        self.peer = ""
        self.on_lost: Callable[[], None] | None = None
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.certificate = tls.getpeercert(binary_form=True) or None
            if self.certificate is not None:
                self.authority = verified_by(tls, self.certificate, self._authorities)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._expect_head()

    def _expect_head(self) -> None:
        self._head_timer = self._loop.call_later(HEADER_SECONDS, self._head_is_late, self._request_count)

    def _head_is_late(self, count: int) -> None:
        self._head_timer = None
        if self._request_count == count and not self._request_in_progress:
            self.force_close()

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and not self._request_in_progress and not self._upgraded:
            self._expect_head()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What is no HTTP is answered and closed; anybody can send it, so it must not fill the log."""
        if isinstance(kw.get("exc_info"), HttpProcessingError | web.RequestPayloadError):
            self.logger.debug(*args, **{**kw, "exc_info": None})
        else:
            super().log_exception(*args, **kw)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().connection_lost(exc)
        callback, self.on_lost = self.on_lost, None
        if callback is not None:
            callback()


def verified_by(tls: Any, certificate: bytes, known: dict[bytes, bytes]) -> bytes | None:
    """The last certificate of the chain that the handshake verified, in DER. A session that is resumed has no chain: it
    is `known` from the handshake that it continues."""
    # Public from Python 3.13 on.
    chain = tls.get_verified_chain() if hasattr(tls, "get_verified_chain") else tls._sslobj.get_verified_chain()
    if not chain:
        return known.get(certificate)
    last = chain[-1]
    found = last if isinstance(last, bytes) else bytes(last.public_bytes(_ssl.ENCODING_DER))
    if len(known) >= _REMEMBERED:
        known.clear()
    known[certificate] = found
    return found


class Server(web.Server):
    """aiohttp's low-level server, with our connections and without access log."""

    def __init__(self, handler: Callable[[web.BaseRequest], Any], *, max_body: int) -> None:
        super().__init__(handler, request_factory=cast(Any, self._request))
        self._max_body = max_body
        self.authorities: dict[bytes, bytes] = {}
        """By the client certificates that handshakes verified, what each led to."""

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=self._max_body)

    def __call__(self) -> RequestHandler:
        return Connection(
            self,
            loop=self._loop,
            keepalive_timeout=IDLE_SECONDS,
            access_log=None,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            lingering_time=2.0,
            auto_decompress=False,  # as upstream: what a few bytes unpack to has no bounds
        )
