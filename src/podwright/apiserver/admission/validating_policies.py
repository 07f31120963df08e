"""ValidatingAdmissionPolicy: expressions that must be true of what is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from podwright.api.cel import Budget, BudgetExhausted, EvaluationError, Program, compile_expression
from podwright.api.objects import Object
from podwright.api.resources import BUILTIN, ResourceTable
from podwright.api.status import ApiError
from podwright.apiserver.admission.policies import Binding, ConfigurationError, Definition, Policies
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.admission.versions import Convert, conversion, in_version
from podwright.apiserver.requests import AdmissionRequest, Authorizer, Objects

GROUP = "admissionregistration.k8s.io"
MAX_MESSAGE = 5 * 1024
MAX_ANNOTATION = 10 * 1024
MAX_FAILURES = 50
_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}


@dataclass(frozen=True, slots=True)
class _Expressions:
    validations: list[tuple[Object, Program, Program | None]]
    annotations: list[tuple[str, Program]]


@dataclass(frozen=True, slots=True)
class _Denial:
    message: str
    reason: str = "Invalid"
    index: int = 0


class ValidatingAdmissionPolicy(Policies):
    name = "ValidatingAdmissionPolicy"

    def __init__(
        self, objects: Objects, authorizer: Authorizer, table: ResourceTable | None = None,
        convert: Convert = conversion,
    ) -> None:
        policies = BUILTIN.by_path(GROUP, "v1", "validatingadmissionpolicies")
        bindings = BUILTIN.by_path(GROUP, "v1", "validatingadmissionpolicybindings")
        assert policies is not None and bindings is not None
        super().__init__(objects, authorizer, policies, bindings, table, convert)

    def compile_expressions(self, spec: Object, names: frozenset[str]) -> _Expressions:
        without_authorizer = names - {"authorizer"}
        return _Expressions(
            [
                (
                    validation,
                    compile_expression(validation["expression"], names),
                    compile_expression(validation["messageExpression"], without_authorizer)
                    if validation.get("messageExpression")
                    else None,
                )
                for validation in spec.get("validations") or ()
            ],
            [
                (annotation["key"], compile_expression(annotation["valueExpression"], names))
                for annotation in spec.get("auditAnnotations") or ()
            ],
        )

    async def validate(self, request: AdmissionRequest) -> None:
        if self._compiled is not None and not self._compiled:
            return
        denied: list[tuple[Definition, Binding | None, _Denial]] = []
        audited: list[Object] = []
        for definition, version, bindings in self.matching(request):
            annotations: dict[str, list[str]] = {}
            seen = await in_version(request, version, self.convert)
            for binding in bindings:
                self._apply(definition, binding, seen, denied, audited, annotations)
            for key, values in annotations.items():
                request.audit[f"{definition.name}/{key}"] = ", ".join(dict.fromkeys(values))
        if audited:
            failures = orjson.dumps(audited[:MAX_FAILURES]).decode()
            request.audit["validation.policy.admission.k8s.io/validation_failure"] = failures
        if denied:
            raise _refusal(request, *denied[0])

    def _apply(
        self, definition: Definition, binding: Binding, request: AdmissionRequest,
        denied: list[tuple[Definition, Binding | None, _Denial]], audited: list[Object],
        annotations: dict[str, list[str]],
    ) -> None:
        try:
            parameters = self.parameters(definition, binding, request)
        except ConfigurationError as error:
            if not definition.ignores_failure:
                denied.append((definition, binding, _Denial(str(error))))
            return
        actions = (binding.binding.get("spec") or {}).get("validationActions") or ()
        for params in parameters:
            for denial in self._evaluate(definition, request, params, annotations):
                if "Deny" in actions:
                    denied.append((definition, binding, denial))
                if "Audit" in actions:
                    audited.append(
                        {
                            "message": denial.message,
                            "policy": definition.name,
                            "binding": binding.name,
                            "expressionIndex": denial.index,
                            "validationActions": list(actions),
                        }
                    )
                if "Warn" in actions:
                    request.warnings.append(
                        f"Validation failed for ValidatingAdmissionPolicy '{definition.name}' with binding"
                        f" '{binding.name}': {denial.message}"
                    )

    def _evaluate(
        self, definition: Definition, request: AdmissionRequest, params: Object | None,
        annotations: dict[str, list[str]],
    ) -> list[_Denial]:
        ignores = definition.ignores_failure
        if definition.broken:
            return [] if ignores else [_Denial(definition.broken)]
        budget = Budget()
        scope = self.scope(definition, request, params, budget)
        try:
            if definition.conditions is not None and not definition.conditions.hold(scope):
                return []
            return self._denials(definition, scope, budget, annotations)
        except EvaluationError as error:
            return [] if ignores else [_Denial(str(error))]

    @staticmethod
    def _denials(
        definition: Definition, scope: dict[str, Any], budget: Budget, annotations: dict[str, list[str]]
    ) -> list[_Denial]:
        """Raises EvaluationError for what ends the whole evaluation."""
        ignores = definition.ignores_failure
        expressions: _Expressions = definition.expressions
        denials = []
        for index, (validation, program, message_program) in enumerate(expressions.validations):
            try:
                holds = program.evaluate(scope, budget)
            except BudgetExhausted:
                raise
            except EvaluationError as error:
                if not ignores:
                    text = f"expression '{program.source}' resulted in error: {error}"
                    denials.append(_Denial(text, index=index))
                continue
            if holds is not True:
                message = _message(validation, message_program, scope, budget)
                denials.append(_Denial(message, validation.get("reason") or "Invalid", index))
        for key, program in expressions.annotations:
            try:
                value = program.evaluate(scope, budget)
            except BudgetExhausted:
                raise
            except EvaluationError as error:
                if not ignores:
                    denials.append(_Denial(f"expression '{program.source}' resulted in error: {error}"))
                continue
            if isinstance(value, str) and value.strip():
                annotations.setdefault(key, []).append(value.strip()[:MAX_ANNOTATION])
        return denials


def _message(validation: Object, program: Program | None, scope: dict[str, Any], budget: Budget) -> str:
    if program is not None:
        try:
            value = program.evaluate(scope, budget)
        except BudgetExhausted as spent:
            return f"failed messageExpression: {spent}"
        except EvaluationError:
            value = None  # the fixed message stands in, as the API says
        if isinstance(value, str):
            value = value.strip()
            if value and len(value) <= MAX_MESSAGE and "\n" not in value:
                return value
    fixed = str(validation.get("message") or "").strip()
    return fixed or f"failed expression: {str(validation['expression']).strip()}"


def _refusal(request: AdmissionRequest, definition: Definition, binding: Binding | None, denial: _Denial) -> ApiError:
    with_binding = f" with binding '{binding.name}'" if binding is not None else ""
    message = f"ValidatingAdmissionPolicy '{definition.name}'{with_binding} denied request: {denial.message}"
    error = forbidden(request, message)
    error.status["reason"] = denial.reason
    error.status["code"] = _CODES.get(denial.reason, 422)
    error.status.setdefault("details", {}).setdefault("causes", []).append({"message": message})
    return error
