"""Label selectors as predicates: what "matchLabels and matchExpressions" means, decided once per selector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from podwright.api.objects import Object

Predicate = Callable[[Mapping[str, str]], bool]


def everything(labels: Mapping[str, str]) -> bool:
    return True


def nothing(labels: Mapping[str, str]) -> bool:
    return False


def from_map(selector: Mapping[str, str] | None) -> Predicate:
    """The selector of Services and ReplicationControllers: every pair must be there. None or empty matches nothing."""
    if not selector:
        return nothing
    pairs = tuple(selector.items())
    return lambda labels: all(labels.get(k) == v for k, v in pairs)


def from_label_selector(selector: Object | None) -> Predicate:
    """A metav1.LabelSelector: None matches nothing, an empty one everything.

    Raises:
        ValueError: an operator is not known.
    """
    if selector is None:
        return nothing
    pairs = tuple((selector.get("matchLabels") or {}).items())
    tests = tuple(_requirement(e) for e in selector.get("matchExpressions") or ())
    if not pairs and not tests:
        return everything
    return lambda labels: all(labels.get(k) == v for k, v in pairs) and all(t(labels) for t in tests)


def _requirement(expression: Mapping[str, Any]) -> Predicate:
    key = expression.get("key", "")
    values = frozenset(expression.get("values") or ())
    match expression.get("operator"):
        case "In":
            return lambda labels: labels.get(key) in values
        case "NotIn":
            return lambda labels: labels.get(key) not in values
        case "Exists":
            return lambda labels: key in labels
        case "DoesNotExist":
            return lambda labels: key not in labels
        case operator:
            raise ValueError(f"{operator!r} is not a valid label selector operator")


def is_empty(selector: Object | None) -> bool:
    """True for a selector that would select everything."""
    return selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions")


def to_query(selector: Object | None) -> str:
    """The selector as the labelSelector query parameter (and status.selector of the scale subresource) spell it."""
    if selector is None:
        return ""
    parts = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        key, values = expression["key"], ",".join(sorted(expression.get("values") or ()))
        parts.append(
            {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}.get(
                expression["operator"], f"!{key}"
            )
        )
    return ",".join(parts)
