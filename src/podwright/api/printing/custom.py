"""The rows of custom resources: the columns that their definition asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from podwright.api.objects import Object
from podwright.api.printing import jsonpath
from podwright.api.printing.durations import since
from podwright.api.printing.tables import NAME, Cells, Column, Printer, name

_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def printer(columns: Sequence[Object]) -> Printer:
    """A printer for additionalPrinterColumns. A column whose path is none stays empty."""
    given = list(columns) or [_AGE]
    paths = [_compiled(column.get("jsonPath") or "") for column in given]
    kinds = [column.get("type") or "string" for column in given]

    def cells(obj: Object, now: float) -> Cells:
        row: Cells = [name(obj)]
        for path, kind in zip(paths, kinds, strict=True):
            found = path.find(obj) if path is not None else []
            row.append(_cell(found[0], kind, now) if found else None)
        return row

    shown = [
        Column(
            name=str(column.get("name") or ""),
            type=str(column.get("type") or "string"),
            format=str(column.get("format") or ""),
            description=str(column.get("description") or "Custom resource definition column (in JSONPath format): ")
            + ("" if column.get("description") else str(column.get("jsonPath") or "")),
            priority=int(column.get("priority") or 0),
        )
        for column in given
    ]
    return Printer((NAME, *shown), cells)


def _compiled(path: str) -> jsonpath.JsonPath | None:
    try:
        return jsonpath.parse(path)
    except jsonpath.JsonPathError:
        return None


def _cell(value: Any, kind: str, now: float) -> Any:
    if kind == "string":
        if isinstance(value, str):
            return value
        if value is None:
            return ""
        return orjson.dumps(value).decode()
    if kind == "date":
        if not isinstance(value, str):
            return None
        said = since(value, now)
        return "<invalid>" if said == "<unknown>" else said
    if kind == "integer":
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind == "number":
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    return None
