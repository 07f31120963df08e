"""Custom resources against their OpenAPI schema, with the messages of upstream's validator."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from podwright.api import objects, status
from podwright.api.cel import EvaluationError, regular
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import field_errors

_MAX_ERRORS = 100
_WORDS = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_DURATION = re.compile(r"[+-]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+|0")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_HOSTNAME = re.compile(r"(?i)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


MISSING: Any = object()
"""In place of a value that was not there before."""


def validate(schema: Object, value: Any, path: str = "", old: Any = MISSING) -> list[FieldError]:
    """Everything wrong with `value`, at most a hundred errors. What has not changed since `old` is not held against it
    (Kubernetes documentation, "Validation ratcheting")."""
    found: list[FieldError] = []
    for error in _check(schema, value, path, old):
        found.append(error)
        if len(found) >= _MAX_ERRORS:
            break
    return found


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> Any:
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else value


def _wrong(path: str, value: Any, text: str) -> FieldError:
    return field_errors.invalid(path or "<nil>", _shown(value), f"{path} in body {text}")


def _is(kind: str, value: Any) -> bool:
    if kind == "object":
        return isinstance(value, dict)
    if kind == "array":
        return isinstance(value, list)
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, float) and value.is_integer()
        )
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return True


def correlated(schema: Object, item: Any, old: Any) -> Any:
    """The entry of the list before that `item` stands for now; list-maps only."""
    keys = schema.get("x-kubernetes-list-map-keys") if schema.get("x-kubernetes-list-type") == "map" else None
    if not keys or not isinstance(old, list) or not isinstance(item, dict):
        return MISSING
    wanted = [item.get(k) for k in keys]
    return next((o for o in old if isinstance(o, dict) and [o.get(k) for k in keys] == wanted), MISSING)


def _check(schema: Object, value: Any, path: str, old: Any = MISSING) -> Iterator[FieldError]:
    if old is not MISSING and old == value:
        return
    if value is None:
        if schema.get("nullable") or not schema.get("type"):
            return
        yield FieldError(
            path, status.TYPE_INVALID, f'Invalid value: "null": {path} in body must be of type {schema["type"]}: "null"'
        )
        return
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str) or isinstance(value, bool):
            yield _wrong(path, value, f'must be of type integer or string: "{_word(value)}"')
            return
    elif kind and not _is(str(kind), value):
        word = _word(value)
        yield FieldError(
            path or "<nil>", status.TYPE_INVALID,
            f'Invalid value: "{word}": {path} in body must be of type {kind}: "{word}"',
        )
        return
    if "enum" in schema and value not in schema["enum"]:
        allowed = [v if isinstance(v, str) else orjson.dumps(v).decode() for v in schema["enum"]]
        yield field_errors.not_supported(path, value, allowed)
    if isinstance(value, dict):
        yield from _object(schema, value, path, old)
    elif isinstance(value, list):
        yield from _array(schema, value, path, old)
    elif isinstance(value, str):
        yield from _text(schema, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(schema, value, path)
    yield from _combined(schema, value, path)


def _word(value: Any) -> str:
    return _WORDS.get(type(value), "null")


def _object(schema: Object, value: Object, path: str, old: Any) -> Iterator[FieldError]:
    for name in schema.get("required") or []:
        if name not in value:
            yield field_errors.required(_join(path, name))
    low, high = schema.get("minProperties"), schema.get("maxProperties")
    if low is not None and len(value) < low:
        yield _wrong(path, low, f"should have at least {low} properties")
    if high is not None and len(value) > high:
        yield field_errors.too_many(path, len(value), high)
    properties = schema.get("properties") or {}
    more = schema.get("additionalProperties")
    before = old if isinstance(old, dict) else {}
    for name, item in value.items():
        sub = properties.get(name, more)
        if isinstance(sub, dict):
            yield from _check(sub, item, _join(path, name), before.get(name, MISSING))


def _array(schema: Object, value: list[Any], path: str, old: Any) -> Iterator[FieldError]:
    low, high = schema.get("minItems"), schema.get("maxItems")
    if low is not None and len(value) < low:
        yield _wrong(path, len(value), f"should have at least {low} items")
    if high is not None and len(value) > high:
        yield field_errors.too_many(path, len(value), high)
    items = schema.get("items")
    if isinstance(items, dict):
        for i, item in enumerate(value):
            yield from _check(items, item, f"{path}[{i}]", correlated(schema, item, old))
    kind = schema.get("x-kubernetes-list-type")
    if kind == "set" or schema.get("uniqueItems"):
        seen: set[bytes] = set()
        for i, item in enumerate(value):
            key = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
            if key in seen:
                yield field_errors.duplicate(f"{path}[{i}]", item)
            seen.add(key)
    elif kind == "map":
        keys = schema.get("x-kubernetes-list-map-keys") or []
        entries: set[bytes] = set()
        for i, item in enumerate(value):
            if isinstance(item, dict):
                ident = {k: item.get(k) for k in keys}
                key = orjson.dumps(ident, option=orjson.OPT_SORT_KEYS)
                if key in entries:
                    yield field_errors.duplicate(f"{path}[{i}]", ident)
                entries.add(key)


def _text(schema: Object, value: str, path: str) -> Iterator[FieldError]:
    low, high = schema.get("minLength"), schema.get("maxLength")
    if low is not None and len(value) < low:
        yield _wrong(path, value, f"should be at least {low} chars long")
    if high is not None and len(value) > high:
        yield field_errors.too_long(path, high)
    pattern = schema.get("pattern")
    if pattern:
        try:
            matches = regular.search(pattern, value)
        except EvaluationError:
            matches = True  # A schema of before the pattern was held to be one.
        if not matches:
            yield _wrong(path, value, f"should match '{pattern}'")
    form = schema.get("format")
    if form and not _has_format(str(form), value):
        yield _wrong(path, value, f"must be of type {form}: {orjson.dumps(value).decode()}")


def _number(schema: Object, value: float, path: str) -> Iterator[FieldError]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None:
        if schema.get("exclusiveMinimum"):
            if value <= low:
                yield _wrong(path, value, f"should be greater than {low}")
        elif value < low:
            yield _wrong(path, value, f"should be greater than or equal to {low}")
    if high is not None:
        if schema.get("exclusiveMaximum"):
            if value >= high:
                yield _wrong(path, value, f"should be less than {high}")
        elif value > high:
            yield _wrong(path, value, f"should be less than or equal to {high}")
    multiple = schema.get("multipleOf")
    if multiple:
        quotient = value / multiple
        if not math.isclose(quotient, round(quotient), abs_tol=1e-9):
            yield _wrong(path, value, f"should be a multiple of {multiple}")
    form = schema.get("format")
    if form == "int32" and not -(2**31) <= value < 2**31:
        yield _wrong(path, value, "Checked value must be of type integer with format int32")


def _combined(schema: Object, value: Any, path: str) -> Iterator[FieldError]:
    for sub in schema.get("allOf") or []:
        yield from _check(sub, value, path)
    any_of = schema.get("anyOf") or []
    if any_of and all(next(_check(sub, value, path), None) is not None for sub in any_of):
        yield _composite(path, "must validate at least one schema (anyOf)")
        yield from _nearest(any_of, value, path)
    one_of = schema.get("oneOf") or []
    if one_of:
        count = sum(1 for sub in one_of if next(_check(sub, value, path), None) is None)
        if count != 1:
            found = f"{count} valid alternatives" if count else "none valid"
            yield _composite(path, f"must validate one and only one schema (oneOf). Found {found}")
        if not count:
            yield from _nearest(one_of, value, path)
    negated = schema.get("not")
    if isinstance(negated, dict) and next(_check(negated, value, path), None) is None:
        yield _composite(path, "must not validate the schema (not)")


def _composite(path: str, said: str) -> FieldError:
    """Upstream's have no path of their own."""
    return field_errors.invalid("<nil>", "", f'"{path}" {said}')


def _nearest(alternatives: Sequence[Object], value: Any, path: str) -> list[FieldError]:
    """What is wrong by the alternative that comes nearest."""
    return min((list(_check(sub, value, path)) for sub in alternatives), key=len)


def _has_format(form: str, value: str) -> bool:
    """Formats that upstream checks; others are documentation."""
    try:
        if form == "date-time":
            objects.parse_time(value)
        elif form == "date":
            objects.parse_time(f"{value}T00:00:00Z")
        elif form == "byte":
            base64.b64decode(value, validate=True)
        elif form == "ipv4":
            ipaddress.IPv4Address(value)
        elif form == "ipv6":
            ipaddress.IPv6Address(value)
        elif form == "cidr":
            ipaddress.ip_network(value, strict=False)
        elif form in ("uuid", "uuid3", "uuid4", "uuid5"):
            return _UUID.fullmatch(value) is not None
        elif form == "duration":
            return _DURATION.fullmatch(value) is not None
        elif form == "email":
            return _EMAIL.fullmatch(value) is not None
        elif form == "hostname":
            return len(value) <= 253 and _HOSTNAME.fullmatch(value) is not None
    except (ValueError, binascii.Error):
        return False
    return True
