"""``$(NAME)`` references in commands, arguments and values (API reference, "Container"): what is not known stays as it
is, ``$$(NAME)`` is the literal text ``$(NAME)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def expand(text: str, *scopes: Mapping[str, str]) -> str:
    """Replaces references by the value in the first scope that has it."""

    def known(name: str) -> str | None:
        for scope in scopes:
            if name in scope:
                return scope[name]
        return None

    return _expand(text, known)


def missing(text: str, scope: Mapping[str, str]) -> list[str]:
    """The names that the text refers to and that the scope does not have."""
    absent: list[str] = []

    def look(name: str) -> str | None:
        if name not in scope:
            absent.append(name)
        return scope.get(name)

    _expand(text, look)
    return absent


def _expand(text: str, known: Callable[[str], str | None]) -> str:
    if "$" not in text:
        return text
    out: list[str] = []
    position = 0
    while position < len(text):
        mark = text.find("$", position)
        if mark < 0 or mark + 1 >= len(text):
            out.append(text[position:])
            break
        out.append(text[position:mark])
        following = text[mark + 1]
        if following == "$":
            out.append("$")
            position = mark + 2
        elif following == "(":
            end = text.find(")", mark + 2)
            if end < 0:
                out.append("$(")
                position = mark + 2
            else:
                name = text[mark + 2 : end]
                value = known(name)
                out.append(f"$({name})" if value is None else value)
                position = end + 1
        else:
            out.append("$" + following)
            position = mark + 2
    return "".join(out)
