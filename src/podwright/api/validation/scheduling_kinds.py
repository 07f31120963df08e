"""PriorityClasses and RuntimeClasses."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names, pod_resources, scheduling
from podwright.api.validation.field_errors import duplicate, forbidden, immutable, invalid, not_supported, required
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
        said = f"maximum allowed value of a user defined priority is {_HIGHEST}"
        errs.append(forbidden("value", said))
    policy = obj.get("preemptionPolicy")
    if policy is not None and policy not in _PREEMPTION:
        field = "preemptionPolicy"
        errs.append(not_supported(field, policy, _PREEMPTION) if policy else required(field))


def _priority_update(errs: list[FieldError], new: Object, old: Object) -> None:
    if (new.get("value") or 0) != (old.get("value") or 0):
        errs.append(forbidden("value", "may not be changed in an update."))
    if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
        errs.append(immutable("preemptionPolicy", new.get("preemptionPolicy")))


def runtime_class(errs: list[FieldError], obj: Object) -> None:
    handler = obj.get("handler") or ""
    errs += [invalid("handler", handler, said) for said in names.dns_label(handler)]
    if fixed := (obj.get("overhead") or {}).get("podFixed"):
        pod_resources.overhead(errs, fixed, "overhead.podFixed")
    placement = obj.get("scheduling") or {}
    if selector := placement.get("nodeSelector"):
        metadata.labels(errs, selector, "scheduling.nodeSelector")
    tolerations = placement.get("tolerations") or []
    for i, toleration in enumerate(tolerations):
        before = len(errs)
        field = f"scheduling.tolerations[{i}]"
        scheduling.tolerations(errs, [toleration], "scheduling.tolerations")
        if len(errs) == before and toleration in tolerations[:i]:
            errs.append(duplicate(field, toleration))


def _runtime_update(errs: list[FieldError], new: Object, old: Object) -> None:
    if new.get("handler") != old.get("handler"):
        errs.append(immutable("handler", new.get("handler")))


KINDS: Kinds = {
    ("node.k8s.io", "RuntimeClass"): Rules(create=runtime_class, update=_runtime_update),
    ("scheduling.k8s.io", "PriorityClass"): Rules(create=priority_class, update=_priority_update, generation=True),
}
