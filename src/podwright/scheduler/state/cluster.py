"""The scheduler's picture of the cluster: nodes, and Pods on them, whether bound or only assumed to be."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.scheduler.state.nodes import NodeTable
from podwright.scheduler.state.pod_counts import PodCounts
from podwright.scheduler.state.pods import PodClass, PodClasses, PodRecord, sizes_of


class ClusterState:
    """Assumed Pods count as if they were bound, until the API shows them bound, they are forgotten, or their time is
    over: the scheduler decides on the next Pod while the last one is still being bound."""

    def __init__(self) -> None:
        self.nodes = NodeTable()
        self.counts = PodCounts(self.nodes)
        self.classes = PodClasses()
        self._pods: dict[str, PodRecord] = {}
        self._assumed: dict[str, float] = {}

    def pod(self, key: str) -> PodRecord | None:
        return self._pods.get(key)

    def pods(self) -> list[PodRecord]:
        return list(self._pods.values())

    def is_assumed(self, key: str) -> bool:
        return key in self._assumed

    def assume(self, pod: Object, cls: PodClass, node: str) -> None:
        self._add(PodRecord(pod, cls, node))
        self._assumed[objects.key(pod)] = float("inf")

    def expire_at(self, key: str, time: float) -> None:
        """The binding is done: if the API does not show it by then (monotonic seconds), the Pod is forgotten."""
        if key in self._assumed:
            self._assumed[key] = time

    def forget(self, pod: Object) -> None:
        """An assumed Pod is not going to be bound."""
        key = objects.key(pod)
        known = self._pods.get(key)
        if key in self._assumed and known is not None and known.uid == objects.uid(pod):
            del self._assumed[key]
            self._remove(known)

    def expired(self, now: float) -> list[PodRecord]:
        """The assumed Pods whose time is over; they are forgotten."""
        late = [self._pods[key] for key, until in self._assumed.items() if until <= now]
        for record in late:
            self.forget(record.pod)
        return late

    def next_expiry(self) -> float:
        return min(self._assumed.values(), default=float("inf"))

    def take_out(self, record: PodRecord) -> None:
        """Counts as if the Pod were not there, until :meth:`put_back`."""
        self._remove(record)

    def put_back(self, record: PodRecord) -> None:
        self._add(record)

    def put_pod(self, pod: Object) -> None:
        """A Pod that the API shows bound, new or changed.

        Raises:
            QuantityError: a quantity is malformed.
        """
        key = objects.key(pod)
        node = str((pod.get("spec") or {}).get("nodeName") or "")
        known = self._pods.get(key)
        self._assumed.pop(key, None)
        if known is not None:
            old = known.pod
            same = known.node == node and known.uid == objects.uid(pod)
            unmoved = same and known.deleting == objects.is_deleting(pod)
            if unmoved and _weighs_the_same(old, pod):
                relabelled = known.labels != objects.labels(pod)
                if relabelled:
                    # As every binding does, which brings the node's topology labels along.
                    row = self.nodes.node_of(known).row
                    self.counts.remove(known, row)
                    known.labels = objects.labels(pod)
                    self.counts.add(known, row)
                known.pod = pod
                started = [(p.get("status") or {}).get("startTime") for p in (old, pod)]
                if relabelled or started[0] != started[1]:
                    self.nodes.touched(node)
                return
            cls = known.cls if same and _spec_bar_node(old) == _spec_bar_node(pod) else self.classes.of(pod)
            self._remove(known)
        else:
            cls = self.classes.of(pod)
        self._add(PodRecord(pod, cls, node))

    def remove_pod(self, pod: Object) -> None:
        known = self._pods.get(objects.key(pod))
        if known is not None:
            self._assumed.pop(known.key, None)
            self._remove(known)

    def _add(self, record: PodRecord) -> None:
        known = self._pods.get(record.key)
        if known is not None:
            self._remove(known)
        self._pods[record.key] = record
        row = self.nodes.add_pod(record)
        self.counts.add(record, row)

    def _remove(self, record: PodRecord) -> None:
        del self._pods[record.key]
        self.counts.remove(record, self.nodes.node_of(record).row)
        self.nodes.remove_pod(record)


def _spec_bar_node(pod: Object) -> Object:
    return {**(pod.get("spec") or {}), "nodeName": ""}


def _weighs_the_same(old: Object, new: Object) -> bool:
    if sizes_of(old) != sizes_of(new):
        return False
    return old.get("spec") is new.get("spec") or _spec_bar_node(old) == _spec_bar_node(new)
