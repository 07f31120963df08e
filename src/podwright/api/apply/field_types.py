"""What ownership of fields knows of a type: which values are owned as a whole, which field by field.

Compiled once from a :class:`~podwright.api.schema.Schema` node, and flat, because comparing objects is on the path of
every write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podwright.api.apply.field_sets import key_element, keys_element, value_element
from podwright.api.schema import ANY, ARRAY, MAP, OBJECT, Schema

LEAF_TYPE = 0
"""Owned as a whole: scalars, atomic lists and atomic objects."""
STRUCT_TYPE = 1
MAP_TYPE = 2
KEYED_TYPE = 3
"""A list whose elements are told apart by some of their fields."""
SET_TYPE = 4
"""A list of scalars, each owned by itself."""
DEDUCED_TYPE = 5
"""Any JSON: objects are owned field by field, everything else as a whole."""

_DERIVED = "apply.field_type"

_STRUCT_FIELDS: Mapping[str, tuple[str, ...]] = {
    # field: the definitions (their last name) in which it is otherwise
    "metadata": (), "spec": (), "status": ("ResourcePoolStatusRequest", "CustomResourceSubresources"),
    "template": ("ReplicationControllerSpec",), "clientConfig": ("WebhookConversion",), "strategy": (),
    "updateStrategy": (), "jobTemplate": (), "scaleTargetRef": (), "target": (), "current": (), "metric": (),
    "describedObject": (), "state": (), "lastState": (), "daemonEndpoints": (), "kubeletEndpoint": (), "nodeInfo": (),
    "loadBalancer": (), "podAffinityTerm": (), "deprecatedSource": (), "priorityLevelConfiguration": (),
    "limitResponse": (), "backend": (), "devices": (), "taint": (), "pool": (), "userInfo": (),
    "schedulingPolicy": ("JobSchedulingConfiguration",),
}
_STRUCT_FIELDS_OF: frozenset[tuple[str, str]] = frozenset((
    ("Container", "resources"), ("PersistentVolumeClaimSpec", "resources"), ("Event", "source"),
    ("VolumeAttachmentSpec", "source"), ("TokenReviewStatus", "user"), ("Endpoint", "conditions"),
    ("StorageVersionMigrationSpec", "resource"),
))
"""Fields that hold a struct by value in Go: they are there, if empty, whenever their parent is, so that nobody ever
adds or removes (and so owns) the field itself. The published definitions do not say so."""


class FieldType:
    """One compiled node. ``values`` is the type of a map's values, ``item`` that of a list's elements, ``keys`` a
    list-map's keys with their defaults."""

    __slots__ = ("_fields", "_item", "_schema", "_struct", "_values", "keys", "kind", "single_key")

    def __init__(self, kind: int, schema: Schema | None = None) -> None:
        self.kind = kind
        self._schema = schema
        self._struct = schema.name.rpartition(".")[2] if schema is not None else ""
        self._fields: dict[str, tuple[str, FieldType, bool]] = {}
        self._item: FieldType | None = None
        self._values: FieldType | None = None
        self.keys: tuple[tuple[str, Any], ...] = ()
        self.single_key = ""

    def field(self, name: str) -> tuple[str, FieldType, bool]:
        """A field's path element, its type, and whether it is always there (as null or empty, if nobody set it)."""
        found = self._fields.get(name)
        return found if found is not None else self._link(name)

    def _link(self, name: str) -> tuple[str, FieldType, bool]:
        element, schema = f"f:{name}", self._schema
        if self.kind != STRUCT_TYPE or schema is None:
            # The keys of maps are the user's: remembering them all would be a leak.
            return (element, DEDUCED if schema is None else self.values, False)
        sub = schema.properties.get(name)
        if sub is None:
            return (element, DEDUCED, False)
        always = not schema.custom and (name in schema.required or self._holds_struct(name, sub))
        found = self._fields[name] = (element, field_type(sub), always)
        return found

    def _holds_struct(self, name: str, sub: Schema) -> bool:
        if sub.kind != OBJECT:
            return False
        if name in _STRUCT_FIELDS:
            return self._struct not in _STRUCT_FIELDS[name]
        return (self._struct, name) in _STRUCT_FIELDS_OF

    def declares(self, name: str) -> bool:
        """Whether `name` is a field of the type itself, not a map's key or an unknown field that is kept."""
        return self.kind == STRUCT_TYPE and self._schema is not None and name in self._schema.properties

    def accepts(self, name: str) -> bool:
        """Whether an object of this type may have the field at all."""
        return self.declares(name) or self.kind != STRUCT_TYPE or bool(self._schema and self._schema.preserve_unknown)

    @property
    def schema(self) -> Schema | None:
        return self._schema

    @property
    def values(self) -> FieldType:
        if self._values is None:
            self._values = DEDUCED if self._schema is None else field_type(self._schema.values)
        return self._values

    @property
    def item(self) -> FieldType:
        if self._item is None:
            self._item = DEDUCED if self._schema is None else field_type(self._schema.items)
        return self._item

    def element(self, item: Any) -> str | None:
        """The path element of a list's entry; None if it has none (no object, or an object without any key)."""
        if self.kind == SET_TYPE:
            return None if isinstance(item, dict | list) or item is None else value_element(item)
        if not isinstance(item, dict):
            return None
        if self.single_key:
            value = item.get(self.single_key)
            if value.__class__ is str:
                return key_element(self.single_key, value)
        found = []
        for name, default in self.keys:
            value = item.get(name, default)
            if value is not None:
                if isinstance(value, dict | list):
                    return None
                found.append((name, value))
        return keys_element(found) if found else None


LEAF = FieldType(LEAF_TYPE)
DEDUCED = FieldType(DEDUCED_TYPE)


def field_type(schema: Schema) -> FieldType:
    """The compiled type of a node."""
    made: FieldType | None = schema.derived.get(_DERIVED)
    if made is None:
        made = schema.derived[_DERIVED] = _compile(schema)
    return made


def _compile(schema: Schema) -> FieldType:
    if schema.map_type == "atomic":
        return LEAF
    if schema.kind == OBJECT:
        return FieldType(STRUCT_TYPE, schema)
    if schema.kind == MAP:
        return FieldType(MAP_TYPE, schema)
    if schema.kind == ANY:
        return DEDUCED
    if schema.kind != ARRAY:
        return LEAF
    if schema.list_type == "set":
        return FieldType(SET_TYPE, schema)
    if schema.list_type == "map":
        made = FieldType(KEYED_TYPE, schema)
        fields = schema.items.properties
        made.keys = tuple(
            (name, fields[name].default if name in fields else None) for name in sorted(schema.list_map_keys)
        )
        if len(made.keys) == 1:
            made.single_key = made.keys[0][0]
        return made
    return LEAF
