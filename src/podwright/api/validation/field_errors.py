"""Field errors with upstream's message forms (apimachinery's ``field.Error``).

Values are written as Go writes them: text quoted, numbers and booleans bare, everything else as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import orjson

from podwright.api import status
from podwright.api.status import FieldError

_T = TypeVar("_T")

IMMUTABLE = "field is immutable"
NEGATIVE = "must be greater than or equal to 0"


def render(value: Any) -> str:
    """The value as it stands in a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _with(message: str, detail: str) -> str:
    return f"{message}: {detail}" if detail else message


def required(field: str, detail: str = "") -> FieldError:
    return FieldError(field, status.REQUIRED, _with("Required value", detail))


def invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(field, status.INVALID, _with(f"Invalid value: {render(value)}", detail))


def type_invalid(field: str, value: Any, detail: str) -> FieldError:
    return FieldError(field, status.TYPE_INVALID, _with(f"Invalid value: {render(value)}", detail))


def not_supported(field: str, value: Any, allowed: Iterable[str]) -> FieldError:
    """`allowed` is listed in the order given; sort it where upstream lists a set."""
    names = ", ".join(orjson.dumps(name).decode() for name in allowed)
    detail = f"supported values: {names}" if names else ""
    return FieldError(field, status.NOT_SUPPORTED, _with(f"Unsupported value: {render(value)}", detail))


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError(field, status.DUPLICATE, f"Duplicate value: {render(value)}")


def not_found(field: str, value: Any, detail: str = "") -> FieldError:
    return FieldError(field, status.NOT_FOUND, _with(f"Not found: {render(value)}", detail))


def forbidden(field: str, detail: str) -> FieldError:
    return FieldError(field, status.FORBIDDEN, _with("Forbidden", detail))


def too_long(field: str, limit: int) -> FieldError:
    """More than `limit` bytes; a negative limit names none."""
    if limit < 0:
        return FieldError(field, status.TOO_LONG, "Too long: value is too long")
    unit = "byte" if limit == 1 else "bytes"
    return FieldError(field, status.TOO_LONG, f"Too long: may not be more than {limit} {unit}")


def too_many(field: str, actual: int, limit: int) -> FieldError:
    """`actual` items where `limit` are allowed; a negative `actual` is not said."""
    unit = "item" if limit == 1 else "items"
    said = f"Too many: {actual}" if actual >= 0 else "Too many"
    return FieldError(field, status.TOO_MANY, f"{said}: must have at most {limit} {unit}")


def internal(field: str, detail: str) -> FieldError:
    return FieldError(field, status.INTERNAL, f"Internal error: {detail}")


def immutable(field: str, value: Any) -> FieldError:
    return invalid(field, value, IMMUTABLE)


def non_negative(errs: list[FieldError], value: Any, field: str) -> None:
    if value is not None and value < 0:
        errs.append(invalid(field, value, NEGATIVE))


def in_range(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


def formed(errs: list[FieldError], value: _T, field: str, check: Callable[[_T], tuple[str, ...]]) -> None:
    """A value that `check` must find nothing wrong with."""
    errs += [invalid(field, value, said) for said in check(value)]


def named(
    errs: list[FieldError], value: _T | None, field: str, check: Callable[[_T], tuple[str, ...]], detail: str = ""
) -> None:
    """A value that must be there, and then be well formed; `detail` says why, if it is not there."""
    if value:
        formed(errs, value, field, check)
    else:
        errs.append(required(field, detail))


def one_of(
    errs: list[FieldError], value: str | None, field: str, allowed: Iterable[str], *, needed: bool = False
) -> None:
    """One of the values `allowed`; `needed`: an empty one is said to be missing."""
    if value not in (listed := tuple(allowed)):
        errs.append(required(field) if needed and not value else not_supported(field, value or "", listed))


def items(
    errs: list[FieldError],
    listed: list[Any],
    field: str,
    check: Callable[[list[FieldError], Any, str], None] | None,
    *,
    most: int = -1,
    key: Callable[[Any], Any] | None = None,
) -> None:
    """Each item of a list, unless there are more than `most`; `key` of an item must be unique."""
    if 0 <= most < len(listed):
        errs.append(too_many(field, len(listed), most))
        return
    if check is not None:
        for i, item in enumerate(listed):
            check(errs, item, f"{field}[{i}]")
    if key is not None:
        seen = []
        for i, item in enumerate(listed):
            if (value := key(item)) in seen:
                errs.append(duplicate(f"{field}[{i}]", value))
            seen.append(value)
