"""Deletes what has lost its owners, in the background or the foreground, and lets go of what shall be orphaned.

The rules are those of the Kubernetes page "Garbage Collection". Reading is by watch alone; the API is asked only about
an object that may have to go, and about an owner that was never seen.
"""

from __future__ import annotations

import asyncio
import logging

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import EVENTS, Resource
from podwright.api.status import ApiError
from podwright.client.events import WARNING
from podwright.controllers.frame import Context, Controller, ignore_not_found
from podwright.controllers.garbage_collector.graph import FOREGROUND, ORPHAN, Graph, Node, OwnerRef, owner_refs
from podwright.controllers.garbage_collector.monitor import Monitor
from podwright.controllers.served import ServedResources

log = logging.getLogger(__name__)

_SYNC_TIMEOUT = 30.0
_DELETE, _ORPHAN = "delete/", "orphan/"


class OwnerElsewhere(Exception):
    """A cluster-scoped object names a namespaced owner: that is no owner, and no reason to delete."""


class GarbageCollector(Controller):
    name = "garbage-collector-controller"
    account = "generic-garbage-collector"
    workers = 20

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._monitors: dict[tuple[str, str], tuple[Monitor, asyncio.Task[None] | None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._ready = asyncio.Event()
        self.served = ServedResources(context.informers, self._served_changed)
        self._informers.append(self.served.informer)
        self.graph = Graph(
            lambda uid: self.queue.add(_DELETE + uid), lambda uid: self.queue.add(_ORPHAN + uid), self.served.by_kind,
            self._warn_of_owner,
        )

    # -- monitors ---------------------------------------------------------------------------------------------------

    def _served_changed(self, row: Resource, served: bool) -> None:
        if self._group is None:
            return
        if served:
            self._start(row)
            self.graph.resolve()
        else:
            monitor, task = self._monitors.pop((row.group, row.plural), (None, None))
            if monitor is not None:
                monitor.forget()
            if task is not None:
                task.cancel()

    def _start(self, row: Resource) -> None:
        assert self._group is not None
        key = (row.group, row.plural)
        if key in self._monitors or row == EVENTS:
            return
        monitor = Monitor(self.context.informers_client, row, self.graph, self.clock)
        self._monitors[key] = monitor, self._group.create_task(monitor.run(), name=f"gc {row.qualified}")

    async def run(self) -> None:
        self._monitors.clear()
        await super().run()

    async def background(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for row in self.served.rows():
                    self._start(row)
                try:
                    async with asyncio.timeout(_SYNC_TIMEOUT):
                        for monitor, _ in list(self._monitors.values()):
                            await monitor.synced.wait()
                except TimeoutError:
                    log.warning("garbage collector starts before it has seen every resource")
                self._ready.set()
                await asyncio.Event().wait()
            finally:
                self._group = None

    # -- work -------------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> None:
        await self._ready.wait()
        if key.startswith(_ORPHAN):
            await self._let_dependents_go(key.removeprefix(_ORPHAN))
            return
        node = self.graph.get(key.removeprefix(_DELETE))
        if node is None or (node.being_deleted and not node.deleting_dependents):
            return
        if not node.virtual and not node.deleting_dependents and self._is_held(node):
            return
        if node.row is None:
            # Nobody serves its kind: its dependents stay, until somebody does.
            return
        live = await self._live(node)
        if live is None:
            if self.graph.get(node.uid) is not node:
                return
            if node.virtual:
                self.graph.remove_virtual(node.uid)
            else:
                self.graph.remove(node.uid)
            return
        if node.virtual:
            # It exists, but its own watch has yet to show it.
            return
        if node.deleting_dependents:
            await self._finish_foreground(node, live)
            return
        await self._judge(node, live)

    def _is_held(self, node: Node) -> bool:
        """By what the graph has seen: no owners at all, or every one of them alive."""
        for ref in node.owners:
            owner = self.graph.get(ref.uid)
            if owner is None or owner.deleting_dependents or not owner.is_observed_for(node.namespace, ref.kind):
                return False
        return True

    async def _live(self, node: Node) -> Object | None:
        try:
            live = await self.client.get(self._row(node), node.name, namespace=node.namespace)
        except ApiError as refused:
            if refused.code == 404:
                return None
            raise
        return live if objects.uid(live) == node.uid else None

    async def _judge(self, node: Node, live: Object) -> None:
        refs = owner_refs(live["metadata"])
        if not refs:
            return
        solid: list[OwnerRef] = []
        waiting: list[OwnerRef] = []
        gone: list[OwnerRef] = []
        for ref in refs:
            try:
                (solid, waiting, gone)[await self._standing(node, ref)].append(ref)
            except OwnerElsewhere:
                return
        if solid:
            if gone or waiting:
                await self._patch_owners(node, live, {r.uid for r in (*gone, *waiting)})
            return
        finalizers = live["metadata"].get("finalizers") or ()
        if waiting and node.dependents:
            if any(d.deleting_dependents for d in node.dependents.values()):
                # A circle of foreground deletions: somebody must stop blocking.
                await self._unblock(node, live)
                live = await self.client.get(self._row(node), node.name, namespace=node.namespace)
            policy = "Foreground"
        elif ORPHAN in finalizers:
            policy = "Orphan"
        elif FOREGROUND in finalizers:
            policy = "Foreground"
        else:
            policy = "Background"
        await self._delete(node, live, policy)

    async def _standing(self, node: Node, ref: OwnerRef) -> int:
        """0 solid, 1 waiting for its dependents to go, 2 gone."""
        if self.graph.is_absent(ref.uid, node.namespace):
            return 2
        owner = self.graph.get(ref.uid)
        if owner is not None and owner.is_observed_for(node.namespace, ref.kind):
            return 1 if owner.deleting_dependents else 0
        row = self.served.by_kind(ref.api_version, ref.kind)
        if row is None:
            return 0
        if row.namespaced and not node.namespace:
            raise OwnerElsewhere
        try:
            live = await self.client.get(row, ref.name, namespace=node.namespace)
        except ApiError as refused:
            if refused.code != 404:
                raise
            live = None
        if live is None or objects.uid(live) != ref.uid:
            if owner is None or owner.virtual:
                self.graph.note_absent(ref.uid, node.namespace)
            return 2
        return 1 if objects.is_deleting(live) and FOREGROUND in (live["metadata"].get("finalizers") or ()) else 0

    async def _finish_foreground(self, node: Node, live: Object) -> None:
        blocking = node.blocking()
        if not blocking:
            await self._patch_finalizers(node, live, FOREGROUND)
            return
        for dependent in blocking:
            if not dependent.deleting_dependents:
                self.queue.add(_DELETE + dependent.uid)

    async def _let_dependents_go(self, uid: str) -> None:
        node = self.graph.get(uid)
        if node is None or node.virtual:
            return
        for dependent in list((node.dependents or {}).values()):
            live = await self._live(dependent)
            if live is not None:
                await self._patch_owners(dependent, live, {uid})
        live = await self._live(node)
        if live is not None and ORPHAN in (live["metadata"].get("finalizers") or ()):
            await self._patch_finalizers(node, live, ORPHAN)

    # -- writes -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _row(node: Node) -> Resource:
        assert node.row is not None
        return node.row

    async def _patch_owners(self, node: Node, live: Object, without: set[str]) -> None:
        left = [r for r in live["metadata"].get("ownerReferences") or () if r["uid"] not in without]
        if len(left) != len(live["metadata"].get("ownerReferences") or ()):
            await self._patch(node, live, {"ownerReferences": left or None})

    async def _unblock(self, node: Node, live: Object) -> None:
        refs = [{**r, "blockOwnerDeletion": False} for r in live["metadata"].get("ownerReferences") or ()]
        await self._patch(node, live, {"ownerReferences": refs})

    async def _patch_finalizers(self, node: Node, live: Object, without: str) -> None:
        left = [f for f in live["metadata"].get("finalizers") or () if f != without]
        await self._patch(node, live, {"finalizers": left or None})

    async def _patch(self, node: Node, live: Object, change: Object) -> None:
        meta = {"uid": node.uid, "resourceVersion": live["metadata"]["resourceVersion"], **change}
        await ignore_not_found(
            self.client.patch(self._row(node), node.name, {"metadata": meta}, namespace=node.namespace)
        )

    async def _delete(self, node: Node, live: Object, policy: str) -> None:
        await ignore_not_found(self.client.delete(
            self._row(node), node.name, namespace=node.namespace, propagation=policy, uid=node.uid,
            resource_version=live["metadata"]["resourceVersion"],
        ))  # fmt: skip

    def _warn_of_owner(self, node: Node, ref: OwnerRef) -> None:
        row = self._row(node)
        metadata = {"namespace": node.namespace, "name": node.name, "uid": node.uid}
        self.events.event(
            {"apiVersion": row.api_version, "kind": row.kind, "metadata": metadata}, WARNING,
            "OwnerRefInvalidNamespace",
            f"ownerRef [{ref.api_version}/{ref.kind}, namespace: {node.namespace}, name: {ref.name}, uid: {ref.uid}] "
            f'does not exist in namespace "{node.namespace}"',
        )
