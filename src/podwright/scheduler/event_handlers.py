"""What the cluster tells the scheduler: nodes and Pods go into its picture, Pods without a node into the queue, and
every change wakes the Pods that it may help."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from podwright.api import objects
from podwright.api import resources as rows
from podwright.api.objects import Object
from podwright.api.quantity import QuantityError
from podwright.api.resources import Resource
from podwright.client.clock import Clock
from podwright.client.informers import EventHandler, Informer, InformerFactory
from podwright.scheduler.changes import node_actions, pending_pod_actions
from podwright.scheduler.framework.evaluation import Evaluation
from podwright.scheduler.framework.events import ASSIGNED_POD, NODE, PENDING_POD, Action, ClusterEvent
from podwright.scheduler.preemption import Nominations
from podwright.scheduler.queue import SchedulingQueue
from podwright.scheduler.state.cluster import ClusterState
from podwright.scheduler.state.pods import PodInfo

log = logging.getLogger(__name__)

_OTHERS = (
    rows.PERSISTENTVOLUMECLAIMS, rows.PERSISTENTVOLUMES, rows.STORAGECLASSES, rows.NAMESPACES,
    rows.PODDISRUPTIONBUDGETS, rows.SERVICES, rows.REPLICATIONCONTROLLERS, rows.REPLICASETS, rows.STATEFULSETS,
    rows.CSINODES, rows.CSIDRIVERS, rows.CSISTORAGECAPACITIES, rows.VOLUMEATTACHMENTS, rows.RESOURCECLAIMS,
    rows.RESOURCESLICES, rows.DEVICECLASSES, rows.DEVICETAINTRULES,
)  # fmt: skip
"""What plugins look up. Its events have its kind."""


class EventHandlers:
    """The handlers of all informers of one scheduler. `profiles` are by scheduler name."""

    def __init__(
        self, state: ClusterState, queue: SchedulingQueue, nominations: Nominations,
        profiles: Mapping[str, Evaluation], informers: InformerFactory, clock: Clock,
    ) -> None:
        self.state = state
        self.queue = queue
        self.nominations = nominations
        self._profiles = profiles
        self._informers = informers
        self._clock = clock
        self._deferred: list[tuple[EventHandler, Object | None, Object | None]] | None = None
        self._waiters: dict[str, set[asyncio.Event]] = {}

    async def follow(self, pods: Informer) -> None:
        """Returns once all that there is has been told."""
        for row in _OTHERS:
            self._follow(row)
        await self._informers.synced()
        self._informers.informer(rows.NODES).add_handler(self._node_changed)
        pods.add_handler(self._pod_changed)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """The state stands still meanwhile; what is told is heard afterwards."""
        self._deferred = []
        try:
            yield
        finally:
            told, self._deferred = self._deferred, None
            for handler, old, new in told:
                handler(old, new)

    def _follow(self, row: Resource) -> None:
        def changed(old: Object | None, new: Object | None) -> None:
            action = Action.ADD if old is None else Action.DELETE if new is None else Action.UPDATE
            self.queue.happened(ClusterEvent(row.kind, action, old, new))
            for waiter in self._waiters.get(row.kind, ()):
                waiter.set()

        self._informers.informer(row).add_handler(changed)

    async def until(self, row: Resource, test: Callable[[], bool]) -> None:
        """Waits for changes of a followed resource until `test` holds."""
        changed = asyncio.Event()
        waiters = self._waiters.setdefault(row.kind, set())
        waiters.add(changed)
        try:
            while not test():
                changed.clear()
                await changed.wait()
        finally:
            waiters.discard(changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if self._deferred is not None:
            self._deferred.append((self._node_changed, old, new))
            return
        nodes = self.state.nodes
        if new is None:
            assert old is not None
            nodes.remove(objects.name(old))
            self.queue.happened(ClusterEvent(NODE, Action.DELETE, old, None))
            return
        nodes.put(new)
        actions = Action.ADD if old is None else node_actions(old, new)
        if actions:
            self.queue.happened(ClusterEvent(NODE, actions, old, new))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if self._deferred is not None:
            self._deferred.append((self._pod_changed, old, new))
            return
        was_bound = old is not None and bool((old.get("spec") or {}).get("nodeName"))
        try:
            if new is None:
                assert old is not None
                self._pod_gone(old, was_bound)
            elif (new.get("spec") or {}).get("nodeName"):
                self._pod_bound(old if was_bound else None, new)
            else:
                self.pod_waits(old, new)
        except QuantityError as malformed:
            log.warning("pod %s: %s", objects.key(new or old or {}), malformed)

    def _pod_gone(self, old: Object, was_bound: bool) -> None:
        self.queue.remove(objects.uid(old))
        self.nominations.remove(objects.uid(old))
        known = self.state.pod(objects.key(old))
        if known is not None:
            self.state.remove_pod(old)
        if known is not None or was_bound:
            self.queue.happened(ClusterEvent(ASSIGNED_POD, Action.DELETE, old, None))

    def _pod_bound(self, old: Object | None, new: Object) -> None:
        assumed = self.state.is_assumed(objects.key(new))
        before = self.state.pod(objects.key(new))
        requests = before.requests if before is not None else None
        self.state.put_pod(new)
        if old is None:
            self.queue.remove(objects.uid(new))
            self.nominations.remove(objects.uid(new))
            if not assumed or before is None or before.node != new["spec"]["nodeName"]:
                self.queue.happened(ClusterEvent(ASSIGNED_POD, Action.ADD, None, new))
            return
        actions = Action(0)
        if objects.labels(old) != objects.labels(new):
            actions |= Action.UPDATE_LABELS
        after = self.state.pod(objects.key(new))
        if requests is not None and after is not None and after.requests is not requests:
            if any(after.requests.get(r, 0) < amount for r, amount in requests.items()):
                actions |= Action.UPDATE_SCALE_DOWN
        if actions:
            self.queue.happened(ClusterEvent(ASSIGNED_POD, actions, old, new))

    def pod_waits(self, old: Object | None, new: Object) -> None:
        """A Pod without a node is new or changed."""
        uid = objects.uid(new)
        name = (new.get("spec") or {}).get("schedulerName") or "default-scheduler"
        evaluation = self._profiles.get(name)
        if evaluation is None or self.state.is_assumed(objects.key(new)):
            return
        if objects.is_deleting(new):
            self.queue.remove(uid)
            return
        known = self.queue.get(uid)
        if known is not None and old is not None:
            known.pod = new
            self.nominations.follow(known)
            actions = pending_pod_actions(old, new)
            if not actions:
                return
            known.labels = objects.labels(new)
            known.cls = self.state.classes.of(new)
            if self.queue.is_gated(uid):
                self._enqueue(evaluation, known)
            else:
                self.queue.touched(uid)
            self.queue.happened(ClusterEvent(PENDING_POD, actions, old, new))
            return
        made = PodInfo(new, self.state.classes.of(new), self._clock.monotonic())
        self.nominations.follow(made)
        self._enqueue(evaluation, made)

    def _enqueue(self, evaluation: Evaluation, pod: PodInfo) -> None:
        for plugin in evaluation.profile.pre_enqueue:
            if plugin.pre_enqueue(pod.pod) is not None:
                self.queue.gate(pod)
                return
        self.queue.add(pod)
