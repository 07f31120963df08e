"""Merging an applied object into the live one, and taking fields out of an object (structured-merge-diff's merge and
remove walkers). Neither changes its input; results share what they do not touch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from podwright.api.apply.field_sets import FieldSet, Node, is_member, path_text
from podwright.api.apply.field_types import DEDUCED_TYPE, KEYED_TYPE, LEAF_TYPE, SET_TYPE, STRUCT_TYPE, FieldType
from podwright.api.go_messages import go_text

_ABSENT: Any = object()
_LISTS = (KEYED_TYPE, SET_TYPE)


def merge(kind: FieldType, live: Any, applied: Any) -> Any:
    """The live value with the applied one laid over it: fields and elements merge, what is owned as a whole is
    replaced."""
    merged = _merge(kind, live, applied)
    return {} if merged is _ABSENT else merged


def _merge(kind: FieldType, live: Any, applied: Any) -> Any:
    code = kind.kind
    if code == LEAF_TYPE:
        return applied
    if code in _LISTS:
        return _merge_lists(kind, live, applied)
    if code == DEDUCED_TYPE and not (isinstance(live, dict) and isinstance(applied, dict)):
        return applied
    before = live if isinstance(live, dict) else {}
    change = applied if isinstance(applied, dict) else {}
    if not before and not change:
        return applied
    out = dict(before)
    for name, value in change.items():
        if name not in out:
            out[name] = value
            continue
        merged = _merge(kind.field(name)[1], out[name], value)
        if merged is _ABSENT:
            del out[name]
        else:
            out[name] = merged
    return out or _ABSENT


def _merge_lists(kind: FieldType, live: Any, applied: Any) -> Any:
    """Both lists in one. Elements of the applied list keep its order, the others stay near where they were."""
    left = live if isinstance(live, list) else []
    right = applied if isinstance(applied, list) else []
    if not left and not right:
        return applied
    left_elements = [kind.element(v) for v in left]
    right_elements = [kind.element(v) for v in right]
    left_values: dict[str | None, Any] = {}
    for element, value in zip(left_elements, left, strict=True):
        left_values[element] = _ABSENT if element in left_values else value
    right_values = dict(zip(right_elements, right, strict=True))
    shared = [e for e in right_elements if e in left_values]
    out: list[Any] = []
    done: set[str | None] = set()
    i = j = k = 0

    def take(element: str | None) -> None:
        prior = left_values.get(element, _ABSENT)
        value = right_values[element]
        merged = value if prior is _ABSENT else _merge(kind.item, prior, value)
        if merged is not _ABSENT:
            out.append(merged)
        done.add(element)

    while i < len(left) or j < len(right):
        if i < len(left) and j < len(right):
            element = left_elements[i]
            if element == right_elements[j]:
                take(element)
                i, j, k = i + 1, j + 1, k + 1
                continue
            if element in right_values and k < len(shared) and shared[k] != element:
                i += 1
                continue
        if i < len(left):
            element = left_elements[i]
            if element not in right_values:
                out.append(left[i])
                i += 1
                continue
            if element in done:
                i += 1
        if j < len(right):
            element = right_elements[j]
            take(element)
            j += 1
            if k < len(shared) and shared[k] == element:
                k += 1
    return out or _ABSENT


def remove(kind: FieldType, value: Any, fields: FieldSet, *, keep_emptied: bool = False) -> Any:
    """The value without the members of a set (and all that is in them). An object of which nothing is left is gone, or
    null with `keep_emptied`, so that it still shows that it was there."""
    left = _remove(kind, value, fields, None if keep_emptied else _ABSENT)
    return {} if left is _ABSENT or left is None else left


def _remove(kind: FieldType, value: Any, fields: Node, emptied: Any) -> Any:
    code = kind.kind
    if code == LEAF_TYPE:
        return value
    if code in _LISTS:
        if not isinstance(value, list) or not value:
            return value
        items: list[Any] = []
        for entry in value:
            node = fields.get(kind.element(entry) or "")
            if node is None:
                items.append(entry)
            elif not is_member(node):
                left = _remove(kind.item, entry, node, _ABSENT)
                if left is not _ABSENT:
                    items.append(left)
        return items or emptied
    if not isinstance(value, dict) or not value:
        return value
    out = {}
    for name, entry in value.items():
        element, sub, _ = kind.field(name)
        node = fields.get(element)
        if node is None:
            out[name] = entry
        elif not is_member(node):
            left = _remove(sub, entry, node, emptied)
            if left is not _ABSENT:
                out[name] = left
    return out or emptied


def problems(kind: FieldType, value: Any) -> list[str]:
    """What keeps an applied object from being merged: unknown fields, wrong types, list-map entries without keys or
    with equal ones. Each with its path, as upstream writes them."""
    return list(_problems(kind, value, ""))


def _problems(kind: FieldType, value: Any, path: str) -> Iterator[str]:
    code = kind.kind
    if value is None or code == DEDUCED_TYPE:
        return
    if code == LEAF_TYPE:
        return
    if code in _LISTS:
        if not isinstance(value, list):
            yield f"{path}: expected list, got {_go(value)}"
            return
        seen: set[str] = set()
        for i, entry in enumerate(value):
            element = kind.element(entry)
            if element is None:
                yield f"{path}: element {i}: {_no_element(kind, entry)}"
                return
            label = _label(element)
            if element in seen:
                yield f"{path}: duplicate entries for key {label}"
            seen.add(element)
            yield from _problems(kind.item, entry, path + label)
        return
    if not isinstance(value, dict):
        yield f"{path}: expected map, got {_go(value)}"
        return
    for name, entry in value.items():
        if not kind.accepts(name):
            yield f"{path}.{name}: field not declared in schema"
            continue
        _, sub, _ = kind.field(name)
        if sub.kind == LEAF_TYPE and kind.kind == STRUCT_TYPE and kind.schema is not None:
            yield from _scalar_problems(kind, name, entry, path)
        yield from _problems(sub, entry, f"{path}.{name}")


def _scalar_problems(kind: FieldType, name: str, value: Any, path: str) -> Iterator[str]:
    schema = kind.schema.properties[name] if kind.schema is not None else None
    if schema is None or schema.kind != "scalar" or value is None:
        return
    if schema.type == "string" and not isinstance(value, str):
        yield f"{path}.{name}: expected string, got {_go(value)}"
    elif schema.type == "boolean" and not isinstance(value, bool):
        yield f"{path}.{name}: expected boolean, got {_go(value)}"
    elif schema.type in ("integer", "number") and (isinstance(value, bool) or not isinstance(value, int | float)):
        yield f"{path}.{name}: expected numeric (int or float), got {_go_type(value)}"


def _no_element(kind: FieldType, entry: Any) -> str:
    if kind.kind == SET_TYPE:
        if isinstance(entry, dict):
            return "associative list without keys has an element that's a map type"
        if isinstance(entry, list):
            return "not supported: associative list with lists as elements"
        return "associative list without keys has an element that's an explicit null"
    if entry is None:
        return "associative list with keys may not have a null element"
    if not isinstance(entry, dict):
        return "associative list with keys may not have non-map elements"
    names = " ".join(f'"{name}"' for name, _ in kind.keys)
    return (
        f"associative list with keys has an element that omits all key fields [{names}] "
        "(and doesn't have default values for any key fields)"
    )


def _label(element: str) -> str:
    return path_text((element,))


def _go(value: Any) -> str:
    return go_text(value) if isinstance(value, dict | list) else orjson.dumps(value).decode()


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
