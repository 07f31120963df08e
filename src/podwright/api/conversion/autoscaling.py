"""HorizontalPodAutoscalers of autoscaling/v1 and v2. What v1 has no field for travels in annotations, in upstream's own
JSON form, so that nothing is lost on the way there and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from podwright.api import schema, status, typecheck
from podwright.api.objects import Object

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_CURRENT = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_TRAVELLING = frozenset((_METRICS, _CURRENT, _CONDITIONS, _BEHAVIOR))

_DEFAULT_CPU = 80
"""Percent of the CPU request that v1 aims at if nothing is said."""

_V2 = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler"

_SPEC = ("scaleTargetRef", "minReplicas", "maxReplicas")
_STATUS = ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")


def horizontal_pod_autoscaler(source: str, target: str, obj: Object) -> Object:
    """
    Raises:
        ApiError: 400 if an annotation that carries v2 fields is no JSON of its form.
    """
    if target == "autoscaling/v1":
        return _to_v1(obj)
    try:
        converted = _to_v2(obj)
    except (ValueError, AttributeError) as e:
        raise status.bad_request(f"unable to read the annotations of {_METRICS.partition('/')[0]}: {e}") from e
    wrong = typecheck.check(schema.definition(_V2), converted).errors
    if wrong:
        raise status.bad_request(wrong[0])
    return converted


def _pick(fields: Mapping[str, Any], names: tuple[str, ...]) -> Object:
    return {name: fields[name] for name in names if name in fields}


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


def _annotated(obj: Object, more: Mapping[str, str]) -> Object:
    """The metadata with the annotations of the travelling fields replaced by `more`."""
    meta = dict(obj.get("metadata") or {})
    kept = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in _TRAVELLING}
    kept.update(more)
    if kept:
        meta["annotations"] = kept
    else:
        meta.pop("annotations", None)
    return meta


def _is_cpu_utilization(metric: Object, side: str) -> bool:
    resource = metric.get("resource") or {}
    goal = resource.get(side) or {}
    return metric.get("type") == "Resource" and resource.get("name") == "cpu" and (
        goal.get("averageUtilization") is not None
    )


def _to_v1(obj: Object) -> Object:
    spec, state = obj.get("spec") or {}, obj.get("status") or {}
    metrics, current = spec.get("metrics") or [], state.get("currentMetrics") or []
    out_spec, out_status = _pick(spec, _SPEC), _pick(state, _STATUS)
    for metric in metrics:
        resource = metric.get("resource") or {}
        if metric.get("type") == "Resource" and resource.get("name") == "cpu":
            if _is_cpu_utilization(metric, "target"):
                out_spec["targetCPUUtilizationPercentage"] = resource["target"]["averageUtilization"]
            break
    for metric in current:
        if _is_cpu_utilization(metric, "current"):
            out_status["currentCPUUtilizationPercentage"] = metric["resource"]["current"]["averageUtilization"]
    more = {}
    others = [_spec_to_v1(m) for m in metrics if not _is_cpu_utilization(m, "target")]
    if others:
        more[_METRICS] = _dumps(others)
    if current:
        more[_CURRENT] = _dumps([_status_to_v1(m) for m in current])
    if state.get("conditions"):
        more[_CONDITIONS] = _dumps(state["conditions"])
    if spec.get("behavior") is not None:
        more[_BEHAVIOR] = _dumps(spec["behavior"])
    return {**obj, "metadata": _annotated(obj, more), "spec": out_spec, "status": out_status}


def _loads(text: str, kind: type) -> Any:
    value = orjson.loads(text)
    if not isinstance(value, kind) or (isinstance(value, list) and not all(isinstance(v, dict) for v in value)):
        raise ValueError(f"unexpected JSON in an annotation: {text[:64]}")
    return value


def _to_v2(obj: Object) -> Object:
    spec, state = obj.get("spec") or {}, obj.get("status") or {}
    annotations: Mapping[str, str] = (obj.get("metadata") or {}).get("annotations") or {}
    out_spec, out_status = _pick(spec, _SPEC), _pick(state, _STATUS)
    metrics: list[Object] = []
    if spec.get("targetCPUUtilizationPercentage") is not None:
        metrics.append(_cpu(spec["targetCPUUtilizationPercentage"]))
    if annotations.get(_METRICS):
        metrics += [_spec_to_v2(m) for m in _loads(annotations[_METRICS], list)]
    out_spec["metrics"] = metrics or [_cpu(_DEFAULT_CPU)]
    if annotations.get(_BEHAVIOR):
        out_spec["behavior"] = _loads(annotations[_BEHAVIOR], dict)
    if annotations.get(_CURRENT):
        out_status["currentMetrics"] = [_status_to_v2(m) for m in _loads(annotations[_CURRENT], list)]
    elif state.get("currentCPUUtilizationPercentage") is not None:
        current = {"averageUtilization": state["currentCPUUtilizationPercentage"]}
        out_status["currentMetrics"] = [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
    if annotations.get(_CONDITIONS):
        out_status["conditions"] = _loads(annotations[_CONDITIONS], list)
    return {**obj, "metadata": _annotated(obj, {}), "spec": out_spec, "status": out_status}


def _cpu(percent: int) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _drop_none(fields: Mapping[str, Any]) -> Object:
    return {name: value for name, value in fields.items() if value is not None}


_SOURCES = ("object", "pods", "resource", "containerResource", "external")


def _each(metric: Object, convert: Any) -> Object:
    out: Object = {"type": metric.get("type")}
    for source in _SOURCES:
        if metric.get(source) is not None:
            out[source] = _drop_none(convert(source, metric[source]))
    return out


def _spec_to_v1(metric: Object) -> Object:
    return _each(metric, lambda source, m: _flat(source, m, m.get("target") or {}, "target"))


def _status_to_v1(metric: Object) -> Object:
    return _each(metric, lambda source, m: _flat(source, m, m.get("current") or {}, "current"))


def _flat(source: str, m: Object, goal: Object, side: str) -> Object:
    """v2's target (or current value) spread over the fields that v1 has for each source."""
    average, value = goal.get("averageValue"), goal.get("value")
    if source in ("resource", "containerResource"):
        return {
            "name": m.get("name"), "container": m.get("container"),
            f"{side}AverageUtilization": goal.get("averageUtilization"), f"{side}AverageValue": average,
        }
    metric = m.get("metric") or {}
    if source == "pods":
        return {"metricName": metric.get("name"), "selector": metric.get("selector"), f"{side}AverageValue": average}
    if source == "object":
        return {
            "target": m.get("describedObject"), "metricName": metric.get("name"), "selector": metric.get("selector"),
            f"{side}Value": value if value is not None else "0", "averageValue": average,
        }
    current = value if side == "target" or value is not None else "0"
    return {
        "metricName": metric.get("name"), "metricSelector": metric.get("selector"), f"{side}Value": current,
        f"{side}AverageValue": average,
    }


def _spec_to_v2(metric: Object) -> Object:
    return _each(metric, lambda source, m: _deep(source, m, "target"))


def _status_to_v2(metric: Object) -> Object:
    return _each(metric, lambda source, m: _deep(source, m, "current"))


def _deep(source: str, m: Object, side: str) -> Object:
    utilization = m.get(f"{side}AverageUtilization")
    value = m.get(f"{side}Value")
    average = m.get("averageValue") if source == "object" else m.get(f"{side}AverageValue")
    if source in ("object", "external") and value == "0" and average is not None:
        value = None
    goal = _drop_none({"averageUtilization": utilization, "averageValue": average, "value": value})
    if side == "target":
        kind = "Utilization" if utilization is not None else "AverageValue" if average is not None else "Value"
        goal = {"type": kind, **goal}
    if source in ("resource", "containerResource"):
        return {"name": m.get("name"), "container": m.get("container"), side: goal}
    selector = m.get("metricSelector") if source == "external" else m.get("selector")
    named = _drop_none({"name": m.get("metricName"), "selector": selector})
    described = m.get("target") if source == "object" else None
    return {"describedObject": described, "metric": named, side: goal}
