"""Informers: a component's live picture of a resource, kept by list and watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Protocol

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.status import ApiError
from podwright.client.backoff import Backoff
from podwright.client.client import Client, with_type
from podwright.client.clock import Clock, SystemClock
from podwright.client.transport import ServerUnreachable

log = logging.getLogger(__name__)

IndexFunction = Callable[[Object], Iterable[str]]


class EventHandler(Protocol):
    """Called for each change, in order, on the informer's task: quick and without awaiting. `old` is None for an
    addition, `new` is None for a removal. A relist shows as the changes it amounts to."""

    def __call__(self, old: Object | None, new: Object | None) -> None: ...


def latest(old: Object | None, new: Object | None) -> Object:
    """The object that an event is about: as it is, or as it was if it is gone."""
    obj = new if new is not None else old
    assert obj is not None
    return obj


class Informer:
    """The objects of one resource (of one namespace, or matching selectors), by key ("namespace/name").

    Run it as a task: ``tg.create_task(informer.run())``, then ``await informer.synced()``. What it gives is shared:
    never change it.
    """

    def __init__(
        self, client: Client, resource: Resource, *, namespace: str = "", label_selector: str = "",
        field_selector: str = "", clock: Clock | None = None,
    ) -> None:
        self.resource = resource
        self._client = client
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._clock = clock or SystemClock()
        self._objects: dict[str, Object] = {}
        self._handlers: list[EventHandler] = []
        self._index_functions: dict[str, IndexFunction] = {}
        self._indexes: dict[str, dict[str, dict[str, Object]]] = {}
        self._synced = asyncio.Event()
        self._resource_version = ""

    def add_handler(self, handler: EventHandler) -> None:
        """What is known already is given as additions at once."""
        self._handlers.append(handler)
        for obj in list(self._objects.values()):
            handler(None, obj)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Keeps objects findable by each string that `function` gives for them."""
        self._index_functions[name] = function
        self._indexes[name] = {}
        for key, obj in self._objects.items():
            self._index(name, key, None, obj)

    def get(self, key: str) -> Object | None:
        return self._objects.get(key)

    def items(self) -> Sequence[Object]:
        return list(self._objects.values())

    def by_index(self, name: str, value: str) -> Sequence[Object]:
        return list(self._indexes[name].get(value, {}).values())

    def __len__(self) -> int:
        return len(self._objects)

    @property
    def resource_version(self) -> str:
        """The revision that the picture has reached."""
        return self._resource_version

    def has_synced(self) -> bool:
        return self._synced.is_set()

    async def synced(self) -> None:
        """Returns once the first list is complete."""
        await self._synced.wait()

    async def run(self) -> None:
        """Lists, watches, and lists again after losing the thread, until cancelled."""
        backoff = Backoff(first=0.05, maximum=5.0)
        while True:
            try:
                if not self._resource_version:
                    await self._list()
                if not await self._watch(backoff):
                    # A watch that ends at once (the server is stopping) must not be opened again in a tight loop.
                    await self._clock.sleep(backoff.next())
            except ApiError as refused:
                if refused.code == 410:
                    self._resource_version = ""
                    continue
                log.warning("watch of %s: %s", self.resource.qualified, refused)
                if refused.code in (400, 403, 404):
                    self._resource_version = ""
                await self._clock.sleep(backoff.next())
            except ServerUnreachable as lost:
                log.info("watch of %s: %s", self.resource.qualified, lost)
                await self._clock.sleep(backoff.next())

    async def _list(self) -> None:
        answer = await self._client.list(
            self.resource, namespace=self._namespace, label_selector=self._label_selector,
            field_selector=self._field_selector, keeps=True,
        )
        found = {}
        for item in answer.get("items") or ():
            obj = with_type(self.resource, item)
            found[objects.key(obj)] = obj
        for key in [k for k in self._objects if k not in found]:
            self._put(key, None)
        for key, obj in found.items():
            known = self._objects.get(key)
            if known is None or known["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
                if known is not None and objects.uid(known) != objects.uid(obj):
                    self._put(key, None)
                self._put(key, obj)
        self._resource_version = answer["metadata"]["resourceVersion"]
        self._synced.set()

    async def _watch(self, backoff: Backoff) -> bool:
        """Follows one watch to its end; whether it gave anything."""
        alive = False
        watch = self._client.watch(
            self.resource, namespace=self._namespace, label_selector=self._label_selector,
            field_selector=self._field_selector, resource_version=self._resource_version, keeps=True,
        )
        async with aclosing(watch) as events:  # type: ignore[type-var]
            async for kind, obj in events:
                backoff.reset()
                alive = True
                if kind != "BOOKMARK":
                    known = with_type(self.resource, obj)
                    self._put(objects.key(known), None if kind == "DELETED" else known, last=known)
                self._resource_version = obj["metadata"]["resourceVersion"]
        return alive

    def _put(self, key: str, new: Object | None, last: Object | None = None) -> None:
        old = self._objects.get(key)
        if new is None:
            if old is None:
                return
            del self._objects[key]
        else:
            self._objects[key] = new
        for name in self._index_functions:
            self._index(name, key, old, new)
        # Of a removed object handlers see the last state, not the last one that was cached.
        seen = last if new is None and last is not None else old
        for handler in self._handlers:
            try:
                handler(seen, new)
            except Exception:
                log.exception("event handler for %s %s failed", self.resource.qualified, key)

    def _index(self, name: str, key: str, old: Object | None, new: Object | None) -> None:
        function, index = self._index_functions[name], self._indexes[name]
        if old is not None:
            for value in function(old):
                bucket = index.get(value)
                if bucket is not None:
                    bucket.pop(key, None)
                    if not bucket:
                        del index[value]
        if new is not None:
            for value in function(new):
                index.setdefault(value, {})[key] = new


class InformerFactory:
    """One informer a resource, shared by everything in a process that asks for it."""

    def __init__(self, client: Client, *, clock: Clock | None = None) -> None:
        self._client = client
        self._clock = clock
        self._informers: dict[tuple[str, str, str], Informer] = {}
        self._running: dict[tuple[str, str, str], asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def informer(self, resource: Resource) -> Informer:
        """The shared informer over all namespaces; started at once if the factory runs already."""
        key = (resource.group, resource.version, resource.plural)
        informer = self._informers.get(key)
        if informer is None:
            informer = self._informers[key] = Informer(self._client, resource, clock=self._clock)
            self._start(key, informer)
        return informer

    def _start(self, key: tuple[str, str, str], informer: Informer) -> None:
        if self._group is not None:
            name = f"informer {informer.resource.qualified}"
            self._running[key] = self._group.create_task(informer.run(), name=name)

    def drop(self, resource: Resource) -> None:
        """The resource is served no more: whoever asks for its informer later gets a new one."""
        key = (resource.group, resource.version, resource.plural)
        self._informers.pop(key, None)
        if (task := self._running.pop(key, None)) is not None:
            task.cancel()

    async def run(self) -> None:
        """Keeps all informers, also those asked for later, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for key, informer in self._informers.items():
                self._start(key, informer)
            await asyncio.Event().wait()

    async def synced(self) -> None:
        for informer in list(self._informers.values()):
            await informer.synced()

    def missing(self) -> list[str]:
        """Resources of which the first list is not complete."""
        return [i.resource.qualified for i in self._informers.values() if not i.has_synced()]


