"""The table-driven codec: one message's JSON object to bytes and back."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from podwright.api.objects import Object
from podwright.api.protobuf import special
from podwright.api.protobuf.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Malformed,
    key,
    read_varint,
    signed,
    skip,
    varint,
)

Encode = Callable[[Any], bytes]
_DEPTH = 200
_TABLES = {
    "k8s.io.kubelet.": "plugin_fields.json", "k8s.io.": "fields.json",
    "runtime.v1.": "cri_fields.json", "containerd.": "cri_fields.json",
}  # fmt: skip
_SCHEMA = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"


@cache
def _read(file: str) -> dict[str, list[tuple[int, str, str, str]]]:
    data = (files(__package__) / file).read_bytes()
    return {name: [(f[0], f[1], f[2], f[3]) for f in fields] for name, fields in orjson.loads(data).items()}


def _table(message: str) -> dict[str, list[tuple[int, str, str, str]]]:
    # A node speaks with plugins and never needs the large table.
    for prefix, file in _TABLES.items():
        if message.startswith(prefix):
            return _read(file)
    return _read("plugin_fields.json")


def known(message: str) -> bool:
    return message in _table(message)


def encode(message: str, obj: Any) -> bytes:
    """The message of a JSON value that fits the schema. Fields it has no number for are left out.

    Raises:
        ValueError: a value does not fit its field.
    """
    try:
        return _encoder(message)(obj)
    except (TypeError, AttributeError, KeyError, OverflowError, binascii.Error) as bad:
        raise ValueError(f"{message}: {bad}") from bad


def decode(message: str, data: bytes) -> Any:
    """The JSON value of a message, without the zero values that JSON leaves out. Raises Malformed."""
    try:
        return _decode(message, data, 0, len(data), 0)
    except (UnicodeDecodeError, struct.error) as bad:
        raise Malformed(str(bad)) from bad


# --- JSON to bytes: a closure a message, built when it is first needed ---


@cache
def _encoder(message: str) -> Encode:
    if message in special.CODECS:
        return special.CODECS[message][0]
    if message in special.UNIONS:
        return _union_encoder(special.UNIONS[message])
    rows = _table(message)[message]
    if rows and rows[0][3] == "rL":
        one = _field_encoder(rows[0][0], rows[0][2])
        return lambda values: b"".join(one(v) for v in values)
    named: dict[str, Encode] = {}
    inline: list[tuple[bytes, str]] = []
    for number, json_name, kind, flags in rows:
        if "n" in flags:
            inline.append((key(number, BYTES), kind[1:]))
        elif json_name != "-":
            one = _field_encoder(number, kind)
            named[json_name] = _repeated(one) if "r" in flags and kind[0] != "M" else one

    def encode_object(obj: Any) -> bytes:
        parts = []
        for name, value in obj.items():
            field = named.get(name)
            if field is not None and value is not None:
                parts.append(field(value))
        for prefix, inner in inline:
            body = _encoder(inner)(obj)
            if body:
                parts.append(prefix + varint(len(body)) + body)
        return b"".join(parts)

    return encode_object


def _repeated(one: Encode) -> Encode:
    return lambda values: b"".join([one(v) for v in values])


def _field_encoder(number: int, kind: str) -> Encode:
    if kind[0] == "M":
        return _map_encoder(number, kind[1:])
    if kind in {"i", "b"}:
        prefix = key(number, VARINT)
        return lambda value: prefix + varint(int(value))
    if kind == "d":
        prefix = key(number, FIXED64)
        return lambda value: prefix + struct.pack("<d", value)
    if kind == "f":
        prefix = key(number, FIXED32)
        return lambda value: prefix + struct.pack("<f", value)
    prefix = key(number, BYTES)
    if kind == "s":

        def text(value: Any) -> bytes:
            raw = value.encode()
            return prefix + varint(len(raw)) + raw  # type: ignore[no-any-return]

        return text
    if kind == "y":

        def binary(value: Any) -> bytes:
            raw = base64.b64decode(value)
            return prefix + varint(len(raw)) + raw

        return binary
    name = kind[1:]

    def message(value: Any) -> bytes:
        body = _encoder(name)(value)
        return prefix + varint(len(body)) + body

    return message


def _map_encoder(number: int, kind: str) -> Encode:
    prefix = key(number, BYTES)
    key_field, value_field = _field_encoder(1, "s"), _field_encoder(2, kind)

    def encode_map(value: Any) -> bytes:
        parts = []
        for name in sorted(value):
            body = key_field(name) + value_field(value[name])
            parts.append(prefix + varint(len(body)) + body)
        return b"".join(parts)

    return encode_map


def _union_encoder(kind: str) -> Encode:
    def union(value: Any) -> bytes:
        if isinstance(value, bool):
            return key(1, VARINT) + varint(int(value))
        if isinstance(value, list):
            inner = "s" if kind == "strings" else "m" + _SCHEMA
            return b"".join(_field_encoder(2, inner)(v) for v in value)
        if kind == "bool":
            return key(1, VARINT) + b"\1" + _field_encoder(2, "m" + _SCHEMA)(value)
        return _field_encoder(1, "m" + _SCHEMA)(value)

    return union


# --- bytes to JSON ---


@cache
def _fields(message: str) -> dict[int, tuple[str, str, str]]:
    return {number: (name, kind, flags) for number, name, kind, flags in _table(message)[message]}


@cache
def _kept_zeros(message: str) -> tuple[tuple[str, Any], ...]:
    """Fields that JSON always has: their zero values, for senders that leave zeros off the wire."""
    zeros = {"s": "", "b": False, "i": 0}
    rows = _table(message)[message]
    return tuple((name, zeros[kind]) for _, name, kind, flags in rows if flags == "k" and kind in zeros)


def _decode(message: str, data: bytes, at: int, end: int, depth: int) -> Any:
    if depth > _DEPTH:
        raise Malformed("nested too deeply")
    if message in special.CODECS:
        return special.CODECS[message][1](data[at:end])
    if message in special.UNIONS:
        return _decode_union(special.UNIONS[message], data, at, end, depth)
    fields = _fields(message)
    found: Object = {}
    whole_list: list[Any] | None = None
    while at < end:
        tag, at = read_varint(data, at, end)
        number, wire_type = tag >> 3, tag & 7
        entry = fields.get(number)
        if entry is None:
            at = skip(data, at, end, wire_type)
            continue
        name, kind, flags = entry
        if kind[0] == "M":
            at = _map_entry(found.setdefault(name, {}), kind[1:], data, at, end, depth)
            continue
        if wire_type == BYTES and kind in "ib":
            # A packed repeated scalar.
            length, at = read_varint(data, at, end)
            stop = _within(at + length, end)
            while at < stop:
                number_value, at = read_varint(data, at, stop)
                found.setdefault(name, []).append(signed(number_value))
            continue
        value, at = _value(kind, wire_type, data, at, end, depth)
        if flags == "rL":
            whole_list = [*(whole_list or []), value]
        elif "n" in flags:
            found.update(value or {})
        elif "r" in flags:
            found.setdefault(name, []).append(value)
        elif _shown(value, kind, flags):
            found[name] = value
    if fields.get(1, ("", "", ""))[2] == "rL":
        return whole_list or []
    for name, zero in _kept_zeros(message):
        if name not in found:
            found[name] = zero
    return found


def _shown(value: Any, kind: str, flags: str) -> bool:
    if value is None:
        return False
    if kind[0] == "m":
        return not ("z" in flags and value == {})
    return "p" in flags or "k" in flags or bool(value)


def _within(at: int, end: int) -> int:
    if at > end:
        raise Malformed("unexpected EOF")
    return at


def _value(kind: str, wire_type: int, data: bytes, at: int, end: int, depth: int) -> tuple[Any, int]:
    if kind in "ib":
        if wire_type != VARINT:
            raise Malformed(f"wrong wireType = {wire_type}")
        number, at = read_varint(data, at, end)
        return (bool(number) if kind == "b" else signed(number)), at
    if kind == "d":
        return struct.unpack_from("<d", data, at)[0], _within(at + 8, end)
    if kind == "f":
        return struct.unpack_from("<f", data, at)[0], _within(at + 4, end)
    if wire_type != BYTES:
        raise Malformed(f"wrong wireType = {wire_type}")
    length, at = read_varint(data, at, end)
    stop = _within(at + length, end)
    if kind == "s":
        return data[at:stop].decode(), stop
    if kind == "y":
        return special.b64(data[at:stop]), stop
    return _decode(kind[1:], data, at, stop, depth + 1), stop


def _map_entry(into: Object, kind: str, data: bytes, at: int, end: int, depth: int) -> int:
    length, at = read_varint(data, at, end)
    stop = _within(at + length, end)
    name: str = ""
    value: Any = {"s": "", "y": "", "b": False, "i": 0}.get(kind)
    while at < stop:
        tag, at = read_varint(data, at, stop)
        if tag >> 3 == 1:
            name, at = _value("s", tag & 7, data, at, stop, depth)
        elif tag >> 3 == 2:
            value, at = _value(kind, tag & 7, data, at, stop, depth)
        else:
            at = skip(data, at, stop, tag & 7)
    into[name] = {} if value is None else value
    return stop


def _decode_union(kind: str, data: bytes, at: int, end: int, depth: int) -> Any:
    allows, schema, values = False, None, []
    while at < end:
        tag, at = read_varint(data, at, end)
        number, wire_type = tag >> 3, tag & 7
        if kind == "bool" and number == 1:
            allows, at = _value("b", wire_type, data, at, end, depth)
        elif number == (2 if kind == "bool" else 1):
            schema, at = _value("m" + _SCHEMA, wire_type, data, at, end, depth)
        elif number == 2:
            value, at = _value("s" if kind == "strings" else "m" + _SCHEMA, wire_type, data, at, end, depth)
            values.append(value)
        else:
            at = skip(data, at, end, wire_type)
    if schema is not None:
        return schema
    return allows if kind == "bool" else values
