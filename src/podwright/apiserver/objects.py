"""What the API server's own parts see of the cluster, and how they write: requests.Objects and requests.Writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from podwright.api import objects, status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.apiserver.cache.entries import Cached, Event
from podwright.apiserver.registry.creating import fill_system_fields
from podwright.apiserver.registry.registry import Conflict, KeyExists, Missing, Registry
from podwright.apiserver.requests import ChangeHandler


class CacheObjects:
    """Reads the watch cache. Objects are shared."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._registry.read(resource, namespace, name)

    def list(self, resource: Resource, namespace: str = "") -> Sequence[Object]:
        return self._registry.read_all(resource, namespace)

    def subscribe(self, resource: Resource, handler: ChangeHandler) -> Callable[[], None]:
        """See requests.Objects."""
        cache = self._registry.cache(resource)

        def listener(event: Event) -> None:
            old = event.previous.object if event.previous is not None else None
            handler(old, None if event.type == "DELETED" else event.current.object)

        for entry in list(cache.objects.values()):
            handler(None, entry.object)
        cache.listeners.append(listener)
        return lambda: cache.listeners.remove(listener)


class SystemWriter:
    """Writes below authorization and admission. Objects must be whole and valid: they are defaulted, not checked."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def create(self, resource: Resource, obj: Object) -> Object:
        """Raises ApiError (409)."""
        registry = self._registry
        obj = objects.deepcopy(obj)
        obj.setdefault("apiVersion", resource.api_version)
        obj.setdefault("kind", resource.kind)
        registry.rules.default(resource, obj)
        status_before = obj.get("status")
        fill_system_fields(registry, obj["metadata"])
        registry.rules.prepare_create(resource, obj)
        if status_before is not None:
            obj["status"] = status_before
        undo = await registry.strategy(resource).begin_create(registry, obj, False)
        done = False
        try:
            cached = await registry.commit_create(resource, objects.key(obj), obj)
            done = True
        except KeyExists:
            raise status.already_exists(resource.group, resource.plural, objects.name(obj)) from None
        finally:
            if not done:
                for revert in undo:
                    revert()
        return cached.object

    async def update(self, resource: Resource, obj: Object) -> Object:
        """By metadata.resourceVersion, if it has one. Raises ApiError (404, 409)."""
        registry = self._registry
        current = registry.cache(resource).get(objects.key(obj))
        name = objects.name(obj)
        if current is None:
            raise status.not_found(resource.group, resource.plural, name)
        version = obj["metadata"].get("resourceVersion")
        if version and version != str(current.revision):
            raise status.conflict(resource.group, resource.plural, name, status.MODIFIED)
        obj = objects.deepcopy(obj)
        try:
            cached: Cached = await registry.commit_update(resource, current, obj)
        except Conflict:
            raise status.conflict(resource.group, resource.plural, name, status.MODIFIED) from None
        except Missing:
            raise status.not_found(resource.group, resource.plural, name) from None
        return cached.object
