"""What calls cost at most, in cel-go's units: the figures of cel-go's ``checker/cost.go`` and of Kubernetes'
``cel/library/cost.go``, a row a function. Costs decide which rules may stand in a definition: another figure would be
another API."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from podwright.api.cel.declarations import ATTRIBUTE, BOOL, DeclType
from podwright.api.cel.signatures import Overload

MOST = 2**64 - 1
TEXT, REGEX = 0.1, 0.25
"""Of a character that is read, and of one of a pattern for each of them."""
MAKE_LIST, MAKE_MAP, MAKE_OBJECT = 10, 30, 40
CHECK = 350_000
_SCALARS = ("bool", "int", "uint", "double", "duration", "timestamp")


class Size(NamedTuple):
    least: int
    most: int

    def plus(self, other: Size) -> Size:
        return Size(self.least + other.least, min(self.most + other.most, MOST))

    def times(self, other: Size) -> Size:
        return Size(self.least * other.least, min(self.most * other.most, MOST))

    def or_(self, other: Size) -> Size:
        return Size(min(self.least, other.least), max(self.most, other.most))


UNKNOWN = Size(0, MOST)


LOST = DeclType("lost")
"""Where a path leads that no declaration knows."""


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of an expression's value: its type, what it costs at most, how big it is, and how big its items
    are. `at` is where in the variable's type its path leads, None if it has no path."""

    type: DeclType
    cost: int = 0
    size: Size = UNKNOWN
    items: Size | None = None
    at: DeclType | None = None
    literal: int | None = None

    def part(self, kind: DeclType, step: str, root: DeclType, cost: int) -> Value:
        """What `step` leads to: a field, or "@items", "@keys" or "@values". From what has no path it leads, as
        upstream's estimator has it, to the `root`, whose size then counts."""
        if self.at is None:
            at = root
        elif step in ("@items", "@keys"):
            at = self.at.parts[0] if self.at.parts else LOST
        elif step == "@values":
            at = self.at.parts[-1] if self.at.parts else LOST
        else:
            at = self.at.fields.get(step, LOST)
            if self.at.parts and self.at.parts[-1] is ATTRIBUTE:
                at = ATTRIBUTE
        size = size_of(kind) if at is LOST else Size(0, at.most)
        return Value(kind, cost, size, at=at)

    @property
    def item_size(self) -> Size:
        known = self.at is not None and self.at.parts
        return Size(0, known[0].most) if known else UNKNOWN


def size_of(kind: DeclType) -> Size:
    """Of a value of which nothing but the type is known."""
    scalar = kind.parts[0] if kind.name == "optional_type" else kind
    return Size(1, 1) if scalar.name in _SCALARS else UNKNOWN


class Charge(NamedTuple):
    cost: int
    size: Size | None = None


def scaled(size: int, factor: float) -> int:
    """Rounded up, in floating point as upstream does."""
    return min(math.ceil(size * factor), MOST)


Charging = Callable[[Sequence[Value], Overload | None], Charge]


def _read(times: float = 1.0, *, of: int = 0, keeps: bool = False) -> Charging:
    """A text is read from end to end."""

    def charge(values: Sequence[Value], overload: Overload | None) -> Charge:
        size = values[of].size
        return Charge(scaled(size.most, times * TEXT), size if keeps else None)

    return charge


def _each(values: Sequence[Value], overload: Overload | None) -> Charge:
    """Each item is looked at; those that are texts are read."""
    target = values[0]
    if target.type.name != "list":
        return Charge(scaled(target.size.most, TEXT))
    one = 1
    if target.type.parts[0].name in ("string", "bytes"):
        one += scaled(target.item_size.most, TEXT)
    return Charge(target.size.most * one)


def _includes(values: Sequence[Value], overload: Overload | None) -> Charge:
    return _each(values, overload) if values[0].type.name == "list" else Charge(values[0].size.most)


def _replace(values: Sequence[Value], overload: Overload | None) -> Charge:
    size, old, new = (value.size for value in values[:3])
    kept_most = kept_least = most = least = 0
    if old.least == 0:
        most, kept_most = size.most + 1, size.most
    elif new.most <= old.least:
        kept_most = size.most
    else:
        most = math.ceil(size.most / old.least)
    if old.most == 0:
        least, kept_least = size.least + 1, size.least
    elif old.most <= new.least:
        kept_least = size.least
    else:
        least = math.ceil(size.least / old.most)
    return Charge(scaled(size.most, 2 * TEXT), Size(least, most).times(new).plus(Size(kept_least, kept_most)))


def _split(values: Sequence[Value], overload: Overload | None) -> Charge:
    size = values[0].size
    limit = values[2].literal if len(values) > 2 else None
    return Charge(scaled(size.most, 2 * TEXT), Size(0, size.most if limit is None else limit % (MOST + 1)))


def _join(values: Sequence[Value], overload: Overload | None) -> Charge:
    count = values[0].size
    size = count.times(values[0].item_size)
    if len(values) > 1:
        size = size.plus(values[1].size.times(Size(max(count.least - 1, 0), max(count.most - 1, 0))))
    return Charge(scaled(size.most, TEXT), size)


def _match(values: Sequence[Value], overload: Overload | None) -> Charge:
    text, pattern = values[0].size, values[1].size
    return Charge(scaled(min(text.most + 1, MOST), TEXT) * scaled(pattern.most, REGEX))


def _find(values: Sequence[Value], overload: Overload | None) -> Charge:
    return Charge(_match(values, overload).cost, Size(0, values[0].size.most))


def _contains(values: Sequence[Value], overload: Overload | None) -> Charge:
    return Charge(scaled(values[0].size.most, TEXT) * scaled(values[1].size.most, TEXT))


def _within(base: int) -> Charging:
    """An address or a range in a range: sixteen bytes are compared, a text is parsed first."""

    def charge(values: Sequence[Value], overload: Overload | None) -> Charge:
        text = overload is not None and overload.arguments[1].name == "string"
        return Charge(base + (scaled(values[1].size.most, TEXT) if text else 0))

    return charge


def _selector(values: Sequence[Value], overload: Overload | None) -> Charge:
    size = values[1].size.most
    return Charge(MAKE_LIST + scaled(size, TEXT) + scaled(scaled(size, 0.5), MAKE_LIST + MAKE_OBJECT))


def _equal(values: Sequence[Value], overload: Overload | None) -> Charge:
    first, second = values
    if first.type.name == second.type.name and "." in first.type.name:
        return Charge(1)
    return Charge(scaled(min(first.size.most, second.size.most), TEXT))


def _ordered(values: Sequence[Value], overload: Overload | None) -> Charge:
    texts = overload is None or overload.arguments[0].name in ("string", "bytes")
    return _equal(values, overload) if texts else Charge(1)


def _plus(values: Sequence[Value], overload: Overload | None) -> Charge:
    size = values[0].size.plus(values[1].size)
    kind = overload.arguments[0].name if overload is not None else "string"
    if kind in ("string", "bytes"):
        return Charge(scaled(size.most, TEXT), size)
    return Charge(1, size if kind == "list" else None)


def _in(values: Sequence[Value], overload: Overload | None) -> Charge:
    return Charge(values[1].size.most if overload is not None and overload.arguments[1].name == "list" else 1)


def _to_bytes(values: Sequence[Value], overload: Overload | None) -> Charge:
    size = values[0].size
    if overload is not None and overload.arguments[0].name != "string":
        return Charge(1, size)
    return Charge(scaled(size.most, TEXT), Size(size.least, min(size.most * 4, MOST)))


def _to_string(values: Sequence[Value], overload: Overload | None) -> Charge:
    size = values[0].size
    if overload is not None and overload.arguments[0].name != "bytes":
        return Charge(1, size if overload.arguments[0].name == "string" else None)
    return Charge(scaled(size.most, TEXT), Size(size.least // 4, size.most))


def _quote(values: Sequence[Value], overload: Overload | None) -> Charge:
    size = values[0].size
    return Charge(scaled(size.most, TEXT), Size(size.least + 2, min(size.most * 2 + 2, MOST)))


def _pairs(factor: int, *, made: int = 0, same: bool = False) -> Charging:
    """Each item of one list against each of the other."""

    def charge(values: Sequence[Value], overload: Overload | None) -> Charge:
        size = values[0].size
        other = size if same else values[1].size
        return Charge(1 + made + factor * size.times(other).most, size if same else None)

    return charge


def _copied(values: Sequence[Value], overload: Overload | None) -> Charge:
    size = values[0].size
    if values[0].type.name not in ("list", "dyn"):
        return Charge(1)
    return Charge(1 + MAKE_LIST + size.most, size)


def _range(values: Sequence[Value], overload: Overload | None) -> Charge:
    count = values[0].literal
    size = Size(count, count) if count is not None else UNKNOWN
    return Charge(1 + MAKE_LIST + size.most, size)


def _slice(values: Sequence[Value], overload: Overload | None) -> Charge:
    size = values[0].size
    start, end = (value.literal for value in values[1:3])
    if start is not None and end is not None:
        size = Size(end - start, end - start)
    return Charge(1 + MAKE_LIST + size.most, size)


CHARGES: Mapping[str, Charging] = {
    ".check": lambda values, overload: Charge(CHECK),
    ".fieldSelector": _selector,
    ".labelSelector": _selector,
    **dict.fromkeys((".isSorted", ".sum", ".max", ".min", ".indexOf", ".lastIndexOf"), _each),
    ".includes": _includes,
    **dict.fromkeys(
        (".lowerAscii", ".upperAscii", ".substring", ".trim", "url", "jsonpatch.escapeKey"), _read(keeps=True)
    ),
    ".replace": _replace,
    ".split": _split,
    ".join": _join,
    ".find": _find,
    ".findAll": _find,
    **dict.fromkeys(("cidr", "isIP", "isCIDR", "ip", "quantity", "isQuantity", "semver", "isSemver"), _read()),
    "ip.isCanonical": _read(2.0),
    ".containsIP": _within(4),
    ".containsCIDR": _within(7),
    ".validate": lambda values, overload: Charge(scaled(values[1].size.most, TEXT) * 32),
    "_==_": _equal,
    "_!=_": _equal,
    **dict.fromkeys(("_<_", "_<=_", "_>_", "_>=_"), _ordered),
    "_+_": _plus,
    "@in": _in,
    ".matches": _match,
    "matches": _match,
    ".contains": _contains,
    ".startsWith": _read(of=1),
    ".endsWith": _read(of=1),
    ".format": _read(),
    "bytes": _to_bytes,
    "string": _to_string,
    "strings.quote": _quote,
    "sets.contains": _pairs(1),
    "sets.intersects": _pairs(1),
    "sets.equivalent": _pairs(2),
    ".distinct": _pairs(2, made=MAKE_LIST, same=True),
    ".sort": _pairs(2, made=MAKE_LIST, same=True),
    ".flatten": _copied,
    ".reverse": _copied,
    ".slice": _slice,
    "lists.range": _range,
}
"""Of all others: 1."""


def call(name: str, values: Sequence[Value], chosen: Sequence[Overload]) -> Charge:
    """The greatest of what the overloads that may be meant cost, without what the arguments cost."""
    charging = CHARGES.get(name)
    if charging is None:
        return Charge(1)
    charges = [charging(values, overload) for overload in chosen or (None,)]
    sizes = [charge.size for charge in charges if charge.size is not None]
    size = sizes[0] if sizes else None
    for other in sizes[1:]:
        size = size.or_(other) if size is not None else other
    return Charge(min(max(charge.cost for charge in charges), MOST), size)


def _filtered(step: int) -> Callable[..., int]:
    """The cost of a step whose value is taken, or with a condition before it perhaps not."""
    return lambda *values: step + values[0] if len(values) == 1 else values[0] + max(step + values[1], 1)


COMPREHENSIONS: Mapping[str, tuple[str, DeclType, int, Callable[..., int], int]] = {
    "all": ("_&&_", BOOL, 0, lambda body: 3 + body, 1),
    "exists": ("_||_", BOOL, 0, lambda body: 4 + body, 1),
    "exists_one": ("filter", BOOL, 0, lambda body: 2 + body, 2),
    "existsOne": ("filter", BOOL, 0, lambda body: 2 + body, 2),
    "filter": ("filter", DeclType("list"), MAKE_LIST, lambda body: 13 + body, 1),
    "map": ("", DeclType("list"), MAKE_LIST, _filtered(12), 1),
    "transformList": ("", DeclType("list"), MAKE_LIST, _filtered(12), 1),
    "transformMap": ("", DeclType("map"), MAKE_MAP, _filtered(3), 1),
    "transformMapEntry": ("", DeclType("map"), MAKE_MAP, _filtered(2), 1),
}
"""What macros stand for: how the predicate is used, what is made, and the costs at the beginning, of a step, and at the
end."""
