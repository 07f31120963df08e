"""CEL's values in Python: int, :class:`UInt`, float, str, bytes, bool, None, list and dict stand for themselves; the
rest is here. Objects of the API go in as they are, never copied."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import SplitResult

from podwright.api.cel.errors import EvaluationError
from podwright.api.cel.syntax import UInt

INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """Nanoseconds."""

    ns: int

    def __str__(self) -> str:
        seconds, rest = divmod(abs(self.ns), 10**9)
        sign = "-" if self.ns < 0 else ""
        fraction = f".{rest:09d}".rstrip("0") if rest else ""
        return f"{sign}{seconds}{fraction}s"


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Nanoseconds since the epoch, UTC."""

    ns: int

    @property
    def datetime(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.ns // 10**9, dt.UTC)

    def __str__(self) -> str:
        text = self.datetime.strftime("%Y-%m-%dT%H:%M:%S")
        rest = self.ns % 10**9
        return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"


@dataclass(frozen=True, slots=True)
class Optional:
    """optional.of(value), or optional.none()."""

    present: bool
    value: Any = None


NONE = Optional(False)


@dataclass(frozen=True, slots=True)
class Type:
    name: str


@dataclass(frozen=True, slots=True)
class Quantity:
    value: Decimal
    text: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


@dataclass(frozen=True, slots=True)
class URL:
    parts: SplitResult
    text: str


@dataclass(frozen=True, slots=True)
class Semver:
    major: int
    minor: int
    patch: int
    prerelease: tuple[int | str, ...] = ()

    def order(self) -> tuple[Any, ...]:
        pre = tuple((0, p, "") if isinstance(p, int) else (1, 0, p) for p in self.prerelease)
        return self.major, self.minor, self.patch, not self.prerelease, pre


IP = ipaddress.IPv4Address | ipaddress.IPv6Address
CIDR = ipaddress.IPv4Network | ipaddress.IPv6Network


class Constructed(dict[str, Any]):
    """What ``Object.spec{...}`` makes: a map that remembers its type's name."""

    type_name = ""


_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNIT = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
LEAST_TIME, MOST_TIME = -62135596800 * 10**9, 253402300800 * 10**9


def parse_duration(text: str) -> Duration:
    """Go's form: "1h30m", "-1.5s". Raises EvaluationError."""
    sign, body = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if body == "0":
        return Duration(0)
    total, at = Decimal(0), 0
    while at < len(body):
        match = _DURATION.match(body, at)
        if match is None:
            raise EvaluationError(f'time: invalid duration "{text}"')
        total += Decimal(match.group(1)) * _UNIT[match.group(2)]
        at = match.end()
    if not body:
        raise EvaluationError(f'time: invalid duration "{text}"')
    ns = sign * int(total)
    if not INT_MIN <= ns <= INT_MAX:
        raise EvaluationError("duration out of range")
    return Duration(ns)


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339. Raises EvaluationError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise EvaluationError(f'parsing time "{text}": no RFC 3339 time')
    try:
        whole = dt.datetime.fromisoformat(match.group(1) + match.group(3))
    except ValueError as error:
        raise EvaluationError(f'parsing time "{text}": {error}') from None
    ns = int(whole.timestamp()) * 10**9 + int((match.group(2) or "0").ljust(9, "0"))
    return Timestamp(ns)


def type_name(value: Any) -> str:
    for kind, name in (
        (bool, "bool"), (UInt, "uint"), (int, "int"), (float, "double"), (str, "string"), (bytes, "bytes"),
        (Timestamp, "google.protobuf.Timestamp"), (Duration, "google.protobuf.Duration"),
        (Optional, "optional_type"), (Type, "type"), (Quantity, "kubernetes.Quantity"), (URL, "kubernetes.URL"),
        (Semver, "kubernetes.Semver"),
    ):
        if isinstance(value, kind):
            return name
    if value is None:
        return "null_type"
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return "net.IP"
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return "net.CIDR"
    if isinstance(value, Constructed):
        return value.type_name
    if isinstance(value, Mapping):
        return "map"
    if isinstance(value, Sequence):
        return "list"
    return type(value).__name__


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(first: Any, second: Any) -> bool:
    """CEL's equality: numbers across types, else false between types."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if is_number(first) and is_number(second):
        return bool(first == second)
    if isinstance(first, str) and isinstance(second, Timestamp | Duration):
        return equal(second, first)
    if isinstance(first, Timestamp) and isinstance(second, str):
        return first == parse_timestamp(second)
    if isinstance(first, Duration) and isinstance(second, str):
        return first == parse_duration(second)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(equal(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, dict) and isinstance(second, dict):
        return len(first) == len(second) and all(k in second and equal(v, second[k]) for k, v in first.items())
    if isinstance(first, Optional) and isinstance(second, Optional):
        return first.present == second.present and (not first.present or equal(first.value, second.value))
    return type(first) is type(second) and bool(first == second)


def compared(first: Any, second: Any) -> int:
    """-1, 0 or 1. Raises EvaluationError between what has no order."""
    if isinstance(first, str) and isinstance(second, Timestamp | Duration):
        first = parse_timestamp(first) if isinstance(second, Timestamp) else parse_duration(first)
    elif isinstance(second, str) and isinstance(first, Timestamp | Duration):
        second = parse_timestamp(second) if isinstance(first, Timestamp) else parse_duration(second)
    numbers = is_number(first) and is_number(second)
    alike = type(first) is type(second) and isinstance(first, str | bytes | bool | Timestamp | Duration)
    if not numbers and not alike:
        raise EvaluationError(f"no such overload: {type_name(first)} < {type_name(second)}")
    return int(first > second) - int(first < second)
