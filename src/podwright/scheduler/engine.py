"""Deciding and binding: takes Pods from the queue one by one, chooses a node, assumes it, and binds while the next Pod
is being decided."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any, TypeVar

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.events import NORMAL, WARNING, EventRecorder
from podwright.client.informers import Informer, InformerFactory
from podwright.client.transport import STRATEGIC_MERGE_PATCH, ServerUnreachable
from podwright.scheduler import metrics
from podwright.scheduler.binding import Stopped, bind
from podwright.scheduler.config import SchedulerConfig
from podwright.scheduler.diagnosis import NO_NODES, diagnose, fit_error
from podwright.scheduler.event_handlers import EventHandlers
from podwright.scheduler.framework.apart import in_thread
from podwright.scheduler.framework.evaluation import Evaluation, Judgement, Refused
from podwright.scheduler.framework.events import ASSIGNED_POD, Action, ClusterEvent
from podwright.scheduler.framework.extenders import Extender
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.permits import Permits
from podwright.scheduler.framework.profile import Profile
from podwright.scheduler.framework.protocols import EnqueueExtensions
from podwright.scheduler.framework.verdicts import PluginFailed
from podwright.scheduler.preemption import Nominations, Preemption
from podwright.scheduler.queue import SchedulingQueue
from podwright.scheduler.state.cluster import ClusterState
from podwright.scheduler.state.pods import PodInfo

log = logging.getLogger(__name__)
T = TypeVar("T")

_LAST_BINDS = 2.0
"""Seconds that bindings under way have when the scheduler ends."""


class Engine:
    """One scheduler's work while it leads.

    Raises:
        ValueError: the configuration names plugins or arguments that do not exist.
    """

    def __init__(
        self, client: Client, config: SchedulerConfig, clock: Clock, *, pods: Informer, informers: InformerFactory,
        recorder: EventRecorder,
    ) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._pods = pods
        self._recorder = recorder
        self.state = ClusterState()
        self._random = random.Random(config.seed)
        self._profiles: dict[str, Evaluation] = {}
        handle = Handle(
            client, self.state, clock,
            objects_of=lambda row: informers.informer(row).items(),
            object_of=lambda row, key: informers.informer(row).get(key),
            version_of=lambda row: informers.informer(row).resource_version,
        )  # fmt: skip
        handle.random = self._random
        handle.fits = self._fits
        self.nominations = Nominations(self.state)
        handle.room = lambda pod, rows: self._profiles[pod.scheduler_name].room(pod, rows)
        handle.beside = self.nominations.beside
        handle.extenders = [Extender(e, self.state.nodes) for e in config.extenders]
        self._permits = Permits()
        handle.allow, handle.reject = self._permits.allow, self._permits.reject
        for each in config.profiles:
            self._profiles[each.scheduler_name] = Evaluation(
                Profile(each, handle), self.state.nodes, config.percentage_of_nodes_to_score
            )
        first = next(iter(self._profiles.values())).profile
        self.queue = SchedulingQueue(
            clock, sort_key=first.queue_sort[0].sort_key, helps=self._helps, first=config.pod_initial_backoff,
            longest=config.pod_max_backoff, stay=config.max_unschedulable,
        )  # fmt: skip
        self.preemption = Preemption(client, recorder, clock, self.queue.activate)
        handle.evict = self.preemption.evict
        self._slots = asyncio.Semaphore(config.parallel_binds)
        self._expiring = asyncio.Event()
        self._began: dict[str, float] = {}
        """When the attempt under way of a Pod began, by uid."""
        nodes, state = self.state.nodes, self.state
        cache = {"nodes": lambda: float(nodes.count), "pods": lambda: float(len(state.pods()))}
        metrics.follow(self.queue.sizes, cache)
        self._events = EventHandlers(state, self.queue, self.nominations, self._profiles, informers, clock)
        handle.until = self._events.until

    async def run(self) -> None:
        await self._events.follow(self._pods)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._expire(), name="scheduler assumed pods")
            group.create_task(self.preemption.run(), name="scheduler preemption")
            finishing: set[asyncio.Task[None]] = set()
            try:
                await self._decide_all(group, finishing)
            finally:
                # Whoever schedules next should find bound what was on its way to the API.
                if finishing:
                    await asyncio.wait(finishing, timeout=_LAST_BINDS)

    async def _decide_all(self, group: asyncio.TaskGroup, finishing: set[asyncio.Task[None]]) -> None:
        while True:
            await self.queue.wait()
            await self._slots.acquire()
            pod = self.queue.pop()
            if pod is None:
                self._slots.release()
                continue
            self._began[pod.uid] = began = perf_counter()
            work = await self._decide(pod)
            metrics.algorithm_seconds.observe(perf_counter() - began)
            task = group.create_task(self._finish(work), name=f"schedule {pod.key}")
            finishing.add(task)
            task.add_done_callback(finishing.discard)
            # Bindings, watches and the API server itself get their turn between two decisions.
            await asyncio.sleep(0)

    async def _finish(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self._slots.release()

    def _attempted(self, result: str, pod: PodInfo) -> None:
        now = perf_counter()
        metrics.attempted(result, pod.scheduler_name, now - self._began.pop(pod.uid, now))

    def _helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        evaluation = self._profiles.get(pod.scheduler_name)
        if evaluation is None or self.preemption.makes_room(pod.uid):
            return False
        for name in pod.refused_by:
            plugin = evaluation.profile.plugins.get(name)
            if not isinstance(plugin, EnqueueExtensions):
                return True
            if any(i.covers(event) for i in plugin.interests()) and plugin.helps(pod, event):
                return True
        return False

    # Deciding

    async def _decide(self, pod: PodInfo) -> Coroutine[Any, Any, None]:
        """What is left to do for the Pod."""
        evaluation = self._profiles[pod.scheduler_name]
        pod.state = {}
        if not self.state.nodes.count:
            return self._reject(pod, NO_NODES, frozenset(("NodeName",)))
        try:
            if evaluation.profile.foreign:
                judgement, row = await self._apart(evaluation, lambda: self._choose(evaluation, pod))
            else:
                judgement, row = self._choose(evaluation, pod)
            if row is None:
                if evaluation.profile.foreign:
                    return await self._apart(evaluation, lambda: self._no_node(evaluation, pod, judgement))
                return self._no_node(evaluation, pod, judgement)
            node = self.state.nodes.name_of(row)
        except Refused as refused:
            said = fit_error(self.state.nodes.count, Counter(), refused.refusal.message)
            return self._reject(pod, said, frozenset((refused.refusal.plugin,)))
        except PluginFailed as failed:
            return self._reject(pod, str(failed), frozenset(), error=True)
        except Exception as failed:
            # Whatever a plugin does, it fails this Pod and no other.
            log.exception("pod %s", pod.key)
            return self._reject(pod, f"{type(failed).__name__}: {failed}", frozenset(), error=True)
        self.nominations.remove(pod.uid)
        self.state.assume(pod.pod, pod.cls, node)
        return self._bind(evaluation.profile, pod, node)

    def _choose(self, evaluation: Evaluation, pod: PodInfo) -> tuple[Judgement, int | None]:
        """The row of the best node, at random among equals; None if there is none."""
        judgement = evaluation.judge(pod)
        nominated = self.state.nodes.row_of(pod.nominated_node) if pod.nominated_node else None
        if nominated is not None and judgement.code[nominated] == 0:
            if self.nominations.refusal_beside(pod, evaluation, nominated) is None:
                return judgement, nominated
        self.nominations.reserve(pod, evaluation, judgement)
        rows = judgement.feasible
        if not len(rows):
            return judgement, None
        if len(rows) > 1:
            totals = evaluation.totals(pod, judgement)
            rows = rows[totals == totals.max()]
        return judgement, int(rows[self._random.randrange(len(rows))] if len(rows) > 1 else rows[0])

    async def _apart(self, evaluation: Evaluation, work: Callable[[], T]) -> T:
        """`work` with plugins that are not built in, or extenders, which may hang: in a thread, while the state stands
        still."""
        with self._events.deferred():
            try:
                return await in_thread(work, self._config.plugin_timeout)
            except TimeoutError:
                evaluation.reset()
                names = ", ".join(sorted(evaluation.profile.foreign))
                seconds = self._config.plugin_timeout
                raise PluginFailed(names, "Filter or Score", f"no answer within {seconds:g}s") from None

    def _no_node(self, evaluation: Evaluation, pod: PodInfo, judgement: Judgement) -> Coroutine[Any, Any, None]:
        found = diagnose(evaluation, pod, judgement, self.state.nodes)
        total = self.state.nodes.count
        said = fit_error(total, found.counts)
        for plugin in evaluation.profile.post_filter:
            with metrics.at_point("PostFilter", pod.scheduler_name):
                node, message = plugin.post_filter(pod, found.resolvable)
            if node:
                self.nominations.put(pod, node)
                return self._reject(pod, said, frozenset(found.plugins), nominated=node)
            said = f"{said} {message}" if message else said
        if pod.nominated_node and not self._waits_for_victims(pod):
            self.nominations.remove(pod.uid)
            return self._reject(pod, said, frozenset(found.plugins), nominated="")
        return self._reject(pod, said, frozenset(found.plugins))

    def _fits(self, pod: PodInfo, row: int) -> bool:
        return self.nominations.fits(pod, self._profiles[pod.scheduler_name], row)

    def _waits_for_victims(self, pod: PodInfo) -> bool:
        entry = self.state.nodes.get(pod.nominated_node)
        return entry is not None and any(p.deleting for p in entry.pods.values())

    async def _reject(
        self, pod: PodInfo, message: str, plugins: frozenset[str], *, error: bool = False, nominated: str | None = None
    ) -> None:
        self._attempted(metrics.ERROR if error else metrics.UNSCHEDULABLE, pod)
        self.queue.refused(pod, plugins, failed=error)
        self._recorder.event(pod.pod, WARNING, "FailedScheduling", message)
        await self._say(pod.pod, "SchedulerError" if error else "Unschedulable", message, nominated)

    async def _say(self, pod: Object, reason: str, message: str, nominated: str | None) -> None:
        """Writes the condition PodScheduled=False and the nominated node (None: as it is), unless all is said
        already."""
        status: Object = {}
        if nominated is not None and nominated != ((pod.get("status") or {}).get("nominatedNodeName") or ""):
            status["nominatedNodeName"] = nominated or None
        known = objects.condition(pod, "PodScheduled")
        if known is not None and (known.get("status"), known.get("reason"), known.get("message")) == (
            "False", reason, message,
        ) and not status:  # fmt: skip
            return
        now = objects.format_time(self._clock.now())
        since = known["lastTransitionTime"] if known is not None and known.get("status") == "False" else now
        condition = {
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message, "lastProbeTime": None,
            "lastTransitionTime": since, "observedGeneration": pod["metadata"].get("generation"),
        }  # fmt: skip
        try:
            await self._client.patch(
                PODS, objects.name(pod), {"status": {"conditions": [condition], **status}},
                namespace=objects.namespace(pod), subresource="status", content_type=STRATEGIC_MERGE_PATCH,
            )  # fmt: skip
        except (ApiError, ServerUnreachable) as failed:
            log.info("condition of pod %s not written: %s", objects.key(pod), failed)

    # Binding

    async def _bind(self, profile: Profile, pod: PodInfo, node: str) -> None:
        try:
            await bind(profile, self._permits, pod, node, plugin_timeout=self._config.plugin_timeout)
        except Exception as failed:
            await self._not_bound(pod, node, failed)
            return
        self.state.expire_at(pod.key, self._clock.monotonic() + self._config.assume_expiry)
        self._expiring.set()
        self._attempted(metrics.SCHEDULED, pod)
        metrics.bound(pod.attempts, self._clock.monotonic() - pod.added)
        self.queue.done(pod)
        said = f"Successfully assigned {pod.namespace}/{objects.name(pod.pod)} to {node}"
        self._recorder.event(pod.pod, NORMAL, "Scheduled", said)
        for after in profile.post_bind:
            after.post_bind(pod, node)

    async def _not_bound(self, pod: PodInfo, node: str, failed: Exception) -> None:
        self.state.forget(pod.pod)
        self.queue.happened(ClusterEvent(ASSIGNED_POD, Action.DELETE, pod.pod, None))
        if isinstance(failed, ApiError) and failed.code == 404:
            self._began.pop(pod.uid, None)
            self.queue.done(pod)
            return
        known = self._pods.get(pod.key)
        if known is None or objects.uid(known) != pod.uid or (known.get("spec") or {}).get("nodeName"):
            # Deleted, or another scheduler was first: its word counts.
            self._began.pop(pod.uid, None)
            self.queue.done(pod)
            return
        if isinstance(failed, Stopped):
            await self._reject(pod, str(failed), frozenset((failed.refusal.plugin,)))
            return
        log.info("pod %s not bound to %s: %s", pod.key, node, failed)
        await self._reject(pod, f"binding rejected: {failed}", frozenset(), error=True)

    async def _expire(self) -> None:
        """Forgets assumed Pods that the API never showed bound."""
        while True:
            due = self.state.next_expiry()
            if due == float("inf"):
                self._expiring.clear()
                await self._expiring.wait()
                continue
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
            for record in self.state.expired(self._clock.monotonic()):
                log.warning("pod %s was bound to %s, but the API does not show it", record.key, record.node)
                known = self._pods.get(record.key)
                if known is not None and not (known.get("spec") or {}).get("nodeName"):
                    self._events.pod_waits(None, known)
