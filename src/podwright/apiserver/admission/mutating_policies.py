"""MutatingAdmissionPolicy: expressions that change what is written, by an apply configuration or a JSON patch
(Kubernetes documentation, "Mutating Admission Policy")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podwright.api import defaulting, schema
from podwright.api.apply.field_types import DEDUCED, FieldType, field_type
from podwright.api.apply.merge import merge
from podwright.api.cel import Budget, EvaluationError, Program, compile_expression
from podwright.api.cel.strings import formatted
from podwright.api.cel.values import Constructed, Duration, Quantity, Timestamp
from podwright.api.objects import Object, deepcopy
from podwright.api.patch import json_patch
from podwright.api.resources import BUILTIN, Resource, ResourceTable
from podwright.api.status import ApiError
from podwright.apiserver.admission.chain import Reinvocation
from podwright.apiserver.admission.policies import Binding, ConfigurationError, Definition, Policies
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.admission.versions import Convert, conversion, in_version
from podwright.apiserver.requests import AdmissionRequest, Authorizer, Objects

GROUP = "admissionregistration.k8s.io"
_ENVELOPE = ("apiVersion", "kind")
_IMMUTABLE = ("name", "generateName", "namespace", "uid")


class MutatingAdmissionPolicy(Policies):
    name = "MutatingAdmissionPolicy"
    extra_names = frozenset({"Object", "JSONPatch"})

    def __init__(
        self, objects: Objects, authorizer: Authorizer, table: ResourceTable | None = None,
        convert: Convert = conversion,
    ) -> None:
        policies = BUILTIN.by_path(GROUP, "v1", "mutatingadmissionpolicies")
        bindings = BUILTIN.by_path(GROUP, "v1", "mutatingadmissionpolicybindings")
        assert policies is not None and bindings is not None
        super().__init__(objects, authorizer, policies, bindings, table, convert)

    def handles(self, request: AdmissionRequest) -> bool:
        return super().handles(request) and request.operation in ("CREATE", "UPDATE")

    def compile_expressions(self, spec: Object, names: frozenset[str]) -> list[tuple[str, Program]]:
        made = []
        for mutation in spec.get("mutations") or ():
            kind = mutation.get("patchType") or ""
            body = mutation.get("applyConfiguration" if kind == "ApplyConfiguration" else "jsonPatch") or {}
            made.append((kind, compile_expression(body["expression"], names)))
        return made

    async def admit(self, request: AdmissionRequest) -> None:
        if self._compiled is not None and not self._compiled:
            return
        round_ = Reinvocation.of(request)
        round_.begins(self.name, request.object)
        for definition, version, bindings in self.matching(request):
            for binding in bindings:
                identity = (self.name, definition.name, binding.name)
                if round_.skips(identity):
                    continue
                before = request.object
                seen = await in_version(request, version, self.convert)
                shown = seen.object
                self._apply(definition, binding, seen)
                if seen is not request and seen.object is not shown and seen.object is not None:
                    same = version is request.resource
                    request.object = seen.object if same else await self.convert(version, request.resource, seen.object)
                round_.ran(
                    identity,
                    changed=request.object is not before,
                    if_needed=definition.policy["spec"].get("reinvocationPolicy") == "IfNeeded",
                )
        round_.ends(self.name, request.object)

    def _apply(self, definition: Definition, binding: Binding, request: AdmissionRequest) -> None:
        try:
            for params in self.parameters(definition, binding, request):
                self._mutate(definition, request, params)
        except (ConfigurationError, EvaluationError, ApiError) as error:
            if definition.ignores_failure:
                return
            raise forbidden(
                request, f"policy '{definition.name}' with binding '{binding.name}' denied request: {error}"
            ) from None

    def _mutate(self, definition: Definition, request: AdmissionRequest, params: Object | None) -> None:
        if definition.broken:
            raise ConfigurationError(definition.broken)
        budget = Budget()
        scope = self.scope(definition, request, params, budget)
        if definition.conditions is not None and not definition.conditions.hold(scope):
            return
        for kind, program in definition.expressions:
            if request.object is None:
                return
            scope = self.scope(definition, request, params, budget)
            value = program.evaluate(scope, budget)
            if kind == "ApplyConfiguration":
                changed = _configured(request.resource, request.object, value)
            else:
                changed = _patched(request.object, value)
            _check_identity(request.object, changed)
            if changed.get("kind") == request.resource.kind:
                defaulting.apply(request.resource, changed)
            if changed != request.object:
                request.object = changed


def _field_type(resource: Resource) -> FieldType:
    if resource.custom:
        return DEDUCED
    return field_type(schema.for_resource(resource))


def _configured(resource: Resource, obj: Object, value: Any) -> Object:
    if not isinstance(value, Constructed) or value.type_name != "Object":
        raise EvaluationError("an apply configuration must be of type Object")
    configuration = plain(value)
    if any(field in configuration for field in _ENVELOPE):
        raise EvaluationError("apiVersion and kind must not be set by an apply configuration")
    merged: Object = merge(_field_type(resource), obj, configuration)
    return deepcopy(merged)


def _patched(obj: Object, value: Any) -> Object:
    if not isinstance(value, list) or not all(
        isinstance(step, Constructed) and step.type_name == "JSONPatch" for step in value
    ):
        raise EvaluationError("a JSON patch must be a list of JSONPatch")
    return json_patch.apply(deepcopy(obj), plain(value))


def _check_identity(old: Object, new: Object) -> None:
    changed = [field for field in _ENVELOPE if old.get(field) != new.get(field)]
    before, after = old.get("metadata") or {}, new.get("metadata") or {}
    changed += [f"metadata.{field}" for field in _IMMUTABLE if before.get(field) != after.get(field)]
    if changed:
        raise EvaluationError(f"{', '.join(changed)} must not be changed by a policy")


def plain(value: Any) -> Any:
    """A CEL value as JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, str | bool | int | float) or value is None:
        return value
    if isinstance(value, Quantity):
        return value.text
    if isinstance(value, Timestamp | Duration):
        return formatted(value)
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    raise EvaluationError(f"a {type(value).__name__} cannot be part of an object")
