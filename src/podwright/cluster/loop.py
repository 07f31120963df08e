"""One event loop a process: runs until SIGTERM or SIGINT, and everything in it ends with it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

import uvloop

log = logging.getLogger(__name__)


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Runs `main` with an event that is set when the process is asked to end; `main` then returns."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s.%(msecs)03d %(levelname).1s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )  # fmt: skip
    async def guarded() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)

    uvloop.run(guarded())


async def until(stop: asyncio.Event) -> None:
    """Waits for `stop`, then raises Stopped: awaited in a task group, it ends the group's tasks."""
    await stop.wait()
    raise Stopped


class Stopped(Exception):
    """Raised inside a task group to end its other tasks."""
