"""Canonical quantities in resource lists."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from podwright.api import quantity
from podwright.api.objects import Object


@lru_cache(maxsize=4096)
def _canonical_text(text: str) -> str:
    try:
        return quantity.canonical(text)
    except quantity.QuantityError:
        # Left as it is: validation names the field.
        return text


@lru_cache(maxsize=4096)
def _rounded_text(text: str) -> str:
    """Canonical, rounded up to a thousandth (resource lists hold no finer amounts)."""
    try:
        thousandths = quantity.parse(text) * 1000
        if thousandths != int(thousandths):
            return quantity.from_milli(quantity.milli(text), quantity.format_of(text))
        return quantity.canonical(text)
    except quantity.QuantityError:
        return text


def canonical(value: Any) -> Any:
    """The canonical text of a quantity that JSON may spell as a number."""
    if isinstance(value, str):
        return _canonical_text(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _canonical_text(repr(value).removesuffix(".0"))
    return value


def field(holder: Object | None, name: str) -> None:
    """Canonicalize one quantity field, if it is there."""
    if holder:
        value = holder.get(name)
        if value is not None:
            holder[name] = canonical(value)


def resource_list(holder: Object | None, name: str) -> None:
    """Canonicalize the resource list in `holder[name]`, rounding up to a thousandth."""
    if not holder:
        return
    amounts = holder.get(name)
    if not amounts:
        return
    for key, value in amounts.items():
        if isinstance(value, str):
            amounts[key] = _rounded_text(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            amounts[key] = _rounded_text(repr(value).removesuffix(".0"))


def requirements(holder: Object | None) -> None:
    """Canonicalize the limits and requests of a ResourceRequirements."""
    if holder:
        resource_list(holder, "limits")
        resource_list(holder, "requests")
