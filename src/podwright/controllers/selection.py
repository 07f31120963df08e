"""Label selectors as predicates, each compiled once: reconciles and handlers meet the same few again and again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import orjson

from podwright.api.objects import Object
from podwright.api.selectors import labels as label_selectors

Predicate = Callable[[Mapping[str, str]], bool]


def everything(labels: Mapping[str, str]) -> bool:
    return True


def nothing(labels: Mapping[str, str]) -> bool:
    return False


def from_map(selector: Mapping[str, str] | None) -> Predicate:
    """The selector of Services and ReplicationControllers: every pair must be there. None or empty matches nothing."""
    return label_selectors.from_map(selector).matches if selector else nothing


def from_label_selector(selector: Object | None) -> Predicate:
    """A metav1.LabelSelector: None matches nothing, an empty one everything.

    Raises:
        InvalidSelector: a key, value or operator is wrong.
    """
    return nothing if selector is None else _compiled(orjson.dumps(selector)).matches


@functools.lru_cache(maxsize=4096)
def _compiled(selector: bytes) -> label_selectors.LabelSelector:
    return label_selectors.from_label_selector(orjson.loads(selector))


def is_empty(selector: Object | None) -> bool:
    """True for a selector that would select everything."""
    return selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions")


def to_query(selector: Object | None) -> str:
    """The selector as the labelSelector query parameter spells it."""
    return "" if selector is None else str(_compiled(orjson.dumps(selector)))
