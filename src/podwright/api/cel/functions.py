"""All functions that expressions may call: by name and number of arguments (-1: any)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from podwright.api.cel import kubernetes, lists, standard, strings

FUNCTIONS: dict[tuple[str, int], Callable[..., Any]] = {**standard.FUNCTIONS, **kubernetes.FUNCTIONS}
"""Called as ``f(x)``."""

METHODS: dict[tuple[str, int], Callable[..., Any]] = {
    **standard.METHODS, **strings.METHODS, **lists.METHODS, **kubernetes.METHODS,
}
"""Called as ``x.f(y)``; the number does not count ``x``. Where several types have a method of one name, it looks."""

NAMESPACES: dict[tuple[str, str, int], Callable[..., Any]] = {
    **standard.NAMESPACES, **strings.NAMESPACES, **lists.NAMESPACES, **kubernetes.NAMESPACES,
}
"""Called as ``space.f(x)``."""

for (_name, _count), _method in list(METHODS.items()):
    if _name in ("size", "matches") and _count in (0, 1):
        FUNCTIONS.setdefault((_name, _count + 1), _method)
