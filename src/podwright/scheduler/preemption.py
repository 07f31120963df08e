"""What follows from a decision to preempt: victims are deleted, and the room is kept for whom it was made."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

import numpy as np

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.events import NORMAL, EventRecorder
from podwright.client.transport import STRATEGIC_MERGE_PATCH, ServerUnreachable
from podwright.scheduler.framework.evaluation import Evaluation, Judgement
from podwright.scheduler.state.cluster import ClusterState
from podwright.scheduler.state.pods import PodInfo, PodRecord

log = logging.getLogger(__name__)

_TAKEN = 254


class Nominations:
    """The Pods that wait for room which was made for them. Pods of lower priority may not take it."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._nominated: dict[str, str] = {}
        self._by_node: dict[str, dict[str, PodInfo]] = {}

    def put(self, pod: PodInfo, node: str) -> None:
        self.remove(pod.uid)
        self._nominated[pod.uid] = node
        self._by_node.setdefault(node, {})[pod.uid] = pod

    def remove(self, uid: str) -> None:
        node = self._nominated.pop(uid, None)
        if node is not None:
            there = self._by_node[node]
            del there[uid]
            if not there:
                del self._by_node[node]

    def follow(self, pod: PodInfo) -> None:
        """What the API says of a Pod that waits."""
        if pod.nominated_node:
            self.put(pod, pod.nominated_node)

    def refusal_beside(self, pod: PodInfo, evaluation: Evaluation, row: int) -> tuple[str, list[str]] | None:
        """What refuses the Pod on a node together with the Pods of equal or higher priority nominated to it."""
        name = self._state.nodes.name_of(row)
        others = [
            PodRecord(o.pod, o.cls, name)
            for o in self._by_node.get(name, {}).values()
            if o.uid != pod.uid and o.priority >= pod.priority and self._state.pod(o.key) is None
        ]
        for record in others:
            self._state.put_back(record)
        try:
            return evaluation.refusal_on(pod, row) if others else None
        finally:
            for record in others:
                self._state.take_out(record)

    def fits(self, pod: PodInfo, evaluation: Evaluation, row: int) -> bool:
        """Whether the Pod may go to the node: it must both with and without those nominated to it, which are not there
        yet."""
        return evaluation.fits(pod, row) and self.refusal_beside(pod, evaluation, row) is None

    def reserve(self, pod: PodInfo, evaluation: Evaluation, judgement: Judgement) -> None:
        """Takes the nodes out of `judgement` that have no room beside Pods nominated to them."""
        taken = []
        for node in self._by_node:
            row = self._state.nodes.row_of(node)
            if row is None or judgement.code[row] != 0:
                continue
            refusal = self.refusal_beside(pod, evaluation, row)
            if refusal is not None:
                taken.append(row)
                judgement.taken[row] = refusal
        if taken:
            code = judgement.code.copy()
            code[taken] = _TAKEN
            judgement.code = code
            judgement.feasible = np.flatnonzero(code == 0)


class Preemption:
    """Deletes victims gracefully, one task beside the decisions. Run :meth:`run` as a task."""

    def __init__(self, client: Client, recorder: EventRecorder, clock: Clock) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._queue: deque[tuple[Object, Object, str]] = deque()
        self._wake = asyncio.Event()
        self._ending: set[str] = set()
        self._loop = asyncio.get_running_loop()

    def evict(self, pod: PodInfo, node: str, victims: Sequence[Object]) -> None:
        for victim in victims:
            if not objects.is_deleting(victim) and objects.uid(victim) not in self._ending:
                self._ending.add(objects.uid(victim))
                self._queue.append((pod.pod, victim, node))
        # Decisions with extenders or plugins of users are taken in a thread.
        self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        while True:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(16, len(self._queue)))]
                async with asyncio.TaskGroup() as group:
                    for job in batch:
                        group.create_task(self._evict(*job))
            self._wake.clear()
            await self._wake.wait()

    async def _evict(self, pod: Object, victim: Object, node: str) -> None:
        name, namespace = objects.name(victim), objects.namespace(victim)
        condition = {
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": f"{_scheduler_of(pod)}: preempting to accommodate a higher priority pod",
            "lastProbeTime": None, "lastTransitionTime": objects.format_time(self._clock.now()),
        }  # fmt: skip
        try:
            await self._client.patch(
                PODS, name, {"status": {"conditions": [condition]}}, namespace=namespace, subresource="status",
                content_type=STRATEGIC_MERGE_PATCH,
            )  # fmt: skip
            await self._client.delete(PODS, name, namespace=namespace, uid=objects.uid(victim))
        except (ApiError, ServerUnreachable) as failed:
            if not (isinstance(failed, ApiError) and failed.code == 404):
                log.warning("pod %s/%s not preempted: %s", namespace, name, failed)
            return
        finally:
            self._ending.discard(objects.uid(victim))
        said = f"Preempted by pod {objects.uid(pod)} on node {node}"
        self._recorder.event(victim, NORMAL, "Preempted", said)


def _scheduler_of(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("schedulerName") or "default-scheduler")
