"""Tables (`kubectl get` without -o): the printers of built-in kinds, and the printer columns of custom resources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from podwright.api import printing
from podwright.api.objects import Object
from podwright.api.resources import Resource


class Printers:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.custom: dict[tuple[str, str, str], Sequence[Any]] = {}
        """additionalPrinterColumns of custom resources."""

    def table(self, row: Resource, items: Sequence[Object], include: str) -> Object:
        """`include` is None, Metadata or Object."""
        if row.custom:
            columns = self.custom.get((row.group, row.version, row.plural)) or ()
            return printing.custom_table(columns, items, now=self._now(), include_object=include)
        return printing.table(row, items, now=self._now(), include_object=include)
