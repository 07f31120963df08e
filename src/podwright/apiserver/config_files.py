"""Configuration files of the API server, read strictly: a field that is misspelt, or has the wrong type, is refused
and not ignored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from podwright.api.objects import Object

Shape = Any
"""What a value must be: a Python type; a dict of fields and their shapes; a list of one shape; None for anything."""
_NAMES = {str: "string", bool: "bool", int: "int"}


def read(path: Path, kind: str, versions: Sequence[str], shape: dict[str, Shape]) -> Object:
    """`shape` without apiVersion and kind. Raises OSError; ValueError with a line for each thing that is wrong."""
    found = load(path)
    if found.get("kind") != kind or found.get("apiVersion") not in versions:
        raise ValueError(f"{path}: no {kind} of {versions[0]}")
    check(path, found, {"apiVersion": str, "kind": str, **shape})
    return found


def load(path: Path) -> Object:
    """What is no object is an empty one. Raises OSError, ValueError."""
    try:
        found = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise ValueError(f"{path}: {wrong}") from None
    return found if isinstance(found, dict) else {}


def check(path: Path, found: Any, shape: Shape) -> None:
    """Raises ValueError."""
    if wrong := list(_problems(found, shape, "")):
        raise ValueError("\n".join(f"{path}: strict decoding error: {problem}" for problem in wrong))


def _problems(value: Any, shape: Shape, at: str) -> Iterator[str]:
    if value is None or shape is None:
        return
    wanted: Any = type(shape) if isinstance(shape, dict | list) else shape
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        said = "an object" if wanted is dict else "a list" if wanted is list else f"a {_NAMES[wanted]}"
        yield f'field "{at}" must be {said}'
    elif isinstance(shape, dict):
        for key, item in value.items():
            where = f"{at}.{key}" if at else str(key)
            if key not in shape:
                yield f'unknown field "{where}"'
            else:
                yield from _problems(item, shape[key], where)
    elif isinstance(shape, list):
        for i, item in enumerate(value):
            yield from _problems(item, shape[0], f"{at}[{i}]")
