"""A request and its answer as the handlers see them, whichever transport carried them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver.identity import new_uuid
from podwright.apiserver.requests import ANONYMOUS, UserInfo
from podwright.apiserver.routing import EMPTY_QUERY, Query, RequestInfo

if TYPE_CHECKING:
    from podwright.apiserver.cache.entries import Cached
    from podwright.apiserver.registry.watches import Watch

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


async def _no_body() -> bytes:
    return b""


@dataclass(slots=True)
class Request:
    """One call. `raw` is the HTTP request where there is one; streaming handlers take it over. An in-process caller
    hands its body over as `body_object`."""

    method: str
    info: RequestInfo
    query: Query = EMPTY_QUERY
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    user: UserInfo = ANONYMOUS
    read_body: Callable[[], Awaitable[bytes]] = _no_body
    raw: Any = None
    body_object: Any = None
    content_type: str = ""
    user_agent: str = ""
    warnings: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    audit: dict[str, str] = field(default_factory=dict)
    audit_id: str = ""
    impersonator: UserInfo | None = None
    in_process: bool = False
    raw_query: str = ""
    flow: Any = None
    """Its flowcontrol.Flow, once it has been looked up."""

    def new_audit_id(self) -> str:
        given = self.headers.get("Audit-ID")
        self.audit_id = given[:64] if given and given.isprintable() else new_uuid()
        return self.audit_id


@dataclass(slots=True)
class Bytes:
    """A finished body."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class One:
    """One object of `row` out of the cache, or (`object`) one that is no stored object: a Status, a Scale."""

    row: Resource | None
    cached: Cached | None = None
    object: Object | None = None
    status: int = 200

    @classmethod
    def of(cls, row: Resource, written: Cached | Object, status: int = 200) -> One:
        """What a write came to: the stored object, or of a dry run the object as it would be."""
        return cls(row, object=written, status=status) if isinstance(written, dict) else cls(row, written, None, status)


@dataclass(slots=True)
class Many:
    """A list."""

    row: Resource
    items: Sequence[Cached]
    revision: int
    continue_token: str = ""
    remaining: int = 0
    namespace: str = ""


@dataclass(slots=True)
class Stream:
    """The response is being written by whoever made this: `run` gets the HTTP request and gives the finished
    aiohttp response."""

    run: Callable[[Any], Awaitable[Any]]


Reply: TypeAlias = "Bytes | One | Many | Stream | Watch"
