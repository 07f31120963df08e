"""Telling the API how Pods are: the newest status of each Pod, in order, retried until it is there; and taking the Pod
object away when nothing of the Pod is left on the node."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.transport import STRATEGIC_MERGE_PATCH, ServerUnreachable
from podwright.client.workqueue import WorkQueue
from podwright.kubelet.pod_manager import PodManager
from podwright.kubelet.status.status_patch import status_patch

log = logging.getLogger(__name__)

_WORKERS = 16
_GONE = 404
_CONFLICT = 409


@dataclass(slots=True)
class _Entry:
    """`gone`: nothing of the Pod is left here. `api` is the Pod as the API last answered a write."""

    pod: Object
    status: Object
    gone: bool = False
    api: Object | None = None


class StatusManager:
    """Run :meth:`run` as a task; the other methods only note what is to be written."""

    def __init__(self, client: Client, registry: PodManager, clock: Clock) -> None:
        self._client = client
        self._pods = registry
        self._entries: dict[str, _Entry] = {}
        self._queue = WorkQueue(first=0.05, maximum=10.0, clock=clock)
        self._unwritten: set[str] = set()
        self._settled = asyncio.Event()
        self._settled.set()

    def get(self, uid: str) -> Object | None:
        """The newest status that was made here."""
        entry = self._entries.get(uid)
        return entry.status if entry is not None else None

    def set(self, pod: Object, status: Object) -> None:
        uid = objects.uid(pod)
        entry = self._entries.get(uid)
        if entry is None:
            self._entries[uid] = _Entry(pod, status)
        else:
            entry.pod, entry.status = pod, status
        self._unwritten.add(uid)
        self._settled.clear()
        self._queue.add(uid)

    def gone(self, uid: str) -> None:
        """Nothing of the Pod is left on the node: once its last status is written its object may be deleted."""
        entry = self._entries.get(uid)
        if entry is not None:
            entry.gone = True
            self._queue.add(uid)

    def poke(self, uid: str) -> None:
        """The Pod (or its mirror) changed in the API: see whether that still says the right thing."""
        if uid in self._entries:
            self._queue.add(uid)

    def forget(self, uid: str) -> None:
        """The object is gone from the API, so there is nothing to write to."""
        self._entries.pop(uid, None)
        self._written(uid)

    async def settled(self) -> None:
        """Returns when the API has the newest status of every Pod."""
        await self._settled.wait()

    def _written(self, uid: str) -> None:
        self._unwritten.discard(uid)
        if not self._unwritten:
            self._settled.set()

    async def run(self) -> None:
        await self._queue.run(self._write, workers=_WORKERS, failed=self._failed)

    def _failed(self, uid: str, error: Exception) -> None:
        if not isinstance(error, ServerUnreachable | ApiError):
            log.error("writing the status of Pod %s", uid, exc_info=error)
        else:
            log.info("status of Pod %s not written yet: %s", uid, error)

    def _target(self, entry: _Entry) -> Object | None:
        """The object in the API that carries the status: the Pod itself, or the mirror of a static one."""
        uid = objects.uid(entry.pod)
        if pods.is_static(entry.pod):
            return self._pods.mirror_of(entry.pod)
        return self._pods.get(uid) or entry.pod

    async def _write(self, uid: str) -> None:
        entry = self._entries.get(uid)
        if entry is None:
            return
        target = self._target(entry)
        if target is None:
            self._written(uid)
            return
        target = _newer(target, entry.api)
        status, gone = entry.status, entry.gone
        name, namespace = objects.name(target), objects.namespace(target)
        patch = status_patch(target.get("status") or {}, status)
        if patch:
            try:
                entry.api = await self._client.patch(
                    PODS,
                    name,
                    {"metadata": {"uid": objects.uid(target)}, "status": patch},
                    namespace=namespace,
                    subresource="status",
                    content_type=STRATEGIC_MERGE_PATCH,
                )
                target = entry.api
            except ApiError as refused:
                if refused.code == _GONE or (refused.code == _CONFLICT and not await self._still_there(target)):
                    self._lost(uid, entry)
                    return
                raise
        if entry.status is status:
            self._written(uid)
        if gone and objects.is_deleting(target) and not pods.is_static(entry.pod):
            await self._delete(uid, entry, target)

    async def _still_there(self, target: Object) -> bool:
        try:
            found = await self._client.get(PODS, objects.name(target), namespace=objects.namespace(target))
        except ApiError as refused:
            if refused.code == _GONE:
                return False
            raise
        return objects.uid(found) == objects.uid(target)

    async def _delete(self, uid: str, entry: _Entry, target: Object) -> None:
        try:
            await self._client.delete(
                PODS,
                objects.name(target),
                namespace=objects.namespace(target),
                grace_period_seconds=0,
                uid=objects.uid(target),
            )
        except ApiError as refused:
            if refused.code not in (_GONE, _CONFLICT):
                raise
        self._lost(uid, entry)

    def _lost(self, uid: str, entry: _Entry) -> None:
        """The object is gone; what belongs to a static Pod stays until its worker ends."""
        self._written(uid)
        if not pods.is_static(entry.pod) and self._entries.get(uid) is entry and entry.gone:
            del self._entries[uid]


def _newer(first: Object, second: Object | None) -> Object:
    if second is None or objects.uid(first) != objects.uid(second):
        return first
    return second if _revision(second) > _revision(first) else first


def _revision(obj: Object) -> int:
    text = str((obj.get("metadata") or {}).get("resourceVersion") or "0")
    return int(text) if text.isdecimal() else 0
