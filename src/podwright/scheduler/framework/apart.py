"""Running what may hang in a thread of its own, which is left behind if it does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], seconds: float) -> T:
    """The result of `work`.

    Raises:
        TimeoutError: it takes longer than `seconds`. Its thread is abandoned; it does not keep the process alive.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, failed: BaseException | None) -> None:
        if not result.done():
            if failed is not None:
                result.set_exception(failed)
            else:
                result.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, failed = None, None
        try:
            value = work()
        except Exception as error:
            failed = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, failed)

    threading.Thread(target=run, name="scheduler plugin", daemon=True).start()
    async with asyncio.timeout(seconds):
        return await result
