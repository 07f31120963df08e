"""The types of variables, as an expression is checked against them before it is ever evaluated, and how big their
values can be in a request of the greatest size (Kubernetes documentation, "Validation rules", "Resource use by
validation functions")."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property

from podwright.api import schema
from podwright.api.cel.syntax import RESERVED
from podwright.api.schema import Schema

REQUEST = 3 * 1024 * 1024
"""Bytes of the greatest request, by which what has no bound of its own is bounded."""
_TEXT = REQUEST - 2
_TIMES: Mapping[str, tuple[str, int, int]] = {
    "duration": ("duration", 32, 3),
    "date": ("timestamp", 12, 12),
    "date-time": ("timestamp", 32, 21),
    "micro-date-time": ("timestamp", 32, 21),
}
"""Of formats: type, and the most and least bytes of the JSON."""
_SCALARS = {"boolean": ("bool", 4), "integer": ("int", 1), "number": ("double", 1)}
_NAME_LENGTHS = {"name": 253, "generateName": 252}
_SPECIAL = re.compile(r"__|[-./]")
_ESCAPED = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


class DeclType:
    """A type. `parts` are a list's items, a map's keys and values, an optional's value; `fields` those of an object.
    `most` is how many elements, characters or bytes a value has at most, `least` how many bytes its JSON at least."""

    def __init__(
        self, name: str, *parts: DeclType, most: int = 0, least: int = 1,
        fields: Callable[[], Mapping[str, DeclType]] | None = None,
        required: Callable[[Mapping[str, DeclType]], int] | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.parts = parts
        self.most = most
        self._least = least
        self._fields = fields
        self._required = required

    @property
    def is_object(self) -> bool:
        return self._fields is not None

    @cached_property
    def fields(self) -> Mapping[str, DeclType]:
        """By the names that expressions have for them. Worked out when first asked for: API types refer to each
        other."""
        return self._fields() if self._fields is not None else {}

    @cached_property
    def least(self) -> int:
        return self._least + (self._required(self.fields) if self._required is not None else 0)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parts))})" if self.parts else self.name


DYN, BOOL, INT, UINT, DOUBLE, STRING, BYTES, NULL, TIMESTAMP, DURATION, TYPE = (
    DeclType(name)
    for name in ("dyn", "bool", "int", "uint", "double", "string", "bytes", "null", "timestamp", "duration", "type")
)

ATTRIBUTE = DeclType("dyn", most=64)
"""A device's attribute, of whatever type: each of a map of them is as big at most."""


def list_of(item: DeclType, most: int | None = None) -> DeclType:
    return DeclType("list", item, most=_TEXT // (item.least + 1) if most is None else max(most, 0), least=2)


def map_of(value: DeclType, most: int | None = None) -> DeclType:
    return DeclType("map", STRING, value, most=_TEXT // (value.least + 6) if most is None else max(most, 0), least=2)


def optional_of(value: DeclType) -> DeclType:
    return DeclType("optional_type", value)


def object_of(name: str, fields: Mapping[str, DeclType]) -> DeclType:
    return DeclType(name, fields=lambda: fields, least=2)


def escape(name: str) -> str:
    """The identifier for a property; "" if there is none (Kubernetes documentation, "Escaping")."""
    if name in RESERVED or name in ("true", "false", "null", "in"):
        return f"__{name}__"
    escaped = _SPECIAL.sub(lambda found: _ESCAPED[found.group()], name)
    return escaped if re.fullmatch(r"[A-Za-z_]\w*", escaped, re.ASCII) else ""


def declared(node: Schema, *, root: bool = False) -> DeclType | None:
    """The type of a schema's values; None if expressions do not see them. `root`: of a whole object."""
    raw = node.raw
    if node.kind in (schema.INT_OR_STRING, schema.QUANTITY):
        return DeclType("dyn", most=_length(node, _TEXT))
    if node.kind == schema.ARRAY:
        item = declared(node.items, root=node.items.embedded)
        return list_of(item, raw.get("maxItems")) if item is not None else None
    if node.kind == schema.MAP:
        value = declared(node.values, root=node.values.embedded)
        return map_of(value, raw.get("maxProperties")) if value is not None else None
    if node.kind == schema.OBJECT or (node.kind == schema.ANY and node.any_type == "object"):
        return _object(node, root or node.embedded)
    if node.type == "string":
        return _string(node)
    if node.type in _SCALARS:
        name, least = _SCALARS[node.type]
        return DeclType(name, least=least)
    return None


def _object(node: Schema, root: bool) -> DeclType:
    def fields() -> dict[str, DeclType]:
        found = {}
        for name, child in node.properties.items():
            if root and node.custom and name == "metadata":
                made: DeclType | None = _metadata(node)
            else:
                made = declared(child, root=child.embedded)
            if made is not None and (escaped := escape(name)):
                found[escaped] = made
        return found

    def required(known: Mapping[str, DeclType]) -> int:
        kinds = {name: known.get(escape(name)) for name in node.required}
        return sum(
            len(name.encode()) + kind.least + 4
            for name, kind in kinds.items()
            if kind is not None and node.properties[name].default is None
        )

    return DeclType("object", fields=fields, least=2, required=required)


def _metadata(node: Schema) -> DeclType:
    """Rules of custom resources see no more of it than the names."""
    said = ((node.raw.get("properties") or {}).get("metadata") or {}).get("properties") or {}
    lengths = {n: min(most, (said.get(n) or {}).get("maxLength", most)) for n, most in _NAME_LENGTHS.items()}
    return object_of("object", {n: DeclType("string", most=4 * most, least=2) for n, most in lengths.items()})


def _string(node: Schema) -> DeclType:
    if node.format in _TIMES:
        name, most, least = _TIMES[node.format]
        return DeclType(name, most=most, least=least)
    if node.format == "byte":
        return DeclType("bytes", most=max(node.raw.get("maxLength", _TEXT), 0), least=2)
    words = [len(word.encode()) for word in node.raw.get("enum") or () if isinstance(word, str)]
    return DeclType("string", most=_length(node, max(words, default=0) if node.raw.get("enum") else _TEXT), least=2)


def _length(node: Schema, otherwise: int) -> int:
    """maxLength counts characters, of up to four bytes."""
    most = node.raw.get("maxLength")
    return otherwise if most is None else 4 * max(most, 0)
