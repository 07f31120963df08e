"""Pods that a Permit plugin holds before they are bound."""

from __future__ import annotations

import asyncio

from podwright.scheduler.framework.verdicts import Refusal


class Permits:
    """Waits end by :meth:`allow`, :meth:`reject`, or when their time is over."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Refusal | None]] = {}

    def allow(self, uid: str) -> None:
        self._settle(uid, None)

    def reject(self, uid: str, message: str) -> None:
        self._settle(uid, Refusal(message))

    def _settle(self, uid: str, answer: Refusal | None) -> None:
        waiting = self._waiting.get(uid)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def wait(self, uid: str, plugin: str, seconds: float) -> Refusal | None:
        waiting: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self._waiting[uid] = waiting
        try:
            async with asyncio.timeout(seconds):
                answer = await waiting
        except TimeoutError:
            return Refusal(f"rejected due to timeout after waiting {seconds:g}s at plugin {plugin}", plugin=plugin)
        finally:
            del self._waiting[uid]
        return None if answer is None else Refusal(answer.message, plugin)
