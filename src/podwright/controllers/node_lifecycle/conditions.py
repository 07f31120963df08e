"""What a node's conditions say: the taints they ask for, and the state of a zone."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.api import objects, taints
from podwright.api.objects import Object

NORMAL, PARTIAL, FULL = "Normal", "PartialDisruption", "FullDisruption"

_WATCHED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_TAINTS = {
    ("Ready", "False"): taints.NOT_READY,
    ("Ready", "Unknown"): taints.UNREACHABLE,
    ("MemoryPressure", "True"): taints.MEMORY_PRESSURE,
    ("DiskPressure", "True"): taints.DISK_PRESSURE,
    ("NetworkUnavailable", "True"): taints.NETWORK_UNAVAILABLE,
    ("PIDPressure", "True"): taints.PID_PRESSURE,
}
_OURS = {*_TAINTS.values(), taints.UNSCHEDULABLE}


def ready_status(node: Object) -> str:
    """"True", "False" or "Unknown"; Unknown where it was never said."""
    ready = objects.condition(node, "Ready")
    return str(ready.get("status")) if ready is not None else "Unknown"


def zone_of(node: Object) -> str:
    labels = objects.labels(node)
    region = labels.get("topology.kubernetes.io/region", "")
    zone = labels.get("topology.kubernetes.io/zone", "")
    return f"{region}:{zone}" if region or zone else ""


def silenced(node: Object, now: str) -> list[Object] | None:
    """The conditions of a node that is not heard of any more: all unknown. None if they say so already."""
    conditions: list[Object] = [dict(c) for c in (node.get("status") or {}).get("conditions") or ()]
    changed = False
    for kind in _WATCHED:
        current = next((c for c in conditions if c["type"] == kind), None)
        if current is None:
            conditions.append({
                "type": kind, "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
                "lastHeartbeatTime": node["metadata"].get("creationTimestamp"), "lastTransitionTime": now,
            })  # fmt: skip
            changed = True
        elif current.get("status") != "Unknown":
            current.update(
                status="Unknown", reason="NodeStatusUnknown", message="Kubelet stopped posting node status.",
                lastTransitionTime=now,
            )  # fmt: skip
            changed = True
    return conditions if changed else None


def schedule_taints(node: Object) -> set[str]:
    """Keys of the NoSchedule taints that conditions and spec.unschedulable ask for."""
    wanted = {
        key
        for c in (node.get("status") or {}).get("conditions") or ()
        if (key := _TAINTS.get((c.get("type", ""), c.get("status", ""))))
    }
    if (node.get("spec") or {}).get("unschedulable"):
        wanted.add(taints.UNSCHEDULABLE)
    return wanted


def with_taints(node: Object, no_schedule: set[str], no_execute: str | bool | None, now: str) -> list[Object] | None:
    """The node's taints with exactly these of ours; None if they stand so. `no_execute` is a key, None for neither of
    the two, or True to leave them as they are."""
    current = list(taints.of(node))
    result: list[Object] = []
    missing = set(no_schedule)
    execute_missing = isinstance(no_execute, str)
    for taint in current:
        key, effect = taint.get("key"), taint.get("effect")
        if effect == taints.NO_SCHEDULE and key in _OURS:
            if key not in no_schedule:
                continue
            missing.discard(str(key))
        elif effect == taints.NO_EXECUTE and key in (taints.NOT_READY, taints.UNREACHABLE) and no_execute is not True:
            if key != no_execute:
                continue
            execute_missing = False
        result.append(taint)
    result += [{"key": key, "effect": taints.NO_SCHEDULE, "timeAdded": now} for key in sorted(missing)]
    if execute_missing:
        result.append({"key": no_execute, "effect": taints.NO_EXECUTE, "timeAdded": now})
    return result if result != current else None


def zone_state(statuses: Iterable[str], threshold: float) -> str:
    """By the Ready statuses of its nodes."""
    known = list(statuses)
    not_ready = sum(s != "True" for s in known)
    ready = len(known) - not_ready
    if ready == 0 and not_ready > 0:
        return FULL
    if not_ready > 2 and not_ready / len(known) >= threshold:
        return PARTIAL
    return NORMAL
