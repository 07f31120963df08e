"""Rules for numbers that may be percentages, in rollout strategies and budgets."""

from __future__ import annotations

from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import NEGATIVE, formed, invalid

IntOrPercent = int | str


def positive_int_or_percent(errs: list[FieldError], value: IntOrPercent, field: str) -> None:
    if isinstance(value, str):
        formed(errs, value, field, names.percent)
    elif value < 0:
        errs.append(invalid(field, value, NEGATIVE))


def is_zero(value: IntOrPercent | None) -> bool:
    if isinstance(value, str):
        return value.endswith("%") and value[:-1].isdigit() and int(value[:-1]) == 0
    return not value


def at_most_whole(errs: list[FieldError], value: IntOrPercent, field: str) -> None:
    if isinstance(value, str) and not names.percent(value) and int(value[:-1]) > 100:
        errs.append(invalid(field, value, "must not be greater than 100%"))
