"""Rules for the OpenAPI schema of a custom resource: it must be structural, so that pruning and defaulting can work on
it (apiextensions' ``ValidateStructural`` and ``ValidateCustomResourceDefinitionOpenAPISchema``). Rules in CEL are
compiled, and so checked, by the API server."""

from __future__ import annotations

from podwright.api.cel import EvaluationError, regular
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import forbidden, invalid, not_supported, one_of, required

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_META = frozenset({"apiVersion", "kind", "metadata"})
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_ANONYMOUS = ("allOf", "anyOf", "oneOf")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_NOT_NESTED: tuple[tuple[str, str], ...] = (
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)
_LEVELS = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def schema(errs: list[FieldError], root: Object, path: str) -> None:
    """Check openAPIV3Schema."""
    if root.get("nullable"):
        errs.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    found: list[FieldError] = []
    _structural(found, root, "root", path)
    errs += sorted(found, key=lambda e: (e.field, e.message))
    _standard(errs, root, path, root=True, reason="")


def _structural(errs: list[FieldError], node: Object, level: str, path: str) -> None:
    kind = node.get("type") or ""
    items, properties = node.get("items"), node.get("properties") or {}
    extra = node.get("additionalProperties")
    embedded, preserve = node.get("x-kubernetes-embedded-resource"), node.get("x-kubernetes-preserve-unknown-fields")
    either = node.get("x-kubernetes-int-or-string")
    if kind == "array" and items is None:
        errs.append(required(f"{path}.items", "must be specified"))
    if isinstance(items, dict):
        _structural(errs, items, "item", f"{path}.items")
    for name, child in properties.items():
        if name == "metadata" and level == "root":
            continue
        _structural(errs, child, "field", f"{path}.properties[{name}]")
    if extra is not None and extra is not False:
        if level == "root":
            errs.append(forbidden(f"{path}.additionalProperties", "must not be used at the root"))
        if isinstance(extra, dict):
            _structural(errs, extra, "field", f"{path}.additionalProperties")
    if either and preserve:
        said = "must be false if x-kubernetes-int-or-string is true"
        errs.append(invalid(f"{path}.x-kubernetes-preserve-unknown-fields", True, said))
    if either and embedded:
        said = "must be false if x-kubernetes-int-or-string is true"
        errs.append(invalid(f"{path}.x-kubernetes-embedded-resource", True, said))
    _values(errs, node, path, allow_types=bool(either))
    if embedded and kind != "object":
        said = "must be object if x-kubernetes-embedded-resource is true"
        errs.append(invalid(f"{path}.type", kind, said) if kind else required(f"{path}.type", said))
    elif not kind and not either and not preserve:
        errs.append(required(f"{path}.type", _LEVELS[level]))
    if level == "root" and kind and kind != "object":
        errs.append(invalid(f"{path}.type", kind, "must be object at the root"))
    if level == "root" or embedded:
        for name in ("kind", "apiVersion"):
            child = properties.get(name)
            if child is not None and child.get("type") != "string":
                errs.append(invalid(f"{path}.properties[{name}].type", child.get("type") or "", "must be string"))
        _metadata(errs, properties.get("metadata"), level, f"{path}.properties[metadata]")
    if embedded and extra is not None:
        said = "must not be used if x-kubernetes-embedded-resource is set"
        errs.append(forbidden(f"{path}.additionalProperties", said))
    if embedded and not preserve and not properties:
        said = (
            "must not be empty if x-kubernetes-embedded-resource is true without "
            "x-kubernetes-preserve-unknown-fields"
        )
        errs.append(required(f"{path}.properties", said))


def _metadata(errs: list[FieldError], node: Object | None, level: str, path: str) -> None:
    if node is None:
        return
    if node.get("type") != "object":
        errs.append(invalid(f"{path}.type", node.get("type") or "", "must be object"))
    if level != "root":
        return
    rest = {k: v for k, v in node.items() if k not in ("type", "properties", "description") and v}
    if rest or set(node.get("properties") or ()) - {"name", "generateName"}:
        said = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        errs.append(forbidden(path, said))


def _values(errs: list[FieldError], node: Object, path: str, *, allow_types: bool) -> None:
    """The value validations of a node and of the schemas below allOf, anyOf, oneOf and not."""
    for word in _ANONYMOUS:
        listed = node.get(word) or []
        if allow_types and word == "anyOf" and listed == _INT_OR_STRING:
            continue
        for i, child in enumerate(listed):
            pattern = allow_types and word == "allOf" and i == 0 and child.get("anyOf") == _INT_OR_STRING
            _nested(errs, child, f"{path}.{word}[{i}]", allow_types=pattern)
    if (child := node.get("not")) is not None:
        _nested(errs, child, f"{path}.not", allow_types=False)
    if pattern_text := node.get("pattern"):
        try:
            regular.compiled(pattern_text)
        except EvaluationError as error:
            said = f"must be a valid regular expression, but isn't: {error}"
            errs.append(invalid(f"{path}.pattern", pattern_text, said))


def _nested(errs: list[FieldError], node: Object, path: str, *, allow_types: bool) -> None:
    _values(errs, node, path, allow_types=allow_types)
    if isinstance(node.get("items"), dict):
        _nested(errs, node["items"], f"{path}.items", allow_types=False)
    for name, child in (node.get("properties") or {}).items():
        _nested(errs, child, f"{path}.properties[{name}]", allow_types=False)
    for word, said in _NOT_NESTED:
        if node.get(word):
            errs.append(forbidden(f"{path}.{word}", said))
    if "metadata" in (node.get("properties") or {}):
        errs.append(forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context"))


def _standard(errs: list[FieldError], node: Object, path: str, *, root: bool, reason: str) -> None:
    kind = node.get("type") or ""
    if kind == "null":
        errs.append(forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative"))
    elif kind and kind not in _TYPES:
        errs.append(not_supported(f"{path}.type", kind, _TYPES))
    if "default" in node and reason:
        errs.append(forbidden(f"{path}.default", f"must not be set {reason}"))
    for word in _UNSUPPORTED:
        if node.get(word):
            errs.append(forbidden(f"{path}.{word}", f"{word} is not supported"))
    if isinstance(node.get("items"), list):
        errs.append(forbidden(f"{path}.items", "items must be a schema object and not an array"))
    if node.get("uniqueItems"):
        said = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        errs.append(forbidden(f"{path}.uniqueItems", said))
    extra, properties = node.get("additionalProperties"), node.get("properties") or {}
    if extra is not None and properties and (extra is False or isinstance(extra, dict)):
        said = "additionalProperties and properties are mutual exclusive"
        errs.append(forbidden(f"{path}.additionalProperties", said))
    if isinstance(extra, dict):
        _standard(errs, extra, f"{path}.additionalProperties", root=False, reason=reason)
    for name, child in properties.items():
        inner = f"in top-level {name}" if root and name in _META else reason
        _standard(errs, child, f"{path}.properties[{name}]", root=False, reason=inner)
    for word in _ANONYMOUS:
        for i, child in enumerate(node.get(word) or ()):
            _standard(errs, child, f"{path}.{word}[{i}]", root=False, reason=reason)
    if isinstance(node.get("items"), dict):
        _standard(errs, node["items"], f"{path}.items", root=False, reason=reason)
    if node.get("x-kubernetes-preserve-unknown-fields") is False:
        errs.append(invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined"))
    _lists_and_maps(errs, node, kind, path)
    for i, rule in enumerate(node.get("x-kubernetes-validations") or ()):
        _rule(errs, rule, f"{path}.x-kubernetes-validations[{i}]")


def _typed(errs: list[FieldError], kind: str, wanted: str, word: str, path: str) -> None:
    if kind != wanted:
        said = f"must be {wanted} if {word} is specified"
        errs.append(invalid(f"{path}.type", kind, said) if kind else required(f"{path}.type", said))


def _lists_and_maps(errs: list[FieldError], node: Object, kind: str, path: str) -> None:
    map_type, list_type = node.get("x-kubernetes-map-type"), node.get("x-kubernetes-list-type")
    if map_type is not None:
        _typed(errs, kind, "object", "x-kubernetes-map-type", path)
        one_of(errs, map_type, f"{path}.x-kubernetes-map-type", ("atomic", "granular"))
    keys = node.get("x-kubernetes-list-map-keys") or []
    field = f"{path}.x-kubernetes-list-type"
    if list_type is not None:
        _typed(errs, kind, "array", "x-kubernetes-list-type", path)
        one_of(errs, list_type, field, ("atomic", "set", "map"))
    if keys and list_type != "map":
        said = "must be map if x-kubernetes-list-map-keys is non-empty"
        errs.append(required(field, said) if list_type is None else invalid(field, list_type, said))
    items = node.get("items") if isinstance(node.get("items"), dict) else None
    if list_type in ("set", "map") and items is not None and items.get("nullable"):
        said = f"cannot be nullable when x-kubernetes-list-type is {list_type}"
        errs.append(forbidden(f"{path}.items.nullable", said))
    if list_type == "set" and items is not None:
        said = "must be atomic as item of a list with x-kubernetes-list-type=set"
        if items.get("type") == "array" and items.get("x-kubernetes-list-type") not in (None, "atomic"):
            errs.append(invalid(f"{path}.items.x-kubernetes-list-type", items["x-kubernetes-list-type"], said))
        elif items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
            errs.append(invalid(f"{path}.items.x-kubernetes-map-type", items.get("x-kubernetes-map-type"), said))
    if list_type == "map":
        _map_keys(errs, keys, items, path)


def _map_keys(errs: list[FieldError], keys: list[str], items: Object | None, path: str) -> None:
    field = f"{path}.x-kubernetes-list-map-keys"
    if not keys:
        errs.append(required(field, "must not be empty if x-kubernetes-list-type is map"))
    if items is None:
        errs.append(required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map"))
        return
    if items.get("type") != "object":
        said = "must be object if parent array's x-kubernetes-list-type is map"
        errs.append(invalid(f"{path}.items.type", items.get("type") or "", said))
        return
    properties, needed = items.get("properties") or {}, items.get("required") or ()
    for i, key in enumerate(keys):
        child = properties.get(key)
        where = f"{path}.items.properties[{key}]"
        if key in keys[:i]:
            errs.append(invalid(field, keys, "must not contain duplicate entries"))
        if child is None:
            errs.append(invalid(field, keys, "entries must all be names of item properties"))
            continue
        if child.get("type") in ("array", "object"):
            said = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            errs.append(invalid(f"{where}.type", child["type"], said))
        if key not in needed and "default" not in child:
            said = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            errs.append(required(f"{where}.default", said))
        if child.get("nullable"):
            said = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            errs.append(forbidden(f"{where}.nullable", said))


def _rule(errs: list[FieldError], rule: Object, path: str) -> None:
    text, message = (rule.get("rule") or "").strip(), rule.get("message") or ""
    if not text:
        errs.append(required(f"{path}.rule", "rule is not specified"))
    elif message and not message.strip():
        errs.append(invalid(f"{path}.message", message, "must be non-empty if specified"))
    elif "\n" in message.strip():
        errs.append(invalid(f"{path}.message", message, "must not contain line breaks"))
    elif "\n" in text and not message:
        errs.append(required(f"{path}.message", "message must be specified if rule contains line breaks"))
    expression = rule.get("messageExpression") or ""
    if expression and not expression.strip():
        errs.append(required(f"{path}.messageExpression", "messageExpression must be non-empty if specified"))
    if (reason := rule.get("reason")) is not None:
        one_of(errs, reason, f"{path}.reason", _REASONS)
