"""Does a body fit its type, and what of it would survive decoding into that type.

Upstream decodes a body into Go structs: a field that the struct lacks is dropped (and, for fieldValidation, named), a
null is as good as an absent field, an optional field that is empty or zero is not written back, times and quantities
come back in canonical form, and a value of another type refuses the body. Here one compiled closure a type says whether
a value is already exactly what would be written back (nearly all are); only if not, a slower walk finds out what is
wrong and where.

Custom resources are not decoded into structs: their unknown fields are pruned by their structural schema, their nulls
stay, and their types are a matter of validation. Only their metadata is treated as above.
"""

from __future__ import annotations

import binascii
import functools
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from podwright.api import quantity, zero_values
from podwright.api.go_messages import Place, bad_base64_byte, bad_time, mismatch, struct_name
from podwright.api.objects import Object
from podwright.api.schema import ANY, ARRAY, INT_OR_STRING, MAP, OBJECT, QUANTITY, SCALAR, Schema

Conforms = Callable[[Any], bool]

_CONFORMS = "typecheck.conforms"


@dataclass(slots=True)
class Checked:
    """What :func:`check` found.

    ``unknown`` are the paths of fields that the type lacks, such as "spec.containers[0].foo". ``errors`` are decoding
    messages of values whose type does not fit; upstream answers 400 with the first. ``value`` is the object as decoding
    keeps it; it may share parts with the input.
    """

    value: Any
    unknown: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def check(schema: Schema, obj: Any, *, as_sent: bool = False) -> Checked:
    """Compares a value with its type. Never raises; `obj` is not changed.

    With `as_sent`, nothing but unknown fields is dropped and nothing made canonical: what an apply patch states, it
    states and owns, even if it is zero or empty.
    """
    if conforms(schema)(obj):
        return Checked(obj)
    walk = _Walk(as_sent=as_sent)
    return Checked(walk.visit(schema, obj, "", Place()), walk.unknown, walk.errors)


def prune(schema: Schema, obj: Object) -> Object:
    """The object without unknown fields and nulls, as decoding keeps it. Values of a wrong type stay as they are.
    `obj` is not changed; the result may share parts with it, and is `obj` itself if there is nothing to do."""
    if conforms(schema)(obj):
        return obj
    kept: Object = _Walk().visit(schema, obj, "", Place())
    return kept


def conforms(schema: Schema) -> Conforms:
    """The compiled predicate of a type: is the value exactly what decoding and encoding it would give?"""
    base = schema.base
    made: Conforms | None = base.derived.get(_CONFORMS)
    if made is None:
        made = base.derived[_CONFORMS] = _compile(base)
    return made


def _compile(schema: Schema) -> Conforms:
    if schema.kind == OBJECT:
        return _object(schema)
    if schema.kind == MAP:
        return _map(schema)
    if schema.kind == ARRAY:
        return _array(schema)
    if schema.custom:
        return _always
    if schema.kind == QUANTITY:
        return _is_canonical_quantity
    if schema.kind == INT_OR_STRING:
        return _is_int_or_string
    if schema.kind == ANY:
        return _is_dict if schema.any_type == OBJECT else _not_none
    return _SCALARS.get((schema.type, schema.format)) or _SCALARS[schema.type, ""]


def _object(schema: Schema) -> Conforms:
    fields: dict[str, Any] = {}
    zeros: set[str] = set()
    properties = schema.properties
    custom, preserve = schema.custom, schema.preserve_unknown

    def link(name: str) -> Any:
        """The exact class of a plain scalar field, or the predicate of any other; made when first met, because types
        may contain themselves."""
        sub = properties.get(name)
        if sub is None:
            return _always if preserve else None
        made: Any
        if sub.kind == SCALAR and not sub.custom and not sub.format and sub.type in ("string", "boolean"):
            made = str if sub.type == "string" else bool
            if not _vanishes(schema, name):
                zeros.add(name)
        elif not sub.custom and _may_vanish(schema, name, sub):
            made = _nonempty(conforms(sub))
        else:
            made = conforms(sub)
        fields[name] = made
        return made

    def is_object(value: Any) -> bool:
        if value.__class__ is not dict:
            return custom and not isinstance(value, dict)
        for name, item in value.items():
            wanted = fields.get(name)
            if wanted is item.__class__ and item:
                continue
            if wanted is None:
                wanted = link(name)
                if wanted is None:
                    return False
            if wanted is str or wanted is bool:
                if wanted is not item.__class__ or not (item or name in zeros):
                    return False
            elif not wanted(item):
                return False
        return True

    return is_object


def _vanishes(schema: Schema, name: str) -> bool:
    """Whether a scalar field is left out when it is zero."""
    return name not in schema.required and zero_values.vanishes(schema.name, name)


def _nonempty(inner: Conforms) -> Conforms:
    def is_nonempty(value: Any) -> bool:
        return bool(value) and inner(value)

    return is_nonempty


def _map(schema: Schema) -> Conforms:
    sub, custom = schema.values, schema.custom
    if sub.kind == SCALAR and sub.type == "string" and not sub.format and not custom:

        def is_string_map(value: Any) -> bool:
            if value.__class__ is not dict:
                return False
            for item in value.values():  # noqa: SIM110 (a generator costs twice as much here)
                if item.__class__ is not str:
                    return False
            return True

        return is_string_map
    inner: list[Conforms] = []

    def is_map(value: Any) -> bool:
        if value.__class__ is not dict:
            return custom and not isinstance(value, dict)
        if not inner:
            inner.append(conforms(sub))
        return all(map(inner[0], value.values()))

    return is_map


def _array(schema: Schema) -> Conforms:
    sub, custom = schema.items, schema.custom
    inner: list[Conforms] = []

    def is_array(value: Any) -> bool:
        if value.__class__ is not list:
            return custom and not isinstance(value, list)
        if not inner:
            inner.append(conforms(sub))
        return all(map(inner[0], value))

    return is_array


def _always(_: Any) -> bool:
    return True


def _not_none(value: Any) -> bool:
    return value is not None


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _is_string(value: Any) -> bool:
    return value.__class__ is str


def _is_bool(value: Any) -> bool:
    return value.__class__ is bool


def _is_int32(value: Any) -> bool:
    return value.__class__ is int and -(2**31) <= value < 2**31


def _is_int64(value: Any) -> bool:
    return value.__class__ is int and -(2**63) <= value < 2**63


def _is_number(value: Any) -> bool:
    return value.__class__ is float or value.__class__ is int


def _is_int_or_string(value: Any) -> bool:
    return value.__class__ is str or (value.__class__ is int and -(2**31) <= value < 2**31)


def _is_canonical_quantity(value: Any) -> bool:
    return value.__class__ is str and _canonical_or_none(value) == value


def _is_bytes(value: Any) -> bool:
    if value.__class__ is not str:
        return False
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        return False
    return True


def _is_time(value: Any) -> bool:
    return value.__class__ is str and _time_or_none(value) == value


def _is_micro_time(value: Any) -> bool:
    return value.__class__ is str and _micro_time_or_none(value) == value


_SCALARS: dict[tuple[str, str], Conforms] = {
    ("string", ""): _is_string,
    ("string", "byte"): _is_bytes,
    ("string", "date-time"): _is_time,
    ("string", "micro-date-time"): _is_micro_time,
    ("boolean", ""): _is_bool,
    ("integer", "int32"): _is_int32,
    ("integer", ""): _is_int64,
    ("number", ""): _is_number,
}


@functools.lru_cache(maxsize=8192)
def _canonical_or_none(text: str) -> str | None:
    try:
        return quantity.canonical(text)
    except quantity.QuantityError:
        return None


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _instant(text: str) -> datetime | None:
    shape = _RFC3339.fullmatch(text)
    if shape is None:
        return None
    seconds, fraction, zone = shape.groups()
    try:
        return datetime.fromisoformat(f"{seconds}.{(fraction or '0')[:6]:0<6}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@functools.lru_cache(maxsize=4096)
def _time_or_none(text: str) -> str | None:
    at = _instant(text)
    return None if at is None else f"{at.isoformat()[:19]}Z"


@functools.lru_cache(maxsize=4096)
def _micro_time_or_none(text: str) -> str | None:
    shape = _RFC3339.fullmatch(text)
    at = _instant(text) if shape is not None and len(shape.group(2) or "") == 6 else None
    return None if at is None else f"{at.isoformat(timespec='microseconds')[:26]}Z"


class _Walk:
    """The slow way: names each unknown field and each value of a wrong type, and builds what is kept."""

    def __init__(self, *, as_sent: bool = False) -> None:
        self.as_sent = as_sent
        self.unknown: list[str] = []
        self.errors: list[str] = []

    def visit(self, schema: Schema, value: Any, path: str, place: Place) -> Any:
        if value is None and not schema.custom:
            return None if self.as_sent else _zero(schema)
        if schema.kind == OBJECT and isinstance(value, dict):
            return self._object(schema, value, path, place)
        if schema.kind == MAP and isinstance(value, dict):
            prefix = f"{path}." if path else ""
            return {k: self.visit(schema.values, v, f"{prefix}{k}", place) for k, v in value.items()}
        if schema.kind == ARRAY and isinstance(value, list):
            return [self.visit(schema.items, v, f"{path}[{i}]", place) for i, v in enumerate(value)]
        if schema.custom or conforms(schema)(value):
            return value
        kept = self._leaf(schema, value, place)
        return value if self.as_sent else kept

    def _object(self, schema: Schema, value: dict[str, Any], path: str, place: Place) -> Object:
        struct = struct_name(schema)
        properties = schema.properties
        kept: Object = {}
        for name, item in value.items():
            sub = properties.get(name)
            where = f"{path}.{name}" if path else name
            if sub is None:
                if schema.preserve_unknown:
                    kept[name] = item
                else:
                    self.unknown.append(where)
                continue
            if item is None and not sub.custom:
                if self.as_sent:
                    kept[name] = None
                continue
            # Most of an object is in order: only what is not is walked.
            result = item if conforms(sub)(item) else self.visit(sub, item, where, place.field(struct, name))
            if not result and not sub.custom and not self.as_sent and _may_vanish(schema, name, sub):
                continue
            kept[name] = result
        return kept

    def _leaf(self, schema: Schema, value: Any, place: Place) -> Any:
        if schema.kind == QUANTITY and isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                return quantity.canonical(value)
            except quantity.QuantityError as e:
                self.errors.append(str(e))
                return value
        if isinstance(value, str):
            text = self._text(schema, value)
            if text is not None:
                return text
        self.errors.append(mismatch(schema, value, place))
        return value

    def _text(self, schema: Schema, value: str) -> str | None:
        """The canonical form of a time or of bytes; None if the type is no such text."""
        if schema.format == "byte":
            try:
                return b64encode(b64decode(value.replace("\n", "").replace("\r", ""), validate=True)).decode("ascii")
            except ValueError:
                self.errors.append(f"illegal base64 data at input byte {bad_base64_byte(value)}")
                return value
        if schema.format in ("date-time", "micro-date-time"):
            micro = schema.format == "micro-date-time"
            text = _micro_time_or_none(value) if micro else _time_or_none(value)
            if text is None:
                self.errors.append(bad_time(value, micro=micro))
                return value
            return text
        return None


def _may_vanish(schema: Schema, name: str, sub: Schema) -> bool:
    """Whether an empty or zero value of a field is not written back."""
    if sub.kind in (ARRAY, MAP):
        return name not in schema.required
    return sub.kind == SCALAR and _vanishes(schema, name)


_ZEROS: dict[str, Any] = {"string": "", "boolean": False, "integer": 0, "number": 0}


def _zero(schema: Schema) -> Any:
    """What a null element of a list or map decodes to."""
    if schema.kind == SCALAR:
        return None if schema.format.endswith("date-time") else _ZEROS[schema.type]
    if schema.kind == QUANTITY:
        return "0"
    if schema.kind == INT_OR_STRING:
        return 0
    return {} if schema.kind == OBJECT else None
