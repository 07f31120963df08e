"""How long an attempt of a probe may take."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

_LATE = 0.05


@contextlib.asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """Like asyncio.timeout, but time in which this process was kept from running is given back once it runs again:
    an answer that came meanwhile has yet to be read, and the container is not to be blamed for that.

    Raises:
        TimeoutError
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def expire(due: float) -> None:
        nonlocal timer
        now = loop.time()
        if now - due > _LATE:
            timer = loop.call_at(now + (now - due), expire, now + (now - due))
        else:
            limit.reschedule(now)

    async with asyncio.timeout(None) as limit:
        due = loop.time() + seconds
        timer = loop.call_at(due, expire, due)
        try:
            yield
        finally:
            timer.cancel()
