"""How stored custom resources look in one version: converted, pruned and defaulted by its schema.

Objects lie in the store as they were written, in whatever version was the storage version then. What they look like in
another version, or under a schema that has changed since, is worked out when they are asked for, and kept with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from podwright.api import status
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import Resource
from podwright.api.schema import Schema
from podwright.api.typecheck import prune
from podwright.apiserver.cache.entries import Cached
from podwright.apiserver.registry.rules import CustomRules


class Converter(Protocol):
    async def convert(self, objs: Sequence[Object], api_version: str) -> list[Object]:
        """Raises ApiError (500)."""


class VersionForm:
    """One version of a definition. `since` is the revision from which on objects were written under its schema;
    `converter` is None if versions differ by their names only (strategy None); `warning` is what who uses the version
    is told, if it is deprecated."""

    def __init__(
        self, row: Resource, schema: Schema, rules: CustomRules, since: int, converter: Converter | None,
        warning: str = "",
    ) -> None:
        self.row = row
        self.warning = warning
        self._schema = schema
        self._rules = rules
        self._since = since
        self._converter = converter

    @property
    def converts(self) -> bool:
        return self._converter is not None

    def lies_ready(self, cached: Cached) -> bool:
        """Whether the stored bytes are what is shown."""
        if not cached.has_head(self.row):
            return False
        return cached.revision > self._since or cached.shown_as(self) is cached.object

    async def prepare(self, entries: Iterable[Cached]) -> None:
        """Works out what :meth:`of` gives. Raises ApiError (500)."""
        todo = [entry for entry in entries if not self.lies_ready(entry) and entry.shown_as(self) is None]
        if todo:
            for entry, obj in zip(todo, await self.convert([entry.object for entry in todo]), strict=True):
                entry.show(self, obj)

    def of(self, cached: Cached) -> Object:
        """Raises ApiError (500) for what only a webhook can convert and :meth:`prepare` has not."""
        known = cached.shown_as(self)
        if known is not None:
            return known
        obj = cached.object
        if obj.get("apiVersion") == self.row.api_version:
            if cached.revision > self._since:
                return obj
        elif self._converter is not None:
            raise status.internal(f"{self.row.qualified} {cached.key} was not converted")
        shaped = self._shaped({**obj, "apiVersion": self.row.api_version})
        cached.show(self, shaped)
        return shaped

    async def convert(self, objs: Sequence[Object]) -> list[Object]:
        """Raises ApiError (500)."""
        wanted = self.row.api_version
        others = [obj for obj in objs if obj.get("apiVersion") != wanted]
        if others and self._converter is not None:
            made = iter(await self._converter.convert(others, wanted))
        else:
            made = iter([{**obj, "apiVersion": wanted} for obj in others])
        return [self._shaped(obj if obj.get("apiVersion") == wanted else next(made)) for obj in objs]

    def settled(self, obj: Object) -> Object:
        """What is left of an object that a webhook or policy changed: unknown fields go, defaults come."""
        return self._shaped(obj)

    def _shaped(self, obj: Object) -> Object:
        shaped = deepcopy(prune(self._schema, obj))
        self._rules.default(shaped)
        return obj if shaped == obj else shaped
