"""What the stations on a request's way hand on to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from podwright.api.objects import Object
from podwright.api.resources import Resource


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Who asks, as authentication found it."""

    name: str
    uid: str = ""
    groups: Sequence[str] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


ANONYMOUS = UserInfo("system:anonymous", groups=("system:unauthenticated",))


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked, as authorization sees it: RBAC's request attributes. For a URL that is no resource only `verb`
    (the lower-case method) and `path` are set."""

    user: UserInfo
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    is_resource: bool = True
    label_selector: str = ""
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """An authorizer's word. "no opinion" (neither allowed nor denied) lets the next authorizer speak."""

    allowed: bool
    denied: bool = False
    reason: str = ""
    failed: bool = False
    """The authorizer could not be asked."""
    by_name: bool = False
    """Of an object of another name the word may be another."""


class Authorizer(Protocol):
    async def authorize(self, attributes: Attributes) -> Decision: ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """What came with a request: headers (lower-case names, the first value of each), the verified client certificate in
    DER, the peer's address."""

    headers: Mapping[str, str]
    certificate: bytes | None = None
    peer: str = ""
    authority: bytes | None = None
    """The trusted certificate that the client's leads to, in DER."""
    fields: Sequence[tuple[str, str]] = ()
    """All headers as they came."""


class Authenticator(Protocol):
    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        """None: these credentials are not of my kind. Raises ApiError (401) if they are and do not hold."""


PATCHES = "patch.webhook.admission.k8s.io/"
"""What annotations of audit events with patches of webhooks begin with; they belong into events with bodies only."""


@dataclass(slots=True)
class AdmissionRequest:
    """One write on its way through admission. Mutating plugins change ``object`` in place (it is this request's own
    copy) or replace it. ``operation`` is CREATE, UPDATE, DELETE or CONNECT. ``object`` of a CONNECT is the
    PodExecOptions and the like; ``options`` is the CreateOptions, UpdateOptions or DeleteOptions, and empty of a
    CONNECT. ``warnings`` become Warning headers, ``audit`` annotations of the audit event."""

    user: UserInfo
    operation: str
    resource: Resource
    subresource: str
    namespace: str
    name: str
    object: Object | None
    old_object: Object | None
    options: Object = field(default_factory=dict)
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    audit: dict[str, str] = field(default_factory=dict)
    undo: list[Any] = field(default_factory=list)
    """Callables that a plugin leaves to be called if the write fails after all (ResourceQuota's reservation)."""
    requested: Resource | None = None
    """The row of the URL, where it is in another version than `resource`, in which the objects are."""
    reinvocation: Any = None
    """What the admission chain remembers between its two rounds of mutating plugins; nobody else's."""


class AdmissionPlugin(Protocol):
    """One rule. Both methods raise ApiError to refuse. A plugin that only mutates leaves `validate` empty."""

    name: str

    def handles(self, request: AdmissionRequest) -> bool: ...

    async def admit(self, request: AdmissionRequest) -> None:
        """Mutates."""

    async def validate(self, request: AdmissionRequest) -> None:
        """Sees the final object."""


ChangeHandler = Callable[[Object | None, Object | None], None]


class Objects(Protocol):
    """Read access to the watch cache for authorization and admission: shared objects, not to be changed."""

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None: ...

    def list(self, resource: Resource, namespace: str = "") -> Sequence[Object]: ...

    def subscribe(self, resource: Resource, handler: ChangeHandler) -> Callable[[], None]:
        """Calls `handler(old, new)` for every change of the resource once the cache has it, in order, on the event
        loop: old is None for an object that came, new is None for one that went. Objects that are there already are
        given at once as (None, object); a cache that is filled later gives them as it fills. The handler must not
        block nor raise. The callable returned ends the subscription."""


class Writer(Protocol):
    """Writes below authorization and admission, for the few things the API server itself keeps (namespaces,
    bootstrap roles, quota status, the kubernetes Service)."""

    async def create(self, resource: Resource, obj: Object) -> Object: ...

    async def update(self, resource: Resource, obj: Object) -> Object:
        """By metadata.resourceVersion, if it has one. Raises ApiError (409)."""
