"""How a call gets to an API server: the port behind :class:`podwright.client.client.Client`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from podwright.api.objects import Object

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class ServerUnreachable(Exception):
    """No API server answered. It is not known whether a write took effect."""


@dataclass(frozen=True, slots=True)
class Call:
    """One API call. `body` is the object (or list of JSON patch operations) itself, not its bytes."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON


class WatchEvent(NamedTuple):
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK. The object is shared: never change it."""

    type: str
    object: Object


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
