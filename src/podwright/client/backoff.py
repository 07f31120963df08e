"""Delays that grow: for lost connections and for keys that keep failing."""

from __future__ import annotations

import random
from dataclasses import dataclass

_RANDOM = random.Random()
"""One generator is 2.5 KB, and a process has hundreds of connections that could be lost."""


@dataclass(slots=True)
class Backoff:
    """Each :meth:`next` is `factor` times the one before, up to `maximum` seconds, plus up to `jitter` of itself."""

    first: float = 0.1
    maximum: float = 30.0
    factor: float = 2.0
    jitter: float = 0.1
    random: random.Random = _RANDOM
    _failures: int = 0

    def next(self) -> float:
        delay = min(self.maximum, self.first * self.factor ** min(self._failures, 60))
        self._failures += 1
        return delay * (1.0 + self.jitter * self.random.random())

    def reset(self) -> None:
        self._failures = 0
