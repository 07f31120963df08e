"""The strings extension: charAt to upperAscii, format, quote; and Kubernetes' find and findAll."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from podwright.api.cel.errors import EvaluationError, no_such_overload
from podwright.api.cel.regular import compiled, search
from podwright.api.cel.standard import format_double, to_string
from podwright.api.cel.values import Constructed, Duration, Timestamp, Type, type_name


def _text(value: Any, method: str) -> str:
    if not isinstance(value, str):
        raise no_such_overload(f"{type_name(value)}.{method}()")
    return value


def _char_at(text: str, at: int) -> str:
    if not 0 <= at <= len(_text(text, "charAt")):
        raise EvaluationError(f"index out of range: {at}")
    return text[at : at + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if not 0 <= start <= len(_text(text, "indexOf")):
        raise EvaluationError(f"index out of range: {start}")
    return text.find(part, start)


def _last_index_of(text: str, part: str, end: int | None = None) -> int:
    _text(text, "lastIndexOf")
    if end is None:
        return text.rfind(part)
    if not 0 <= end < max(len(text), 1):
        raise EvaluationError(f"index out of range: {end}")
    return text.rfind(part, 0, end + len(part))


def _substring(text: str, start: int, end: int | None = None) -> str:
    _text(text, "substring")
    end = len(text) if end is None else end
    if not 0 <= start <= len(text) or not 0 <= end <= len(text):
        raise EvaluationError(f"index out of range: {start if not 0 <= start <= len(text) else end}")
    if start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    return text[start:end]


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    _text(text, "split")
    if limit == 0:
        return []
    if separator == "":
        parts = list(text)
        return parts if limit < 0 or len(parts) <= limit else [*parts[: limit - 1], "".join(parts[limit - 1 :])]
    return text.split(separator) if limit < 0 else text.split(separator, limit - 1)


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return _text(text, "replace").replace(old, new, limit)


def _join(items: Any, separator: str = "") -> str:
    if not isinstance(items, list | tuple) or not all(isinstance(i, str) for i in items):
        raise no_such_overload(f"{type_name(items)}.join()")
    return separator.join(items)


def _ascii(change: Callable[[str], str], method: str) -> Callable[[Any], str]:
    return lambda text: "".join(change(c) if c.isascii() else c for c in _text(text, method))


_QUOTED = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\",
    '"': '\\"',
}


def quote(text: str) -> str:
    return '"' + "".join(_QUOTED.get(c, c) for c in text) + '"'


def formatted(value: Any) -> str:
    """%s of any value."""
    if isinstance(value, Constructed | dict):
        inner = sorted(f"{formatted(k)}: {formatted(v)}" for k, v in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(formatted(v) for v in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, Type):
        return value.name
    if isinstance(value, float):
        return format_double(value)
    if isinstance(value, Timestamp | Duration):
        return str(value)
    return to_string(value)


def _clause(verb: str, precision: int, value: Any) -> str:
    if verb == "s":
        return formatted(value)
    if verb == "d" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if verb == "d" and isinstance(value, float):
        return format_double(value)
    if verb in "fe" and isinstance(value, int | float):
        return format(float(value), f".{precision}{verb}")
    if verb == "b" and isinstance(value, bool | int):
        return format(int(value), "b")
    if verb == "o" and isinstance(value, int):
        return format(value, "o")
    if verb in "xX":
        if isinstance(value, int) and not isinstance(value, bool):
            return format(value, verb)
        if isinstance(value, str | bytes):
            text = (value.encode() if isinstance(value, str) else value).hex()
            return text.upper() if verb == "X" else text
    raise EvaluationError(f'error during formatting: unrecognized formatting clause "{verb}" for {type_name(value)}')


def _format(template: str, values: Any) -> str:
    if not isinstance(template, str) or not isinstance(values, list | tuple):
        raise no_such_overload(f"{type_name(template)}.format({type_name(values)})")
    out, at, used = [], 0, 0
    while (start := template.find("%", at)) >= 0:
        out.append(template[at:start])
        at = start + 1
        if template[at : at + 1] == "%":
            out.append("%")
            at += 1
            continue
        precision = 6
        if template[at : at + 1] == ".":
            end = at + 1
            while template[end : end + 1].isdigit():
                end += 1
            precision, at = int(template[at + 1 : end] or 0), end
        verb = template[at : at + 1]
        at += 1
        if not verb:
            raise EvaluationError("unexpected end of format string")
        if used >= len(values):
            raise EvaluationError(f"index {used} out of range")
        out.append(_clause(verb, min(precision, 100), values[used]))
        used += 1
    out.append(template[at:])
    return "".join(out)


def _find(text: str, pattern: str) -> str:
    match = search(pattern, _text(text, "find"))
    return match.group() if match else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found: list[str] = []
    if limit == 0:
        return found
    for match in compiled(pattern).finditer(_text(text, "findAll")):
        found.append(match.group())
        if len(found) == limit:
            break
    return found


METHODS: dict[tuple[str, int], Callable[..., Any]] = {
    ("contains", 1): lambda text, part: part in _text(text, "contains"),
    ("startsWith", 1): lambda text, part: _text(text, "startsWith").startswith(part),
    ("endsWith", 1): lambda text, part: _text(text, "endsWith").endswith(part),
    ("charAt", 1): _char_at,
    ("indexOf", 1): _index_of,
    ("indexOf", 2): _index_of,
    ("lastIndexOf", 1): _last_index_of,
    ("lastIndexOf", 2): _last_index_of,
    ("substring", 1): _substring,
    ("substring", 2): _substring,
    ("split", 1): _split,
    ("split", 2): _split,
    ("replace", 2): _replace,
    ("replace", 3): _replace,
    ("join", 0): _join,
    ("join", 1): _join,
    ("lowerAscii", 0): _ascii(str.lower, "lowerAscii"),
    ("upperAscii", 0): _ascii(str.upper, "upperAscii"),
    ("trim", 0): lambda text: _text(text, "trim").strip(),
    ("reverse", 0): lambda value: value[::-1],
    ("format", 1): _format,
    ("find", 1): _find,
    ("findAll", 1): _find_all,
    ("findAll", 2): _find_all,
}

NAMESPACES: dict[tuple[str, str, int], Callable[..., Any]] = {("strings", "quote", 1): quote}
