"""Pods that nodes refuse to run (OutOfcpu, NodeAffinity and others) are replaced with a growing delay: a template that
no node ever admits must not make Pods as fast as they can be refused."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from podwright.api import objects
from podwright.api.objects import Object
from podwright.client.clock import Clock
from podwright.client.events import WARNING, EventRecorder
from podwright.controllers import pods

_FIRST, _LAST = 1.0, 300.0


@dataclass(slots=True)
class _Trouble:
    generation: int
    known: frozenset[str] = frozenset()
    tries: int = 0
    until: float = -math.inf


def is_refused(pod: Object) -> bool:
    """It failed and nothing of it ever ran, unlike one that was evicted."""
    status = pod.get("status") or {}
    made = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    return pods.phase(pod) == "Failed" and not any(c.get("containerID") for c in made)


class RefusedPods:
    """Of each owner, by `place`: a part of it that waits alone. The first Pod is replaced at once, for another
    scheduler may have taken its room; a changed owner is tried anew."""

    def __init__(self, clock: Clock, events: EventRecorder) -> None:
        self._clock = clock
        self._events = events
        self._troubles: dict[str, dict[str, _Trouble]] = {}

    def forget(self, owner: Object) -> None:
        self._troubles.pop(objects.uid(owner), None)

    def wait(self, owner: Object, children: Iterable[Object], place: str = "") -> float:
        """Seconds for which none of `children`, as they are now, is to be replaced."""
        refused = {objects.uid(p): str((p.get("status") or {}).get("reason")) for p in children if is_refused(p)}
        places, now = self._troubles.setdefault(objects.uid(owner), {}), self._clock.monotonic()
        generation = int(owner["metadata"].get("generation") or 0)
        trouble = places.get(place)
        if trouble is None or trouble.generation != generation:
            trouble = places[place] = _Trouble(generation)
        fresh = refused.keys() - trouble.known
        trouble.known = frozenset(refused)
        if fresh and now >= trouble.until:
            if now - trouble.until > 2 * _LAST:
                trouble.tries = 0
            delay = min(_LAST, _FIRST * 2.0 ** (trouble.tries - 1)) if trouble.tries else 0.0
            trouble.tries, trouble.until = trouble.tries + 1, now + delay
            if delay:
                why = ", ".join(sorted({refused[uid] for uid in fresh}))
                self._events.event(owner, WARNING, "BackOff", f"Back-off replacing Pods that nodes refuse ({why})")
        return max(0.0, trouble.until - now)
