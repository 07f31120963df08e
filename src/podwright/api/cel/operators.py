"""Arithmetic, membership, indexing and size, with CEL's errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from podwright.api.cel.errors import EvaluationError, no_such_overload
from podwright.api.cel.syntax import RESERVED, UInt
from podwright.api.cel.values import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    Duration,
    Optional,
    Timestamp,
    equal,
    is_number,
    parse_duration,
    parse_timestamp,
    type_name,
)


def _integer(value: int, unsigned: bool) -> int:
    if unsigned:
        if not 0 <= value <= UINT_MAX:
            raise EvaluationError("unsigned integer overflow")
        return UInt(value)
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return value


def _moments(first: Any, second: Any) -> tuple[Any, Any]:
    """Strings beside a Timestamp or Duration are read as such: objects carry times as text."""
    if isinstance(first, str) and isinstance(second, Duration | Timestamp):
        first = parse_timestamp(first)
    elif isinstance(second, str) and isinstance(first, Timestamp):
        try:
            second = parse_timestamp(second)
        except EvaluationError:
            second = parse_duration(second)
    return first, second


def _numeric(
    symbol: str, whole: Callable[[int, int], int], fractional: Callable[[float, float], float]
) -> Callable[[Any, Any], Any]:
    def operate(first: Any, second: Any) -> Any:
        if not is_number(first) or not is_number(second):
            raise no_such_overload(f"{type_name(first)} {symbol} {type_name(second)}")
        if isinstance(first, float) or isinstance(second, float):
            return fractional(float(first), float(second))
        return _integer(whole(first, second), isinstance(first, UInt) or isinstance(second, UInt))

    return operate


def _quotient(first: int, second: int) -> int:
    if second == 0:
        raise EvaluationError("division by zero")
    value = abs(first) // abs(second)
    return value if (first < 0) == (second < 0) else -value


def _remainder(first: int, second: int) -> int:
    if second == 0:
        raise EvaluationError("modulus by zero")
    value = abs(first) % abs(second)
    return -value if first < 0 else value


def _divided(first: float, second: float) -> float:
    if second == 0:
        return math.nan if first == 0 or math.isnan(first) else math.copysign(math.inf, first)
    return first / second


def _no_modulus(first: float, second: float) -> float:
    raise no_such_overload("double % double")


_plus = _numeric("+", lambda a, b: a + b, lambda a, b: a + b)
_minus = _numeric("-", lambda a, b: a - b, lambda a, b: a - b)
multiply = _numeric("*", lambda a, b: a * b, lambda a, b: a * b)
divide = _numeric("/", _quotient, _divided)
modulo = _numeric("%", _remainder, _no_modulus)


def add(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return first + second
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return [*first, *second]
    if isinstance(first, bytes) and isinstance(second, bytes):
        return first + second
    first, second = _moments(first, second)
    if isinstance(first, Duration) and isinstance(second, Duration):
        return Duration(_integer(first.ns + second.ns, False))
    if isinstance(first, Timestamp) and isinstance(second, Duration):
        return Timestamp(first.ns + second.ns)
    if isinstance(first, Duration) and isinstance(second, Timestamp):
        return Timestamp(first.ns + second.ns)
    return _plus(first, second)


def subtract(first: Any, second: Any) -> Any:
    first, second = _moments(first, second)
    if isinstance(first, Timestamp) and isinstance(second, Timestamp):
        return Duration(first.ns - second.ns)
    if isinstance(first, Timestamp) and isinstance(second, Duration):
        return Timestamp(first.ns - second.ns)
    if isinstance(first, Duration) and isinstance(second, Duration):
        return Duration(first.ns - second.ns)
    return _minus(first, second)


def negate(value: Any) -> Any:
    if isinstance(value, float):
        return -value
    if isinstance(value, Duration):
        return Duration(-value.ns)
    if isinstance(value, int) and not isinstance(value, bool | UInt):
        return _integer(-value, False)
    raise no_such_overload(f"-{type_name(value)}")


def contains(item: Any, container: Any) -> bool:
    """``item in container``."""
    if isinstance(container, Mapping):
        return item in container if isinstance(item, str | int | bool) else False
    if isinstance(container, list | tuple):
        return any(equal(item, other) for other in container)
    raise no_such_overload(f"{type_name(item)} in {type_name(container)}")


_ESCAPES = {"underscores": "__", "dot": ".", "dash": "-", "slash": "/"}


def unescaped(field: str) -> str:
    """The property that an escaped name stands for (Kubernetes documentation, "CEL in Kubernetes", "Escaping")."""
    if not field.startswith("__") and "__" not in field[1:]:
        return field
    if field.startswith("__") and field.endswith("__") and field[2:-2] in RESERVED | {"true", "false", "null", "in"}:
        return field[2:-2]
    out, rest = "", field
    while rest:
        start = rest.find("__")
        end = rest.find("__", start + 2) if start >= 0 else -1
        if end < 0 or rest[start + 2 : end] not in _ESCAPES:
            cut = start + 2 if start >= 0 else len(rest)
            out, rest = out + rest[:cut], rest[cut:]
            continue
        out, rest = out + rest[:start] + _ESCAPES[rest[start + 2 : end]], rest[end + 2 :]
    return out


def select(value: Any, field: str) -> Any:
    """``value.field``. Raises EvaluationError if it is not there."""
    if isinstance(value, Optional):
        return optional_select(value, field)
    if isinstance(value, Mapping):
        if field in value:
            return value[field]
        if "__" in field and (plain := unescaped(field)) in value:
            return value[plain]
        raise EvaluationError(f"no such key: {field}")
    own = getattr(value, "cel_fields", {}).get(field)
    if own is not None:
        return own(value)
    raise no_such_overload(f"{type_name(value)}.{field}")


def has(value: Any, field: str) -> bool:
    if isinstance(value, Optional):
        return value.present and has(value.value, field)
    if isinstance(value, Mapping):
        return field in value or ("__" in field and unescaped(field) in value)
    raise no_such_overload(f"has({type_name(value)}.{field})")


def optional_select(value: Any, field: str) -> Optional:
    if isinstance(value, Optional):
        if not value.present:
            return value
        value = value.value
    return Optional(True, select(value, field)) if has(value, field) else Optional(False)


def index(value: Any, key: Any) -> Any:
    if isinstance(value, Optional):
        return optional_index(value, key)
    if isinstance(value, Mapping):
        if isinstance(key, float) and key.is_integer():
            key = int(key)
        if key in value:
            return value[key]
        raise EvaluationError(f"no such key: {key}")
    if isinstance(value, list | tuple):
        if isinstance(key, float) and key.is_integer():
            key = int(key)
        if not isinstance(key, int) or isinstance(key, bool):
            raise EvaluationError(f"unsupported index type '{type_name(key)}' in list")
        if not 0 <= key < len(value):
            raise EvaluationError(f"index out of bounds: {key}")
        return value[key]
    raise no_such_overload(f"{type_name(value)}[{type_name(key)}]")


def optional_index(value: Any, key: Any) -> Optional:
    if isinstance(value, Optional):
        if not value.present:
            return value
        value = value.value
    if isinstance(value, Mapping):
        return Optional(True, value[key]) if key in value else Optional(False)
    if isinstance(value, list | tuple) and isinstance(key, int):
        return Optional(True, value[key]) if 0 <= key < len(value) else Optional(False)
    raise no_such_overload(f"{type_name(value)}[?{type_name(key)}]")


def size(value: Any) -> int:
    if isinstance(value, str | bytes | Mapping | Sequence):
        return len(value)
    raise no_such_overload(f"size({type_name(value)})")


def elements(value: Any) -> Sequence[Any]:
    """What a comprehension goes over: a list's items, a map's keys."""
    if isinstance(value, Mapping):
        return list(value)
    if isinstance(value, list | tuple):
        return value
    raise no_such_overload(f"comprehension over {type_name(value)}")


def entries(value: Any) -> Sequence[tuple[Any, Any]]:
    """What a comprehension with two variables goes over: (index, item) or (key, value)."""
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(elements(value)))
