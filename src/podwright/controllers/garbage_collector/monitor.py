"""Follows one resource by list and watch without keeping its objects: the graph holds all that is needed of them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.status import ApiError
from podwright.client.backoff import Backoff
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.transport import ServerUnreachable
from podwright.controllers.garbage_collector.graph import Graph

log = logging.getLogger(__name__)

_PAGE = 500


class Monitor:
    def __init__(self, client: Client, row: Resource, graph: Graph, clock: Clock) -> None:
        self.row = row
        self._client = client
        self._graph = graph
        self._clock = clock
        self._uids: dict[str, str] = {}
        self._revision = ""
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled. A resource that cannot be listed counts as synced: it must not hold the rest up."""
        backoff = Backoff(first=0.1, maximum=30.0)
        while True:
            try:
                if not self._revision:
                    await self._list()
                await self._watch(backoff)
            except ApiError as refused:
                self.synced.set()
                if refused.code in (400, 403, 404, 410):
                    self._revision = ""
                if refused.code == 410:
                    continue
                log.info("garbage collector: %s: %s", self.row.qualified, refused)
                await self._clock.sleep(backoff.next())
            except ServerUnreachable as lost:
                log.info("garbage collector: %s: %s", self.row.qualified, lost)
                await self._clock.sleep(backoff.next())

    def forget(self) -> None:
        """The resource is served no more: its objects are gone."""
        for uid in list(self._uids.values()):
            self._graph.remove(uid)
        self._uids.clear()

    async def _list(self) -> None:
        found: set[str] = set()
        token, revision = "", ""
        while True:
            page = await self._client.list(self.row, limit=_PAGE, continue_=token)
            for item in page.get("items") or ():
                found.add(objects.key(item))
                self._put(item)
            meta = page.get("metadata") or {}
            # The pages are one snapshot, of the first page's revision.
            revision = revision or meta.get("resourceVersion") or ""
            token = meta.get("continue") or ""
            if not token:
                break
        for key in [k for k in self._uids if k not in found]:
            self._graph.remove(self._uids.pop(key))
        self._revision = revision
        self.synced.set()

    async def _watch(self, backoff: Backoff) -> None:
        watch = self._client.watch(self.row, resource_version=self._revision)
        async with aclosing(watch) as events:  # type: ignore[type-var]
            async for kind, obj in events:
                backoff.reset()
                if kind == "DELETED":
                    uid = self._uids.pop(objects.key(obj), None)
                    if uid is not None:
                        self._graph.remove(uid)
                elif kind != "BOOKMARK":
                    self._put(obj)
                self._revision = obj["metadata"]["resourceVersion"]

    def _put(self, obj: Object) -> None:
        key, uid = objects.key(obj), objects.uid(obj)
        known = self._uids.get(key)
        if known is not None and known != uid:
            self._graph.remove(known)
        self._uids[key] = uid
        self._graph.observe(self.row, obj)
