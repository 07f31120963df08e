"""Removes Pods that no kubelet will: finished ones beyond the threshold, those of nodes that are gone, those deleted
before they were scheduled, and terminating ones on nodes declared out of service."""

from __future__ import annotations

from podwright.api import objects, taints
from podwright.api.objects import Object
from podwright.api.resources import NODES, PODS
from podwright.api.status import ApiError
from podwright.client.informers import latest
from podwright.controllers import pods, refs
from podwright.controllers.frame import Context, Controller, ignore_not_found
from podwright.controllers.pods import set_condition

_FINISHED = "finished"


class PodGarbageCollector(Controller):
    """Keys: "finished", "node/NAME" (a node that went, looked at after its quarantine), "service/NAME" (a node out of
    service) and "pod/NAMESPACE/NAME"."""

    name = "pod-garbage-collector-controller"
    account = "pod-garbage-collector"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._finished: set[str] = set()
        self.nodes = self.informer(NODES, self._node_changed)
        self.pods = self.informer(PODS, self._pod_changed, node=refs.by_node)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self.queue.add_after(f"node/{objects.name(old)}", self.config.node_quarantine)
        elif _is_out_of_service(new):
            self.queue.add(f"service/{objects.name(new)}")

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = latest(old, new)
        key = objects.key(pod)
        if new is None or not pods.is_finished(new):
            self._finished.discard(key)
        else:
            self._finished.add(key)
            if 0 < self.config.terminated_pod_gc_threshold < len(self._finished):
                self.queue.add_after(_FINISHED, self.config.pod_gc_period)
        if new is None:
            return
        node = pods.node_name(new)
        if not node:
            if objects.is_deleting(new):
                self.queue.add(f"pod/{key}")
        elif old is None or not pods.node_name(old) or objects.is_deleting(new):
            known = self.nodes.get(node)
            if known is None:
                self.queue.add_after(f"node/{node}", self.config.node_quarantine)
            elif objects.is_deleting(new) and _is_out_of_service(known):
                self.queue.add(f"service/{node}")

    async def reconcile(self, key: str) -> None:
        what, _, rest = key.partition("/")
        match what:
            case "node":
                await self._collect_orphans(rest)
            case "service":
                await self._collect_out_of_service(rest)
            case "pod":
                pod = self.pods.get(rest)
                if pod is not None and objects.is_deleting(pod) and not pods.node_name(pod):
                    await self._force(pod)
            case _:
                await self._collect_finished()

    async def _collect_orphans(self, node: str) -> None:
        orphans = self.pods.by_index("node", node)
        if not orphans or self.nodes.get(node) is not None:
            return
        if await ignore_not_found(self.client.get(NODES, node)) is not None:
            return
        for pod in orphans:
            await self._fail(pod, "PodGC: node no longer exists")
            await self._force(pod)

    async def _collect_out_of_service(self, name: str) -> None:
        node = self.nodes.get(name)
        if node is None or not _is_out_of_service(node) or objects.condition_is_true(node, "Ready"):
            return
        for pod in self.pods.by_index("node", name):
            if objects.is_deleting(pod):
                await self._fail(pod, "PodGC: node is out of service")
                await self._force(pod)

    async def _collect_finished(self) -> None:
        surplus = len(self._finished) - self.config.terminated_pod_gc_threshold
        if self.config.terminated_pod_gc_threshold <= 0 or surplus <= 0:
            return
        found = [p for key in self._finished if (p := self.pods.get(key)) is not None]
        found.sort(key=lambda p: (pods.creation_time(p), objects.name(p)))
        for pod in found[:surplus]:
            await self._force(pod)

    async def _fail(self, pod: Object, message: str) -> None:
        """A Pod must not vanish while it counts as running: a Job would not know that it failed."""
        if pods.is_finished(pod):
            return
        status = pod.get("status") or {}
        condition = {
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message,
            "lastTransitionTime": objects.format_time(self.clock.now()),
            "observedGeneration": pod["metadata"].get("generation"),
        }  # fmt: skip
        change = {"phase": "Failed", "conditions": set_condition(list(status.get("conditions") or ()), condition)}
        await ignore_not_found(self.client.patch(
            PODS, objects.name(pod), {"metadata": {"uid": objects.uid(pod)}, "status": change},
            namespace=objects.namespace(pod), subresource="status",
        ))  # fmt: skip

    async def _force(self, pod: Object) -> None:
        try:
            await self.client.delete(
                PODS, objects.name(pod), namespace=objects.namespace(pod), grace_period_seconds=0, uid=objects.uid(pod),
            )  # fmt: skip
        except ApiError as refused:
            if refused.code not in (404, 409):
                raise


def _is_out_of_service(node: Object) -> bool:
    return any(t.get("key") == taints.OUT_OF_SERVICE for t in taints.of(node))
