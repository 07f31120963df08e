"""Which Pod goes first: one that uses more than it requested, then of the least priority, then by how much more."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.api import pods
from podwright.kubelet.stats.pod_usage import PodUsage


def used(usage: PodUsage, resource: str) -> int:
    """Bytes, inodes or processes."""
    if resource == "memory":
        return usage.memory
    if resource == "pids":
        return usage.processes
    if resource == "inodes":
        own = sum(s.rootfs_inodes for _, s in usage.containers)
        return own + sum(n for kept in (usage.volumes, usage.logs) for _, n in kept.values())
    return usage.disk


def _key(usage: PodUsage, resource: str) -> tuple[int, int, int]:
    amount, priority = used(usage, resource), pods.priority(usage.pod)
    if resource in ("pids", "inodes"):
        # Nobody can request these.
        return 0, priority, -amount
    requested = pods.requests(usage.pod).get(resource, 0)
    return 0 if amount > requested else 1, priority, requested - amount


def rank(found: Iterable[PodUsage], resource: str) -> list[PodUsage]:
    """Those that may be evicted, the first to go first. Static and critical Pods never go."""
    return sorted((u for u in found if not pods.is_critical(u.pod)), key=lambda u: _key(u, resource))
