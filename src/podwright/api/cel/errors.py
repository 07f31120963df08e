"""What goes wrong with an expression: when it is compiled, and when it is evaluated."""

from __future__ import annotations


def located(source: str, at: int, why: str) -> str:
    """A problem and its place, as cel-go shows it."""
    line_start = source.rfind("\n", 0, at) + 1
    line_number = source.count("\n", 0, at) + 1
    line_end = source.find("\n", at)
    line = source[line_start : line_end if line_end >= 0 else len(source)]
    column = at - line_start
    return f"ERROR: <input>:{line_number}:{column + 1}: {why}\n | {line}\n | {'.' * column}^"


class CompileError(ValueError):
    """An expression that cannot be. The message shows the place."""

    def __init__(self, source: str, at: int, why: str) -> None:
        super().__init__(located(source, at, why))
        self.why = why


class EvaluationError(Exception):
    """An expression that has no value for these variables: a missing key, a wrong type, a division by zero."""


class BudgetExceeded(EvaluationError):
    """The expression does more than it may."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


class BudgetExhausted(EvaluationError):
    """This one and those before it do more than they may together."""

    def __init__(self) -> None:
        super().__init__("validation failed due to running out of cost budget, no further validation rules will be run")


def no_such_overload(function: str) -> EvaluationError:
    return EvaluationError(f"no such overload: {function}")
