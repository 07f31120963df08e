"""CEL's standard functions: conversions, sizes, times, optional values, math and base64."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import math
import zoneinfo
from collections.abc import Callable
from typing import Any

from podwright.api.cel import operators
from podwright.api.cel.errors import EvaluationError, no_such_overload
from podwright.api.cel.regular import search
from podwright.api.cel.syntax import UInt
from podwright.api.cel.values import (
    INT_MAX,
    INT_MIN,
    LEAST_TIME,
    MOST_TIME,
    NONE,
    UINT_MAX,
    Duration,
    Optional,
    Timestamp,
    Type,
    compared,
    is_number,
    parse_duration,
    parse_timestamp,
    type_name,
)


def to_int(value: Any) -> int:
    if isinstance(value, Timestamp):
        return value.ns // 10**9
    if isinstance(value, Duration):
        return value.ns
    if isinstance(value, float):
        if not math.isfinite(value) or not INT_MIN < value < INT_MAX:
            raise EvaluationError("integer overflow")
        return int(value)
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            raise EvaluationError(f'strconv.ParseInt: parsing "{value}": invalid syntax') from None
    if not is_number(value):
        raise no_such_overload(f"int({type_name(value)})")
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return int(value)


def to_uint(value: Any) -> UInt:
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            raise EvaluationError(f'strconv.ParseUint: parsing "{value}": invalid syntax') from None
    if not is_number(value) or (isinstance(value, float) and not math.isfinite(value)):
        raise no_such_overload(f"uint({type_name(value)})")
    if not 0 <= value <= UINT_MAX:
        raise EvaluationError("unsigned integer overflow")
    return UInt(int(value))


def to_double(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise EvaluationError(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None
    if not is_number(value):
        raise no_such_overload(f"double({type_name(value)})")
    return float(value)


def to_string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
    if isinstance(value, float):
        return format_double(value)
    if isinstance(value, int | Timestamp | Duration):
        return str(value)
    if type_name(value).startswith("net."):
        return str(value)
    raise no_such_overload(f"string({type_name(value)})")


def format_double(value: float) -> str:
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value).replace("inf", "+Inf").replace("-+Inf", "-Inf").replace("nan", "NaN")


def to_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise no_such_overload(f"bytes({type_name(value)})")


def to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "True", "TRUE", "t", "1"):
        return True
    if value in ("false", "False", "FALSE", "f", "0"):
        return False
    raise EvaluationError(f"type conversion error from '{type_name(value)}' to 'bool'")


def to_timestamp(value: Any) -> Timestamp:
    made = value
    if isinstance(value, str):
        made = parse_timestamp(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        made = Timestamp(value * 10**9)
    if not isinstance(made, Timestamp):
        raise no_such_overload(f"timestamp({type_name(value)})")
    if not LEAST_TIME <= made.ns < MOST_TIME:
        raise EvaluationError("timestamp overflow")
    return made


def to_duration(value: Any) -> Duration:
    if isinstance(value, Duration):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Duration(value)
    raise no_such_overload(f"duration({type_name(value)})")


def _local(value: Any, zone: str | None = None) -> dt.datetime:
    moment = to_timestamp(value).datetime
    if zone is None:
        return moment
    if zone[:1] in "+-" or zone[:1].isdigit():
        sign = -1 if zone[0] == "-" else 1
        hours, _, minutes = zone.lstrip("+-").partition(":")
        return moment.astimezone(dt.timezone(sign * dt.timedelta(hours=int(hours), minutes=int(minutes or 0))))
    try:
        return moment.astimezone(zoneinfo.ZoneInfo(zone))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise EvaluationError(f"unknown time zone {zone}") from None


def _part(of_time: Callable[[dt.datetime], int], unit: int = 0) -> Callable[..., int]:
    """A part of a time; of a duration, if `unit` says so, its whole number of these nanoseconds."""

    def part(value: Any, zone: str | None = None) -> int:
        if unit and isinstance(value, Duration):
            return value.ns // unit if value.ns >= 0 else -(-value.ns // unit)
        return of_time(_local(value, zone))

    return part


def _milliseconds(value: Any, zone: str | None = None) -> int:
    if isinstance(value, Duration):
        return abs(value.ns) // 10**6 % 1000
    return to_timestamp(value).ns % 10**9 // 10**6


_PARTS: dict[str, Callable[..., int]] = {
    "getFullYear": _part(lambda t: t.year),
    "getMonth": _part(lambda t: t.month - 1),
    "getDate": _part(lambda t: t.day),
    "getDayOfMonth": _part(lambda t: t.day - 1),
    "getDayOfWeek": _part(lambda t: (t.weekday() + 1) % 7),
    "getDayOfYear": _part(lambda t: t.timetuple().tm_yday - 1),
    "getHours": _part(lambda t: t.hour, 3600 * 10**9),
    "getMinutes": _part(lambda t: t.minute, 60 * 10**9),
    "getSeconds": _part(lambda t: t.second, 10**9),
    "getMilliseconds": _milliseconds,
}


def _is_zero(value: Any) -> bool:
    return value is None or (not isinstance(value, Optional | Type) and not value)


def _has_value(value: Any) -> bool:
    return bool(_optional(value).present)


def _value(value: Any) -> Any:
    optional = _optional(value)
    if not optional.present:
        raise EvaluationError("optional.none() dereference")
    return optional.value


def _optional(value: Any) -> Optional:
    if not isinstance(value, Optional):
        raise no_such_overload(f"optional method on {type_name(value)}")
    return value


def _or_value(value: Any, default: Any) -> Any:
    optional = _optional(value)
    return optional.value if optional.present else default


def _or(value: Any, other: Any) -> Any:
    return value if _optional(value).present else _optional(other)


def _type(value: Any) -> Type:
    return Type(type_name(value))


def _matches(text: Any, pattern: Any) -> bool:
    if not isinstance(text, str) or not isinstance(pattern, str):
        raise no_such_overload("matches")
    return search(pattern, text) is not None


def _extreme(sign: int) -> Callable[..., Any]:
    def extreme(*values: Any) -> Any:
        if len(values) == 1 and isinstance(values[0], list):
            values = tuple(values[0])
        if not values:
            raise EvaluationError("math extreme of an empty list")
        best = values[0]
        for value in values[1:]:
            if compared(value, best) * sign > 0:
                best = value
        return best

    return extreme


def _absolute(value: Any) -> Any:
    if value == INT_MIN and isinstance(value, int):
        raise EvaluationError("integer overflow")
    return abs(value)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvaluationError(f"illegal base64 data: {error}") from None


FUNCTIONS: dict[tuple[str, int], Callable[..., Any]] = {
    ("int", 1): to_int,
    ("uint", 1): to_uint,
    ("double", 1): to_double,
    ("string", 1): to_string,
    ("bytes", 1): to_bytes,
    ("bool", 1): to_bool,
    ("timestamp", 1): to_timestamp,
    ("duration", 1): to_duration,
    ("dyn", 1): lambda value: value,
    ("type", 1): _type,
    ("size", 1): operators.size,
    ("matches", 2): _matches,
}

METHODS: dict[tuple[str, int], Callable[..., Any]] = {
    ("size", 0): operators.size,
    ("matches", 1): _matches,
    ("hasValue", 0): _has_value,
    ("value", 0): _value,
    ("orValue", 1): _or_value,
    ("or", 1): _or,
    **{(name, count): part for name, part in _PARTS.items() for count in (0, 1)},
}

NAMESPACES: dict[tuple[str, str, int], Callable[..., Any]] = {
    ("optional", "of", 1): lambda value: Optional(True, value),
    ("optional", "none", 0): lambda: NONE,
    ("optional", "ofNonZeroValue", 1): lambda value: NONE if _is_zero(value) else Optional(True, value),
    ("base64", "encode", 1): lambda value: base64.b64encode(to_bytes(value)).decode(),
    ("base64", "decode", 1): _decoded,
    ("math", "abs", 1): _absolute,
    ("math", "ceil", 1): lambda value: float(math.ceil(value)),
    ("math", "floor", 1): lambda value: float(math.floor(value)),
    ("math", "round", 1): lambda value: float(math.floor(abs(value) + 0.5)) * (1 if value >= 0 else -1),
    ("math", "trunc", 1): lambda value: float(math.trunc(value)),
    ("math", "sign", 1): lambda value: type(value)((value > 0) - (value < 0)),
    ("math", "isNaN", 1): math.isnan,
    ("math", "isInf", 1): math.isinf,
    ("math", "isFinite", 1): math.isfinite,
    **{("math", "greatest", count): _extreme(1) for count in range(1, 8)},
    **{("math", "least", count): _extreme(-1) for count in range(1, 8)},
}
