"""Mirror Pods: what the API shows of this node's static Pods."""

from __future__ import annotations

import logging

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.api.resources import NODES, PODS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.transport import ServerUnreachable
from podwright.client.workqueue import WorkQueue
from podwright.kubelet.pod_manager import PodManager

log = logging.getLogger(__name__)


class MirrorPods:
    """Keeps one mirror for each static Pod, made anew if someone deletes it or if the static Pod changes. Run
    :meth:`run` as a task. Keys are "namespace/name"."""

    def __init__(self, client: Client, registry: PodManager, node_name: str, clock: Clock) -> None:
        self._client = client
        self._pods = registry
        self._node_name = node_name
        self._node_uid = ""
        self._queue = WorkQueue(first=0.2, maximum=30.0, clock=clock)

    def check(self, key: str) -> None:
        """A static Pod or a mirror of that name came, changed or went."""
        self._queue.add(key)

    async def run(self) -> None:
        await self._queue.run(self._reconcile, workers=2, failed=self._failed)

    def _failed(self, key: str, error: Exception) -> None:
        if isinstance(error, ServerUnreachable | ApiError):
            log.info("mirror Pod %s: %s", key, error)
        else:
            log.error("mirror Pod %s", key, exc_info=error)

    async def _reconcile(self, key: str) -> None:
        namespace, name = objects.split_key(key)
        static = self._pods.by_name(namespace, name)
        if static is not None and not pods.is_static(static):
            static = None
        mirror = next((m for m in self._pods.mirrors() if objects.key(m) == key), None)
        if mirror is not None and (static is None or not _mirrors(mirror, static) or objects.is_deleting(mirror)):
            await self._delete(mirror)
            mirror = None
        if static is not None and mirror is None and not objects.is_deleting(static):
            await self._create(static)

    async def _delete(self, mirror: Object) -> None:
        log.info("deleting mirror Pod %s", pods.describe(mirror))
        try:
            await self._client.delete(
                PODS,
                objects.name(mirror),
                namespace=objects.namespace(mirror),
                grace_period_seconds=0,
                uid=objects.uid(mirror),
            )
        except ApiError as refused:
            if refused.code not in (404, 409):
                raise

    async def _create(self, static: Object) -> None:
        if not self._node_uid:
            self._node_uid = objects.uid(await self._client.get(NODES, self._node_name))
        mirror = objects.deepcopy(static)
        meta = mirror["metadata"]
        meta.pop("uid", None)
        meta.pop("resourceVersion", None)
        meta.pop("creationTimestamp", None)
        meta["annotations"][pods.CONFIG_MIRROR] = meta["annotations"][pods.CONFIG_HASH]
        meta["ownerReferences"] = [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "name": self._node_name,
                "uid": self._node_uid,
                "controller": True,
            }
        ]
        mirror.pop("status", None)
        try:
            self._pods.put(await self._client.create(PODS, mirror))
        except ApiError as refused:
            if refused.code == 409:
                found = await self._client.get(PODS, objects.name(static), namespace=objects.namespace(static))
                if pods.is_mirror(found):
                    self._pods.put(found)
                    if not _mirrors(found, static):
                        raise
                    return
            raise


def _mirrors(mirror: Object, static: Object) -> bool:
    return objects.annotations(mirror).get(pods.CONFIG_MIRROR) == objects.annotations(static).get(pods.CONFIG_HASH)
