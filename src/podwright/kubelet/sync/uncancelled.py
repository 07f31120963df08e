"""Letting a call to the runtime run to its end even if the one who waits for it is cancelled: what it makes must not
be made half and forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uncancelled(call: Coroutine[Any, Any, T]) -> T:
    """The call's result. A cancellation that comes meanwhile is raised when the call has ended."""
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()
        raise
