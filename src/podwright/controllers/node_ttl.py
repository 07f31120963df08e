"""Tells kubelets by an annotation how long they may keep Secrets and ConfigMaps, the longer the larger the cluster."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NODES
from podwright.controllers.frame import Context, Controller

ANNOTATION = "node.alpha.kubernetes.io/ttl"
_STEPS = ((0, 0, 100), (15, 90, 500), (30, 450, 1000), (60, 900, 2000), (300, 1800, 10000))
"""(seconds, nodes below which the step before holds, nodes above which the next does): with some slack, so that a
cluster at the border does not write all its nodes again and again."""


class NodeTTLController(Controller):
    name = "ttl-controller"
    account = "ttl-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._step = 0
        self.nodes = self.informer(NODES, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        before, count = self._step, len(self.nodes)
        while self._step + 1 < len(_STEPS) and count > _STEPS[self._step][2]:
            self._step += 1
        while self._step > 0 and count < _STEPS[self._step][1]:
            self._step -= 1
        if before != self._step:
            for node in self.nodes.items():
                self.queue.add(objects.name(node))
        elif new is not None and ANNOTATION not in objects.annotations(new):
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> None:
        node = self.nodes.get(key)
        wanted = str(_STEPS[self._step][0])
        if node is not None and objects.annotations(node).get(ANNOTATION) != wanted:
            meta = {"uid": objects.uid(node), "annotations": {ANNOTATION: wanted}}
            await self.client.patch(NODES, key, {"metadata": meta})
