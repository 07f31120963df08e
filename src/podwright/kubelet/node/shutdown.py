"""Graceful node shutdown: Pods are ended in groups by priority, the lowest first, each group within its share of the
time (documentation page "Node Shutdowns")."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.pod_status import Verdict

log = logging.getLogger(__name__)

REASON = "Terminated"
MESSAGE = "Pod was terminated in response to imminent node shutdown."

Period = tuple[int, float]
"""(priority from which Pods are in the group, seconds for the group)."""

Evict = Callable[[str, Verdict], asyncio.Event | None]
"""(uid, verdict) → set when the Pod has ended and its volumes are unmounted; None if it is not here."""


def periods(config: KubeletConfig) -> Sequence[Period]:
    """What is configured, by rising priority; empty if Pods are not to be ended before the machine is."""
    if config.shutdown_grace_by_priority:
        return sorted(config.shutdown_grace_by_priority)
    total, critical = config.shutdown_grace_period, config.shutdown_grace_period_critical
    if total <= 0 or not 0 <= critical <= total:
        return ()
    return ((0, total - critical), (pods.CRITICAL_PRIORITY, critical))


def verdict(pod: Object, longest: float) -> Verdict:
    """How one Pod is ended; it gets its own grace period, if that is not longer than there is time."""
    condition: Object = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "TerminationByKubelet",
        "message": MESSAGE,
    }
    return Verdict(REASON, MESSAGE, min(pods.termination_grace(pod), longest), condition)


async def end_pods(found: Iterable[Object], evict: Evict, allotted: Sequence[Period]) -> None:
    """Ends all Pods, group after group; returns when all have ended or the time is over. A Pod below the lowest
    priority is in the first group; a group without Pods takes no time."""
    groups: list[list[Object]] = [[] for _ in allotted]
    for pod in found:
        priority = int(pod["spec"].get("priority") or 0)
        reached = [index for index, (lowest, _) in enumerate(allotted) if lowest <= priority]
        groups[reached[-1] if reached else 0].append(pod)
    for group, (_, seconds) in zip(groups, allotted, strict=True):
        waits = [evict(objects.uid(pod), verdict(pod, seconds)) for pod in group]
        try:
            async with asyncio.timeout(seconds):
                for ended in waits:
                    if ended is not None:
                        await ended.wait()
        except TimeoutError:
            log.warning("not every Pod ended within %.0f s of the node's shutdown", seconds)
