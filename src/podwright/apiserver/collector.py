"""Python's garbage collector in a process that holds a big cache."""

from __future__ import annotations

import gc

_THRESHOLDS = (100_000, 50, 100)


def tune() -> tuple[int, int, int]:
    """What the cache holds is acyclic and long-lived: walking it every few hundred writes costs half the throughput
    and is the tail of all latencies. Gives the thresholds before, for :func:`restore`."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    return before


def restore(before: tuple[int, int, int]) -> None:
    gc.set_threshold(*before)
    gc.unfreeze()
