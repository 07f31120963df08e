"""Graceful node shutdown: Pods are ended in two steps, critical ones last, each within its share of the time
(documentation page "Node Shutdowns")."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from podwright.api import objects
from podwright.api.objects import Object
from podwright.kubelet import pods
from podwright.kubelet.pod_status import Verdict

log = logging.getLogger(__name__)

REASON = "Terminated"
MESSAGE = "Pod was terminated in response to imminent node shutdown."

Evict = Callable[[str, Verdict], asyncio.Event | None]
"""(uid, verdict) → set when the Pod has ended."""


def verdict(pod: Object, longest: float) -> Verdict:
    """How one Pod is ended; it gets its own grace period, if that is not longer than there is time."""
    condition: Object = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "TerminationByKubelet",
        "message": MESSAGE,
    }
    return Verdict(REASON, MESSAGE, min(pods.termination_grace(pod), longest), condition)


async def end_pods(found: Iterable[Object], evict: Evict, *, total: float, critical: float) -> None:
    """Ends all Pods: ordinary ones in the first `total - critical` seconds, critical and static ones in the last
    `critical`. Returns when all have ended or the time is over."""
    everyone = list(found)
    steps = (
        ([p for p in everyone if not pods.is_critical(p)], max(0.0, total - critical)),
        ([p for p in everyone if pods.is_critical(p)], critical),
    )
    for group, seconds in steps:
        waits = []
        for pod in group:
            ended = evict(objects.uid(pod), verdict(pod, seconds))
            if ended is not None:
                waits.append(ended)
        try:
            async with asyncio.timeout(seconds):
                for ended in waits:
                    await ended.wait()
        except TimeoutError:
            log.warning("not every Pod ended within %.0f s of the node's shutdown", seconds)
