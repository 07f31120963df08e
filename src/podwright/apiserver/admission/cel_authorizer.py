"""``authorizer`` in admission expressions: builds an authorization check and asks it (Kubernetes documentation, "CEL
in Kubernetes", "Kubernetes authorizer library").

Expressions are evaluated without waiting, so only authorizers that answer at once (RBAC, Node) can be asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from podwright.api.cel.errors import EvaluationError
from podwright.apiserver.requests import AdmissionRequest, Attributes, Authorizer, Decision, UserInfo


def _decide(authorizer: Authorizer, attributes: Attributes) -> Decision:
    """Runs the authorizer's coroutine, which must finish without waiting."""
    steps = authorizer.authorize(attributes)
    try:
        steps.send(None)
    except StopIteration as finished:
        decision: Decision = finished.value
        return decision
    steps.close()
    raise EvaluationError("the authorizer cannot be asked from an expression: it would have to wait")


@dataclass(frozen=True, slots=True)
class CelDecision:
    decision: Decision
    cel_methods: ClassVar[dict[str, Callable[..., Any]]] = {
        "allowed": lambda own: own.decision.allowed,
        "reason": lambda own: own.decision.reason,
        "errored": lambda own: False,
        "error": lambda own: "",
    }


@dataclass(frozen=True, slots=True)
class CelCheck:
    authorizer: Authorizer
    attributes: Attributes

    def _with(self, **changes: Any) -> CelCheck:
        return replace(self, attributes=replace(self.attributes, **changes))

    def _check(self, verb: str) -> CelDecision:
        return CelDecision(_decide(self.authorizer, replace(self.attributes, verb=verb)))

    cel_methods: ClassVar[dict[str, Callable[..., Any]]] = {
        "resource": lambda own, text: own._with(resource=text),
        "subresource": lambda own, text: own._with(subresource=text),
        "namespace": lambda own, text: own._with(namespace=text),
        "name": lambda own, text: own._with(name=text),
        "fieldSelector": lambda own, text: own._with(field_selector=text),
        "labelSelector": lambda own, text: own._with(label_selector=text),
        "check": lambda own, verb: own._check(verb),
    }


class CelAuthorizer:
    def __init__(self, user: UserInfo, authorizer: Authorizer, request: AdmissionRequest | None = None) -> None:
        self._user = user
        self._authorizer = authorizer
        self._request = request

    def _group(self, group: str) -> CelCheck:
        return CelCheck(self._authorizer, Attributes(self._user, "", group, "*"))

    def _path(self, path: str) -> CelCheck:
        if not path:
            raise EvaluationError("path must not be empty")
        return CelCheck(self._authorizer, Attributes(self._user, "", path=path, is_resource=False))

    def _service_account(self, namespace: str, name: str) -> CelAuthorizer:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        user = UserInfo(f"system:serviceaccount:{namespace}:{name}", groups=groups)
        return CelAuthorizer(user, self._authorizer, self._request)

    @property
    def request_resource(self) -> CelCheck:
        """``authorizer.requestResource``: the request itself as a check."""
        request = self._request
        if request is None:
            raise EvaluationError("no such key: requestResource")
        resource = request.requested or request.resource
        attributes = Attributes(
            self._user, "", resource.group, resource.version, resource.plural, request.subresource,
            request.namespace, request.name,
        )
        return CelCheck(self._authorizer, attributes)

    cel_fields: ClassVar[dict[str, Callable[..., Any]]] = {"requestResource": lambda own: own.request_resource}
    cel_methods: ClassVar[dict[str, Callable[..., Any]]] = {
        "group": lambda own, group: own._group(group),
        "path": lambda own, path: own._path(path),
        "serviceAccount": lambda own, namespace, name: own._service_account(namespace, name),
    }
