"""What follows from a decision to preempt: victims are deleted, and the room is kept for whom it was made."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

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
from podwright.scheduler.state.row_answers import AnswersByQuestion

log = logging.getLogger(__name__)

_TAKEN = 254
_Refusal = tuple[str, list[str]] | None
"""The plugin that refuses, and what it says."""
_UNKNOWN: _Refusal = ("", [])
_AT_ONCE = 16


class Nominations:
    """The Pods that wait for room which was made for them. Pods of lower priority may not take it."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._nominated: dict[str, str] = {}
        self._by_node: dict[str, dict[str, PodInfo]] = {}
        self._kept: AnswersByQuestion[_Refusal] = AnswersByQuestion(state.nodes)
        """What was found by arithmetic, for Pods of one class and priority."""

    def put(self, pod: PodInfo, node: str) -> None:
        self.remove(pod.uid)
        self._nominated[pod.uid] = node
        self._by_node.setdefault(node, {})[pod.uid] = pod
        self._state.nodes.touched(node)

    def remove(self, uid: str) -> None:
        node = self._nominated.pop(uid, None)
        if node is not None:
            there = self._by_node[node]
            del there[uid]
            if not there:
                del self._by_node[node]
            self._state.nodes.touched(node)

    def follow(self, pod: PodInfo) -> None:
        """What the API says of a Pod that waits."""
        if pod.nominated_node:
            self.put(pod, pod.nominated_node)

    def beside(self, pod: PodInfo, row: int) -> list[PodInfo]:
        """The Pods of equal or higher priority nominated to a node that are not there yet."""
        there = self._by_node.get(self._state.nodes.name_of(row))
        if not there:
            return []
        return [
            o for o in there.values()
            if o.uid != pod.uid and o.priority >= pod.priority and self._state.pod(o.key) is None
        ]  # fmt: skip

    def refusal_beside(self, pod: PodInfo, evaluation: Evaluation, row: int) -> tuple[str, list[str]] | None:
        """What refuses the Pod on a node together with the Pods of equal or higher priority nominated to it."""
        name = self._state.nodes.name_of(row)
        others = [PodRecord(o.pod, o.cls, name) for o in self.beside(pod, row)]
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
        nodes = self._state.nodes
        rows = [row for row in map(nodes.row_of, self._by_node) if row is not None and judgement.code[row] == 0]
        if not rows:
            return
        taken = []
        # All filters let the Pod onto these nodes as they are: only room can be missing, unless affinity plays a part.
        room = evaluation.room(pod, np.array(rows, np.intp))
        answers = self._kept.current((pod.cls, pod.priority)) if room is not None else {}
        own = nodes.row_of(self._nominated.get(pod.uid, ""))
        for row in rows:
            refusal = answers.get(row, _UNKNOWN)
            if refusal is _UNKNOWN or row == own:
                others = self.beside(pod, row)
                if room is None or any("affinity" in other.cls.spec for other in others):
                    refusal = self.refusal_beside(pod, evaluation, row)
                else:
                    short = room.shortages(partial(nodes.node_at(row).free, beside=others))
                    refusal = (room.plugin.name, short) if room.plugin is not None and short else None
                    if row != own:
                        # On its own node the Pod does not stand in its own way, but in that of others like it.
                        answers[row] = refusal
            if refusal is not None:
                taken.append(row)
                judgement.taken[row] = refusal
        if taken:
            code = judgement.code.copy()
            code[taken] = _TAKEN
            judgement.code = code
            judgement.feasible = np.flatnonzero(code == 0)


class Preemption:
    """Deletes victims gracefully, in tasks beside the decisions. Run :meth:`run` as a task.

    The Pod for which room is made is not tried again before its last victim is about to go (:meth:`makes_room`), as
    upstream's asynchronous preemption (KEP-4832) has it. `activate(uid)` has it tried if no event will."""

    def __init__(
        self, client: Client, recorder: EventRecorder, clock: Clock, activate: Callable[[str], None]
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._activate = activate
        self._queue: deque[tuple[PodInfo, str, list[Object]]] = deque()
        self._wake = asyncio.Event()
        self._ending: set[str] = set()
        self._preparing: set[str] = set()
        self._loop = asyncio.get_running_loop()

    def makes_room(self, uid: str) -> bool:
        """Whether more than one victim of a Pod has still to go."""
        return uid in self._preparing

    def evict(self, pod: PodInfo, node: str, victims: Sequence[Object]) -> None:
        new = [v for v in victims if not objects.is_deleting(v) and objects.uid(v) not in self._ending]
        if not new:
            return
        self._ending.update(map(objects.uid, new))
        self._preparing.add(pod.uid)
        self._queue.append((pod, node, new))
        # Decisions with extenders or plugins of users are taken in a thread.
        self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def make_room(pod: PodInfo, node: str, victims: list[Object]) -> None:
            try:
                await self._make_room(pod, node, victims)
            finally:
                slots.release()

        async with asyncio.TaskGroup() as group:
            while True:
                while self._queue:
                    await slots.acquire()
                    job = self._queue.popleft()
                    group.create_task(make_room(*job), name=f"preemption for {job[0].key}")
                self._wake.clear()
                await self._wake.wait()

    async def _make_room(self, pod: PodInfo, node: str, victims: list[Object]) -> None:
        *others, last = victims
        try:
            async with asyncio.TaskGroup() as group:
                for victim in others:
                    group.create_task(self._evict(pod.pod, victim, node))
        finally:
            self._preparing.discard(pod.uid)
        if not await self._evict(pod.pod, last, node):
            self._activate(pod.uid)

    async def _evict(self, pod: Object, victim: Object, node: str) -> bool:
        """Whether this deleted the victim."""
        name, namespace = objects.name(victim), objects.namespace(victim)
        condition = {
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": f"{_scheduler_of(pod)}: preempting to accommodate a higher priority pod",
            "lastProbeTime": None, "lastTransitionTime": objects.format_time(self._clock.now()),
            "observedGeneration": victim["metadata"].get("generation"),
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
            return False
        finally:
            self._ending.discard(objects.uid(victim))
        said = f"Preempted by pod {objects.uid(pod)} on node {node}"
        self._recorder.event(victim, NORMAL, "Preempted", said)
        return True


def _scheduler_of(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("schedulerName") or "default-scheduler")
