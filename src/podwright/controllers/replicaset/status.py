"""The status of a ReplicaSet (and of a ReplicationController) as counted from its Pods."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.api import objects
from podwright.api.objects import Object
from podwright.controllers import pods

REPLICA_FAILURE = "ReplicaFailure"


def calculate(
    owner: Object, active: Sequence[Object], terminating: int | None, failure: Exception | None, wanted_difference: int,
    now: float,
) -> Object:
    """`wanted_difference` is active Pods minus spec.replicas before this round: it names the failed action."""
    spec = owner.get("spec") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    minimum = int(spec.get("minReadySeconds") or 0)
    old = owner.get("status") or {}
    status: Object = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(all(objects.labels(p).get(k) == v for k, v in labels.items()) for p in active),
        "readyReplicas": sum(pods.is_ready(p) for p in active),
        "availableReplicas": sum(pods.is_available(p, minimum, now) for p in active),
        "observedGeneration": (owner["metadata"]).get("generation", 0),
    }
    if terminating is not None:
        status["terminatingReplicas"] = terminating
    conditions = list(old.get("conditions") or ())
    if failure is not None and not any(c["type"] == REPLICA_FAILURE for c in conditions):
        reason = "FailedDelete" if wanted_difference > 0 else "FailedCreate"
        conditions = pods.set_condition(
            conditions,
            {
                "type": REPLICA_FAILURE, "status": "True", "reason": reason, "message": str(failure),
                "lastTransitionTime": objects.format_time(now),
            },
        )
    elif failure is None:
        conditions = pods.without_condition(conditions, REPLICA_FAILURE)
    if conditions:
        status["conditions"] = conditions
    return {k: v for k, v in status.items() if v != 0 or k in ("replicas", "terminatingReplicas")}


def differs(old: Object, new: Object) -> bool:
    """Zero and absent are the same."""
    return {k: v for k, v in old.items() if v} != {k: v for k, v in new.items() if v}
