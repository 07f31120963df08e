"""Which fields a write adds, changes and removes, and which fields an applied object states.

The rules are those of structured-merge-diff's typed values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from podwright.api.apply.field_sets import LEAF, SELF, FieldSet, Node, as_member
from podwright.api.apply.field_types import (
    DEDUCED_TYPE,
    KEYED_TYPE,
    LEAF_TYPE,
    MAP_TYPE,
    SET_TYPE,
    STRUCT_TYPE,
    FieldType,
)

_ABSENT: Any = object()
_NONE: Mapping[str, Any] = {}
_REMEMBERED = 512
_REMEMBERED_BYTES = 2048
_appeared_lately: dict[tuple[FieldType, bytes], dict[str, Any]] = {}


class Comparison(NamedTuple):
    """``changed`` are the fields added or modified, ``removed`` those that are gone."""

    changed: FieldSet
    removed: FieldSet


def compare(kind: FieldType, old: Any, new: Any) -> Comparison:
    """The difference between two objects of one type."""
    changed, removed = _compare(kind, old, new)
    return Comparison(changed or {}, removed or {})


Difference = tuple[Node | None, Node | None]
_SAME: Difference = (None, None)
_MODIFIED: Difference = (LEAF, None)


def _compare(kind: FieldType, old: Any, new: Any) -> Difference:
    code = kind.kind
    if code == LEAF_TYPE:
        return _SAME if old == new else _MODIFIED
    if code in (KEYED_TYPE, SET_TYPE):
        return _compare_lists(kind, old, new)
    old_is, new_is = isinstance(old, dict), isinstance(new, dict)
    if not (old_is and new_is):
        if code == DEDUCED_TYPE or not (old_is or new_is):
            return _SAME if old == new else _MODIFIED
        old, new = old if old_is else _NONE, new if new_is else _NONE
    changed: Node = {}
    removed: Node = {}
    field = kind.field
    for name, value in new.items():
        before = old.get(name, _ABSENT)
        if before is value:
            continue
        if before is _ABSENT:
            element, sub, always = field(name)
            if not always:
                changed[element] = _appeared(sub, value)
                continue
            before = None if value else value
        elif before == value:
            continue
        else:
            element, sub, always = field(name)
        added, gone = _compare(sub, before, value)
        if added is not None:
            changed[element] = added
        if gone is not None:
            removed[element] = gone
    for name, before in old.items():
        if name not in new:
            element, sub, always = field(name)
            if not always:
                removed[element] = everything(sub, before)
            elif before:
                added, gone = _compare(sub, before, None)
                if added is not None:
                    changed[element] = added
                if gone is not None:
                    removed[element] = gone
    return changed or None, removed or None


def _compare_lists(kind: FieldType, old: Any, new: Any) -> Difference:
    before, after = _index(kind, old), _index(kind, new)
    item = kind.item
    changed: Node = {}
    removed: Node = {}
    for element, values in after.items():
        priors = before.get(element)
        if len(values) > 1 or (priors is not None and len(priors) > 1):
            _compare_duplicates(item, element, priors or [], values, changed, removed)
        elif priors is None:
            changed[element] = everything(item, values[0])
        elif priors[0] != values[0]:
            added, gone = _compare(item, priors[0], values[0])
            if added is not None:
                changed[element] = added
            if gone is not None:
                removed[element] = gone
    for element, values in before.items():
        if element not in after:
            removed[element] = everything(item, values[0]) if len(values) == 1 else LEAF
    return changed or None, removed or None


def _compare_duplicates(
    item: FieldType, element: str, old: list[Any], new: list[Any], changed: Node, removed: Node
) -> None:
    """Elements of equal key are owned together, as a whole."""
    if len(old) > 1 and len(new) > 1:
        if old != new:
            changed[element] = LEAF
    elif len(old) > 1:
        changed[element] = everything(item, new[0])
        removed[element] = LEAF
    else:
        if old:
            removed[element] = everything(item, old[0])
        changed[element] = LEAF


def _index(kind: FieldType, values: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    if isinstance(values, list):
        for value in values:
            element = kind.element(value)
            if element is not None:
                found.setdefault(element, []).append(value)
    return found


def _appeared(kind: FieldType, value: Any) -> Node:
    """:func:`everything`; of lists, which are often the same in many objects (the containers of a template), the last
    ones are remembered."""
    if value.__class__ is list:
        try:
            text = orjson.dumps(value)
        except TypeError:
            return everything(kind, value)
        known = _appeared_lately.get((kind, text))
        if known is None:
            known = everything(kind, value)
            if len(text) <= _REMEMBERED_BYTES:
                if len(_appeared_lately) >= _REMEMBERED:
                    _appeared_lately.clear()
                _appeared_lately[kind, text] = known
        return known
    return everything(kind, value)


def everything(kind: FieldType, value: Any) -> Node:
    """The node of a value that appears (or vanishes) as a whole: itself and all fields below it."""
    code = kind.kind
    if code == LEAF_TYPE or not value:
        return LEAF
    if code in (STRUCT_TYPE, MAP_TYPE, DEDUCED_TYPE):
        if value.__class__ is not dict and not isinstance(value, dict):
            return LEAF
        node: Node = {SELF: LEAF}
        field = kind.field
        for name, item in value.items():
            element, sub, _ = field(name)
            node[element] = LEAF if sub.kind == LEAF_TYPE else everything(sub, item)
        return node
    if not isinstance(value, list):
        return LEAF
    node = {SELF: LEAF}
    item = kind.item
    for entry in value:
        element_ = kind.element(entry)
        if element_ is not None:
            node[element_] = LEAF if element_ in node else everything(item, entry)
    return node


def stated_fields(kind: FieldType, value: Any) -> FieldSet:
    """The fields that an applied object states, and that its manager will own."""
    return _stated(kind, value) or {}


def _stated(kind: FieldType, value: Any) -> Node | None:
    code = kind.kind
    if code == LEAF_TYPE:
        return LEAF
    node: Node = {}
    if code in (KEYED_TYPE, SET_TYPE):
        seen: set[str] = set()
        for entry in value if isinstance(value, list) else ():
            element = kind.element(entry)
            if element is None:
                continue
            node[element] = LEAF if element in seen else as_member(_stated(kind.item, entry))
            seen.add(element)
        return node or None
    if not isinstance(value, dict):
        return LEAF if code == DEDUCED_TYPE else None
    for name, entry in value.items():
        element, sub, _ = kind.field(name)
        below = _stated(sub, entry)
        if entry is None or entry == {}:
            below = LEAF
        elif not kind.declares(name):
            below = as_member(below)
        if below is not None:
            node[element] = below
    return node or None


def with_structs(kind: FieldType, fields: FieldSet) -> FieldSet:
    """The set in which every declared field on the way to a member is a member too (what is to be removed with
    everything in it)."""
    out: FieldSet = {}
    for element, node in fields.items():
        if element == SELF:
            out[SELF] = LEAF
            continue
        if not node:
            out[element] = node
            continue
        if element[0] == "f":
            name = element[2:]
            if kind.kind in (STRUCT_TYPE, MAP_TYPE, DEDUCED_TYPE):
                below = with_structs(kind.field(name)[1], node)
                out[element] = as_member(below) if kind.declares(name) else below
            else:
                out[element] = node
        elif element[0] == "k" and kind.kind == KEYED_TYPE:
            out[element] = with_structs(kind.item, node)
        else:
            out[element] = node
    return out


def reconciled(kind: FieldType, fields: FieldSet) -> FieldSet:
    """The set after a change of the type: what became atomic is owned as a whole."""
    out: FieldSet | None = None
    for element, node in fields.items():
        if not node or element == SELF:
            continue
        sub = _below(kind, element)
        if sub is None:
            continue
        left = LEAF if sub.kind == LEAF_TYPE else reconciled(sub, node)
        if left is not node:
            out = out if out is not None else dict(fields)
            out[element] = left
    return fields if out is None else out


def _below(kind: FieldType, element: str) -> FieldType | None:
    if element[0] == "f":
        if kind.kind == MAP_TYPE:
            return kind.values
        return kind.field(element[2:])[1] if kind.declares(element[2:]) else None
    return kind.item if kind.kind in (KEYED_TYPE, SET_TYPE) else None
