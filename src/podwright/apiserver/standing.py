"""What every cluster has by itself is made at the start, and again when somebody takes it away or changes what is the
system's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from podwright.api.resources import Resource
from podwright.api.status import ApiError
from podwright.apiserver.cache.entries import Event
from podwright.apiserver.registry.registry import Registry
from podwright.store.protocol import StoreUnavailable

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0

Step = Callable[[], Awaitable[None]]


class Standing:
    """Steps that make objects where they are missing, each run again on a change of what it makes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._due: dict[Step, None] = {}
        self._wake = asyncio.Event()

    def keep(self, step: Step, row: Resource, keys: Iterable[str], *, changes: bool = False) -> None:
        """Runs `step` when one of the objects is deleted (with `changes`: also when it is changed)."""
        own = frozenset(keys)

        def changed(event: Event) -> None:
            if event.current.key in own and (changes or event.type == "DELETED"):
                self._due[step] = None
                self._wake.set()

        self._registry.cache(row).listeners.append(changed)

    async def run(self) -> None:
        """Until cancelled. A step that fails (the address of a Service that just went is not free yet) is tried again
        a second later."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, {}
            again: list[Step] = []
            for step in due:
                try:
                    await step()
                except (ApiError, StoreUnavailable) as failed:
                    _log.info("what every cluster has: %s", failed)
                    again.append(step)
            if again:
                await asyncio.sleep(_RETRY_SECONDS)
                self._due.update(dict.fromkeys(again))
                self._wake.set()
