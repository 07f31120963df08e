"""Has the cache seen our own last write? A controller that counts from its object's status must not count twice."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.client.clock import Clock
from podwright.client.informers import Informer

RETRY = 0.05
_PATIENCE = 5.0


class Freshness:
    """After five seconds a write that the cache never showed holds nobody up any more."""

    def __init__(self, informer: Informer, clock: Clock) -> None:
        self._informer = informer
        self._clock = clock
        self._written: dict[str, tuple[int, float]] = {}

    def wrote(self, obj: Object) -> None:
        self._written[objects.key(obj)] = int(obj["metadata"]["resourceVersion"]), self._clock.monotonic()

    def is_stale(self, key: str) -> bool:
        entry = self._written.get(key)
        if entry is None:
            return False
        revision, at = entry
        cached = self._informer.get(key)
        if cached is not None and int(cached["metadata"]["resourceVersion"]) < revision:
            if self._clock.monotonic() - at < _PATIENCE:
                return True
        del self._written[key]
        return False
