"""What is said of a Pod on a simulated node: pure functions from the Pod to its status."""

from __future__ import annotations

from podwright.api import objects, pods
from podwright.api.objects import Object

RUN_SECONDS = "podwright.io/simulated-run-seconds"
"""Annotation of a Pod: its containers end after so many seconds. Without it, or where the restart policy would start
them again, they run until the Pod is deleted."""
EXIT_CODE = "podwright.io/simulated-exit-code"
"""Annotation of a Pod: with which code they end; default 0."""

_RUNTIME = "simulated://"


def ends_after(pod: Object) -> float | None:
    """Seconds until the Pod's containers end; None if they do not."""
    try:
        seconds = float(objects.annotations(pod)[RUN_SECONDS])
    except (KeyError, ValueError):
        return None
    policy = pod["spec"].get("restartPolicy", "Always")
    if policy == "Always" or (policy == "OnFailure" and exit_code(pod)) or not 0 <= seconds < 1e9:
        return None
    return seconds


def exit_code(pod: Object) -> int:
    try:
        return min(255, max(0, int(objects.annotations(pod).get(EXIT_CODE, "0"))))
    except ValueError:
        return 1


def running(pod: Object, *, host_ip: str, pod_ip: str, now: str) -> Object:
    """The status of a Pod whose init containers have ended and whose containers run and are ready."""
    state = {"running": {"startedAt": now}}
    gates = [g["conditionType"] for g in pod["spec"].get("readinessGates") or ()]
    ready = all(objects.condition_is_true(pod, g) for g in gates)
    return {
        "phase": "Running",
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "startTime": (pod.get("status") or {}).get("startTime") or now,
        "conditions": _conditions(pod, now, ready=ready),
        "initContainerStatuses": [
            _container(pod, c, state if pods.is_sidecar(c) else _ended(0, now, now), ready=True, started=True)
            for c in pods.init_containers(pod)
        ],
        "containerStatuses": [_container(pod, c, state, ready=True, started=True) for c in pods.containers(pod)],
    }


def ended(pod: Object, *, code: int, now: str) -> Object:
    """The status of a Pod that ran and whose containers have ended."""
    status = pod.get("status") or {}
    began = status.get("startTime") or now
    reason = "PodCompleted" if code == 0 else "PodFailed"
    return {
        "phase": "Failed" if code else "Succeeded",
        "conditions": _conditions(pod, now, ready=False, reason=reason),
        "containerStatuses": [
            _container(pod, c, _ended(code, began, now), ready=False, started=False) for c in pods.containers(pod)
        ],
    }


def _conditions(pod: Object, now: str, *, ready: bool, reason: str = "") -> list[Object]:
    """The kubelet's own, to be merged by type: gates and PodScheduled are others' words."""
    alive = not reason
    wanted = {
        "PodReadyToStartContainers": alive, "Initialized": True, "Ready": ready and alive, "ContainersReady": alive,
    }  # fmt: skip
    found: list[Object] = []
    for kind, value in wanted.items():
        before = objects.condition(pod, kind)
        text = "True" if value else "False"
        same = before is not None and before.get("status") == text
        condition: Object = {
            "type": kind, "status": text, "lastProbeTime": None,
            "lastTransitionTime": before["lastTransitionTime"] if same and before is not None else now,
        }  # fmt: skip
        # A reason of before must not stay: merging only takes away what is null.
        condition["reason"] = None if value else reason or "ReadinessGatesNotReady"
        found.append(condition)
    return found


def _container(pod: Object, container: Object, state: Object, *, ready: bool, started: bool) -> Object:
    identity = f"{_RUNTIME}{objects.uid(pod)}/{container['name']}"
    if "terminated" in state:
        state = {"terminated": {**state["terminated"], "containerID": identity}}
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "containerID": identity,
        "restartCount": 0,
        "ready": ready,
        "started": started,
        "state": state,
        "lastState": {},
    }


def _ended(code: int, began: str, now: str) -> Object:
    reason = "Error" if code else "Completed"
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": now}}
