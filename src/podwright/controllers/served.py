"""The resources that a cluster serves: the built-in rows, and those that CustomResourceDefinitions add."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import APISERVICES, BUILTIN, CUSTOMRESOURCEDEFINITIONS, Resource
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.informers import Informer, InformerFactory, latest

Changed = Callable[[Resource, bool], None]


class ServedResources:
    """One row a resource (its preferred version; core Events stand for both Event resources). `changed(row, served)`
    is called for every custom resource that comes or goes."""

    def __init__(self, informers: InformerFactory, changed: Changed | None = None) -> None:
        self._custom: dict[str, Resource] = {}
        self._changed = changed
        self.informer: Informer = informers.informer(CUSTOMRESOURCEDEFINITIONS)
        self.informer.add_handler(self._definition_changed)

    def rows(self) -> list[Resource]:
        return [*builtin(), *self._custom.values()]

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """The row for a kind that an ownerReference names, in whatever version it names it."""
        group = api_version.rpartition("/")[0]
        for row in self._custom.values():
            if row.group == group and row.kind == kind:
                return row
        return BUILTIN.by_group_kind(group, kind)

    def _definition_changed(self, old: Object | None, new: Object | None) -> None:
        definition = latest(old, new)
        name = objects.name(definition)
        row = _row(definition) if new is not None else None
        known = self._custom.get(name)
        if row == known:
            return
        if known is not None:
            del self._custom[name]
            if self._changed is not None:
                self._changed(known, False)
        if row is not None:
            self._custom[name] = row
            if self._changed is not None:
                self._changed(row, True)


def builtin() -> Iterable[Resource]:
    """Built-in rows whose objects can be listed, watched and deleted, each resource once."""
    seen: set[tuple[str, str]] = set()
    for row in BUILTIN:
        key = (row.group, row.plural)
        if key in seen or row.storage_group == "" or not {"list", "watch", "delete"} <= set(row.verbs):
            continue
        seen.add(key)
        yield row


async def extensions(client: Client) -> tuple[list[Resource], dict[str, str]]:
    """The resources of other API servers whose objects can be listed and deleted, each in one version; and why the
    group versions that could not be asked were not told of."""
    found: dict[tuple[str, str], Resource] = {}
    failed: dict[str, str] = {}
    remotes = [s["spec"] for s in await client.items(APISERVICES) if (s.get("spec") or {}).get("service")]
    for spec in sorted(remotes, key=lambda s: -int(s.get("versionPriority") or 0)):
        group, version = spec.get("group") or "", spec.get("version") or ""
        try:
            listed = await client.raw("GET", f"/apis/{group}/{version}")
        except ApiError as error:
            failed[f"{group}/{version}"] = str(error)
            continue
        for entry in listed.get("resources") or ():
            verbs = tuple(entry.get("verbs") or ())
            if "/" not in entry["name"] and {"list", "delete"} <= {*verbs}:
                plural, namespaced = entry["name"], bool(entry.get("namespaced"))
                row = Resource(group, version, plural, entry["kind"], namespaced, verbs=verbs, custom=True)
                found.setdefault((group, plural), row)
    return list(found.values()), failed


def _row(definition: Object) -> Resource | None:
    if not objects.condition_is_true(definition, "Established"):
        return None
    spec = definition["spec"]
    served = [v for v in spec.get("versions") or () if v.get("served")]
    if not served:
        return None
    version = next((v for v in served if v.get("storage")), served[0])
    names = spec["names"]
    return Resource(
        group=spec["group"], version=version["name"], plural=names["plural"], kind=names["kind"],
        namespaced=spec.get("scope") == "Namespaced", custom=True,
    )
