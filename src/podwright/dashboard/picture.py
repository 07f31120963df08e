"""What the page shows: the tables of kubectl, kept by informers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from podwright.api import objects, printing
from podwright.api.objects import Object
from podwright.api.resources import EVENTS, NODES, PODS, Resource
from podwright.client.client import Client
from podwright.client.informers import Informer

_EVENTS = 100
_WIDE = {"Pod": ("IP", "Node"), "Node": ("Internal-IP", "Container-Runtime")}
"""Columns that kubectl shows with -o wide, and the page always."""


class Picture:
    """Run :meth:`run` as a task. `now` gives seconds since the epoch."""

    def __init__(self, client: Client, *, now: Callable[[], float]) -> None:
        self._now = now
        self._informers = {row.plural: Informer(client, row) for row in (NODES, PODS, EVENTS)}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                informer.add_handler(self._on_change)
                group.create_task(informer.run(), name=informer.resource.plural)

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def synced(self) -> None:
        for informer in self._informers.values():
            await informer.synced()

    def change(self) -> asyncio.Event:
        """Is set at the next change; to be asked for before the tables are."""
        return self._changed

    def tables(self) -> Object:
        """Each with "columns" and "rows" of texts. Of the events, the last hundred, the newest first."""
        events = sorted(self._informers["events"].items(), key=_when, reverse=True)
        return {
            "nodes": self._table(NODES, sorted(self._informers["nodes"].items(), key=objects.name)),
            "pods": self._table(PODS, sorted(self._informers["pods"].items(), key=objects.key)),
            "events": self._table(EVENTS, events[:_EVENTS]),
        }

    def _table(self, row: Resource, items: Sequence[Object]) -> Object:
        made = printing.table(row, items, now=self._now(), include_object=printing.NONE)
        wide = _WIDE.get(row.kind, ())
        shown = [
            (place, column["name"])
            for place, column in enumerate(made["columnDefinitions"])
            if not column.get("priority") or column["name"] in wide
        ]
        rows = [[str(printed["cells"][place]) for place, _ in shown] for printed in made["rows"]]
        columns = [name for _, name in shown]
        if row.namespaced:
            columns.insert(0, "Namespace")
            for item, texts in zip(items, rows, strict=True):
                texts.insert(0, objects.namespace(item))
        return {"columns": columns, "rows": rows}


def _when(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
