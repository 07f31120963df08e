"""Defaults of HorizontalPodAutoscalers."""

from __future__ import annotations

from typing import Any

from podwright.api.defaulting import quantities
from podwright.api.objects import Object

_CPU_UTILIZATION = 80


def _scale_up() -> Object:
    return {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    }


def _scale_down() -> Object:
    return {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}


def autoscaler_v2(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _CPU_UTILIZATION}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    for metric in spec["metrics"]:
        for source in metric.values():
            if isinstance(source, dict):
                for name in ("value", "averageValue"):
                    quantities.field(source.get("target"), name)
    behavior = spec.get("behavior")
    if behavior is not None:
        behavior["scaleUp"] = _merged(behavior.get("scaleUp"), _scale_up())
        behavior["scaleDown"] = _merged(behavior.get("scaleDown"), _scale_down())
        for rules in (behavior["scaleUp"], behavior["scaleDown"]):
            quantities.field(rules, "tolerance")


def _merged(rules: Object | None, defaults: Object) -> Object:
    given: dict[str, Any] = {k: v for k, v in (rules or {}).items() if v is not None}
    return defaults | given


def autoscaler_v1(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("minReplicas", 1)


DEFAULTERS = {
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): autoscaler_v1,
    ("autoscaling", "v2", "HorizontalPodAutoscaler"): autoscaler_v2,
}
