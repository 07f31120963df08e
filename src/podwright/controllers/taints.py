"""The taints of a node, as the controllers read them."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.api.objects import Object
from podwright.api.taints import (
    DISK_PRESSURE,
    MEMORY_PRESSURE,
    NETWORK_UNAVAILABLE,
    NO_EXECUTE,
    NO_SCHEDULE,
    NOT_READY,
    OUT_OF_SERVICE,
    PID_PRESSURE,
    UNREACHABLE,
    UNSCHEDULABLE,
    tolerates,
    untolerated,
)

__all__ = [
    "DISK_PRESSURE", "MEMORY_PRESSURE", "NETWORK_UNAVAILABLE", "NOT_READY", "NO_EXECUTE", "NO_SCHEDULE",
    "OUT_OF_SERVICE", "PID_PRESSURE", "UNREACHABLE", "UNSCHEDULABLE", "has", "no_execute", "of", "tolerates",
    "untolerated",
]


def of(node: Object) -> Sequence[Object]:
    return (node.get("spec") or {}).get("taints") or ()


def no_execute(node: Object) -> list[Object]:
    return [t for t in of(node) if t.get("effect") == NO_EXECUTE]


def has(node: Object, key: str, effect: str) -> bool:
    return any(t.get("key") == key and t.get("effect") == effect for t in of(node))
