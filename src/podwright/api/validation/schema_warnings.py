"""What is told of a CustomResourceDefinition's schemas though it is allowed: formats that nobody checks, and sets whose
entries cannot be told apart by server-side apply."""

from __future__ import annotations

from collections.abc import Iterator

from podwright.api.objects import Object

_TEXT = frozenset((
    "bsonobjectid", "uri", "email", "hostname", "ipv4", "ipv6", "cidr", "mac", "uuid", "uuid3", "uuid4", "uuid5",
    "isbn", "isbn10", "isbn13", "creditcard", "ssn", "hexcolor", "rgbcolor", "byte", "password", "date", "duration",
    "datetime", "k8sshortname", "k8slongname",
))
_NUMBERS = {"integer": ("int32", "int64"), "number": ("float", "double")}


def warnings(new: Object, old: Object | None) -> list[str]:
    before = set() if old is None else set(_told(old))
    return [text for text in _told(new) if text not in before]


def _told(crd: Object) -> list[str]:
    formats: list[str] = []
    sets: set[str] = set()
    for version in (crd.get("spec") or {}).get("versions") or ():
        for node in _nodes((version.get("schema") or {}).get("openAPIV3Schema")):
            kind, form = node.get("type") or "", node.get("format") or ""
            known = form.replace("-", "") in _TEXT if kind in ("", "string") else form in _NUMBERS.get(kind, ())
            if form and not known:
                formats.append(f'unrecognized format "{form}"')
            items = node.get("items")
            inner = (items.get("type") or "") if isinstance(items, dict) else ""
            if node.get("x-kubernetes-list-type") == "set" and inner in ("object", "array"):
                sets.add(
                    f'x-kubernetes-list-type: set for items of type "{inner}" is not supported by server-side apply or'
                    " CEL validation rules"
                )
    return [*formats, *sorted(sets)]


def _nodes(node: object) -> Iterator[Object]:
    if not isinstance(node, dict):
        return
    yield node
    for field in ("items", "additionalProperties", "not"):
        yield from _nodes(node.get(field))
    for field in ("allOf", "anyOf", "oneOf"):
        for below in node.get(field) or ():
            yield from _nodes(below)
    for below in (node.get("properties") or {}).values():
        yield from _nodes(below)
