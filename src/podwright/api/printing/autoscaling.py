"""The rows of the autoscaling group."""

from __future__ import annotations

from typing import Any

from podwright.api.objects import Object
from podwright.api.printing.tables import (
    AGE,
    NAME,
    Cells,
    Column,
    Printer,
    Printers,
    age,
    integer,
    more,
    name,
    spec,
    status,
    text,
)

_FIELDS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def _or_unknown(value: Any) -> str:
    return "<unknown>" if value is None else str(value)


def _percent(value: int | None, absent: str) -> str:
    return absent if value is None else f"{value}%"


def _metric(metric: Object, current: Object) -> str:
    kind = metric.get("type") or ""
    field = _FIELDS.get(kind)
    if field is None:
        return "<unknown type>"
    source = metric.get(field) or {}
    target = source.get("target") or {}
    seen = (current.get(field) or {}).get("current") or {}
    average = target.get("averageValue")
    if kind in ("Resource", "ContainerResource"):
        if average is not None:
            return f"{source.get('name')}: {_or_unknown(seen.get('averageValue'))}/{average}"
        utilization = _percent(seen.get("averageUtilization"), "<unknown>")
        return f"{source.get('name')}: {utilization}/{_percent(target.get('averageUtilization'), '<auto>')}"
    if kind == "Pods":
        return f"{_or_unknown(seen.get('averageValue'))}/{average}"
    if average is not None:
        return f"{_or_unknown(seen.get('averageValue'))}/{average} (avg)"
    return f"{_or_unknown(seen.get('value'))}/{target.get('value')}"


def _metrics(obj: Object) -> str:
    metrics = spec(obj).get("metrics") or []
    current = status(obj).get("currentMetrics") or []
    if "targetCPUUtilizationPercentage" in spec(obj):  # autoscaling/v1
        now = _percent(status(obj).get("currentCPUUtilizationPercentage"), "<unknown>")
        return f"cpu: {now}/{spec(obj)['targetCPUUtilizationPercentage']}%"
    if not metrics:
        return "<none>"
    listed = [_metric(m, current[i] if i < len(current) else {}) for i, m in enumerate(metrics)]
    return more(listed, len(listed), 2, ", ")


def _autoscaler(obj: Object, now: float) -> Cells:
    scaler = spec(obj)
    target = scaler.get("scaleTargetRef") or {}
    low = scaler.get("minReplicas")
    return [
        name(obj), f"{target.get('kind') or ''}/{target.get('name') or ''}", _metrics(obj),
        "<unset>" if low is None else str(low), scaler.get("maxReplicas") or 0, status(obj).get("currentReplicas") or 0,
        age(obj, now),
    ]


def _scale(obj: Object, now: float) -> Cells:
    return [name(obj), spec(obj).get("replicas") or 0, status(obj).get("replicas") or 0, age(obj, now)]


PRINTERS: Printers = {
    ("autoscaling", "HorizontalPodAutoscaler"): Printer(
        (NAME, *text("Reference", "Targets", "MinPods", "MaxPods", "Replicas"), AGE), _autoscaler
    ),
    ("autoscaling", "Scale"): Printer((Column("Name"), integer("Desired"), integer("Available"), AGE), _scale),
}
