"""Defaults of PriorityClasses and RuntimeClasses."""

from __future__ import annotations

from podwright.api.defaulting import quantities
from podwright.api.objects import Object


def priority_class(obj: Object) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")
    obj.setdefault("value", 0)


def runtime_class(obj: Object) -> None:
    quantities.resource_list(obj.get("overhead"), "podFixed")


DEFAULTERS = {
    ("node.k8s.io", "", "RuntimeClass"): runtime_class,
    ("scheduling.k8s.io", "", "PriorityClass"): priority_class,
}
