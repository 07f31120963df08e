"""Evicts Pods from nodes with NoExecute taints that they do not tolerate, or no longer tolerate."""

from __future__ import annotations

from podwright.api import objects, taints
from podwright.api.objects import Object
from podwright.api.resources import NODES, PODS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.events import NORMAL
from podwright.client.informers import latest
from podwright.controllers import pods, refs
from podwright.controllers.frame import Context, Controller
from podwright.controllers.pods import set_condition


class TaintEvictionController(Controller):
    """Keys are Pods. tolerationSeconds run from when this controller first saw the taint, by a clock that does not
    jump."""

    name = "taint-eviction-controller"
    account = "node-controller"
    workers = 10

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._since: dict[str, tuple[str, float]] = {}
        self.nodes = self.informer(NODES, self._node_changed)
        self.pods = self.informer(PODS, self._pod_changed, node=refs.by_node)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        before = taints.no_execute(old) if old is not None else []
        now = taints.no_execute(new) if new is not None else []
        if before != now:
            node = latest(old, new)
            for pod in self.pods.by_index("node", objects.name(node)):
                self.queue.add(objects.key(pod))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._since.pop(objects.key(old), None)
            return
        if old is not None and _placement(old) == _placement(new):
            return
        node = self.nodes.get(pods.node_name(new))
        if node is None or not taints.no_execute(node):
            return
        self.queue.add(objects.key(new))

    async def reconcile(self, key: str) -> None:
        pod = self.pods.get(key)
        if pod is None or objects.is_deleting(pod) or pods.is_finished(pod):
            self._since.pop(key, None)
            return
        node = self.nodes.get(pods.node_name(pod))
        seconds = _tolerated_for(taints.no_execute(node) if node is not None else [], pod)
        if seconds is None:
            if self._since.pop(key, None) is not None:
                self.events.event(pod, NORMAL, "TaintManagerEviction", f"Cancelling deletion of Pod {key}")
            return
        uid, since = self._since.get(key, ("", 0.0))
        now = self.clock.monotonic()
        if uid != objects.uid(pod):
            since = now
        wait = since + seconds - now
        if wait > 0:
            self._since[key] = (objects.uid(pod), since)
            self.queue.add_after(key, wait)
            return
        await self._evict(key, pod)
        self._since.pop(key, None)

    async def _evict(self, key: str, pod: Object) -> None:
        self.events.event(pod, NORMAL, "TaintManagerEviction", f"Marking for deletion Pod {key}")
        await delete_as_disruption(
            self.client, pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint",
            self.clock.now(),
        )  # fmt: skip


async def delete_as_disruption(client: Client, pod: Object, reason: str, message: str, now: float) -> None:
    """Deletes the Pod, after a condition on it says that this is a disruption and no failure of its own (KEP-3329).
    Raises ApiError, but not if it is gone."""
    condition = {
        "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": objects.format_time(now), "observedGeneration": pod["metadata"].get("generation"),
    }  # fmt: skip
    conditions = set_condition(list((pod.get("status") or {}).get("conditions") or ()), condition)
    name, namespace, uid = objects.name(pod), objects.namespace(pod), objects.uid(pod)
    patch = {"metadata": {"uid": uid}, "status": {"conditions": conditions}}
    try:
        await client.patch(PODS, name, patch, namespace=namespace, subresource="status")
        await client.delete(PODS, name, namespace=namespace, uid=uid)
    except ApiError as refused:
        if refused.code != 404:
            raise


def _placement(pod: Object) -> tuple[object, object]:
    spec = pod.get("spec") or {}
    return spec.get("nodeName"), spec.get("tolerations")


def _tolerated_for(node_taints: list[Object], pod: Object) -> float | None:
    """Seconds that the Pod may stay, 0 if not at all, None if for good."""
    tolerations = (pod.get("spec") or {}).get("tolerations") or ()
    shortest: float | None = None
    for taint in node_taints:
        using = [t for t in tolerations if taints.tolerates(t, taint)]
        if not using:
            return 0.0
        for toleration in using:
            seconds = toleration.get("tolerationSeconds")
            if seconds is not None:
                shortest = max(0.0, float(seconds)) if shortest is None else min(shortest, max(0.0, float(seconds)))
    return shortest
