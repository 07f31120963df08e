"""Taints and tolerations, as the Kubernetes page "Taints and Tolerations" defines them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podwright.api.objects import Object

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
MEMORY_PRESSURE = "node.kubernetes.io/memory-pressure"
DISK_PRESSURE = "node.kubernetes.io/disk-pressure"
PID_PRESSURE = "node.kubernetes.io/pid-pressure"
NETWORK_UNAVAILABLE = "node.kubernetes.io/network-unavailable"
NO_SCHEDULE = "NoSchedule"
NO_EXECUTE = "NoExecute"


def of(node: Object) -> Sequence[Object]:
    return (node.get("spec") or {}).get("taints") or ()


def no_execute(node: Object) -> list[Object]:
    return [t for t in of(node) if t.get("effect") == NO_EXECUTE]


def has(node: Object, key: str, effect: str) -> bool:
    return any(t.get("key") == key and t.get("effect") == effect for t in of(node))


def tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    match toleration.get("operator") or "Equal":
        case "Exists":
            return True
        case "Equal":
            return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")
        case _:
            return False


def untolerated(taints: Iterable[Object], tolerations: Sequence[Object]) -> Object | None:
    """The first taint that no toleration covers."""
    return next((t for t in taints if not any(tolerates(x, t) for x in tolerations)), None)
