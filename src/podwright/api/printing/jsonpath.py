"""A small JSONPath, as printer columns use it.

Understands ``.field``, ``['field']``, ``[0]``, ``[-1]``, ``[1:3]``, ``[*]``, ``..field`` and filters such as
``[?(@.type=="Ready")]``. Fields with dots are written ``\\.`` or in brackets. What is absent gives no result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

Step = Callable[[Any], Iterator[Any]]

_FIELD = re.compile(r"(?:\\.|[^.\[\]\\\s])+")
_SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d+))?")
_FILTER = re.compile(r"\?\(\s*(@[^=!<>]*?)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?)\s*)?\)")
_ESCAPE = re.compile(r"\\(.)")


class JsonPathError(ValueError):
    """The text is no path that this module understands."""


class JsonPath:
    """A parsed path. ``find`` answers all values it leads to, in document order."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps

    def find(self, value: Any) -> list[Any]:
        found = [value]
        for step in self._steps:
            found = [inner for outer in found for inner in step(outer)]
        return found


def parse(text: str) -> JsonPath:
    """Parse a path, with or without ``{}`` or a leading ``$``.

    Raises:
        JsonPathError: the text is no path.
    """
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    return JsonPath(list(_steps(text.removeprefix("$").removeprefix("@"))))


def _steps(text: str) -> Iterator[Step]:
    position = 0
    while position < len(text):
        if text.startswith("..", position):
            yield _descend
            position += 2
            if position < len(text) and text[position] == "[":
                continue
        elif text[position] == ".":
            position += 1
            if position == len(text) or text[position] == "[":
                continue
        elif text[position] == "[":
            end = _closing(text, position)
            yield _bracket(text[position + 1 : end].strip())
            position = end + 1
            continue
        field = _FIELD.match(text, position)
        if field is None:
            raise JsonPathError(f"unexpected {text[position:]!r}")
        name = _ESCAPE.sub(r"\1", field.group())
        yield _every if name == "*" else _field(name)
        position = field.end()


def _closing(text: str, start: int) -> int:
    depth, quote = 0, ""
    for i in range(start, len(text)):
        sign = text[i]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "[":
            depth += 1
        elif sign == "]":
            depth -= 1
            if not depth:
                return i
    raise JsonPathError(f"unterminated [ in {text!r}")


def _bracket(inside: str) -> Step:
    if inside == "*":
        return _every
    if len(inside) > 1 and inside[0] in "'\"" and inside[-1] == inside[0]:
        return _field(inside[1:-1])
    if inside.lstrip("-").isdigit():
        return _index(int(inside))
    if bounds := _SLICE.fullmatch(inside):
        return _slice(*(int(b) if b else None for b in bounds.groups()))
    if condition := _FILTER.fullmatch(inside):
        return _filter(*condition.groups())
    raise JsonPathError(f"cannot understand [{inside}]")


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _index(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list | tuple) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _slice(start: int | None, stop: int | None, stride: int | None) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list | tuple):
            yield from value[start:stop:stride]

    return step


def _every(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value


def _descend(value: Any) -> Iterator[Any]:
    yield value
    for inner in _every(value):
        yield from _descend(inner)


def _filter(path: str, operator: str | None, literal: str | None) -> Step:
    left = parse(path)
    if literal is not None and literal.startswith("@"):
        right: Callable[[Any], list[Any]] = parse(literal).find
    else:
        wanted = _literal(literal) if literal is not None else None

        def right(_value: Any) -> list[Any]:
            return [wanted]

    def step(value: Any) -> Iterator[Any]:
        for entry in _every(value):
            found = left.find(entry)
            if not found:
                continue
            if operator is None:
                yield entry
                continue
            other = right(entry)
            if other and _compare(found[0], operator, other[0]):
                yield entry

    return step


def _literal(text: str) -> Any:
    if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise JsonPathError(f"{text!r} is no literal") from None


def _compare(left: Any, operator: str, right: Any) -> bool:
    if operator == "==":
        return bool(left == right)
    if operator == "!=":
        return bool(left != right)
    try:
        return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right,}[operator])
    except TypeError:
        return False
