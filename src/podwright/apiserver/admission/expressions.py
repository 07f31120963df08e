"""The variables that admission expressions see, and matchConditions (Kubernetes documentation, "Validating Admission
Policy", "Validation expression")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from podwright.api.cel import (
    CONDITIONS,
    Budget,
    BudgetExhausted,
    CompileError,
    EvaluationError,
    Lazy,
    Program,
    compile_expression,
)
from podwright.api.objects import Object
from podwright.api.resources import NAMESPACES
from podwright.apiserver.admission.cel_authorizer import CelAuthorizer
from podwright.apiserver.requests import AdmissionRequest, Authorizer, Objects

NAMES = frozenset({"object", "oldObject", "request", "namespaceObject", "authorizer"})
_NAMESPACE_METADATA = (
    "name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "finalizers",
)


def request_object(request: AdmissionRequest) -> Object:
    """The ``request`` of an AdmissionReview, without the objects."""
    resource = request.resource
    asked = request.requested or resource
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    place = {"group": resource.group, "version": resource.version, "resource": resource.plural}
    asked_kind = {"group": asked.group, "version": asked.version, "kind": asked.kind}
    asked_place = {"group": asked.group, "version": asked.version, "resource": asked.plural}
    if request.subresource and request.object is not None:
        # A Scale, an Eviction or PodExecOptions are of their own kind, whatever they are of.
        group, _, version = str(request.object.get("apiVersion") or "").rpartition("/")
        own = str(request.object.get("kind") or resource.kind)
        if own != resource.kind:
            kind = asked_kind = {"group": group, "version": version, "kind": own}
    user: Object = {"username": request.user.name, "groups": list(request.user.groups)}
    if request.user.uid:
        user["uid"] = request.user.uid
    if request.user.extra:
        user["extra"] = {key: list(values) for key, values in request.user.extra.items()}
    made: Object = {
        "kind": kind,
        "resource": place,
        "requestKind": asked_kind,
        "requestResource": asked_place,
        "operation": request.operation,
        "userInfo": user,
        "dryRun": request.dry_run,
        "options": request.options or None,
    }
    if request.subresource:
        made["subResource"] = made["requestSubResource"] = request.subresource
    if request.name:
        made["name"] = request.name
    namespace = request.namespace or (request.name if resource is NAMESPACES else "")
    if namespace:
        made["namespace"] = namespace
    return made


def variables_of(request: AdmissionRequest, objects: Objects, authorizer: Authorizer) -> dict[str, Any]:
    def namespace() -> Any:
        if not request.namespace or (request.resource.plural == "namespaces" and not request.resource.group):
            return None
        found = objects.get(NAMESPACES, "", request.namespace)
        if found is None:
            return None
        metadata = {k: v for k, v in found["metadata"].items() if k in _NAMESPACE_METADATA}
        return {**{k: v for k, v in found.items() if k in ("spec", "status")}, "metadata": metadata}

    return {
        "object": request.object if request.operation != "DELETE" else None,
        "oldObject": request.old_object,
        "request": Lazy(lambda: request_object(request)),
        "namespaceObject": Lazy(namespace),
        "authorizer": CelAuthorizer(request.user, authorizer, request),
    }


class Conditions:
    """``matchConditions``: all must hold. A condition that is false decides, whatever errors others have."""

    def __init__(self, conditions: Iterable[Object], names: Iterable[str] = NAMES) -> None:
        """Raises CompileError."""
        self._programs: list[tuple[str, Program]] = [
            (str(c.get("name") or ""), compile_expression(c.get("expression") or "", names)) for c in conditions
        ]

    def __bool__(self) -> bool:
        return bool(self._programs)

    def hold(self, variables: Mapping[str, Any]) -> bool:
        """Raises EvaluationError."""
        problem: EvaluationError | None = None
        budget = Budget(CONDITIONS)
        for called, program in self._programs:
            try:
                value = program.evaluate(variables, budget)
            except BudgetExhausted:
                raise
            except EvaluationError as error:
                problem = EvaluationError(f"expression '{program.source}' resulted in error: {error}")
                continue
            if value is False:
                return False
            if value is not True:
                problem = EvaluationError(f"matchCondition {called!r} did not evaluate to a bool")
        if problem is not None:
            raise problem
        return True


__all__ = ["NAMES", "CompileError", "Conditions", "request_object", "variables_of"]
