"""PodDisruptionBudgets."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import conditions, names, ratcheting
from podwright.api.validation.field_errors import invalid, non_negative, one_of
from podwright.api.validation.label_selectors import label_selector
from podwright.api.validation.rollouts import at_most_whole, positive_int_or_percent
from podwright.api.validation.rules import Kinds, Rules, spec_of

_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def budget(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    if low is not None and high is not None:
        errs.append(invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    for field, value in (("minAvailable", low), ("maxUnavailable", high)):
        if value is not None:
            positive_int_or_percent(errs, value, f"spec.{field}")
            at_most_whole(errs, value, f"spec.{field}")
    label_selector(errs, spec.get("selector"), "spec.selector")
    if (policy := spec.get("unhealthyPodEvictionPolicy")) is not None:
        one_of(errs, policy, "spec.unhealthyPodEvictionPolicy", _POLICIES)


def _status(errs: list[FieldError], new: Object, old: Object) -> None:
    status = new.get("status") or {}
    conditions.conditions(errs, status.get("conditions") or [], "status.conditions")
    for field in _COUNTS:
        non_negative(errs, status.get(field), f"status.{field}")


KINDS: Kinds = {
    ("policy", "PodDisruptionBudget"): Rules(
        name=names.path_segment_name,
        create=budget,
        ratchet=(ratcheting.SELECTOR_VALUES,),
        subresources={"status": _status},
        generation=True,
        initial_status=dict.fromkeys(_COUNTS, 0),
    )
}
