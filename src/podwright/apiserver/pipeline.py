"""The way of a request behind HTTP: authentication → impersonation → authorization → in-flight limit → handler."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from podwright.api import status
from podwright.apiserver.authentication import anonymous
from podwright.apiserver.authentication.impersonation import impersonate
from podwright.apiserver.authorization import forbidden_reason
from podwright.apiserver.exchange import Reply, Request
from podwright.apiserver.flow_tallies import Visit
from podwright.apiserver.flowcontrol import Classifier
from podwright.apiserver.requests import (
    Attributes,
    Authenticator,
    Authorizer,
    Credentials,
    Decision,
    UserInfo,
)
from podwright.apiserver.routing import RequestInfo

_log = logging.getLogger(__name__)

_DECISIONS = 8192
MUTATING = frozenset(("create", "update", "patch", "delete", "deletecollection"))
_LONG = frozenset(("watch", "proxy", "connect"))
_STREAMS = frozenset(("exec", "attach", "portforward", "proxy", "log"))
_NODES_GROUP = "system:nodes"

Handle = Callable[[Request], Awaitable[Reply]]


class Pipeline:
    """Stations in order. `authenticate` is apart because in-process callers enter behind it."""

    def __init__(
        self, authenticator: Authenticator, authorizer: Authorizer, flows: Classifier, handle: Handle,
        nobody: Callable[[str], UserInfo | None] = anonymous.user_for,
    ) -> None:
        """`nobody` gives the user of a request without credentials, by its path."""
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._flows = flows
        self._nobody = nobody
        self._handle = handle
        self._decisions: dict[tuple[object, ...], Decision] = {}
        self.executing = {"mutating": 0, "readOnly": 0}
        """Requests that have a seat."""

    def forget_decisions(self) -> None:
        """Roles, bindings or authorizers changed: also what is being decided meanwhile is not kept."""
        self._decisions = {}

    async def authenticate(self, credentials: Credentials, path: str) -> UserInfo:
        """Raises ApiError (401) for credentials that do not hold."""
        user = await self._authenticator.authenticate(credentials)
        if user is None:
            user = self._nobody(path)
            if user is None:
                raise status.unauthorized()
        return user

    async def serve(self, request: Request) -> Reply:
        """From authorization on. Raises ApiError."""
        for header in request.headers:
            if header[:12].lower() == "impersonate-":
                await self._impersonate(request)
                break
        decision = await self._decide(request)
        if not decision.allowed:
            raise _refusal(request, decision)
        info = request.info
        flow = self._flows.of(request)
        level = flow.level
        if level is None or lasts(info):
            return await self._handle(request)
        kind = "mutating" if info.verb in MUTATING else "readOnly"
        now, tally = self._flows.now, flow.tally
        visit = Visit(request, now())
        if not level.try_take():
            await tally.wait(level, flow.of(request), visit)
        tally.begin(visit, now())
        self.executing[kind] += 1
        try:
            return await self._handle(request)
        finally:
            self.executing[kind] -= 1
            tally.end(visit)
            level.give()

    async def _decide(self, request: Request) -> Decision:
        info, user = request.info, request.user
        if _NODES_GROUP in user.groups:
            return await self._authorizer.authorize(attributes(request))
        if not info.is_resource:
            key: tuple[object, ...] = (user.name, tuple(user.groups), info.verb, info.path)
        else:
            key = (
                user.name, tuple(user.groups), info.verb, info.group, info.resource, info.subresource, info.namespace,
            )
        decision = self._decisions.get(key)
        if decision is None:
            decisions = self._decisions
            decision = await self._authorizer.authorize(attributes(request))
            if not decision.by_name and getattr(self._authorizer, "cacheable", True):
                if len(decisions) >= _DECISIONS:
                    decisions.clear()
                decisions[key] = decision
        return decision

    async def _impersonate(self, request: Request) -> None:
        user = await impersonate(request.user, request.headers.items(), self._authorizer)
        if user is not None:
            request.impersonator = request.user
            request.user = user


def lasts(info: RequestInfo) -> bool:
    """What lasts long takes no seat and has no deadline."""
    return info.verb in _LONG or info.subresource in _STREAMS


def attributes(request: Request) -> Attributes:
    info = request.info
    if not info.is_resource:
        return Attributes(request.user, info.verb, path=info.path, is_resource=False)
    return Attributes(
        request.user,
        info.verb,
        info.group,
        info.version,
        info.resource,
        info.subresource,
        info.namespace,
        info.name or _selected_name(request),
        info.path,
        True,
        request.query.get("labelSelector"),
        request.query.get("fieldSelector"),
    )


def _selected_name(request: Request) -> str:
    """A list or watch that a field selector narrows to one name asks for that object: who may only read it by name may
    also watch it so."""
    for term in request.query.get("fieldSelector").split(","):
        field, _, value = term.replace("==", "=").partition("=")
        if field == "metadata.name" and value and "!" not in field:
            return value
    return ""


def _refusal(request: Request, decision: Decision) -> status.ApiError:
    item = attributes(request)
    if item.is_resource:
        return status.forbidden(item.group, item.resource, item.name, forbidden_reason(item, decision))
    return status.failure(403, "Forbidden", f"forbidden: {forbidden_reason(item, decision)}", {})
