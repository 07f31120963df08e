"""Connections to ports of a Pod, made from inside its network namespace."""

from __future__ import annotations

import asyncio
import socket

from podwright.runtime.oci.namespaces import enter, in_thread
from podwright.runtime.oci.records import SandboxRecord
from podwright.runtime.protocol import RuntimeFailure

_TIMEOUT = 5.0


async def connect(sandbox: SandboxRecord, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To localhost in the Pod, IPv4 first. Raises RuntimeFailure if nobody listens there."""
    if not sandbox.ready:
        raise RuntimeFailure(f'sandbox "{sandbox.id}" is not running')
    return await dial(sandbox.netns, port, sandbox.id)


async def dial(netns: str, port: int, sandbox_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """`netns` "" is the host's. Raises RuntimeFailure."""
    try:
        connection = await asyncio.to_thread(in_thread, lambda: _connect(netns, port))
    except OSError as error:
        raise RuntimeFailure(
            f"failed to connect to localhost:{port} inside namespace of sandbox {sandbox_id[:12]}: {error.strerror}"
        ) from None
    return await asyncio.open_connection(sock=connection)


def _connect(netns: str, port: int) -> socket.socket:
    """A socket belongs for ever to the namespace that it was made in, wherever it is used."""
    if netns:
        enter(netns, "net")
    failure: OSError | None = None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(_TIMEOUT)
            connection.connect((address, port))
            connection.setblocking(False)
            return connection
        except OSError as error:
            connection.close()
            failure = failure or error
    assert failure is not None
    raise failure
