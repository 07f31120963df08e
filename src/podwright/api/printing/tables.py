"""Columns, rows and the ``Table`` object of meta.k8s.io/v1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from podwright.api.objects import Object
from podwright.api.printing.durations import since

Cells = list[Any]


@dataclass(frozen=True, slots=True)
class Column:
    """`priority` 0 columns are always shown, 1 only with ``-o wide``."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0

    def definition(self) -> Object:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or _DESCRIPTIONS.get(self.name, self.name),
            "priority": self.priority,
        }


_DESCRIPTIONS = {
    "Name": "The name of the object, unique in its namespace and of its kind.",
    "Age": "How long ago the object was created.",
    "Created At": "When the object was created.",
    "Labels": "The labels of the object.",
    "Selector": "The labels that select the Pods.",
    "Containers": "The names of the containers of each Pod.",
    "Images": "The images of the containers of each Pod.",
}

NAME = Column("Name", format="name")
AGE = Column("Age")


def integer(name: str) -> Column:
    return Column(name, type="integer")


def boolean(name: str) -> Column:
    return Column(name, type="boolean")


def wide(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, priority=1) for name in names)


def text(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name) for name in names)


@dataclass(frozen=True, slots=True)
class Printer:
    """Args:
        cells: (object, now) → one value for each column.
        conditions: object → conditions of its row ("Completed").
        order: sorts the objects of a list before they are printed.
    """

    columns: Sequence[Column]
    cells: Callable[[Object, float], Cells]
    conditions: Callable[[Object], list[Object]] | None = None
    order: Callable[[Object], Any] | None = None


Printers = dict[tuple[str, str], Printer]
"""(group, kind) → printer, in each module of a group."""


def build(printer: Printer, objects: Iterable[Object], now: float, include_object: str) -> Object:
    rows = []
    listed = sorted(objects, key=printer.order) if printer.order else objects
    for obj in listed:
        row: Object = {"cells": printer.cells(obj, now)}
        if printer.conditions is not None and (conditions := printer.conditions(obj)):
            row["conditions"] = conditions
        row["object"] = _included(obj, include_object)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [column.definition() for column in printer.columns],
        "rows": rows,
    }


def _included(obj: Object, include_object: str) -> Object | None:
    if include_object == "None":
        return None
    if include_object == "Object":
        return obj
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj.get("metadata") or {}}


def meta(obj: Object) -> Object:
    return obj.get("metadata") or {}


def spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def status(obj: Object) -> Object:
    return obj.get("status") or {}


def name(obj: Object) -> str:
    return str(meta(obj).get("name") or "")


def age(obj: Object, now: float) -> str:
    return since(meta(obj).get("creationTimestamp"), now)


def containers(template: Object | None) -> tuple[str, str]:
    """The names and the images of a template's containers."""
    listed = spec(template or {}).get("containers") or ()
    return ",".join(c.get("name") or "" for c in listed), ",".join(c.get("image") or "" for c in listed)


def labels(values: dict[str, str] | None) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((values or {}).items())) or "<none>"


def selector(value: Object | None) -> str:
    """A label selector in kubectl's spelling, "" if it selects everything."""
    if not value:
        return ""
    parts = [(key, f"{key}={val}") for key, val in (value.get("matchLabels") or {}).items()]
    for requirement in value.get("matchExpressions") or ():
        key, operator = requirement.get("key") or "", requirement.get("operator")
        values = ",".join(sorted(requirement.get("values") or ()))
        said = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append((key, said.get(operator or "", f"!{key}")))
    return ",".join(said for _, said in sorted(parts))


def more(listed: list[str], count: int, limit: int, separator: str = ",") -> str:
    """The first `limit` of `count` entries, and how many more there are."""
    shown = separator.join(listed[:limit])
    return f"{shown} + {count - limit} more..." if count > limit else shown
