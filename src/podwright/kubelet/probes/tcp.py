"""tcpSocket: whether something listens."""

from __future__ import annotations

import asyncio

from podwright.kubelet.probes.deadline import deadline
from podwright.kubelet.probes.outcomes import Outcome, Result, dial_error, failure


async def probe(host: str, port: int, timeout: float) -> Outcome:
    """Connects and closes again. `timeout` in seconds."""
    loop = asyncio.get_running_loop()
    try:
        async with deadline(timeout):
            transport, _ = await loop.create_connection(asyncio.Protocol, host, port)
    except OSError as failed:
        return failure(dial_error(host, port, failed))
    transport.close()
    return Outcome(Result.SUCCESS)
