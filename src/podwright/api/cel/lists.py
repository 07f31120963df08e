"""List functions: Kubernetes' (isSorted, sum, min, max, indexOf), the lists extension and sets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from podwright.api.cel import operators, strings
from podwright.api.cel.errors import EvaluationError, no_such_overload
from podwright.api.cel.values import Duration, Optional, compared, equal, type_name

MAX_RANGE = 100_000


def _items(value: Any, method: str) -> Any:
    if not isinstance(value, list | tuple):
        raise no_such_overload(f"{type_name(value)}.{method}()")
    return value


def _is_sorted(items: Any) -> bool:
    return all(compared(a, b) <= 0 for a, b in zip(_items(items, "isSorted"), items[1:], strict=False))


def _sum(items: Any) -> Any:
    _items(items, "sum")
    if not items:
        return 0
    total: Any = Duration(0) if isinstance(items[0], Duration) else type(items[0])(0)
    for item in items:
        total = operators.add(total, item)
    return total


def _extreme(sign: int, method: str) -> Callable[[Any], Any]:
    def extreme(items: Any) -> Any:
        if not _items(items, method):
            raise EvaluationError(f"{method} called on empty list")
        best = items[0]
        for item in items[1:]:
            if compared(item, best) * sign > 0:
                best = item
        return best

    return extreme


def _index_of(value: Any, item: Any) -> int:
    if isinstance(value, str):
        return strings._index_of(value, item)
    return next((at for at, other in enumerate(_items(value, "indexOf")) if equal(item, other)), -1)


def _last_index_of(value: Any, item: Any) -> int:
    if isinstance(value, str):
        return strings._last_index_of(value, item)
    return max((at for at, other in enumerate(_items(value, "lastIndexOf")) if equal(item, other)), default=-1)


def _flatten(items: Any, depth: int = 1) -> list[Any]:
    out: list[Any] = []
    for item in _items(items, "flatten"):
        if isinstance(item, list | tuple) and depth > 0:
            out += _flatten(item, depth - 1)
        else:
            out.append(item)
    return out


def _distinct(items: Any) -> list[Any]:
    out: list[Any] = []
    for item in _items(items, "distinct"):
        if not any(equal(item, other) for other in out):
            out.append(item)
    return out


def _slice(items: Any, start: int, end: int) -> list[Any]:
    if not 0 <= start <= end <= len(_items(items, "slice")):
        raise EvaluationError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return list(items[start:end])


def _sort(items: Any) -> list[Any]:
    return sorted(_items(items, "sort"), key=functools.cmp_to_key(compared))


def _first(items: Any) -> Optional:
    return Optional(True, items[0]) if _items(items, "first") else Optional(False)


def _last(items: Any) -> Optional:
    return Optional(True, items[-1]) if _items(items, "last") else Optional(False)


def _range(count: int) -> list[int]:
    if count > MAX_RANGE:
        raise EvaluationError("range is too large")
    return list(range(count))


def _all_in(part: Any, whole: Any) -> bool:
    return all(operators.contains(item, _items(whole, "sets")) for item in _items(part, "sets"))


METHODS: dict[tuple[str, int], Callable[..., Any]] = {
    ("isSorted", 0): _is_sorted,
    ("sum", 0): _sum,
    ("min", 0): _extreme(-1, "min"),
    ("max", 0): _extreme(1, "max"),
    ("indexOf", 1): _index_of,
    ("lastIndexOf", 1): _last_index_of,
    ("includes", 1): lambda items, item: operators.contains(item, items),
    ("flatten", 0): _flatten,
    ("flatten", 1): _flatten,
    ("distinct", 0): _distinct,
    ("slice", 2): _slice,
    ("sort", 0): _sort,
    ("first", 0): _first,
    ("last", 0): _last,
}

NAMESPACES: dict[tuple[str, str, int], Callable[..., Any]] = {
    ("lists", "range", 1): _range,
    ("sets", "contains", 2): lambda whole, part: _all_in(part, whole),
    ("sets", "equivalent", 2): lambda first, second: _all_in(first, second) and _all_in(second, first),
    ("sets", "intersects", 2): lambda first, second: any(operators.contains(i, second) for i in first),
}
