"""x-kubernetes-embedded-resource: objects within a custom resource have a version, a kind and sound metadata
(Kubernetes documentation, "Extend the Kubernetes API with CustomResourceDefinitions", "RawExtension")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names
from podwright.api.validation.field_errors import invalid, required

_EMBEDDED = "x-kubernetes-embedded-resource"


def occurs(schema: Any) -> bool:
    """Whether a schema has such an object anywhere."""
    if not isinstance(schema, dict):
        return False
    below = [schema.get("items"), schema.get("additionalProperties"), *(schema.get("properties") or {}).values()]
    return bool(schema.get(_EMBEDDED)) or any(map(occurs, below))


def errors(schema: Any, value: Any, path: str = "") -> Iterator[FieldError]:
    if not isinstance(schema, dict):
        return
    if isinstance(value, dict):
        if schema.get(_EMBEDDED):
            yield from _object(value, path)
        properties = schema.get("properties") or {}
        for name, item in value.items():
            if name in properties:
                yield from errors(properties[name], item, f"{path}.{name}" if path else name)
            else:
                yield from errors(schema.get("additionalProperties"), item, f"{path}[{name}]")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from errors(schema.get("items"), item, f"{path}[{i}]")


def _object(obj: Object, path: str) -> Iterator[FieldError]:
    for field in ("apiVersion", "kind"):
        where, given = f"{path}.{field}", obj.get(field)
        if field not in obj:
            yield required(where)
        elif not isinstance(given, str):
            yield invalid(where, given, "must be a string")
        elif not given:
            yield invalid(where, given, "must not be empty")
        elif field == "apiVersion" and given.count("/") > 1:
            yield invalid(where, given, f"unexpected GroupVersion string: {given}")
        elif field == "kind" and (problems := names.dns_1035_label(given.lower())):
            yield invalid(where, given, "may have mixed case, but should otherwise match: " + ",".join(problems))
    given = obj.get("metadata")
    if isinstance(given, dict):
        named = {"name": "fakename", **given}
        yield from metadata.on_create(
            named, bool(given.get("namespace")), names.path_segment_name, f"{path}.metadata", kube_finalizers=False
        )
    elif given is not None:
        yield invalid(f"{path}.metadata", given, "must be an object")
