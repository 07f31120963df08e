"""An in-memory stand-in for the watch cache and the writer below admission."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from podwright.api.objects import Object, deepcopy, name, namespace
from podwright.api.resources import BUILTIN, Resource
from podwright.api.status import already_exists, conflict, not_found

_revisions = itertools.count(1)


class FakeObjects:
    """Objects and Writer in one; changes reach subscribers at once."""

    def __init__(self, *objects: Object) -> None:
        self.kept: dict[tuple[str, str], dict[tuple[str, str], Object]] = {}
        self.handlers: dict[tuple[str, str], list[Any]] = {}
        self.writes: list[tuple[str, Object]] = []
        for obj in objects:
            self.put(obj)

    def put(self, obj: Object) -> Object:
        resource = BUILTIN.by_kind(obj["apiVersion"], obj["kind"])
        assert resource is not None, obj["kind"]
        stored = deepcopy(obj)
        bucket = self.kept.setdefault((resource.group, resource.plural), {})
        key = (namespace(stored), name(stored))
        old = bucket.get(key)
        stored["metadata"].setdefault("uid", old["metadata"]["uid"] if old else f"uid-{next(_revisions)}")
        stored["metadata"]["resourceVersion"] = str(next(_revisions))
        bucket[key] = stored
        for handler in list(self.handlers.get((resource.group, resource.plural), ())):
            handler(old, stored)
        return stored

    def remove(self, resource: Resource, ns: str, nm: str) -> None:
        old = self.kept[resource.group, resource.plural].pop((ns, nm))
        for handler in list(self.handlers.get((resource.group, resource.plural), ())):
            handler(old, None)

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self.kept.get((resource.group, resource.plural), {}).get((namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        bucket = self.kept.get((resource.group, resource.plural), {})
        return [o for (ns, _), o in bucket.items() if not namespace or ns == namespace]

    def subscribe(self, resource: Resource, handler: Any) -> Callable[[], None]:
        handlers = self.handlers.setdefault((resource.group, resource.plural), [])
        handlers.append(handler)
        for obj in self.list(resource):
            handler(None, obj)
        return lambda: handlers.remove(handler)

    async def create(self, resource: Resource, obj: Object) -> Object:
        if self.get(resource, namespace(obj), name(obj)) is not None:
            raise already_exists(resource.group, resource.plural, name(obj))
        self.writes.append(("create", obj))
        return self.put(obj)

    async def update(self, resource: Resource, obj: Object) -> Object:
        present = self.get(resource, namespace(obj), name(obj))
        if present is None:
            raise not_found(resource.group, resource.plural, name(obj))
        wanted = obj["metadata"].get("resourceVersion")
        if wanted and wanted != present["metadata"]["resourceVersion"]:
            raise conflict(resource.group, resource.plural, name(obj), "changed")
        self.writes.append(("update", obj))
        return self.put(obj)


def namespace_object(nm: str, labels: dict[str, str] | None = None, phase: str = "Active") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": nm, "labels": {"kubernetes.io/metadata.name": nm, **(labels or {})}},
        "status": {"phase": phase},
    }
