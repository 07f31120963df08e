"""Eviction thresholds, and what of them the node has crossed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from podwright.api import quantity
from podwright.kubelet.config import KubeletConfig

RESOURCES: Mapping[str, tuple[str, str]] = {
    "memory.available": ("memory", "MemoryPressure"),
    "nodefs.available": ("ephemeral-storage", "DiskPressure"),
    "nodefs.inodesFree": ("inodes", "DiskPressure"),
    "imagefs.available": ("ephemeral-storage", "DiskPressure"),
    "imagefs.inodesFree": ("inodes", "DiskPressure"),
    "pid.available": ("pids", "PIDPressure"),
}
"""Signal → (resource that starves, condition of the node). Their order is the one in which resources are reclaimed:
memory first."""


@dataclass(frozen=True, slots=True)
class Observation:
    """How much of something there is, and how much is left."""

    capacity: int
    available: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """`grace` is how long it must be crossed, in seconds; None of a hard one."""

    signal: str
    limit: str
    grace: float | None = None

    @property
    def resource(self) -> str:
        return RESOURCES[self.signal][0]

    @property
    def condition(self) -> str:
        return RESOURCES[self.signal][1]

    def value(self, capacity: int) -> int:
        if self.limit.endswith("%"):
            return int(Decimal(self.limit.removesuffix("%")) * capacity / 100)
        return quantity.value(self.limit)

    def crossed(self, seen: Observation) -> bool:
        return seen.available < self.value(seen.capacity)


def thresholds(config: KubeletConfig) -> Sequence[Threshold]:
    """Hard ones first, each kind in the order of reclaiming. Signals that are not known here are left out."""
    hard = [Threshold(s, config.eviction_hard[s]) for s in RESOURCES if s in config.eviction_hard]
    soft = [
        Threshold(s, config.eviction_soft[s], config.eviction_soft_grace_period.get(s, 0.0))
        for s in RESOURCES if s in config.eviction_soft
    ]  # fmt: skip
    return [*hard, *soft]
