"""HorizontalPodAutoscalers, and the Scale that workloads share."""

from __future__ import annotations

from podwright.api import quantity
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names, pod_resources, ratcheting
from podwright.api.validation.field_errors import (
    NEGATIVE,
    forbidden,
    invalid,
    items,
    named,
    non_negative,
    one_of,
    required,
)
from podwright.api.validation.rules import Kinds, Rules, spec_of

_METRICS = ("ContainerResource", "External", "Object", "Pods", "Resource")
_FIELDS = ("object", "external", "pods", "resource", "containerResource")
_SELECT = ("Disabled", "Max", "Min")
_POLICIES = ("Percent", "Pods")
_NO_SOURCE = "must populate information for the given metric source"


def scale(errs: list[FieldError], obj: Object) -> None:
    """autoscaling/v1 Scale, as the scale subresources write it."""
    non_negative(errs, spec_of(obj).get("replicas"), "spec.replicas")


def autoscaler(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if low is not None and low < 1:
        errs.append(invalid("spec.minReplicas", low, "must be greater than or equal to 1"))
    if not high:
        errs.append(required("spec.maxReplicas"))
    elif high < 1:
        errs.append(invalid("spec.maxReplicas", high, "must be greater than or equal to 1"))
    if low is not None and high < low:
        errs.append(invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    target = spec.get("scaleTargetRef") or {}
    _reference(errs, target, "spec.scaleTargetRef", grouped=target.get("kind") != "ReplicationController")
    metrics = spec.get("metrics") or []
    items(errs, metrics, "spec.metrics", _metric)
    if low == 0 and not any(metric.get("type") in ("External", "Object") for metric in metrics):
        said = "must specify at least one Object or External metric to support scaling to zero replicas"
        errs.append(forbidden("spec.metrics", said))
    for direction in ("scaleUp", "scaleDown"):
        if (rules := (spec.get("behavior") or {}).get(direction)) is not None:
            _scaling(errs, rules, f"spec.behavior.{direction}")
    share = spec.get("targetCPUUtilizationPercentage")  # autoscaling/v1
    if share is not None and share < 1:
        errs.append(invalid("spec.metrics[0].resource.target.averageUtilization", share, "must be greater than 0"))


def _reference(errs: list[FieldError], ref: Object, path: str, *, grouped: bool = False) -> None:
    """`grouped`: what is meant is in no group without a name."""
    for field in ("kind", "name"):
        named(errs, ref.get(field), f"{path}.{field}", names.path_segment_name)
    version = ref.get("apiVersion") or ""
    if version.count("/") > 1:
        errs.append(invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}"))
    elif grouped and not version.rpartition("/")[0]:
        errs.append(invalid(f"{path}.apiVersion", version, "apiVersion must specify API group"))


def _metric(errs: list[FieldError], metric: Object, path: str) -> None:
    kind = metric.get("type") or ""
    if not kind:
        errs.append(required(f"{path}.type", "must specify a metric source type"))
    one_of(errs, kind, f"{path}.type", _METRICS)
    present = [field for field in _FIELDS if metric.get(field) is not None]
    if present:
        _source(errs, present[0], metric[present[0]], f"{path}.{present[0]}")
    expected = kind[:1].lower() + kind[1:]
    if kind in _METRICS and metric.get(expected) is None:
        errs.append(required(f"{path}.{expected}", _NO_SOURCE))
    one_of(errs, kind, f"{path}.type", _METRICS)  # Said twice, as upstream does.
    if len(present) != 1:
        for field in present:
            if field != expected:
                errs.append(forbidden(f"{path}.{field}", "must populate the given metric source only"))


def _source(errs: list[FieldError], kind: str, source: Object, path: str) -> None:
    target = source.get("target") or {}
    if kind == "object":
        _reference(errs, source.get("describedObject") or {}, f"{path}.describedObject")
    if kind in ("resource", "containerResource"):
        name = source.get("name") or ""
        if not name:
            errs.append(required(f"{path}.name", "must specify a resource name"))
        elif kind == "containerResource":
            pod_resources.container_resource_name(errs, name, f"{path}.name")
        if kind == "containerResource":
            named(errs, source.get("container"), f"{path}.container", names.dns_label, "must specify a container")
    else:
        metric = (source.get("metric") or {}).get("name")
        named(errs, metric, f"{path}.metric.name", names.path_segment_name, "must specify a metric name")
    _target(errs, target, f"{path}.target")
    value, average = target.get("value"), target.get("averageValue")
    utilization = target.get("averageUtilization")
    if kind == "object" and value is None and average is None:
        errs.append(required(f"{path}.target.averageValue", "must set either a target value or averageValue"))
    elif kind == "external":
        if value is None and average is None:
            said = "must set either a target value for metric or a per-pod target"
            errs.append(required(f"{path}.target.averageValue", said))
        if value is not None and average is not None:
            said = "may not set both a target value for metric and a per-pod target"
            errs.append(forbidden(f"{path}.target.value", said))
    elif kind == "pods" and average is None:
        errs.append(required(f"{path}.target.averageValue", "must specify a positive target averageValue"))
    elif kind in ("resource", "containerResource"):
        if utilization is None and average is None:
            said = "must set either a target raw value or a target utilization"
            errs.append(required(f"{path}.target.averageUtilization", said))
        if utilization is not None and average is not None:
            said = "may not set both a target raw value and a target utilization"
            errs.append(forbidden(f"{path}.target.averageValue", said))


def _target(errs: list[FieldError], target: Object, path: str) -> None:
    kind = target.get("type") or ""
    if not kind:
        errs.append(required(f"{path}.type", "must specify a metric target type"))
    if kind not in ("Utilization", "Value", "AverageValue"):
        errs.append(invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for field in ("value", "averageValue"):
        amount = target.get(field)
        if amount is not None and (not quantity.is_valid(amount) or quantity.parse(amount) <= 0):
            errs.append(invalid(f"{path}.{field}", amount, "must be positive"))
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        errs.append(invalid(f"{path}.averageUtilization", utilization, "must be greater than 0"))


def _scaling(errs: list[FieldError], rules: Object, path: str) -> None:
    window = rules.get("stabilizationWindowSeconds")
    field = f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        errs.append(invalid(field, window, "must be greater than or equal to zero"))
    if window is not None and window > 3600:
        errs.append(invalid(field, window, "must be less than or equal to 3600"))
    if (select := rules.get("selectPolicy")) is not None:
        one_of(errs, select, f"{path}.selectPolicy", _SELECT)
    policies = rules.get("policies") or ()
    if not policies:
        errs.append(required(f"{path}.policies", "must specify at least one Policy"))
    for i, policy in enumerate(policies):
        where = f"{path}.policies[{i}]"
        one_of(errs, policy.get("type"), f"{where}.type", _POLICIES)
        for name in ("value", "periodSeconds"):
            number = policy.get(name) or 0
            if number <= 0:
                errs.append(invalid(f"{where}.{name}", number, "must be greater than zero"))
        period = policy.get("periodSeconds") or 0
        if period > 1800:
            errs.append(invalid(f"{where}.periodSeconds", period, "must be less than or equal to 1800"))
    tolerance = rules.get("tolerance")
    if tolerance is not None and (not quantity.is_valid(tolerance) or quantity.parse(tolerance) < 0):
        errs.append(invalid(f"{path}.tolerance", tolerance, NEGATIVE))


def _status(errs: list[FieldError], new: Object, old: Object) -> None:
    status = new.get("status") or {}
    for field in ("currentReplicas", "desiredReplicas"):
        non_negative(errs, status.get(field), f"status.{field}")


KINDS: Kinds = {
    ("autoscaling", "HorizontalPodAutoscaler"): Rules(
        create=autoscaler,
        ratchet=(
            r"^spec\.minReplicas: Invalid value: 0:", r"\.describedObject\.apiVersion",
            ratcheting.unchanged(
                r"spec\.maxReplicas: (?:Req|.*to 1$)", r"spec\.minReplicas", r"spec\.scaleTargetRef\.apiVersion"
            ),
        ),
        subresources={"status": _status},
        generation=True,
        initial_status={"desiredReplicas": 0, "currentReplicas": 0},
    ),
    ("autoscaling", "Scale"): Rules(create=scale),
}
