"""What all verbs share: the way to the caches, the schemas, the store, and the retry of lost races."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from podwright.api import schema, status
from podwright.api.objects import Object
from podwright.api.resources import Resource, ResourceTable
from podwright.apiserver.cache.entries import Cached, encode, with_revision
from podwright.apiserver.cache.feed import Feed
from podwright.apiserver.cache.watch_cache import WatchCache
from podwright.apiserver.registry.rules import Rules
from podwright.apiserver.registry.strategies import DEFAULT, Strategy
from podwright.apiserver.requests import AdmissionRequest
from podwright.store.protocol import (
    Compacted,
    FutureRevision,
    KeyExists,
    KeyMissing,
    RevisionMismatch,
    Store,
    StoreUnavailable,
    ValueTooLarge,
)

_FRESH_SECONDS = 3.0

class ScalePaths:
    """Where a kind keeps its replicas: dotted paths. `selector` may name a text field (custom resources)."""

    def __init__(self, spec: str = "spec.replicas", status: str = "status.replicas", selector: str = "") -> None:
        self.spec = spec.lstrip(".").split(".")
        self.status = status.lstrip(".").split(".")
        self.selector = selector.lstrip(".").split(".") if selector else []


class Admission(Protocol):
    async def admit(self, request: AdmissionRequest) -> None: ...

    async def validate(self, request: AdmissionRequest) -> None: ...


class Form(Protocol):
    """How stored objects of a custom resource look in one version (crd.forms.VersionForm)."""

    row: Resource
    warning: str

    @property
    def converts(self) -> bool: ...

    def lies_ready(self, cached: Cached) -> bool: ...

    async def prepare(self, entries: Iterable[Cached]) -> None: ...

    def of(self, cached: Cached) -> Object: ...

    async def convert(self, objs: Sequence[Object]) -> list[Object]: ...

    def settled(self, obj: Object) -> Object: ...


class Conflict(Exception):
    """The object was written since it was read. ``current`` is what stands there now."""

    def __init__(self, current: Cached) -> None:
        super().__init__(current.key)
        self.current = current


class Missing(Exception):
    """The object is gone."""


class Registry:
    """Everything below the handlers. `now` gives seconds since the epoch."""

    def __init__(
        self, *, store: Store, feed: Feed, table: ResourceTable, now: Callable[[], float],
        strategies: dict[tuple[str, str], Strategy], exclusive: bool = True,
    ) -> None:
        self.store = store
        self.feed = feed
        self.table = table
        self.now = now
        self.exclusive = exclusive
        self.compacted = 0
        self.admission: Admission
        self.rules = Rules()
        self.selectable: dict[tuple[str, str, str], dict[str, str]] = {}
        """Custom resources' selectableFields, label to path."""
        self.scale_paths: dict[tuple[str, str, str], ScalePaths] = {}
        self.schemas: dict[tuple[str, str, str], schema.Schema] = {}
        """Of custom resources, by (group, version, plural)."""
        self.forms: dict[tuple[str, str, str], Form] = {}
        """Of custom resources, by (group, version, plural); also of versions that are stored and not served."""
        self.stored_forms: dict[tuple[str, str], Form] = {}
        """The forms in which custom resources are stored, by (group, plural)."""
        self.strategies = strategies
        self._caches: dict[tuple[str, str, str], tuple[WatchCache, Resource]] = {}

    async def compact(self, revision: int) -> None:
        """Forgets what was superseded before `revision`. Pages of lists from before it are gone, also those that the
        caches could still give. Raises StoreUnavailable."""
        try:
            await self.store.compact(revision)
        except Compacted as further:
            revision = further.oldest
        self.compacted = max(self.compacted, revision)

    def storage(self, row: Resource) -> tuple[WatchCache, Resource]:
        """The cache that holds objects of `row`, and the row in whose version they are worked on: that in which they
        are stored. Custom resources are worked on in the version of the request, and stored by :meth:`stored`."""
        key = (row.group, row.version, row.plural)
        found = self._caches.get(key)
        if found is None:
            stored = row if row.custom else self.table.storage_row(row)
            found = self._caches[key] = (self.feed.cache(stored.storage_path), stored)
        return found

    def cache(self, row: Resource) -> WatchCache:
        return self.storage(row)[0]

    def forget(self, row: Resource) -> None:
        """A custom resource's row was changed or taken away."""
        key = (row.group, row.version, row.plural)
        self._caches.pop(key, None)
        self.schemas.pop(key, None)

    def strategy(self, row: Resource) -> Strategy:
        return self.strategies.get((row.group, row.plural), DEFAULT)

    def schema(self, row: Resource) -> schema.Schema:
        if row.custom:
            return self.schemas[row.group, row.version, row.plural]
        return schema.for_resource(row)

    def convert(self, source: Resource, target: Resource, obj: Object) -> Object:
        """The object in another version; the same object if there is nothing to do."""
        if source is target or (source.group == target.group and source.version == target.version):
            return obj
        from podwright.api import conversion

        return conversion.convert(source, target, obj)

    def form(self, row: Resource) -> Form:
        """Raises ApiError (404) for a version that is gone."""
        form = self.forms.get((row.group, row.version, row.plural))
        if form is None:
            raise status.path_not_found()
        return form

    async def shown(self, row: Resource, cached: Cached) -> Object:
        """A stored object as it is worked on. Raises ApiError (500) if it cannot be converted."""
        if not row.custom:
            return cached.object
        form = self.form(row)
        await form.prepare((cached,))
        return form.of(cached)

    async def converted(self, source: Resource, target: Resource, obj: Object) -> Object:
        """An object on its way in another version of the same kind. Raises ApiError (500)."""
        if target.custom and obj.get("apiVersion") != target.api_version:
            return (await self.form(target).convert((obj,)))[0]
        return self.convert(source, target, obj)

    async def stored(self, row: Resource, obj: Object) -> Object:
        """The object in the version in which it is stored. Raises ApiError (500)."""
        if not row.custom:
            return obj
        form = self.stored_forms.get((row.group, row.plural))
        if form is None:
            raise status.path_not_found()
        return (await form.convert((obj,)))[0] if obj.get("apiVersion") != form.row.api_version else obj

    async def fresh(self) -> None:
        """With a store that others write too: waits until the caches have seen all that was there when called. Raises
        ApiError (503): another server may have the store."""
        if not self.exclusive:
            try:
                await self.feed.reached(await self.store.revision(), _FRESH_SECONDS)
            except StoreUnavailable as exc:
                raise store_failure(exc) from exc
            except TimeoutError:
                raise status.unavailable("the watch cache does not see the store's changes") from None

    async def get(self, row: Resource, namespace: str, name: str) -> Cached:
        """Raises ApiError (404)."""
        await self.fresh()
        cached = self.cache(row).get(f"{namespace}/{name}" if row.namespaced else name)
        if cached is None:
            raise status.not_found(row.group, row.plural, name)
        return cached

    # Commits. All return once the change is durable and the caches show it.

    async def commit_create(self, row: Resource, key: str, obj: Object) -> Cached:
        """Raises KeyExists, ApiError (500)."""
        strategy = self.strategy(row)
        if strategy.reserves:
            return await self._reserved(strategy, obj, None, lambda: self._create(row, key, obj))
        return await self._create(row, key, obj)

    async def _reserved(
        self, strategy: Strategy, obj: Object, old: Object | None, write: Callable[[], Awaitable[Cached]]
    ) -> Cached:
        release = await strategy.reserve(self, obj, old)
        try:
            written = await write()
        except BaseException:
            if release is not None:
                await asyncio.shield(release())
            raise
        if old is not None:
            await strategy.settled(self, old, written.object)
        return written

    async def _create(self, row: Resource, key: str, obj: Object) -> Cached:
        cache, _ = self.storage(row)
        obj = await self.stored(row, obj)
        value = encode(obj)
        self.feed.written[value] = obj
        try:
            entry = await self.store.create(cache.prefix + key, value)
            await self._seen(entry.revision)
        except StoreUnavailable as exc:
            raise store_failure(exc) from exc
        finally:
            self.feed.written.pop(value, None)
        return _committed(cache, key, value, entry.revision)

    async def commit_update(self, row: Resource, old: Cached, obj: Object) -> Cached:
        """Raises Conflict, Missing. Nothing is written, and `old` comes back, if nothing changed."""
        strategy = self.strategy(row)
        if strategy.reserves:
            return await self._reserved(strategy, obj, old.object, lambda: self._update(row, old, obj))
        return await self._update(row, old, obj)

    async def _update(self, row: Resource, old: Cached, obj: Object) -> Cached:
        cache, _ = self.storage(row)
        obj = await self.stored(row, obj)
        value = encode(obj)
        if value == old.stored():
            return old
        try:
            self.feed.written[value] = obj
            entry = await self.store.update(cache.prefix + old.key, value, expected=old.revision)
            await self._seen(entry.revision)
        except RevisionMismatch as exc:
            raise Conflict(Cached.of(old.key, exc.current.value, exc.current.revision)) from exc
        except KeyMissing as exc:
            raise Missing from exc
        except StoreUnavailable as exc:
            raise store_failure(exc) from exc
        finally:
            self.feed.written.pop(value, None)
        return _committed(cache, old.key, value, entry.revision)

    async def commit_delete(self, row: Resource, old: Cached) -> Cached:
        """The object as it was, with the revision of its deletion. Raises Conflict, Missing."""
        cache, _ = self.storage(row)
        try:
            entry, revision = await self.store.delete(cache.prefix + old.key, expected=old.revision)
        except RevisionMismatch as exc:
            raise Conflict(Cached.of(old.key, exc.current.value, exc.current.revision)) from exc
        except KeyMissing as exc:
            raise Missing from exc
        except StoreUnavailable as exc:
            raise store_failure(exc) from exc
        await self._seen(revision)
        gone = Cached.of(old.key, entry.value, revision)
        strategy = self.strategy(row)
        strategy.deleted(self, gone.object)
        if strategy.reserves:
            await strategy.settled(self, gone.object, None)
        return gone

    async def _seen(self, revision: int) -> None:
        if revision > self.feed.revision:
            try:
                await self.feed.reached(revision)
            except TimeoutError:
                raise status.timeout("the write is durable, but the watch cache did not see it in time") from None

    # What authorization and admission read (requests.Objects)

    def read(self, row: Resource, namespace: str, name: str) -> Object | None:
        cached = self.cache(row).get(f"{namespace}/{name}" if row.namespaced else name)
        return cached.object if cached is not None else None

    def read_all(self, row: Resource, namespace: str = "") -> Sequence[Object]:
        cache = self.cache(row)
        entries: Iterable[Cached] = (
            cache.in_namespace(namespace).values() if namespace else cache.objects.values()
        )
        return [entry.object for entry in entries]


def store_failure(error: StoreUnavailable) -> status.ApiError:
    """What a client is told of a store that did not do it: 413 for a value that it takes in no case, 504 for a revision
    that it has not reached, 503 for all else."""
    if isinstance(error, ValueTooLarge):
        return status.failure(413, "RequestEntityTooLarge", f"etcdserver: request is too large: {error}")
    if isinstance(error, FutureRevision):
        return too_large_version(error.revision, error.current)
    return status.unavailable(f"the store is not available: {error}")


def too_large_version(asked: int, current: int) -> status.ApiError:
    """504: the revision is not reached yet."""
    return status.failure(
        504, "Timeout", f"Timeout: Too large resource version: {asked}, current: {current}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


def _committed(cache: WatchCache, key: str, value: bytes, revision: int) -> Cached:
    current = cache.get(key)
    if current is not None and current.revision == revision:
        return current
    return Cached(key, with_revision(value, revision), revision)


__all__ = ["Admission", "Conflict", "KeyExists", "Missing", "Registry"]
