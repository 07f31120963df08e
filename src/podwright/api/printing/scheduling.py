"""The rows of leases, classes, flow control and dynamic resource allocation."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.printing.durations import since
from podwright.api.printing.tables import (
    AGE,
    NAME,
    Cells,
    Printer,
    Printers,
    age,
    boolean,
    integer,
    meta,
    name,
    spec,
    status,
    text,
)

_FLOW = "flowcontrol.apiserver.k8s.io"
_DRA = "resource.k8s.io"


def _lease(obj: Object, now: float) -> Cells:
    return [name(obj), spec(obj).get("holderIdentity") or "", age(obj, now)]


def _runtime_class(obj: Object, now: float) -> Cells:
    return [name(obj), obj.get("handler") or "", age(obj, now)]


def _priority_class(obj: Object, now: float) -> Cells:
    value, default = obj.get("value") or 0, bool(obj.get("globalDefault"))
    return [name(obj), value, default, age(obj, now), obj.get("preemptionPolicy") or ""]


def _flow_schema(obj: Object, now: float) -> Cells:
    flow = spec(obj)
    method = flow.get("distinguisherMethod")
    dangling = next((c.get("status") for c in status(obj).get("conditions") or () if c.get("type") == "Dangling"), "?")
    return [
        name(obj),
        (flow.get("priorityLevelConfiguration") or {}).get("name") or "",
        flow.get("matchingPrecedence") or 0,
        (method or {}).get("type") or "<none>",
        age(obj, now),
        dangling,
    ]


def _flow_order(obj: Object) -> tuple[int, str]:
    return spec(obj).get("matchingPrecedence") or 0, name(obj)


def _priority_level(obj: Object, now: float) -> Cells:
    level = spec(obj)
    limited = level.get("limited")
    shares = "<none>" if limited is None else limited.get("nominalConcurrencyShares", 0)
    queuing = ((limited or {}).get("limitResponse") or {}).get("queuing")
    numbers = [
        "<none>" if queuing is None else queuing.get(field) or 0 for field in ("queues", "handSize", "queueLengthLimit")
    ]
    return [name(obj), level.get("type") or "", shares, *numbers, age(obj, now)]


def _plain(obj: Object, now: float) -> Cells:
    return [name(obj), age(obj, now)]


def _claim(obj: Object, now: float) -> Cells:
    deleting = bool(meta(obj).get("deletionTimestamp"))
    states = ["deleted"] if deleting else []
    if status(obj).get("allocation") is not None:
        states.append("allocated")
        if status(obj).get("reservedFor"):
            states.append("reserved")
    elif not deleting:
        states.append("pending")
    return [name(obj), ",".join(states), age(obj, now)]


def _slice(obj: Object, now: float) -> Cells:
    resource = spec(obj)
    pool = (resource.get("pool") or {}).get("name") or ""
    return [name(obj), resource.get("nodeName") or "", resource.get("driver") or "", pool, age(obj, now)]


def _taint_rule(obj: Object, now: float) -> Cells:
    taint = spec(obj).get("taint") or {}
    added = taint.get("timeAdded")
    return [
        name(obj),
        *(taint.get(field) or "" for field in ("key", "value", "effect")),
        since(added, now) if added else "",
        age(obj, now),
    ]


PRINTERS: Printers = {
    ("coordination.k8s.io", "Lease"): Printer((NAME, *text("Holder"), AGE), _lease),
    ("node.k8s.io", "RuntimeClass"): Printer((NAME, *text("Handler"), AGE), _runtime_class),
    ("scheduling.k8s.io", "PriorityClass"): Printer(
        (NAME, integer("Value"), boolean("Global-Default"), AGE, *text("PreemptionPolicy")), _priority_class
    ),
    (_FLOW, "FlowSchema"): Printer(
        (NAME, *text("PriorityLevel", "MatchingPrecedence", "DistinguisherMethod"), AGE, *text("MissingPL")),
        _flow_schema,
        order=_flow_order,
    ),
    (_FLOW, "PriorityLevelConfiguration"): Printer(
        (NAME, *text("Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit"), AGE),
        _priority_level,
    ),
    (_DRA, "DeviceClass"): Printer((NAME, AGE), _plain),
    (_DRA, "DeviceTaintRule"): Printer((NAME, *text("Key", "Value", "Effect", "TimeAdded"), AGE), _taint_rule),
    (_DRA, "ResourceClaim"): Printer((NAME, *text("State"), AGE), _claim),
    (_DRA, "ResourceClaimTemplate"): Printer((NAME, AGE), _plain),
    (_DRA, "ResourceSlice"): Printer((NAME, *text("Node", "Driver", "Pool"), AGE), _slice),
}
