"""Published definitions in the forms of OpenAPI v2 and v3."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.schema import definitions

V2 = "#/definitions/"
V3 = "#/components/schemas/"
_LOCAL = "#/$defs/"

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
STATUS = META + "Status"
DELETE_OPTIONS = META + "DeleteOptions"
PATCH = META + "Patch"
WATCH_EVENT = META + "WatchEvent"

_LOOSE: dict[str, Object] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"format": "int-or-string", "type": "string"},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
}
_LOOSE_V3: dict[str, Object] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
}


def convert(name: str, raw: Object, prefix: str) -> Object:
    """One definition with references below `prefix`."""
    loose = (_LOOSE_V3 if prefix == V3 else _LOOSE).get(name)
    if loose is not None:
        return {**loose, "description": raw.get("description", "")}
    converted = _node(raw, prefix)
    properties = converted.get("properties")
    if isinstance(properties, dict):
        for field in ("apiVersion", "kind"):
            if field in properties:
                properties[field].pop("enum", None)
    return converted


def _node(raw: Object, prefix: str) -> Object:
    ref = raw.get("$ref")
    if isinstance(ref, str):
        target = prefix + ref.removeprefix(_LOCAL)
        more = {k: _value(k, v, prefix) for k, v in raw.items() if k != "$ref"}
        if not more:
            return {"$ref": target}
        if prefix == V2:
            return {"$ref": target, **more}
        return {"allOf": [{"$ref": target}], "default": {}, **more} if _is_struct(ref) else {
            "allOf": [{"$ref": target}], **more,
        }
    return {k: _value(k, v, prefix) for k, v in raw.items() if not (k == "additionalProperties" and v is False)}


def _is_struct(ref: str) -> bool:
    raw = definitions().get(ref.removeprefix(_LOCAL)) or {}
    return "properties" in raw


def _value(key: str, value: Any, prefix: str) -> Any:
    if key == "type" and isinstance(value, list):
        kept = [t for t in value if t != "null"]
        return kept[0] if kept else "string"
    if key == "properties":
        return {name: _node(sub, prefix) for name, sub in value.items()}
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return _node(value, prefix)
    if key in ("oneOf", "anyOf", "allOf") and isinstance(value, list):
        return [_node(sub, prefix) for sub in value]
    if key == "enum" and isinstance(value, list):
        return [v for v in value if v is not None]
    return value


def reachable(names: Iterable[str]) -> list[str]:
    """All definitions that those refer to, and themselves, sorted."""
    known = definitions()
    found: set[str] = set()
    queue = [name for name in names if name in known]
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found.add(name)
        queue.extend(ref for ref in _refs(known[name]) if ref in known and ref not in found)
    return sorted(found)


def _refs(value: Any) -> list[str]:
    found: list[str] = []
    if isinstance(value, dict):
        ref = value.get("$ref")
        if isinstance(ref, str):
            found.append(ref.removeprefix(_LOCAL))
        for sub in value.values():
            found.extend(_refs(sub))
    elif isinstance(value, list):
        for sub in value:
            found.extend(_refs(sub))
    return found


def kinds(rows: Iterable[Resource]) -> dict[str, list[Object]]:
    """definition name → x-kubernetes-group-version-kind of the types that are kinds."""
    found: dict[str, list[Object]] = {}
    for row in rows:
        if row.custom:
            continue
        found[row.definition] = [{"group": row.group, "kind": row.kind, "version": row.version}]
        found[row.definition + "List"] = [{"group": row.group, "kind": row.list_kind, "version": row.version}]
    found["io.k8s.api.autoscaling.v1.Scale"] = [{"group": "autoscaling", "kind": "Scale", "version": "v1"}]
    found["io.k8s.api.policy.v1.Eviction"] = [{"group": "policy", "kind": "Eviction", "version": "v1"}]
    found["io.k8s.api.authentication.v1.TokenRequest"] = [
        {"group": "authentication.k8s.io", "kind": "TokenRequest", "version": "v1"}
    ]
    found[STATUS] = [{"group": "", "kind": "Status", "version": "v1"}]
    groups = sorted({(row.group, row.version) for row in rows})
    for name, kind in ((DELETE_OPTIONS, "DeleteOptions"), (WATCH_EVENT, "WatchEvent")):
        found[name] = [{"group": g, "kind": kind, "version": v} for g, v in groups]
    return found


def list_definition(row: Resource) -> str:
    """The name of a kind's list type; "" if none is published."""
    name = row.definition + "List"
    return name if name in definitions() else ""
