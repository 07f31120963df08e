"""How a call gets to an API server: the port behind :class:`podwright.client.client.Client`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from podwright.api.calls import APPLY_PATCH, JSON, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, Call, WatchEvent
from podwright.api.objects import Object

__all__ = [
    "APPLY_PATCH", "JSON", "JSON_PATCH", "MERGE_PATCH", "STRATEGIC_MERGE_PATCH",
    "Call", "Handler", "InProcessTransport", "ServerUnreachable", "Transport", "WatchEvent",
]  # fmt: skip

class ServerUnreachable(Exception):
    """No API server answered. It is not known whether a write took effect."""


class Transport(Protocol):
    """Both methods raise ApiError for a Status answer and ServerUnreachable if there is none."""

    async def call(self, call: Call) -> Object: ...

    def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        """Ends when the server ends the watch; an ERROR event (410 Gone) is raised as ApiError. Close it with
        ``contextlib.aclosing``."""

    async def aclose(self) -> None: ...


class Handler(Protocol):
    """What an API server in the same process offers: the same pipeline from authorization on."""

    async def call(self, call: Call, user: str, groups: Sequence[str]) -> Object: ...

    def watch(self, call: Call, user: str, groups: Sequence[str]) -> AsyncIterator[WatchEvent]: ...


class InProcessTransport:
    """Calls a :class:`Handler` as a fixed user. Results are the server's own cached dicts."""

    def __init__(self, handler: Handler, user: str, groups: Sequence[str] = ()) -> None:
        self._handler = handler
        self._user = user
        self._groups = (*groups, "system:authenticated")

    async def call(self, call: Call) -> Object:
        return await self._handler.call(call, self._user, self._groups)

    def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        return self._handler.watch(call, self._user, self._groups)

    async def aclose(self) -> None:
        """Nothing to let go of."""
