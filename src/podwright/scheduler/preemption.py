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
        self._nominated: dict[str, tuple[PodInfo, str]] = {}

    def put(self, pod: PodInfo, node: str) -> None:
        self._nominated[pod.uid] = pod, node

    def remove(self, uid: str) -> None:
        self._nominated.pop(uid, None)

    def follow(self, pod: PodInfo) -> None:
        """What the API says of a Pod that waits."""
        if pod.nominated_node:
            self.put(pod, pod.nominated_node)

    def reserve(self, pod: PodInfo, evaluation: Evaluation, judgement: Judgement) -> None:
        """Takes the nodes out of `judgement` that have no room beside Pods of equal or higher priority nominated to
        them. A node must do both with and without these: they are not there yet."""
        if not self._nominated:
            return
        by_row: dict[int, list[PodInfo]] = {}
        for other, node in self._nominated.values():
            if other.uid != pod.uid and other.priority >= pod.priority:
                row = self._state.nodes.row_of(node)
                if row is not None:
                    by_row.setdefault(row, []).append(other)
        taken = []
        for row, others in by_row.items():
            if judgement.code[row] != 0:
                continue
            name = self._state.nodes.name_of(row)
            records = [PodRecord(o.pod, o.cls, name) for o in others if self._state.pod(o.key) is None]
            for record in records:
                self._state.put_back(record)
            try:
                refusal = evaluation.refusal_on(pod, row)
                if refusal is not None:
                    taken.append(row)
                    judgement.taken[row] = refusal
            finally:
                for record in records:
                    self._state.take_out(record)
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

    def evict(self, pod: PodInfo, node: str, victims: Sequence[Object]) -> None:
        for victim in victims:
            if not objects.is_deleting(victim) and objects.uid(victim) not in self._ending:
                self._ending.add(objects.uid(victim))
                self._queue.append((pod.pod, victim, node))
        self._wake.set()

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
