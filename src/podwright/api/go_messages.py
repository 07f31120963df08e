"""What Go's decoder says of a value that does not fit its type: clients and people know these sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from podwright.api.schema import ARRAY, INT_OR_STRING, MAP, QUANTITY, SCALAR, Schema


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands in Go's eyes: the innermost struct, and the field names from the root."""

    struct: str = ""
    fields: str = ""

    def field(self, struct: str, name: str) -> Place:
        return Place(struct, f"{self.fields}.{name}" if self.fields else name)


def bad_base64_byte(value: str) -> int:
    """The place that Go names in text that is no base64."""
    bad = re.search(r"[^A-Za-z0-9+/\r\n]", value)
    return bad.start() if bad is not None and bad.group() != "=" else len(value) - len(value) % 4


def bad_time(value: str, *, micro: bool) -> str:
    """The text is no RFC 3339 time (with exactly six decimals, if `micro`)."""
    layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
    return f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"'


def struct_name(schema: Schema) -> str:
    """The Go type's name without its package."""
    return schema.name.rpartition(".")[2]


def _go_type(schema: Schema) -> str:
    if schema.kind == MAP:
        return "v1.ResourceList" if schema.values.kind == QUANTITY else f"map[string]{_go_type(schema.values)}"
    if schema.kind == ARRAY:
        return f"[]{_go_type(schema.items)}"
    if schema.kind == INT_OR_STRING:
        return "int32"
    if schema.kind == SCALAR and not schema.format.endswith("date-time"):
        if schema.format == "byte":
            return "[]uint8"
        if schema.type == "integer":
            return schema.format or "int64"
        return {"boolean": "bool", "number": "float64"}.get(schema.type, "string")
    if schema.kind == SCALAR:
        return "string"
    return ".".join(schema.name.rsplit(".", 2)[-2:])


def _json_word(schema: Schema, value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    if schema.kind == INT_OR_STRING or schema.type == "integer":
        return f"number {value}"
    return "number"


def mismatch(schema: Schema, value: Any, place: Place) -> str:
    """A JSON value of a wrong type at a place."""
    word = _json_word(schema, value)
    if not place.fields:
        return f"json: cannot unmarshal {word} into Go value of type {_go_type(schema)}"
    return (
        f"json: cannot unmarshal {word} into Go struct field {place.struct}.{place.fields} of type {_go_type(schema)}"
    )


def go_text(value: Any) -> str:
    """A JSON value as Go's %v prints it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{k}:{go_text(v)}' for k, v in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_text, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def unconverted(refusal: str) -> str:
    """A decoder's refusal in the words of apimachinery's converter of maps, which takes strategic merge patches."""
    found = re.fullmatch(r"json: cannot unmarshal (\w+).* of type (\S+)", refusal)
    if found is None:
        return refusal
    word, wanted = found.groups()
    given = {"object": "map", "array": "slice", "number": "int64"}.get(word, word)
    for start, kind in (("map[", "map from"), ("[]", "slice from"), ("v1.ResourceList", "map from")):
        if wanted.startswith(start):
            return f"cannot restore {kind} {given}"
    if "." in wanted:
        return f"cannot restore struct from: {given}"
    if (given, wanted) == ("int64", "string"):
        return "cannot convert int64 to string"
    return f"unrecognized type: {wanted}"
