"""Sets of field paths, kept in the very form in which ``managedFields`` carries them (FieldsV1).

A node is a dict from path elements to nodes: "f:NAME" is a field, 'k:{"name":"x"}' an element of a list-map, 'v:"x"' an
element of a set. A node is a member of the set if it is empty or has the key "."; the dict of a whole set is the
children of its root, so an empty dict at the root is the empty set. Nodes are shared between sets and never changed.
(KEP-555 "Server-side Apply"; structured-merge-diff's fieldpath.Set.)
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import orjson

Node = dict[str, Any]
FieldSet = dict[str, Any]
Path = tuple[str, ...]

LEAF: Node = {}
SELF = "."


def is_member(node: Node) -> bool:
    return not node or SELF in node


def as_member(node: Node | None) -> Node:
    """The node as a member of the set, with the children it has."""
    if not node or SELF in node:
        return node or LEAF
    return {SELF: LEAF, **node}


def _union(a: Node, b: Node) -> Node:
    if a is b:
        return a
    if not a:
        return as_member(b)
    if not b:
        return as_member(a)
    out = dict(a)
    for key, node in b.items():
        mine = out.get(key)
        out[key] = node if mine is None else _union(mine, node)
    return out


def union(a: FieldSet, b: FieldSet) -> FieldSet:
    if not a or not b:
        return a or b
    return _union(a, b)


def _difference(a: Node, b: Node, recursive: bool) -> Node | None:
    b_member = not b or SELF in b
    if b_member and (recursive or not a):
        return None
    out: Node = {}
    keep = not b_member and (not a or SELF in a)
    if keep:
        out[SELF] = LEAF
    for key, node in a.items():
        if key == SELF:
            continue
        other = b.get(key)
        left = node if other is None else _difference(node, other, recursive)
        if left is not None:
            out[key] = left
    if len(out) == keep:
        return LEAF if keep else None
    return out


def _without(a: FieldSet, b: FieldSet, recursive: bool) -> FieldSet:
    if not a or not b:
        return a
    out: FieldSet = {}
    changed = False
    for key, node in a.items():
        other = b.get(key)
        left = node if other is None else _difference(node, other, recursive)
        changed = changed or left is not node
        if left is not None:
            out[key] = left
    return out if changed else a


def difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """The members of `a` that are no members of `b`; what lies below a member of `b` stays."""
    return _without(a, b, False)


def recursive_difference(a: FieldSet, b: FieldSet) -> FieldSet:
    """`a` without the members of `b` and everything below them."""
    return _without(a, b, True)


def _intersection(a: Node, b: Node) -> Node | None:
    both = is_member(a) and is_member(b)
    out: Node = {SELF: LEAF} if both else {}
    small, large = (a, b) if len(a) <= len(b) else (b, a)
    for key, node in small.items():
        other = large.get(key)
        if other is None or key == SELF:
            continue
        common = _intersection(node, other)
        if common is not None:
            out[key] = common
    if len(out) == both:
        return LEAF if both else None
    return out


def intersection(a: FieldSet, b: FieldSet) -> FieldSet:
    out: FieldSet = {}
    for key, node in b.items():
        other = a.get(key)
        if other is not None:
            common = _intersection(other, node)
            if common is not None:
                out[key] = common
    return out


def from_paths(*paths: Path) -> FieldSet:
    """The set of some paths, each a tuple of path elements: ("f:metadata", "f:name")."""
    out: FieldSet = {}
    for path in paths:
        node: Node = LEAF
        for element in reversed(path[1:]):
            node = {element: node}
        out = union(out, {path[0]: node})
    return out


def _order(element: str) -> tuple[int, str]:
    return ("fkvi".find(element[0]), element)


def paths(fields: FieldSet) -> Iterator[Path]:
    """Every member, a node's own members before what lies deeper, each in order."""
    return _paths(fields, ())


def _paths(node: Node, prefix: Path) -> Iterator[Path]:
    elements = sorted((e for e in node if e != SELF), key=_order)
    for element in elements:
        if is_member(node[element]):
            yield (*prefix, element)
    for element in elements:
        if node[element]:
            yield from _paths(node[element], (*prefix, element))


def path_text(path: Path) -> str:
    """A path as error messages spell it: .spec.containers[name="web"].image"""
    return "".join(map(_element_text, path))


def _element_text(element: str) -> str:
    kind, text = element[0], element[2:]
    if kind == "f":
        return f".{text}"
    if kind == "k":
        fields = orjson.loads(text)
        return f"[{','.join(f'{name}={_scalar_text(value)}' for name, value in sorted(fields.items()))}]"
    return f"[={_scalar_text(orjson.loads(text))}]" if kind == "v" else f"[{text}]"


def _scalar_text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _json(value: Any) -> str:
    text = orjson.dumps(value).decode()
    if "<" in text or ">" in text or "&" in text:
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text


@functools.lru_cache(maxsize=16384, typed=True)
def key_element(name: str, value: str | float | bool | None) -> str:
    """The path element of a list-map's entry with one key."""
    return f"k:{{{_json(name)}:{_json(value)}}}"


def keys_element(keys: list[tuple[str, Any]]) -> str:
    """The path element of a list-map's entry with several keys (name, value), in order of names."""
    return f"k:{{{','.join(f'{_json(name)}:{_json(value)}' for name, value in keys)}}}"


@functools.lru_cache(maxsize=16384, typed=True)
def value_element(value: str | float | bool | None) -> str:
    """The path element of a set's entry."""
    return f"v:{_json(value)}"


class MalformedFields(ValueError):
    """What a client sent as fieldsV1 is no set of fields."""


@functools.lru_cache(maxsize=16384)
def _canonical_element(element: str) -> str | None:
    """The element in canonical spelling; None for kinds that are not known, which are skipped.

    Raises:
        MalformedFields: it is no path element.
    """
    if len(element) < 2 or element[1] != ":":
        raise MalformedFields(f"missing colon: {element}")
    kind, text = element[0], element[2:]
    if kind == "f":
        return element
    try:
        if kind == "k":
            fields = orjson.loads(text)
            if not isinstance(fields, dict):
                raise MalformedFields(f"no keys: {element}")
            return keys_element(sorted(fields.items()))
        if kind == "v":
            return f"v:{_json(orjson.loads(text))}"
        return f"i:{int(text)}" if kind == "i" else None
    except ValueError as e:
        raise MalformedFields(f"{e}: {element}") from e


def decode(fields: Any) -> FieldSet:
    """A set as a client wrote it, in canonical spelling.

    Raises:
        MalformedFields: it is no set of fields.
    """
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise MalformedFields("fieldsV1 is no object")
    out = _decode(fields)
    out.pop(SELF, None)
    return out


def _decode(node: Any) -> Node:
    out: Node = {}
    if not isinstance(node, dict):
        return out
    for element, below in node.items():
        if element == SELF:
            out[SELF] = LEAF
            continue
        name = _canonical_element(element)
        if name is not None:
            child = _decode(below)
            out[name] = _union(out[name], child) if name in out else child
    return out if len(out) > 1 or SELF not in out else {}
