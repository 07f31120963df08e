"""The types of the Kubernetes API as a tree of :class:`Schema` nodes.

Every built-in type comes out of the definitions that the ``kubernetes-validate`` package publishes for 1.37; a custom
resource's type comes out of the openAPIV3Schema of its definition. Pruning, type checks, strategic merge, server-side
apply and ``kubectl explain`` all read these nodes. Nodes are made on first use and kept: a process that only serves
Pods never looks at flow schemas.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from podwright.api.metrics_definitions import DEFINITIONS
from podwright.api.resources import Resource

OBJECT = "object"
MAP = "map"
ARRAY = "array"
SCALAR = "scalar"
ANY = "any"
INT_OR_STRING = "int_or_string"
QUANTITY = "quantity"

_REF = "#/$defs/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."

_MENDED: Mapping[str, dict[str, Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"kind": QUANTITY},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"kind": INT_OR_STRING},
    _META + "FieldsV1": {"kind": ANY, "any_type": OBJECT, "map_type": "atomic"},
    _META + "Patch": {"kind": ANY, "any_type": OBJECT},
    _META + "Time": {"kind": SCALAR, "type": "string", "format": "date-time"},
    _META + "MicroTime": {"kind": SCALAR, "type": "string", "format": "micro-date-time"},
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {"kind": ANY, "any_type": OBJECT},
    _CRD + "JSON": {"kind": ANY},
    _CRD + "JSONSchemaPropsOrArray": {"kind": ANY},
    _CRD + "JSONSchemaPropsOrBool": {"kind": ANY},
    _CRD + "JSONSchemaPropsOrStringArray": {"kind": ANY},
}
"""Definitions whose published form says less than the type behind it: types with a decoder of their own, and types
that hold any JSON."""

_KEY_DEFAULTS: Mapping[tuple[str, str], Any] = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP", ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
}
"""Defaults of fields that are keys of list-maps. The published definitions carry none, and an entry that leaves the
field out has the same key as one that spells the default."""

_ROOT_FIELDS = ("apiVersion", "kind", "metadata")


class Schema:
    """One node: the type of one JSON value.

    ``kind`` is one of the constants of this module. ``properties`` are the fields of an OBJECT, ``values`` the type of
    a MAP's values, ``items`` the type of an ARRAY's elements. ``type`` and ``format`` are those of OpenAPI for a
    SCALAR; ``any_type`` restricts ANY ("object", or "" for any JSON). ``list_type`` is "atomic", "set", "map" or "",
    ``map_type`` "atomic", "granular" or "". ``merge_key`` and ``patch_strategies`` (of "merge", "replace",
    "retainKeys") drive strategic merge. ``custom`` marks nodes of custom resources, which keep nulls and answer type
    errors by validation. ``raw`` is the OpenAPI form.

    A field that refers to a definition and adds to it is a node of its own whose ``base`` is the definition's node:
    what is derived from a type (a compiled check) belongs to ``base``.
    """

    __slots__ = (
        "_items", "_properties", "_values", "any_type", "base", "custom", "default", "derived", "description",
        "embedded", "format", "kind", "list_map_keys", "list_type", "map_type", "merge_key", "name", "nullable",
        "patch_strategies", "preserve_unknown", "raw", "required", "type",
    )

    def __init__(self, kind: str, raw: Mapping[str, Any], *, name: str = "", custom: bool = False) -> None:
        self.kind = kind
        self.raw = raw
        self.name = name
        self.custom = custom
        self.base: Schema = self
        self.type = ""
        self.any_type = ""
        self.format: str = raw.get("format") or ""
        self.description: str = raw.get("description") or ""
        self.required: frozenset[str] = frozenset(raw.get("required") or ())
        self.nullable = bool(raw.get("nullable"))
        self.default: Any = raw.get("default")
        self.list_type: str = raw.get("x-kubernetes-list-type") or ""
        self.list_map_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = raw.get("x-kubernetes-map-type") or ""
        self.merge_key: str = raw.get("x-kubernetes-patch-merge-key") or ""
        strategy = raw.get("x-kubernetes-patch-strategy")
        self.patch_strategies: frozenset[str] = frozenset(strategy.split(",")) if strategy else frozenset()
        self.preserve_unknown = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(raw.get("x-kubernetes-embedded-resource"))
        self.derived: dict[str, Any] = {}
        self._properties: dict[str, Schema] | Callable[[], dict[str, Schema]] = {}
        self._items: Schema | Callable[[], Schema] | None = None
        self._values: Schema | Callable[[], Schema] | None = None

    @property
    def properties(self) -> dict[str, Schema]:
        if self.base is not self:
            return self.base.properties
        if not isinstance(self._properties, dict):
            self._properties = self._properties()
        return self._properties

    @property
    def items(self) -> Schema:
        """The type of an array's elements (ANY if nothing is said)."""
        if self.base is not self:
            return self.base.items
        if not isinstance(self._items, Schema):
            self._items = ANYTHING if self._items is None else self._items()
        return self._items

    @property
    def values(self) -> Schema:
        """The type of a map's values (ANY if nothing is said)."""
        if self.base is not self:
            return self.base.values
        if not isinstance(self._values, Schema):
            self._values = ANYTHING if self._values is None else self._values()
        return self._values

    def at(self, *path: str) -> Schema | None:
        """The node below `path`, a field name each, through lists and maps; None if there is no such field."""
        node: Schema | None = self
        for step in path:
            while node is not None and node.kind == ARRAY:
                node = node.items
            if node is None or node.kind not in (OBJECT, MAP):
                return None
            node = node.values if node.kind == MAP else node.properties.get(step)
        return node

    def __repr__(self) -> str:
        return f"Schema({self.kind}{' ' + self.name if self.name else ''})"


ANYTHING = Schema(ANY, {})
"""Any JSON value."""


def _view(base: Schema, raw: Mapping[str, Any]) -> Schema:
    """The node of a field that refers to the type `base` and says something of its own about it."""
    view = Schema(base.kind, base.raw, name=base.name, custom=base.custom)
    view.base = base
    view.type, view.any_type, view.format = base.type, base.any_type, base.format
    view.nullable = base.nullable
    view.description = raw.get("description") or base.description
    view.map_type = raw.get("x-kubernetes-map-type") or base.map_type
    view.list_type = raw.get("x-kubernetes-list-type") or base.list_type
    strategy = raw.get("x-kubernetes-patch-strategy")
    view.patch_strategies = frozenset(strategy.split(",")) if strategy else base.patch_strategies
    return view


@functools.lru_cache(maxsize=1)
def definitions() -> dict[str, dict[str, Any]]:
    """Every published definition by its name, in OpenAPI's form. Read once (6 ms) and shared: never change it.

    Raises:
        FileNotFoundError: the package with the definitions is missing.
    """
    spec = importlib.util.find_spec("kubernetes_validate")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place, "kubernetes-json-schema", "v1.37.0-local", "_definitions.json")
        if path.exists():
            found: dict[str, dict[str, Any]] = orjson.loads(path.read_bytes())["$defs"]
            return found | DEFINITIONS
    raise FileNotFoundError("kubernetes-validate with the definitions of Kubernetes 1.37 is not installed")


_cache: dict[str, Schema] = {}


def definition(name: str) -> Schema:
    """The node of one definition, such as "io.k8s.api.core.v1.Pod".

    Raises:
        KeyError: there is no such definition.
    """
    node = _cache.get(name)
    if node is None:
        node = _cache[name] = _compile(definitions()[name], name)
    return node


_EVENT = "io.k8s.api.events.v1.Event"


def for_resource(row: Resource) -> Schema:
    """The node of a built-in row's kind. Rows of versions that are no longer published (legacy betas) have the type of
    the version they are stored in.

    Raises:
        KeyError: the row is a custom resource's: use :func:`from_structural`.
    """
    if row.definition in definitions():
        return definition(row.definition)
    if row.group == "events.k8s.io":
        return definition(_EVENT)
    return definition(row.definition.replace(f".{row.version}.", f".{row.storage_version}."))


def _types(raw: Mapping[str, Any]) -> tuple[str, ...]:
    declared = raw.get("type")
    if declared is None:
        return ()
    if isinstance(declared, str):
        return (declared,)
    return tuple(t for t in declared if t != "null")


def _compile(raw: Mapping[str, Any], name: str = "") -> Schema:
    mended = _MENDED.get(name)
    if mended is not None:
        node = Schema(mended["kind"], raw, name=name)
        for attribute, value in mended.items():
            setattr(node, attribute, value)
        return node
    ref = raw.get("$ref")
    if isinstance(ref, str):
        base = definition(ref.removeprefix(_REF))
        return _view(base, raw) if len(raw) > 1 else base
    types = _types(raw)
    if "object" in types:
        values = raw.get("additionalProperties")
        if isinstance(values, dict):
            node = Schema(MAP, raw, name=name)
            node._values = functools.partial(_compile, values)
            return node
        node = Schema(OBJECT, raw, name=name)
        node._properties = functools.partial(_fields, raw, name)
        return node
    if "array" in types:
        node = Schema(ARRAY, raw, name=name)
        node._items = functools.partial(_compile, raw.get("items") or {})
        return node
    if types:
        node = Schema(SCALAR, raw, name=name)
        node.type = types[0]
        return node
    return Schema(ANY, raw, name=name)


def _fields(raw: Mapping[str, Any], name: str) -> dict[str, Schema]:
    fields = {field: _compile(sub) for field, sub in (raw.get("properties") or {}).items()}
    for (owner, field), value in _KEY_DEFAULTS.items():
        if owner == name:
            fields[field].default = value
    return fields


def from_structural(crd_schema: Mapping[str, Any], *, root: bool = True) -> Schema:
    """The node of a custom resource's version, from its openAPIV3Schema with the x-kubernetes-* extensions.

    The root (and every embedded resource) also has apiVersion, kind and metadata, whatever the schema says of them
    (Kubernetes documentation: "Extend the Kubernetes API with CustomResourceDefinitions", structural schemas).
    """
    return _structural(crd_schema, root=root)


def _structural(raw: Mapping[str, Any], *, root: bool = False) -> Schema:
    if raw.get("x-kubernetes-int-or-string"):
        return Schema(INT_OR_STRING, raw, custom=True)
    types = _types(raw)
    kind = types[0] if types else ("object" if raw.get("properties") or raw.get("additionalProperties") else "")
    values = raw.get("additionalProperties")
    if root or kind == "object":
        embedded = root or bool(raw.get("x-kubernetes-embedded-resource"))
        if (isinstance(values, dict) or values is True) and not raw.get("properties") and not embedded:
            node = Schema(MAP, raw, custom=True)
            node._values = functools.partial(_structural, values if isinstance(values, dict) else {})
            if values is True:
                node._values = ANYTHING
            return node
        node = Schema(OBJECT, raw, custom=True)
        node._properties = functools.partial(_structural_fields, raw, embedded)
        return node
    if kind == "array":
        node = Schema(ARRAY, raw, custom=True)
        node._items = functools.partial(_structural, raw.get("items") or {})
        return node
    if kind:
        node = Schema(SCALAR, raw, custom=True)
        node.type = kind
        return node
    # A node without a type: with preserve-unknown-fields any JSON, otherwise an empty struct that prunes all.
    return Schema(ANY, raw, custom=True)


def _structural_fields(raw: Mapping[str, Any], embedded: bool) -> dict[str, Schema]:
    fields = {field: _structural(sub) for field, sub in (raw.get("properties") or {}).items()}
    if embedded:
        text = Schema(SCALAR, {"type": "string"})
        text.type = "string"
        for field in _ROOT_FIELDS[:2]:
            fields.setdefault(field, text)
        fields["metadata"] = definition(_META + "ObjectMeta")
    return fields
