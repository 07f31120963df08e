"""x-kubernetes-validations when a definition is written: each rule must fit the types of the schema, and may not cost
too much, estimated from maxItems, maxProperties and maxLength (Kubernetes documentation, "Validation rules", "Resource
use by validation functions")."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from podwright.api import schema as schemas
from podwright.api import status
from podwright.api.cel.checking import Checked, check
from podwright.api.cel.costs import MOST
from podwright.api.cel.declarations import REQUEST, DeclType, declared, optional_of
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import field_errors

RULE_LIMIT = 10_000_000
DEFINITION_LIMIT = 100_000_000
_TOLD = 4
_ADVICE = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are "
    "declared)"
)
_UNTYPED = (
    "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert "
    "structural schema to CEL declarations"
)


@dataclass(slots=True)
class _Walk:
    """`limited`: each rule's own limit counts; not for a schema that stands already."""

    limited: bool
    found: list[FieldError] = field(default_factory=list)
    total: int = 0
    expensive: list[tuple[int, str]] = field(default_factory=list)

    def observe(self, path: str, cost: int, limit_name: str) -> None:
        if self.limited and cost > RULE_LIMIT:
            self.found.append(field_errors.forbidden(path, _exceeds(limit_name, cost, RULE_LIMIT)))
        self.total = min(self.total + cost, MOST)
        if cost >= DEFINITION_LIMIT // 100:
            self.expensive.append((cost, path))

    def visit(self, raw: Object, path: str, count: int | None, apart: str, *, root: bool = False) -> None:
        """`count` is how often the place occurs at most (None: nothing but the request's size bounds it), `apart` the
        path above whose parts cannot be told which of them was which before the update."""
        elements: int | None = 1
        if raw.get("type") == "array":
            elements = raw.get("maxItems")
        elif raw.get("type") == "object" and raw.get("additionalProperties"):
            elements = raw.get("maxProperties")
        inner = None if count is None or elements is None else min(count * max(elements, 0), MOST)
        below = apart or (path if raw.get("x-kubernetes-map-type") == "atomic" else "")
        if isinstance(raw.get("additionalProperties"), dict):
            self.visit(raw["additionalProperties"], f"{path}.additionalProperties", inner, below)
        for name, child in (raw.get("properties") or {}).items():
            self.visit(child, f"{path}.properties[{name}]", inner, below)
        if isinstance(raw.get("items"), dict):
            keyed = raw.get("x-kubernetes-list-type") == "map"
            self.visit(raw["items"], f"{path}.items", inner, apart or ("" if keyed else path))
        if rules := raw.get("x-kubernetes-validations"):
            kind = declared(schemas.from_structural(raw, root=root), root=root)
            if kind is None:
                where = f"{path}.x-kubernetes-validations"
                self.found.append(FieldError(where, status.INTERNAL, f"Internal error: {_UNTYPED}"))
                return
            times = REQUEST // (kind.least + 1) if count is None else count
            for i, rule in enumerate(rules):
                self.rule(rule, f"{path}.x-kubernetes-validations[{i}]", kind, times, apart)

    def rule(self, rule: Object, path: str, kind: DeclType, times: int, apart: str) -> None:
        source, message = rule.get("rule") or "", rule.get("messageExpression") or ""
        if not source.strip():
            return
        old = optional_of(kind) if rule.get("optionalOldSelf") else kind
        checked = check(source, {"self": kind, "oldSelf": old})
        problem = _problem(checked, "bool", "compilation failed: ", "cel expression must evaluate to a bool")
        self.observe(f"{path}.rule", 0 if problem else min(checked.cost * times, MOST), "estimated rule cost")
        if problem:
            self.found.append(_invalid(f"{path}.rule", rule, problem))
        elif message:
            told = check(message, {"self": kind, "oldSelf": old})
            failed = "messageExpression compilation failed: "
            if problem := _problem(told, "string", failed, "messageExpression must evaluate to a string"):
                self.found.append(_invalid(f"{path}.messageExpression", rule, problem))
            else:
                self.observe(f"{path}.messageExpression", told.cost, "estimated messageExpression cost")
        if "oldSelf" in checked.names and apart:
            said = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {apart}"
            self.found.append(field_errors.invalid(f"{path}.rule", source, said))
        elif "oldSelf" not in checked.names and not problem and rule.get("optionalOldSelf") is not None:
            said = "may not be set if oldSelf is not used in rule"
            self.found.append(field_errors.invalid(f"{path}.optionalOldSelf", rule["optionalOldSelf"], said))


def errors_of(schema: Object, path: str, before: Object | None = None) -> list[FieldError]:
    """What is wrong with the rules of an openAPIV3Schema. `before` is the schema that stands in its place."""
    walk = _Walk(limited=schema != before)
    walk.visit(schema, path, 1, "", root=True)
    if walk.total > DEFINITION_LIMIT:
        said = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        dearest = sorted(walk.expensive, key=lambda each: -each[0])[:_TOLD]
        walk.found += [field_errors.forbidden(where, said) for _, where in dearest]
        total = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        walk.found.append(field_errors.forbidden(path, _exceeds(total, walk.total, DEFINITION_LIMIT)))
    return walk.found


def _problem(checked: Checked, wanted: str, prefix: str, otherwise: str) -> str:
    if checked.problems:
        return prefix + "\n".join(checked.problems)
    return "" if checked.type.name == wanted else otherwise


def _exceeds(what: str, cost: int, limit: int) -> str:
    times = cost / limit
    factor = "more than 100x" if times > 100 else f"{times:f}x" if times < 1.5 else f"{times:.1f}x"
    return f"{what} exceeds budget by factor of {factor} {_ADVICE}"


def _invalid(path: str, rule: Object, detail: str) -> FieldError:
    """The value is the whole rule, by the names of upstream's internal type."""
    value = {
        "Rule": rule.get("rule") or "", "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "", "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "", "OptionalOldSelf": rule.get("optionalOldSelf"),
    }  # fmt: skip
    return FieldError(path, status.INVALID, f"Invalid value: {orjson.dumps(value).decode()}: {detail}")
