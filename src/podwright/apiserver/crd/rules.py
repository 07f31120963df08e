"""What registry.rules.Rules asks of one version of a custom resource."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from podwright.api import status, validation
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.status import FieldError
from podwright.api.validation import field_errors
from podwright.apiserver.crd import defaults, embedded, openapi_validation

Expressions = Callable[[Object, Object | None], Sequence[FieldError]]
"""The x-kubernetes-validations of a schema: errors of an object and, for transition rules, the one before it."""


_BLOCKING = frozenset((
    status.NOT_SUPPORTED, status.REQUIRED, status.TOO_LONG, status.TOO_MANY, status.TYPE_INVALID,
))
"""What makes it unsafe to evaluate expressions."""
_UNCHECKED = field_errors.invalid(
    "<nil>", None, "some validation rules were not checked because the object was invalid; correct the existing errors"
    " to complete validation",
)


class VersionRules:
    """Defaulting, pruning of nulls, preparation and validation of one version."""

    def __init__(self, row: Resource, schema: Object, expressions: Expressions | None = None) -> None:
        self._row = row
        self._schema = {k: v for k, v in schema.items() if k != "required"} | {
            "required": [f for f in schema.get("required") or [] if f not in ("apiVersion", "kind", "metadata")],
            "properties": {
                k: v for k, v in (schema.get("properties") or {}).items() if k not in ("apiVersion", "kind", "metadata")
            },
        }
        self._expressions = expressions
        self._embeds = embedded.occurs(self._schema)

    def default(self, obj: Object) -> None:
        defaults.drop_nulls(self._schema, obj)
        defaults.apply(self._schema, obj)

    def prepare_create(self, obj: Object) -> None:
        validation.prepare_for_create(self._row, obj)

    def prepare_update(self, obj: Object, old: Object, subresource: str) -> None:
        validation.prepare_for_update(self._row, obj, old, subresource)

    def validate(self, obj: Object, old: Object | None, subresource: str) -> Sequence[FieldError]:
        found: list[FieldError] = []
        if old is None:
            found += validation.validate_create(self._row, obj)
        else:
            found += validation.validate_update(self._row, obj, old, subresource)
        found += openapi_validation.validate(
            self._schema, _without_envelope(obj),
            old=_without_envelope(old) if old is not None else openapi_validation.MISSING,
        )
        if self._embeds:
            found += embedded.errors(self._schema, obj)
        if self._expressions is not None:
            found += [_UNCHECKED] if any(e.reason in _BLOCKING for e in found) else self._expressions(obj, old)
        return found


def _without_envelope(obj: Object) -> dict[str, Any]:
    return {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata")}
