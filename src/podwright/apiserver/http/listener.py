"""The server's socket: it stays, whatever certificates are served on it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

BACKLOG = 1024
HANDSHAKE_SECONDS = 10.0


class Listener:
    """Accepts connections for `protocol` from :meth:`serve` on."""

    def __init__(self, protocol: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> None:
        """`port` 0 takes any free one, see :attr:`port`. Raises OSError: it is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._protocol = protocol
        self._serving: asyncio.Server | None = None
        self.port = int(self._socket.getsockname()[1])

    async def serve(self, tls: ssl.SSLContext) -> None:
        """Who connects from now on finds these certificates; nobody is turned away meanwhile, and whoever is connected
        stays so."""
        fresh = await asyncio.get_running_loop().create_server(
            self._protocol, sock=self._socket.dup(), backlog=BACKLOG, ssl=tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
        )  # fmt: skip
        before, self._serving = self._serving, fresh
        if before is not None:
            before.close()

    def close(self) -> None:
        """Accepts nobody any more."""
        if self._serving is not None:
            self._serving.close()
        self._socket.close()
