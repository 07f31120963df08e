"""Custom resources as both OpenAPI documents publish them.

The second form is poorer than what a CustomResourceDefinition may say, and kubectl refuses unknown fields where it sees
a list of fields: what it would misread is left untyped, as upstream does.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.schema import definitions as schemas_of_kinds
from podwright.apiserver.openapi.schemas import META, V2

SELECTABLE = "x-kubernetes-selectable-fields"
"""Of the whole schema: what field selectors may name."""
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_ONLY_V3 = ("allOf", "anyOf", "oneOf", "not", "nullable")
_ANY_KIND = "io.k8s.api.core.v1.ConfigMap"


@cache
def _type_fields() -> dict[str, Object]:
    """apiVersion and kind, as every built-in kind has them."""
    properties = schemas_of_kinds()[_ANY_KIND]["properties"]
    names = ("apiVersion", "kind")
    return {name: {"type": "string", "description": properties[name]["description"]} for name in names}


def definitions(row: Resource, name: str, raw: Object, prefix: str) -> dict[str, Object]:
    """The definitions of a custom resource's version and of its list."""
    listed: Object = {
        "description": f"{row.list_kind} is a list of {row.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_type_fields(),
            "metadata": _reference("ListMeta", prefix),
            "items": {
                "type": "array", "items": {"$ref": prefix + name}, "description": f"List of {row.plural}.",
            },
        },
        "x-kubernetes-group-version-kind": [{"group": row.group, "kind": row.list_kind, "version": row.version}],
    }  # fmt: skip
    body = _body(raw, prefix)
    if SELECTABLE in raw:
        body[SELECTABLE] = listed[SELECTABLE] = raw[SELECTABLE]
    body["x-kubernetes-group-version-kind"] = [{"group": row.group, "kind": row.kind, "version": row.version}]
    return {name: body, name + "List": listed}


def _body(raw: Object, prefix: str) -> Object:
    if prefix == V2 and raw.get(_PRESERVE):
        # With any field listed, kubectl would forbid all the others.
        return {"type": "object"}
    body = _node(raw, prefix)
    body["type"] = "object"
    body["properties"] = {**(body.get("properties") or {}), **_type_meta(prefix)}
    return body


def _type_meta(prefix: str) -> Object:
    about = "Standard object's metadata."
    metadata = {**_reference("ObjectMeta", prefix), "description": about}
    return {**_type_fields(), "metadata": metadata}


def _reference(kind: str, prefix: str) -> Object:
    ref: Object = {"$ref": f"{prefix}{META}{kind}"}
    return ref if prefix == V2 else {"allOf": [ref]}


def _node(raw: Object, prefix: str) -> Object:
    node = dict(raw)
    if prefix == V2:
        _impoverish(node)
    for field in ("items", "additionalProperties"):
        if isinstance(node.get(field), dict):
            node[field] = _node(node[field], prefix)
    properties: dict[str, Any] | None = node.get("properties")
    if properties is not None:
        node["properties"] = {name: _node(sub, prefix) for name, sub in properties.items()}
    if node.get("x-kubernetes-embedded-resource") and not (prefix == V2 and raw.get(_PRESERVE)):
        node["properties"] = {**(node.get("properties") or {}), **_type_meta(prefix)}
        node["required"] = [*dict.fromkeys([*(node.get("required") or ()), "kind", "apiVersion"])]
    return node


def _impoverish(node: Object) -> None:
    """The rules of upstream's conversion of structural schemas to OpenAPI v2."""
    is_nullable, preserves = node.get("nullable"), node.get(_PRESERVE)
    for field in _ONLY_V3:
        node.pop(field, None)
    if is_nullable or preserves:
        node.pop("items", None)
        node.pop("properties", None)
    if is_nullable or (preserves and node.get("type") == "object") or (
        node.get("type") == "array" and "items" not in node
    ):
        node.pop("type", None)
    properties = node.get("properties") or {}
    required = [name for name in node.get("required") or () if not (properties.get(name) or {}).get("nullable")]
    more = node.get("additionalProperties")
    if isinstance(more, dict) and more.get("nullable"):
        required = []
    if required:
        node["required"] = required
    else:
        node.pop("required", None)
