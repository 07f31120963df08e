"""What a controller has asked for and not yet seen: until its informer shows it, counting would mislead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from podwright.client.clock import Clock

_TIMEOUT = 300.0


@dataclass(slots=True)
class _Expected:
    created_at: float
    additions: int = 0
    removals: set[str] = field(default_factory=set)


class Expectations:
    """Additions are counted, removals are remembered by uid: a Pod may be seen to go twice (deletionTimestamp, then
    gone). After five minutes an expectation no longer holds a controller up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_key: dict[str, _Expected] = {}

    def satisfied(self, key: str) -> bool:
        expected = self._by_key.get(key)
        if expected is None:
            return True
        if expected.additions <= 0 and not expected.removals:
            return True
        return self._clock.monotonic() - expected.created_at > _TIMEOUT

    def expect(self, key: str, *, additions: int = 0, removals: Iterable[str] = ()) -> None:
        """Replaces whatever was expected before: call it only when that was satisfied."""
        self._by_key[key] = _Expected(self._clock.monotonic(), additions, set(removals))

    def added(self, key: str, count: int = 1) -> None:
        """Seen, or not to come after all."""
        expected = self._by_key.get(key)
        if expected is not None:
            expected.additions -= count

    def removed(self, key: str, uid: str) -> None:
        expected = self._by_key.get(key)
        if expected is not None:
            expected.removals.discard(uid)

    def forget(self, key: str) -> None:
        self._by_key.pop(key, None)
