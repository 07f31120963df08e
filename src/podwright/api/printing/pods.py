"""The rows of Pods: kubectl's STATUS says more than the phase."""

from __future__ import annotations

from podwright.api.objects import Object, parse_time
from podwright.api.printing.durations import human
from podwright.api.printing.tables import (
    AGE,
    NAME,
    Cells,
    Printer,
    Printers,
    age,
    containers,
    labels,
    meta,
    name,
    spec,
    status,
    text,
    wide,
)

_NODE_LOST = "NodeLost"
_TERMINAL = ("Failed", "Succeeded")


class _Restarts:
    """How many restarts, and when the last run ended."""

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0

    def add(self, entry: Object) -> None:
        self.count += entry.get("restartCount") or 0
        ended = ((entry.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        if ended:
            self.last = max(self.last, parse_time(ended))

    def text(self, now: float) -> str:
        if self.count and self.last:
            return f"{self.count} ({human(now - self.last)} ago)"
        return str(self.count)


def _ended(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode') or 0}"


def _summary(pod: Object, now: float) -> tuple[str, str, str]:
    """READY, STATUS and RESTARTS."""
    pod_spec, pod_status = spec(pod), status(pod)
    phase = pod_status.get("phase") or ""
    reason = pod_status.get("reason") or phase
    conditions = {c.get("type"): c for c in pod_status.get("conditions") or ()}
    if (conditions.get("PodScheduled") or {}).get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    init = pod_spec.get("initContainers") or []
    sidecars = {c.get("name") for c in init if c.get("restartPolicy") == "Always"}
    total = len(pod_spec.get("containers") or ()) + len(sidecars)
    ready = 0
    all_restarts, restarts = _Restarts(), _Restarts()
    initializing = False
    for i, entry in enumerate(pod_status.get("initContainerStatuses") or ()):
        all_restarts.add(entry)
        sidecar = entry.get("name") in sidecars
        if sidecar:
            restarts.add(entry)
        state = entry.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if sidecar and entry.get("started"):
            ready += bool(entry.get("ready"))
            continue
        if terminated is not None:
            reason = f"Init:{_ended(terminated)}"
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            reason = f"Init:{waiting['reason']}"
        else:
            reason = f"Init:{i}/{len(init)}"
        initializing = True
        break
    if initializing and (conditions.get("Initialized") or {}).get("status") != "True":
        restarts = all_restarts
    else:
        running = False
        for entry in reversed(pod_status.get("containerStatuses") or ()):
            restarts.add(entry)
            state = entry.get("state") or {}
            terminated = state.get("terminated")
            waiting_reason = (state.get("waiting") or {}).get("reason")
            if waiting_reason:
                reason = waiting_reason
            elif terminated is not None:
                reason = _ended(terminated)
            elif entry.get("ready") and state.get("running") is not None:
                running = True
                ready += 1
        if reason == "Completed" and running:
            reason = "Running" if (conditions.get("Ready") or {}).get("status") == "True" else "NotReady"
    if meta(pod).get("deletionTimestamp"):
        if pod_status.get("reason") == _NODE_LOST:
            reason = "Unknown"
        elif phase not in _TERMINAL:
            reason = "Terminating"
    return f"{ready}/{total}", reason, restarts.text(now)


def _pod(pod: Object, now: float) -> Cells:
    pod_spec, pod_status = spec(pod), status(pod)
    addresses = pod_status.get("podIPs") or ()
    gates = pod_spec.get("readinessGates") or ()
    gates_text = "<none>"
    if gates:
        met = {c.get("type") for c in pod_status.get("conditions") or () if c.get("status") == "True"}
        gates_text = f"{sum(g.get('conditionType') in met for g in gates)}/{len(gates)}"
    return [
        name(pod),
        *_summary(pod, now),
        age(pod, now),
        (addresses[0].get("ip") if addresses else pod_status.get("podIP")) or "<none>",
        pod_spec.get("nodeName") or "<none>",
        pod_status.get("nominatedNodeName") or "<none>",
        gates_text,
    ]


def _conditions(pod: Object) -> list[Object]:
    phase = status(pod).get("phase")
    if phase == "Succeeded":
        message = "The pod has completed successfully."
    elif phase == "Failed":
        message = "The pod failed."
    else:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": message}]


def _template(obj: Object, _now: float) -> Cells:
    template = obj.get("template") or {}
    return [name(obj), *containers(template), labels(meta(template).get("labels"))]


PRINTERS: Printers = {
    ("", "Pod"): Printer(
        (NAME, *text("Ready", "Status", "Restarts"), AGE, *wide("IP", "Node", "Nominated Node", "Readiness Gates")),
        _pod,
        _conditions,
    ),
    ("", "PodTemplate"): Printer((NAME, *text("Containers", "Images", "Pod Labels")), _template),
}
