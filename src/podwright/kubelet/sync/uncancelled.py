"""Calls to the runtime that run to their end even if the one who waits for them is cancelled, for what they make must
not be made half and forgotten; and what went wrong in a group of calls."""

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


def first_of(failures: BaseExceptionGroup[Exception]) -> Exception:
    """The first exception that is no group."""
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
