"""A Deployment's status and conditions, and when a rollout is complete, progressing or stuck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podwright.api import objects
from podwright.api.objects import Object
from podwright.controllers.deployment import arithmetic
from podwright.controllers.pods import set_condition, without_condition

AVAILABLE = "Available"
PROGRESSING = "Progressing"
REPLICA_FAILURE = "ReplicaFailure"
NEW_SET_AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
_FOREVER = 2**31 - 1


def condition_of(status: Mapping[str, Any], kind: str) -> Object | None:
    return next((c for c in status.get("conditions") or () if c["type"] == kind), None)


def make_condition(kind: str, value: str, reason: str, message: str, now: float) -> Object:
    stamp = objects.format_time(now)
    return {"type": kind, "status": value, "lastUpdateTime": stamp, "lastTransitionTime": stamp, "reason": reason,
            "message": message}  # fmt: skip


def has_deadline(deployment: Object) -> bool:
    deadline = deployment["spec"].get("progressDeadlineSeconds")
    return deadline is not None and deadline != _FOREVER


def calculate(deployment: Object, sets: Sequence[Object], new: Object | None, now: float) -> Object:
    available = arithmetic.total_status(sets, "availableReplicas")
    old = deployment.get("status") or {}
    counts: Object = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": arithmetic.total_status(sets, "replicas"),
        "updatedReplicas": arithmetic.status_count(new, "replicas") if new is not None else 0,
        "readyReplicas": arithmetic.total_status(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, arithmetic.total_replicas(sets) - available),
        "terminatingReplicas": arithmetic.total_status(sets, "terminatingReplicas"),
        "collisionCount": old.get("collisionCount"),
    }
    status = {k: v for k, v in counts.items() if v or (k == "terminatingReplicas" and v is not None)}
    if available >= arithmetic.replicas(deployment) - arithmetic.max_unavailable(deployment):
        enough = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        enough = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    status["conditions"] = set_condition(list(old.get("conditions") or ()), make_condition(AVAILABLE, *enough, now))
    return status


def is_complete(deployment: Object, status: Mapping[str, Any]) -> bool:
    wanted = arithmetic.replicas(deployment)
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return bool(seen and all(status.get(field, 0) == wanted for field in counts))


def is_progressing(deployment: Object, status: Mapping[str, Any]) -> bool:
    """Compared with the status that stands: more new, ready or available Pods, or fewer old ones."""
    old = deployment.get("status") or {}

    def grew(field: str) -> bool:
        return bool(status.get(field, 0) > old.get(field, 0))

    old_before = old.get("replicas", 0) - old.get("updatedReplicas", 0)
    old_now = status.get("replicas", 0) - status.get("updatedReplicas", 0)
    return grew("updatedReplicas") or grew("readyReplicas") or grew("availableReplicas") or old_now < old_before


def is_timed_out(deployment: Object, status: Mapping[str, Any], now: float) -> bool:
    if not has_deadline(deployment):
        return False
    progressing = condition_of(status, PROGRESSING)
    if progressing is None or progressing.get("reason") == NEW_SET_AVAILABLE:
        return False
    if progressing.get("reason") == TIMED_OUT:
        return True
    return deadline_at(deployment, progressing) < now


def deadline_at(deployment: Object, progressing: Object) -> float:
    since = progressing.get("lastUpdateTime") or progressing.get("lastTransitionTime")
    return (objects.parse_time(since) if since else 0.0) + float(deployment["spec"]["progressDeadlineSeconds"])


def roll(deployment: Object, sets: Sequence[Object], new: Object | None, now: float) -> Object:
    """The status of a rollout under way: counts, and the Progressing and ReplicaFailure conditions."""
    status = calculate(deployment, sets, new, now)
    conditions: list[Object] = status["conditions"]
    if not has_deadline(deployment):
        conditions = without_condition(conditions, PROGRESSING)
    current = condition_of(deployment.get("status") or {}, PROGRESSING)
    settled = (
        status.get("replicas", 0) == status.get("updatedReplicas", 0)
        and current is not None
        and current.get("reason") == NEW_SET_AVAILABLE
    )
    if has_deadline(deployment) and not settled:
        who = f'ReplicaSet "{objects.name(new)}"' if new is not None else f'Deployment "{objects.name(deployment)}"'
        if is_complete(deployment, status):
            conditions = set_condition(
                conditions,
                make_condition(PROGRESSING, "True", NEW_SET_AVAILABLE, f"{who} has successfully progressed.", now),
            )
        elif is_progressing(deployment, status):
            progress = make_condition(PROGRESSING, "True", "ReplicaSetUpdated", f"{who} is progressing.", now)
            if current is not None and current.get("status") == "True":
                progress["lastTransitionTime"] = current.get("lastTransitionTime", progress["lastTransitionTime"])
            conditions = [*without_condition(conditions, PROGRESSING), progress]
        elif is_timed_out(deployment, status, now):
            conditions = set_condition(
                conditions, make_condition(PROGRESSING, "False", TIMED_OUT, f"{who} has timed out progressing.", now)
            )
    failure = _replica_failure(sets, new)
    if failure is not None:
        conditions = set_condition(conditions, failure)
    else:
        conditions = without_condition(conditions, REPLICA_FAILURE)
    status["conditions"] = conditions
    return status


def _replica_failure(sets: Sequence[Object], new: Object | None) -> Object | None:
    for rs in ([new] if new is not None else []) + list(sets):
        failure = objects.condition(rs, REPLICA_FAILURE)
        if failure is not None:
            stamp = failure.get("lastTransitionTime")
            made = {k: failure.get(k) for k in ("type", "status", "reason", "message", "lastTransitionTime")}
            made["lastUpdateTime"] = stamp
            return {k: v for k, v in made.items() if v is not None}
    return None


def without_zero(status: Mapping[str, Any]) -> Object:
    return {k: v for k, v in status.items() if v}
