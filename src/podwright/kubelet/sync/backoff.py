"""CrashLoopBackOff and ImagePullBackOff: how long to wait before the next try."""

from __future__ import annotations

from dataclasses import dataclass

from podwright.client.clock import Clock


@dataclass(slots=True)
class _Entry:
    delay: float
    last: float


class RestartBackoff:
    """Delays by key. The first try after a failure is immediate; then `initial` seconds after the failure, doubling up
    to `maximum`. A thing that fails only `reset` seconds after its last try begins anew. Times are wall-clock
    seconds (those at which containers finished)."""

    def __init__(self, clock: Clock, *, initial: float, maximum: float, reset: float) -> None:
        self._clock = clock
        self._initial = initial
        self._maximum = maximum
        self._reset = reset
        self._entries: dict[str, _Entry] = {}

    def remaining(self, key: str, failed_at: float) -> float:
        """Seconds until it may be tried again after failing at that time; 0 if now."""
        entry = self._entries.get(key)
        if entry is None or failed_at - entry.last > self._reset:
            return 0.0
        return max(0.0, failed_at + entry.delay - self._clock.now())

    def delay(self, key: str) -> float:
        """The present delay, for messages."""
        entry = self._entries.get(key)
        return entry.delay if entry else 0.0

    def tried(self, key: str, failed_at: float) -> None:
        """It is tried now after failing at that time: the next delay is twice as long."""
        entry = self._entries.get(key)
        now = self._clock.now()
        if entry is None or failed_at - entry.last > self._reset:
            self._entries[key] = _Entry(min(self._initial, self._maximum), now)
        else:
            entry.delay = min(entry.delay * 2, self._maximum)
            entry.last = now

    def forget(self, prefix: str) -> None:
        """Drops every key that begins so."""
        for key in [k for k in self._entries if k.startswith(prefix)]:
            del self._entries[key]


def go_duration(seconds: float) -> str:
    """As Go prints a time.Duration: "10s", "1m20s", "5m0s", "1.5s", "200ms"."""
    if seconds <= 0:
        return "0s"
    if seconds < 1:
        return f"{seconds * 1000:.10g}ms"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.10g}s"
    if hours:
        return f"{int(hours)}h{int(minutes)}m{text}"
    return f"{int(minutes)}m{text}" if minutes else text
