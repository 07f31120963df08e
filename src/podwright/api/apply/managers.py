"""The entries of ``metadata.managedFields``: one set of fields for each manager, operation, version and subresource."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from podwright.api.apply import field_sets
from podwright.api.apply.field_sets import FieldSet, MalformedFields
from podwright.api.objects import Object

APPLY = "Apply"
UPDATE = "Update"

MAX_UPDATERS = 10
"""More managers that update than this are summed up as "ancient-changes", the oldest first."""
ANCIENT = "ancient-changes"

Identity = tuple[str, str, str, str]
"""(manager, operation, apiVersion, subresource); the version does not tell appliers apart and is "" for them."""


@dataclass(frozen=True, slots=True)
class Manager:
    """One entry. ``time`` is RFC 3339 or ""."""

    name: str
    operation: str
    api_version: str
    subresource: str
    fields: FieldSet
    time: str = ""

    @property
    def identity(self) -> Identity:
        return identity(self.name, self.operation, self.api_version, self.subresource)

    @property
    def applied(self) -> bool:
        return self.operation == APPLY

    def owning(self, fields: FieldSet) -> Manager:
        return self if fields is self.fields else replace(self, fields=fields)

    def entry(self) -> Object:
        out: Object = {
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields,
        }
        if self.time:
            out["time"] = self.time
        if self.subresource:
            out["subresource"] = self.subresource
        return out


Managers = dict[Identity, Manager]


def identity(name: str, operation: str, api_version: str, subresource: str) -> Identity:
    return (name, operation, "" if operation == APPLY else api_version, subresource)


def stored(entries: Iterable[Object]) -> Managers:
    """The managers of an object that this server wrote: their field sets are canonical and taken as they are."""
    out: Managers = {}
    for e in entries:
        manager = Manager(
            e.get("manager") or "", e.get("operation") or "", e.get("apiVersion") or "", e.get("subresource") or "",
            e.get("fieldsV1") or {}, e.get("time") or "",
        )
        out[manager.identity] = manager
    return out


def decode(entries: Any) -> Managers:
    """The managers that a client wrote into an object.

    Raises:
        MalformedFields: an entry lacks something or its fields are no set; the message is upstream's.
    """
    out: Managers = {}
    for i, e in enumerate(entries or ()):
        if not isinstance(e, dict) or e.get("operation") not in (APPLY, UPDATE):
            raise MalformedFields("operation must be `Apply` or `Update`")
        if not e.get("apiVersion"):
            raise MalformedFields("apiVersion must not be empty")
        kind = e.get("fieldsType")
        if not kind:
            raise MalformedFields(f"missing fieldsType in managed fields entry {i}")
        if kind != "FieldsV1":
            raise MalformedFields(f'invalid fieldsType "{kind}" in managed fields entry {i}')
        manager = Manager(
            e.get("manager") or "", e["operation"], e["apiVersion"], e.get("subresource") or "",
            field_sets.decode(e.get("fieldsV1")), e.get("time") or "",
        )
        out[manager.identity] = manager
    return out


def is_reset(entries: Any) -> bool:
    """Whether a client asks to forget all managers: an empty list, or a list of one empty entry."""
    return isinstance(entries, list) and entries in ([], [{}])


def encode(managers: Managers) -> list[Object]:
    """The entries in upstream's order: appliers first, then by time, manager, version and subresource."""
    ordered = sorted(managers.values(), key=lambda m: (m.operation, m.time, m.name, m.api_version, m.subresource))
    return [m.entry() for m in ordered]


def capped(managers: Managers) -> Managers:
    """The managers with at most MAX_UPDATERS that update: the oldest of one version are put together."""
    updaters = [m for m in managers.values() if not m.applied]
    if len(updaters) <= MAX_UPDATERS:
        return managers
    updaters.sort(key=lambda m: (m.time, m.name, m.api_version, m.subresource))
    out = dict(managers)
    left = len(updaters)
    first: dict[str, Manager] = {}
    for manager in updaters:
        if left <= MAX_UPDATERS:
            break
        oldest = first.setdefault(manager.api_version, manager)
        if oldest is manager:
            continue
        bucket = Manager(ANCIENT, UPDATE, manager.api_version, "", {})
        current = out.get(bucket.identity)
        if current is None:
            current = replace(bucket, fields=out.pop(oldest.identity).fields)
        out.pop(manager.identity, None)
        fields = field_sets.union(manager.fields, current.fields)
        out[bucket.identity] = replace(bucket, fields=fields, time=manager.time)
        left -= 1
    return out
