"""The ConfigMaps, Secrets and other objects that Pods of this node refer to: read on demand, watched one by one as
long as a Pod needs to follow them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.status import ApiError, not_found
from podwright.client.client import Client, with_type
from podwright.client.clock import Clock
from podwright.client.informers import Informer

_REMEMBERED = 4096

Reference = tuple[Resource, str, str]
"""(resource, namespace, name)"""


@dataclass(slots=True)
class _Watched:
    informer: Informer
    task: asyncio.Task[None] | None = None
    holders: set[str] = field(default_factory=set)


class ReferencedObjects:
    """Run :meth:`run` as a task. `changed` is told the uid of each Pod that follows an object which changed."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._watched: dict[Reference, _Watched] = {}
        self._pinned: dict[str, dict[Reference, Object]] = {}
        """By Pod, what can never change for it."""
        self._read: dict[Reference, str] = {}
        """Revision of each object when it was last read without a watch."""
        self._listeners: list[Callable[[str], None]] = []
        self._group: asyncio.TaskGroup | None = None

    def listen(self, changed: Callable[[str], None]) -> None:
        self._listeners.append(changed)

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """From the watch if there is one, else from the server.

        Raises:
            ApiError: there is no such object, or it may not be read.
            ServerUnreachable: no server, and it is not known here.
        """
        watched = self._watched.get((resource, namespace, name))
        if watched is not None and watched.informer.has_synced():
            found = watched.informer.get(f"{namespace}/{name}" if namespace else name)
            if found is None:
                raise not_found(resource.group, resource.plural, name)
            return found
        found = with_type(resource, await self._client.get(resource, name, namespace=namespace))
        if len(self._read) >= _REMEMBERED:
            # What is forgotten costs a Pod that begins to follow it one look more.
            self._read.clear()
        self._read[resource, namespace, name] = _revision(found)
        return found

    async def all_of(self, resource: Resource) -> list[Object]:
        """Every object of a resource. Raises like :meth:`get`."""
        watched = self._watched.get((resource, "", ""))
        if watched is not None and watched.informer.has_synced():
            return list(watched.informer.items())
        return [with_type(resource, found) for found in await self._client.items(resource)]

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Like :meth:`get`, None if it does not exist."""
        try:
            return await self.get(resource, namespace, name)
        except ApiError as refused:
            if refused.code == 404:
                return None
            raise

    def pin(self, uid: str, resource: Resource, namespace: str, obj: Object) -> None:
        """An immutable object: the Pod keeps this version until :meth:`release`."""
        self._pinned.setdefault(uid, {})[resource, namespace, str(obj["metadata"]["name"])] = obj

    def pinned(self, uid: str, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._pinned.get(uid, {}).get((resource, namespace, name))

    def follow(self, uid: str, resource: Resource, namespace: str, name: str) -> None:
        """The Pod is woken when the object comes, changes or goes, until :meth:`release`; with name "", when any one of
        the resource does."""
        reference = (resource, namespace, name)
        watched = self._watched.get(reference)
        if watched is None:
            informer = Informer(
                self._client,
                resource,
                namespace=namespace,
                field_selector=f"metadata.name={name}" if name else "",
                clock=self._clock,
            )
            watched = self._watched[reference] = _Watched(informer)
            informer.add_handler(lambda old, new: self._told(reference, old, new))
            self._start(reference)
        watched.holders.add(uid)

    def release(self, uid: str) -> None:
        """The Pod is gone: what only it followed is watched no more."""
        self._pinned.pop(uid, None)
        for reference, watched in list(self._watched.items()):
            watched.holders.discard(uid)
            if not watched.holders:
                del self._watched[reference]
                self._read.pop(reference, None)
                if watched.task is not None:
                    watched.task.cancel()

    def _told(self, reference: Reference, old: Object | None, new: Object | None) -> None:
        watched = self._watched.get(reference)
        if watched is None:
            return
        if old is None and new is not None and self._read.get(reference) == _revision(new):
            # The first list shows what was read already.
            return
        for uid in list(watched.holders):
            for listener in self._listeners:
                listener(uid)

    def _start(self, reference: Reference) -> None:
        watched = self._watched[reference]
        if self._group is not None and watched.task is None:
            name = f"watch {reference[0].qualified} {reference[1]}/{reference[2]}"
            watched.task = self._group.create_task(watched.informer.run(), name=name)

    async def run(self) -> None:
        """Keeps the watches until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for reference in list(self._watched):
                self._start(reference)
            await asyncio.Event().wait()


def _revision(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("resourceVersion") or "")
