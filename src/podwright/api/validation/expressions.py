"""Expressions in objects: one that does not compile is refused when it is written, not when it is needed."""

from __future__ import annotations

from podwright.api.cel import CompileError, compile_expression
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import invalid


def compiles(errs: list[FieldError], source: str, path: str, known: frozenset[str]) -> None:
    """An expression of variables that are `known`; an empty one is somebody else's matter."""
    if source.strip():
        try:
            compile_expression(source, known)
        except CompileError as wrong:
            errs.append(invalid(path, source, f"compilation failed: {wrong}"))
