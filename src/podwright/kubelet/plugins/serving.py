"""gRPC services of the kubelet's own on Unix sockets. The library is imported when somebody calls: on most nodes
nobody does."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from podwright.api.objects import Object

if TYPE_CHECKING:
    from podwright.kubelet.plugins.grpc_server import UnaryServer

log = logging.getLogger(__name__)

Method = Callable[[Object], Awaitable[Object]]


class CallRefused(Exception):
    """The caller is answered with an error; `code` is gRPC's name of the status."""

    def __init__(self, message: str, code: str = "UNKNOWN") -> None:
        super().__init__(message)
        self.code = code


def _make_room(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    path.unlink(missing_ok=True)


async def serve(path: Path, service: str, methods: Mapping[str, tuple[str, str, Method]]) -> None:
    """Answers calls until cancelled. `methods`: name → (request message, answer message, what answers; it may raise
    CallRefused), messages as the codec's table names them. Raises OSError if the socket cannot be made."""
    made: list[UnaryServer] = []

    def protocol() -> asyncio.BaseProtocol:
        if not made:
            from podwright.kubelet.plugins.grpc_server import UnaryServer

            made.append(UnaryServer(service, methods))
        return made[0].protocol()

    _make_room(path)
    # A socket's path has room for 107 bytes; by the descriptor of its directory it may lie as deep as a user likes.
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        near = f"/proc/self/fd/{directory}/{path.name}"
        listening = await asyncio.get_running_loop().create_unix_server(protocol, near)
    finally:
        os.close(directory)
    try:
        await asyncio.Event().wait()
    finally:
        listening.close()
        for server in made:
            server.hang_up()
