"""The Pod conditions that the kubelet owns, with upstream's reasons and messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from podwright.api import pods
from podwright.api.objects import Object

ALL_RESTARTING = "AllContainersRestarting"
OWNED = (
    "PodScheduled",
    "Ready",
    "Initialized",
    "ContainersReady",
    "PodReadyToStartContainers",
    "PodResizePending",
    "PodResizeInProgress",
    ALL_RESTARTING,
)

_COMPLETED = "PodCompleted"
_FAILED = "PodFailed"


def _condition(kind: str, status: bool, reason: str = "", message: str = "") -> Object:
    found: Object = {"type": kind, "status": "True" if status else "False"}
    if reason:
        found["reason"] = reason
    if message:
        found["message"] = message
    return found


def _names(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"


def _complaint(unknown: Sequence[str], bad: Sequence[str], what: str) -> str:
    parts = []
    if unknown:
        parts.append(f"containers with unknown status: {_names(unknown)}")
    if bad:
        parts.append(f"containers with {what} status: {_names(bad)}")
    return ", ".join(parts)


def ready_to_start(has_sandbox: bool) -> Object:
    return _condition("PodReadyToStartContainers", has_sandbox)


def scheduled() -> Object:
    return _condition("PodScheduled", True)


def initialized(pod: Object, statuses: Mapping[str, Object], phase: str) -> Object:
    unknown, incomplete = [], []
    for ctr in pods.init_containers(pod):
        status = statuses.get(ctr["name"])
        if status is None:
            unknown.append(ctr["name"])
        elif not status.get("started" if pods.is_sidecar(ctr) else "ready"):
            incomplete.append(ctr["name"])
    if phase == "Succeeded" and not unknown:
        return _condition("Initialized", True, _COMPLETED)
    if any(_has_started(statuses.get(c["name"])) for c in pods.containers(pod)):
        return _condition("Initialized", True)
    complaint = _complaint(unknown, incomplete, "incomplete")
    if complaint:
        return _condition("Initialized", False, "ContainersNotInitialized", complaint)
    return _condition("Initialized", True)


def _has_started(status: Object | None) -> bool:
    """Whether a main container runs, or has run."""
    if status is None:
        return False
    state, last = status.get("state") or {}, status.get("lastState") or {}
    return "running" in state or "terminated" in state or "terminated" in last


def containers_ready(pod: Object, statuses: Mapping[str, Object], phase: str) -> Object:
    kind = "ContainersReady"
    unknown, unready = [], []
    sidecars = [c for c in pods.init_containers(pod) if pods.is_sidecar(c)]
    for ctr in (*sidecars, *pods.containers(pod)):
        status = statuses.get(ctr["name"])
        if status is None:
            unknown.append(ctr["name"])
        elif not status.get("ready"):
            unready.append(ctr["name"])
    if phase == "Succeeded" and not unknown:
        return _condition(kind, False, _COMPLETED)
    if phase == "Failed":
        return _condition(kind, False, _FAILED)
    complaint = _complaint(unknown, unready, "unready")
    if complaint:
        return _condition(kind, False, "ContainersNotReady", complaint)
    return _condition(kind, True)


def ready(pod: Object, containers: Object, others: Sequence[Object]) -> Object:
    """ContainersReady, and every readiness gate's condition (among `others`) True."""
    if containers["status"] != "True":
        return {**containers, "type": "Ready"}
    complaints = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        found = next((c for c in others if c["type"] == kind), None)
        if found is None:
            complaints.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found["status"] != "True":
            complaints.append(f'the status of pod readiness gate "{kind}" is not "True", but {found["status"]}')
    if complaints:
        return _condition("Ready", False, "ReadinessGatesNotReady", ", ".join(complaints))
    return _condition("Ready", True)


def all_restarting(phase: str, restarting: bool) -> Object:
    """Of a Pod with a rule that restarts all its containers (KEP-5532)."""
    kind = ALL_RESTARTING
    if phase in ("Succeeded", "Failed"):
        return _condition(kind, False, _COMPLETED if phase == "Succeeded" else _FAILED)
    if not restarting:
        return _condition(kind, False)
    return _condition(kind, True, "RestartAllContainersStarted", "container exited with restart policy rule")


def with_times(conditions: Sequence[Object], before: Sequence[Object], now: str, generation: int) -> list[Object]:
    """Gives each condition the time of its last change and the Pod generation that it was made for."""
    known = {c["type"]: c for c in before}
    result = []
    for made in conditions:
        old = known.get(made["type"])
        same = old is not None and old.get("status") == made["status"] and old.get("lastTransitionTime")
        complete: Object = {
            **made,
            "lastTransitionTime": old["lastTransitionTime"] if same and old else made.get("lastTransitionTime") or now,
        }
        if generation:
            complete.setdefault("observedGeneration", generation)
        result.append(complete)
    return result
