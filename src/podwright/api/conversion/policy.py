"""PodDisruptionBudgets of policy/v1beta1, in which an empty selector matched nothing, and of policy/v1, in which it
matches everything."""

from __future__ import annotations

from podwright.api.objects import Object

_LABEL = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match"
_NONE_IN_V1 = {"matchExpressions": [{"key": _LABEL, "operator": "Exists"}]}
_ALL_IN_BETA = {"matchExpressions": [{"key": _LABEL, "operator": "DoesNotExist"}]}


def pod_disruption_budget(source: str, target: str, obj: Object) -> Object:
    spec = obj.get("spec") or {}
    selector = spec.get("selector")
    if selector is None:
        return obj
    bare = {field: value for field, value in selector.items() if value}
    swapped = selector
    if source == "policy/v1beta1":
        if not bare:
            swapped = _NONE_IN_V1
        elif bare == _ALL_IN_BETA:
            swapped = {}
    elif not bare:
        swapped = _ALL_IN_BETA
    elif bare == _NONE_IN_V1:
        swapped = {}
    return {**obj, "spec": {**spec, "selector": swapped}}
