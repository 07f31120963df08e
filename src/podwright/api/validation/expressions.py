"""Expressions in objects: one that does not compile is refused when it is written, not when it is needed."""

from __future__ import annotations

from collections.abc import Mapping

from podwright.api.cel import CompileError, compile_expression
from podwright.api.cel.checking import Checked, check
from podwright.api.cel.declarations import DeclType
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import invalid


def compiles(errs: list[FieldError], source: str, path: str, known: Mapping[str, DeclType], *results: str) -> Checked:
    """What is known of an expression of variables that are `known`, whose type must be one of `results` if there are
    any; an empty expression is somebody else's matter."""
    if not source.strip():
        return Checked()
    checked = check(source, known)
    problem = "\n".join(checked.problems)
    if not problem:
        try:
            compile_expression(source, known)
        except CompileError as wrong:
            problem = str(wrong)
    if problem:
        errs.append(invalid(path, source, f"compilation failed: {problem}"))
    elif results and checked.type.name not in results:
        wanted = results[0] if len(results) == 1 else f"one of [{' '.join(results).replace('null', 'null_type')}]"
        errs.append(invalid(path, source, f"must evaluate to {wanted}"))
    return checked
