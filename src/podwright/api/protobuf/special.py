"""Messages whose JSON is not an object of their fields: times, quantities, raw JSON, unions."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from podwright.api.protobuf.wire import BYTES, VARINT, Malformed, key, read_varint, signed, skip, varint

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_META = "k8s.io.apimachinery.pkg.apis.meta.v1."


def scalars(data: bytes) -> dict[int, int | bytes]:
    """The fields of a small message, undecoded; of a repeated one the last."""
    found: dict[int, int | bytes] = {}
    at, end = 0, len(data)
    while at < end:
        tag, at = read_varint(data, at, end)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            found[number], at = read_varint(data, at, end)
        elif wire_type == BYTES:
            length, at = read_varint(data, at, end)
            if at + length > end:
                raise Malformed("unexpected EOF")
            found[number] = data[at : at + length]
            at += length
        else:
            at = skip(data, at, end, wire_type)
    return found


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise Malformed("wrong wireType")
    return value


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise Malformed("wrong wireType")
    return signed(value)


def _one(number: int, value: bytes) -> bytes:
    return key(number, BYTES) + varint(len(value)) + value


def encode_time(value: Any) -> bytes:
    moment = datetime.fromisoformat(value)
    since = moment - _EPOCH
    seconds = since.days * 86400 + since.seconds
    return key(1, VARINT) + varint(seconds) + key(2, VARINT) + varint(since.microseconds * 1000)


def decode_time(data: bytes) -> str | None:
    fields = scalars(data)
    if not fields:
        return None
    try:
        return (_EPOCH + timedelta(seconds=_int(fields.get(1, 0)))).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError as bad:
        raise Malformed("time out of range") from bad


def decode_micro_time(data: bytes) -> str | None:
    fields = scalars(data)
    if not fields:
        return None
    try:
        moment = _EPOCH + timedelta(seconds=_int(fields.get(1, 0)), microseconds=_int(fields.get(2, 0)) // 1000)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except OverflowError as bad:
        raise Malformed("time out of range") from bad


def encode_text(value: Any) -> bytes:
    return _one(1, str(value).encode())


def decode_text(data: bytes) -> str:
    return _bytes(scalars(data).get(1, b"")).decode()


def encode_int_or_string(value: Any) -> bytes:
    if isinstance(value, int):
        return key(1, VARINT) + b"\0" + key(2, VARINT) + varint(value) + _one(3, b"")
    return key(1, VARINT) + b"\1" + key(2, VARINT) + b"\0" + _one(3, str(value).encode())


def decode_int_or_string(data: bytes) -> int | str:
    fields = scalars(data)
    if fields.get(1):
        return _bytes(fields.get(3, b"")).decode()
    return _int(fields.get(2, 0))


def encode_raw_json(value: Any) -> bytes:
    return _one(1, orjson.dumps(value))


def decode_raw_json(data: bytes) -> Any:
    raw = _bytes(scalars(data).get(1, b""))
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError as bad:
        raise Malformed(f"raw extension is no JSON: {bad}") from bad


def _go_duration(nanoseconds: int) -> str:
    """A duration as Go prints it."""
    if nanoseconds == 0:
        return "0s"
    sign = "-" if nanoseconds < 0 else ""
    left = abs(nanoseconds)
    if left < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if left >= size:
                return f"{sign}{left / size:.9f}".rstrip("0").rstrip(".") + unit
    hours, left = divmod(left, 3600 * 10**9)
    minutes, left = divmod(left, 60 * 10**9)
    seconds = f"{left / 10**9:.9f}".rstrip("0").rstrip(".") or "0"
    text = f"{hours}h" if hours else ""
    return sign + text + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"


_UNITS = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}


def _nanoseconds(text: str) -> int:
    import re

    total, sign = 0.0, -1 if text.startswith("-") else 1
    for number, unit in re.findall(r"([0-9.]+)(h|ms|m|us|µs|ns|s)", text):
        total += float(number) * _UNITS[unit]
    return sign * int(total)


def encode_duration(value: Any) -> bytes:
    return key(1, VARINT) + varint(_nanoseconds(str(value)))


def decode_duration(data: bytes) -> str:
    return _go_duration(_int(scalars(data).get(1, 0)))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


CODECS: dict[str, tuple[Encode, Decode]] = {
    "k8s.io.apimachinery.pkg.api.resource.Quantity": (encode_text, decode_text),
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": (encode_int_or_string, decode_int_or_string),
    "k8s.io.apimachinery.pkg.runtime.RawExtension": (encode_raw_json, decode_raw_json),
    "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSON": (encode_raw_json, decode_raw_json),
    _META + "Time": (encode_time, decode_time),
    _META + "MicroTime": (encode_time, decode_micro_time),
    _META + "FieldsV1": (encode_raw_json, decode_raw_json),
    _META + "Duration": (encode_duration, decode_duration),
}
"""Message → (JSON value to bytes, bytes to JSON value; None for a value that is left out)."""

UNIONS = {
    "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "array",
    "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "bool",
    "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "strings",
}
"""A schema (field 1, of the boolean one field 2) or what the value says."""
