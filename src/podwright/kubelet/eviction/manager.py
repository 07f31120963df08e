"""Looks at the node every ten seconds, and ends a Pod when something runs out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from podwright.api import objects, pods, quantity
from podwright.api.objects import Object
from podwright.client.events import WARNING
from podwright.kubelet.eviction.local_storage import complaint
from podwright.kubelet.eviction.ranking import rank
from podwright.kubelet.eviction.thresholds import RESOURCES, Observation, Threshold, thresholds
from podwright.kubelet.kubelet import Kubelet
from podwright.kubelet.pod_status import Verdict
from podwright.kubelet.stats import node_usage
from podwright.kubelet.stats.pod_usage import PodUsage, usages
from podwright.runtime.protocol import RuntimeFailure

log = logging.getLogger(__name__)

PERIOD = 10.0
_HARD_GRACE = 1.0
_CLEANUP = 30.0

Observations = Mapping[str, Observation]


async def observe(kubelet: Kubelet) -> Observations:
    """All signals as they stand. Raises OSError, RuntimeFailure."""
    images = (await kubelet.image_service.filesystem_usage()).mountpoint

    def read() -> Observations:
        node = node_usage.read()
        nodefs, imagefs = node_usage.filesystem(kubelet.config.data_dir), node_usage.filesystem(images)
        return {
            "memory.available": Observation(node.memory_total, node.memory_available),
            "nodefs.available": Observation(nodefs.capacity, nodefs.available),
            "nodefs.inodesFree": Observation(nodefs.inodes, nodefs.inodes_free),
            "imagefs.available": Observation(imagefs.capacity, imagefs.available),
            "imagefs.inodesFree": Observation(imagefs.inodes, imagefs.inodes_free),
            "pid.available": Observation(node.max_processes, max(0, node.max_processes - node.processes)),
        }

    return await asyncio.to_thread(read)


class Evictions:
    """Run :meth:`run` as a task. At most one Pod is ended for the node's sake at a time: it is seen first what that
    gave."""

    def __init__(
        self, kubelet: Kubelet, *, see: Callable[[Kubelet], Awaitable[Observations]] = observe, period: float = PERIOD
    ) -> None:
        self._kubelet = kubelet
        self._see = see
        self._period = period
        self._thresholds = thresholds(kubelet.config)
        self._since: dict[Threshold, float] = {}
        self._last: dict[str, float] = {}
        self._ending: set[str] = set()

    async def run(self) -> None:
        while True:
            await self._kubelet.clock.sleep(self._period)
            try:
                await self.check()
            except (OSError, RuntimeFailure) as failed:
                log.warning("eviction: the node cannot be looked at: %s", failed)

    async def check(self) -> None:
        """One look, and what follows from it."""
        found: Sequence[PodUsage] | None = None
        self._ending &= {objects.uid(p) for p in self._kubelet.active_pods()}
        if any(_limits_storage(p) for p in self._kubelet.active_pods()):
            found = await usages(self._kubelet)
            for usage in found:
                why = complaint(usage)
                if why and not pods.is_critical(usage.pod) and objects.uid(usage.pod) not in self._ending:
                    self._evict(usage, why, _HARD_GRACE)
        seen = await self._see(self._kubelet)
        crossed = self._crossed(seen)
        self._tell(crossed)
        now = self._kubelet.clock.monotonic()
        due = [t for t in crossed if t.grace is None or now - self._since[t] >= t.grace]
        if not due or self._ending:
            # What an eviction under way gives is awaited before the next.
            return
        order = list(RESOURCES)
        first = min(due, key=lambda t: (order.index(t.signal), t.grace is not None))
        self._kubelet.recorder.event(
            self._node(), WARNING, "EvictionThresholdMet", f"Attempting to reclaim {first.resource}"
        )
        if first.condition == "DiskPressure":
            missing = first.value(seen[first.signal].capacity) - seen[first.signal].available
            await self._kubelet.garbage.free(missing)
            seen = await self._see(self._kubelet)
            if not first.crossed(seen[first.signal]):
                return
        await self._make_room(first, seen[first.signal], found)

    def _crossed(self, seen: Observations) -> list[Threshold]:
        now = self._kubelet.clock.monotonic()
        crossed = [t for t in self._thresholds if t.signal in seen and t.crossed(seen[t.signal])]
        self._since = {t: self._since.get(t, now) for t in crossed}
        return crossed

    def _tell(self, crossed: Sequence[Threshold]) -> None:
        """The node's conditions; each stays for a while after its reason went, lest it flaps."""
        now = self._kubelet.clock.monotonic()
        for threshold in crossed:
            self._last[threshold.condition] = now
        for condition in {c for _, c in RESOURCES.values()}:
            last = self._last.get(condition)
            stay = self._kubelet.config.eviction_pressure_transition_period
            pressed = last is not None and (now == last or now - last < stay)
            self._kubelet.set_pressure(condition, pressed)

    async def _make_room(
        self, threshold: Threshold, seen: Observation, found: Sequence[PodUsage] | None
    ) -> None:
        ranked = rank(await usages(self._kubelet) if found is None else found, threshold.resource)
        if not ranked:
            log.warning("eviction: no Pod may be ended to reclaim %s", threshold.resource)
            return
        grace = _HARD_GRACE
        if threshold.grace is not None:
            grace = min(
                self._kubelet.config.eviction_max_pod_grace_period, pods.termination_grace(ranked[0].pod)
            )
        ended = self._evict(ranked[0], _message(threshold, seen, ranked[0]), grace)
        if ended is not None:
            try:
                # The Pod's worker may stay for its API object; this is only to see what its end gave.
                async with asyncio.timeout(min(_CLEANUP, self._period)):
                    await ended.wait()
            except TimeoutError:
                log.info("eviction: %s is not cleared away yet", pods.describe(ranked[0].pod))

    def _evict(self, usage: PodUsage, message: str, grace: float) -> asyncio.Event | None:
        log.warning("%s evicted: %s", pods.describe(usage.pod), message)
        self._kubelet.recorder.event(usage.pod, WARNING, "Evicted", message)
        self._ending.add(objects.uid(usage.pod))
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "TerminationByKubelet",
            "message": message,
            "lastTransitionTime": objects.format_time(self._kubelet.clock.now()),
        }
        verdict = Verdict("Evicted", message, grace=grace, condition=condition)
        return self._kubelet.evict(objects.uid(usage.pod), verdict)

    def _node(self) -> Object:
        name = self._kubelet.config.node_name
        return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "uid": name}}


def _limits_storage(pod: Object) -> bool:
    """Whether the Pod's disk use must be measured even while the node has plenty."""
    if any("sizeLimit" in (v.get("emptyDir") or {}) for v in pod["spec"].get("volumes") or ()):
        return True
    return any(
        "ephemeral-storage" in ((c.get("resources") or {}).get("limits") or {}) for _, c in pods.all_containers(pod)
    )


def _message(threshold: Threshold, seen: Observation, usage: PodUsage) -> str:
    """Upstream's sentence: what the node lacks, and which containers use more of it than they requested."""
    resource = threshold.resource

    def text(amount: int) -> str:
        return quantity.from_value(amount, quantity.BINARY_SI if resource != "pids" else quantity.DECIMAL_SI)

    limit = threshold.value(seen.capacity)
    said = (
        f"The node was low on resource: {resource}. "
        f"Threshold quantity: {text(limit)}, available: {seen.available >> 10}Ki. "
        if resource in ("memory", "ephemeral-storage")
        else f"The node was low on resource: {resource}. Threshold quantity: {limit}, available: {seen.available}. "
    )
    if resource not in ("memory", "ephemeral-storage"):
        return said
    for container, stats in usage.containers:
        ctr = pods.container(usage.pod, container.name) or {}
        requested = ((ctr.get("resources") or {}).get("requests") or {}).get(resource, "0")
        amount = stats.memory_working_set if resource == "memory" else usage.disk_of(container.name)
        if amount > quantity.value(requested):
            said += (
                f"Container {container.name} was using {amount >> 10}Ki, request is {requested}, "
                f"has larger consumption of {resource}. "
            )
    return said
