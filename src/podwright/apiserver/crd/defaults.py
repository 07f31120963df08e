"""Defaults of a structural schema (Kubernetes documentation, "Defaulting" of custom resources)."""

from __future__ import annotations

from typing import Any

from podwright.api.objects import Object
from podwright.api.objects import deepcopy as copy_object


def apply(schema: Object, value: Any) -> None:
    """Fills absent fields of `value` in place; a null where none is allowed counts as absent if there is a default."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for name, sub in properties.items():
            if "default" in sub and (name not in value or (value[name] is None and not sub.get("nullable"))):
                value[name] = _copied(sub["default"])
            if name in value:
                apply(sub, value[name])
        more = schema.get("additionalProperties")
        if isinstance(more, dict):
            for name, item in value.items():
                if name not in properties:
                    apply(more, item)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                apply(items, item)


def drop_nulls(schema: Object, value: Any) -> None:
    """Removes nulls of fields that may not be null and have no default: they count as not given."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for name in [n for n, v in value.items() if v is None and n in properties]:
            if not properties[name].get("nullable") and "default" in properties[name]:
                del value[name]
        for name, item in value.items():
            sub = properties.get(name)
            if sub is None:
                sub = schema.get("additionalProperties")
            if isinstance(sub, dict):
                drop_nulls(sub, item)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                drop_nulls(items, item)


def _copied(value: Any) -> Any:
    return copy_object({"": value})[""]
