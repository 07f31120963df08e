"""x-kubernetes-validations of custom resources (Kubernetes documentation, "Validation rules"; KEP-2876)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from podwright.api import status
from podwright.api.cel import Budget, BudgetExceeded, BudgetExhausted, EvaluationError, Program, compile_expression
from podwright.api.cel.values import NONE, Optional
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import field_errors
from podwright.apiserver.crd.rules import Expressions

_NAMES = ("self", "oldSelf")
_WORDS = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
_REASONS = {
    "FieldValueInvalid": status.INVALID,
    "FieldValueForbidden": status.FORBIDDEN,
    "FieldValueRequired": status.REQUIRED,
    "FieldValueDuplicate": status.DUPLICATE,
}
_MISSING = object()


@dataclass(slots=True)
class _Rule:
    program: Program
    source: str
    message: str
    message_program: Program | None
    reason: str
    field_path: str
    needs_old: bool
    optional_old: bool


@dataclass(slots=True)
class _Node:
    """The rules of one place of a schema and of what lies below it. Only places with rules have nodes."""

    rules: list[_Rule] = field(default_factory=list)
    properties: dict[str, _Node] = field(default_factory=dict)
    values: _Node | None = None
    items: _Node | None = None
    keys: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.rules or self.properties or self.values or self.items)


class _OutOfBudget(Exception):
    """A rule does more than it may: no other is asked."""

    def __init__(self, error: FieldError) -> None:
        super().__init__()
        self.error = error


def compile_schema(schema: Object) -> Expressions | None:
    """The rules of an openAPIV3Schema; None if it has none. Raises CompileError."""
    node = _compile(schema)
    if node.empty:
        return None

    def run(obj: Object, old: Object | None) -> Sequence[FieldError]:
        found: list[FieldError] = []
        try:
            found.extend(_check(node, obj, old if old is not None else _MISSING, "", Budget()))
        except _OutOfBudget as spent:
            found.append(spent.error)
        return found

    return run


def _rule(raw: Object) -> _Rule:
    source = str(raw.get("rule") or "")
    expression = raw.get("messageExpression")
    return _Rule(
        compile_expression(source, _NAMES), source, str(raw.get("message") or ""),
        compile_expression(expression, _NAMES) if expression else None,
        _REASONS.get(str(raw.get("reason")), status.INVALID), str(raw.get("fieldPath") or ""), "oldSelf" in source,
        bool(raw.get("optionalOldSelf")),
    )


def _compile(schema: Object) -> _Node:
    node = _Node(rules=[_rule(raw) for raw in schema.get("x-kubernetes-validations") or []])
    for name, sub in (schema.get("properties") or {}).items():
        below = _compile(sub)
        if not below.empty:
            node.properties[name] = below
    for key in ("items", "additionalProperties"):
        raw = schema.get(key)
        if isinstance(raw, dict):
            below = _compile(raw)
            if not below.empty:
                if key == "items":
                    node.items = below
                else:
                    node.values = below
    if schema.get("x-kubernetes-list-type") == "map":
        node.keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    return node


def _check(node: _Node, value: Any, old: Any, path: str, budget: Budget) -> Iterator[FieldError]:
    """Rules that see only the value are not held against one that has not changed (validation ratcheting)."""
    unchanged = old is not _MISSING and old == value
    for rule in node.rules:
        if unchanged and not rule.needs_old:
            continue
        error = _evaluate(rule, value, old, path, budget)
        if error is not None:
            yield error
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, item in value.items():
            below = node.properties.get(name) or node.values
            if below is not None and item is not None:
                where = f"{path}.{name}" if path else name
                if name not in node.properties:
                    where = f"{path}[{name}]"
                yield from _check(below, item, before.get(name, _MISSING), where, budget)
    elif isinstance(value, list) and node.items is not None:
        for i, item in enumerate(value):
            yield from _check(node.items, item, _correlated(node, item, old), f"{path}[{i}]", budget)


def _correlated(node: _Node, item: Any, old: Any) -> Any:
    """The entry of the list before with the same keys; list-maps only."""
    if not node.keys or not isinstance(old, list) or not isinstance(item, dict):
        return _MISSING
    wanted = [item.get(k) for k in node.keys]
    return next((o for o in old if isinstance(o, dict) and [o.get(k) for k in node.keys] == wanted), _MISSING)


def _evaluate(rule: _Rule, value: Any, old: Any, path: str, budget: Budget) -> FieldError | None:
    variables: dict[str, Any] = {"self": value}
    if rule.needs_old:
        if rule.optional_old:
            variables["oldSelf"] = NONE if old is _MISSING else Optional(True, old)
        elif old is _MISSING:
            return None
        else:
            variables["oldSelf"] = old
    where = f"{path}{rule.field_path}" if path else rule.field_path.lstrip(".")
    word = _WORDS.get(type(value), "null")
    try:
        if rule.program.evaluate(variables, budget) is True:
            return None
    except BudgetExhausted as spent:
        raise _OutOfBudget(field_errors.invalid(where or "<nil>", word, str(spent))) from None
    except EvaluationError as exc:
        said = (rule.message or rule.source).strip()
        if isinstance(exc, BudgetExceeded):
            text = f"'{exc}': no further validation rules will be run due to call cost exceeds limit for rule: {said}"
            raise _OutOfBudget(field_errors.invalid(where or "<nil>", word, text)) from None
        text = f'Invalid value: "{word}": {exc} evaluating rule: {said}'
        if str(exc).startswith("no such overload"):
            text = (
                f'Invalid value: "{word}": \'{exc}\': call arguments did not match a supported operator, function or '
                f"macro signature for rule: {said}"
            )
        return FieldError(where or "<nil>", status.INVALID, text)
    try:
        message = _message(rule, variables, budget)
    except BudgetExhausted:
        text = "messageExpression evaluation failed" + str(BudgetExhausted()).removeprefix("validation failed")
        raise _OutOfBudget(field_errors.invalid(where or "<nil>", word, text)) from None
    said = "" if isinstance(value, dict | list) else f": {field_errors.render(value)}"
    if rule.reason == status.REQUIRED:
        return field_errors.required(where, message)
    if rule.reason == status.FORBIDDEN:
        return field_errors.forbidden(where, message)
    if rule.reason == status.DUPLICATE:
        return FieldError(where, status.DUPLICATE, f"Duplicate value{said}")
    return FieldError(where or "<nil>", status.INVALID, f"Invalid value{said}: {message}")


def _message(rule: _Rule, variables: dict[str, Any], budget: Budget) -> str:
    """Raises BudgetExhausted."""
    if rule.message_program is not None:
        try:
            text = rule.message_program.evaluate(variables, budget)
        except BudgetExhausted:
            raise
        except EvaluationError:
            text = None  # the fixed message stands in, as the API says
        if isinstance(text, str) and text.strip() and "\n" not in text:
            return text.strip()
    return rule.message.strip() or f"failed rule: {rule.source.strip()}"
