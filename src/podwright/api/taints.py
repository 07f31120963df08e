"""Taints and tolerations (Kubernetes documentation: "Taints and Tolerations")."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from podwright.api.objects import Object

NO_SCHEDULE = "NoSchedule"
PREFER_NO_SCHEDULE = "PreferNoSchedule"
NO_EXECUTE = "NoExecute"

SCHEDULING_EFFECTS = (NO_SCHEDULE, NO_EXECUTE)
"""The effects that keep a Pod off a node."""

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
MEMORY_PRESSURE = "node.kubernetes.io/memory-pressure"
DISK_PRESSURE = "node.kubernetes.io/disk-pressure"
PID_PRESSURE = "node.kubernetes.io/pid-pressure"
NETWORK_UNAVAILABLE = "node.kubernetes.io/network-unavailable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"

_DECIMAL = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)


def of(node: Object) -> Sequence[Object]:
    return (node.get("spec") or {}).get("taints") or ()


def no_execute(node: Object) -> list[Object]:
    return [t for t in of(node) if t.get("effect") == NO_EXECUTE]


def has(node: Object, key: str, effect: str) -> bool:
    return any(t.get("key") == key and t.get("effect") == effect for t in of(node))


def tolerates(toleration: Object, taint: Object) -> bool:
    """Whether one toleration matches one taint. An empty key with Exists matches every taint, an empty effect every
    effect; Gt and Lt (1.35) compare the taint's value with the toleration's as 64-bit integers."""
    effect = toleration.get("effect")
    if effect and effect != taint.get("effect"):
        return False
    key = toleration.get("key")
    if key and key != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    mine, its = toleration.get("value") or "", taint.get("value") or ""
    if operator == "Equal":
        return bool(mine == its)
    bound, value = integer(mine), integer(its)
    if bound is None or value is None:
        return False
    if operator == "Gt":
        return value > bound
    return value < bound if operator == "Lt" else False


def integer(text: str) -> int | None:
    """What Gt and Lt compare: a decimal integer of 64 bits in its one form."""
    if not _DECIMAL.fullmatch(text) or len(text) > 20:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def is_tolerated(taint: Object, tolerations: Iterable[Object]) -> bool:
    return any(tolerates(t, taint) for t in tolerations)


def untolerated(
    taints: Iterable[Object], tolerations: Iterable[Object], effects: Collection[str] = SCHEDULING_EFFECTS
) -> Object | None:
    """The first taint of one of the effects that no toleration matches; None if there is none."""
    tolerations = tuple(tolerations)
    for taint in taints:
        if (taint.get("effect") or "") in effects and not is_tolerated(taint, tolerations):
            return taint
    return None
