"""PriorityClasses and RuntimeClasses."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names, pod_resources, scheduling
from podwright.api.validation.field_errors import duplicate, forbidden, named, one_of
from podwright.api.validation.rules import Kinds, Rules

_SYSTEM = "system-"
_HIGHEST = 1_000_000_000
_SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_PREEMPTION = ("PreemptLowerPriority", "Never")


def priority_class(errs: list[FieldError], obj: Object) -> None:
    name, value = (obj.get("metadata") or {}).get("name") or "", obj.get("value") or 0
    if name.startswith(_SYSTEM):
        if _SYSTEM_CLASSES.get(name) != value or obj.get("globalDefault"):
            said = f"priority class names with '{_SYSTEM}' prefix are reserved for system use only. error: "
            if name in _SYSTEM_CLASSES and value == _SYSTEM_CLASSES[name]:
                said += f"globalDefault of {name} PriorityClass must be false"
            elif name in _SYSTEM_CLASSES:
                said += f"value of {name} PriorityClass must be {_SYSTEM_CLASSES[name]}"
            else:
                said += f"{name} is not a known system priority class"
            errs.append(forbidden("metadata.name", said))
    elif value > _HIGHEST:
        errs.append(forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST}"))
    if (policy := obj.get("preemptionPolicy")) is not None:
        one_of(errs, policy, "preemptionPolicy", _PREEMPTION, needed=True)


def _priority_update(errs: list[FieldError], new: Object, old: Object) -> None:
    if (new.get("value") or 0) != (old.get("value") or 0):
        errs.append(forbidden("value", "may not be changed in an update."))
    metadata.same(errs, new.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy")


def runtime_class(errs: list[FieldError], obj: Object) -> None:
    named(errs, obj.get("handler"), "handler", names.dns_label)
    if fixed := (obj.get("overhead") or {}).get("podFixed"):
        pod_resources.overhead(errs, fixed, "overhead")
    placement = obj.get("scheduling") or {}
    metadata.labels(errs, placement.get("nodeSelector") or {}, "scheduling.nodeSelector")
    tolerations, seen = placement.get("tolerations") or [], []
    scheduling.tolerations(errs, tolerations, "scheduling.tolerations")
    for i, toleration in enumerate(tolerations):
        key = [toleration.get(field) or "" for field in ("key", "operator", "value", "effect")]
        if key in seen:
            errs.append(duplicate(f"scheduling.tolerations[{i}]", toleration))
        seen.append(key)


def _runtime_update(errs: list[FieldError], new: Object, old: Object) -> None:
    metadata.same(errs, new.get("handler"), old.get("handler"), "handler")


KINDS: Kinds = {
    ("node.k8s.io", "RuntimeClass"): Rules(create=runtime_class, update=_runtime_update),
    ("scheduling.k8s.io", "PriorityClass"): Rules(create=priority_class, update=_priority_update, generation=True),
}
