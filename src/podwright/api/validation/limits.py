"""LimitRanges and ResourceQuotas."""

from __future__ import annotations

from podwright.api import quantity
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import duplicate, forbidden, immutable, invalid, required
from podwright.api.validation.pod_resources import (
    container_resource_name,
    is_standard_quota,
    overcommit_allowed,
    quota_resource_name,
    resource_amount,
    resource_name,
)
from podwright.api.validation.rules import Rules, spec_of

_TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_FIELDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_SCOPES = (
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)
_EXISTS_ONLY = ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "CrossNamespacePodAffinity")
_CONFLICTS = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_COMPUTE = frozenset(("pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"))
_COUNTED_BY = dict.fromkeys(_SCOPES, _COMPUTE) | {
    "BestEffort": frozenset({"pods"}),
    "VolumeAttributesClass": frozenset({"persistentvolumeclaims", "requests.storage"}),
}


def limit_range(errs: list[FieldError], obj: Object) -> None:
    seen: set[str] = set()
    for i, item in enumerate(spec_of(obj).get("limits") or ()):
        where = f"spec.limits[{i}]"
        kind = item.get("type") or ""
        if problems := names.qualified_name(kind):
            errs += [invalid(f"{where}.type", kind, said) for said in problems]
        elif "/" not in kind and kind not in _TYPES:
            errs.append(invalid(f"{where}.type", kind, "must be a standard limit type or fully qualified"))
        if kind in seen:
            errs.append(duplicate(f"{where}.type", kind))
        seen.add(kind)
        _item(errs, item, kind, where)


def _item(errs: list[FieldError], item: Object, kind: str, path: str) -> None:
    amounts: dict[str, dict[str, str]] = {}
    for field in _FIELDS:
        given = item.get(field) or {}
        if kind == "Pod" and field in ("default", "defaultRequest"):
            if given:
                errs.append(forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'"))
            continue
        amounts[field] = given
        for name, amount in given.items():
            where = f"{path}.{field}[{name}]"
            if kind in ("Pod", "Container"):
                container_resource_name(errs, name, where)
            else:
                resource_name(errs, name, where)
            if not quantity.is_valid(amount):
                errs.append(invalid(where, amount, quantity.FORMAT_ERROR))
                return
    if kind == "PersistentVolumeClaim" and not any("storage" in amounts[f] for f in ("min", "max")):
        said = "either minimum or maximum storage value is required, but neither was provided"
        errs.append(required(f"{path}.limits", said))
    for name in sorted({n for given in amounts.values() for n in given}):
        _order(errs, {f: given[name] for f, given in amounts.items() if name in given}, name, path)


def _order(errs: list[FieldError], given: dict[str, str], name: str, path: str) -> None:
    def above(first: str, second: str) -> bool:
        return first in given and second in given and quantity.compare(given[first], given[second]) > 0

    def wrong(field: str, value: str, said: str) -> None:
        errs.append(invalid(f"{path}.{field}[{name}]", given[value], said))

    if above("min", "max"):
        wrong("min", "min", f"min value {given['min']} is greater than max value {given['max']}")
    request = given.get("defaultRequest")
    if above("min", "defaultRequest"):
        said = f"min value {given['min']} is greater than default request value {request}"
        wrong("defaultRequest", "defaultRequest", said)
    if above("defaultRequest", "max"):
        said = f"default request value {request} is greater than max value {given['max']}"
        wrong("defaultRequest", "defaultRequest", said)
    if above("defaultRequest", "default"):
        said = f"default request value {request} is greater than default limit value {given['default']}"
        wrong("defaultRequest", "defaultRequest", said)
    if above("min", "default"):
        wrong("default", "min", f"min value {given['min']} is greater than default value {given['default']}")
    if above("default", "max"):
        wrong("default", "max", f"default value {given['default']} is greater than max value {given['max']}")
    ratio = given.get("maxLimitRequestRatio")
    if ratio is not None and quantity.parse(ratio) < 1:
        wrong("maxLimitRequestRatio", "maxLimitRequestRatio", f"ratio {ratio} is less than 1")
    if ratio is not None and "min" in given and "max" in given and quantity.parse(given["min"]):
        limit = quantity.parse(given["max"]) / quantity.parse(given["min"])
        if quantity.parse(ratio) > limit:
            said = f"ratio {ratio} is greater than max/min = {float(limit):f}"
            wrong("maxLimitRequestRatio", "maxLimitRequestRatio", said)
    if not overcommit_allowed(name) and "default" in given and request is not None:
        if quantity.compare(given["default"], request):
            said = f"default value {given['default']} must equal to defaultRequest value {request} in {name}"
            wrong("defaultRequest", "defaultRequest", said)


def _amounts(errs: list[FieldError], amounts: Object | None, path: str) -> None:
    for name, amount in (amounts or {}).items():
        quota_resource_name(errs, name, f"{path}[{name}]")
        resource_amount(errs, name, amount, f"{path}[{name}]")


def _scope_fits(scope: str, resource: str) -> bool:
    return scope not in _COUNTED_BY or not is_standard_quota(resource) or resource in _COUNTED_BY[scope]


def resource_quota(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    _amounts(errs, spec.get("hard"), "spec.hard")
    _scopes(errs, spec)
    _selector(errs, spec)


def _scopes(errs: list[FieldError], spec: Object) -> None:
    scopes = spec.get("scopes") or []
    for scope in scopes:
        if scope not in _SCOPES:
            errs.append(invalid("spec.scopes", scopes, "unsupported scope"))
        for resource in sorted(spec.get("hard") or ()):
            if not _scope_fits(scope, resource):
                errs.append(invalid("spec.scopes", scopes, "unsupported scope applied to resource"))
    for pair in _CONFLICTS:
        if pair <= set(scopes):
            errs.append(invalid("spec.scopes", scopes, "conflicting scopes"))


def _selector(errs: list[FieldError], spec: Object) -> None:
    if (selector := spec.get("scopeSelector")) is None:
        return
    path = "spec.scopeSelector.matchExpressions"
    seen = set()
    for requirement in selector.get("matchExpressions") or ():
        scope, operator = requirement.get("scopeName") or "", requirement.get("operator") or ""
        values = requirement.get("values") or []
        if scope not in _SCOPES:
            errs.append(invalid(f"{path}.scopeName", scope, "unsupported scope"))
        for resource in sorted(spec.get("hard") or ()):
            if not _scope_fits(scope, resource):
                errs.append(invalid(path, selector, "unsupported scope applied to resource"))
        if scope in _EXISTS_ONLY and operator != "Exists":
            said = (
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
                "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
                "ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            errs.append(invalid(f"{path}.operator", operator, said))
        if operator in ("In", "NotIn"):
            if not values:
                said = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                errs.append(required(f"{path}.values", said))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                said = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                errs.append(invalid(f"{path}.values", values, said))
        else:
            errs.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
        seen.add(scope)
    for pair in _CONFLICTS:
        if pair <= seen:
            errs.append(invalid("spec.scopeSelector.matchExpressions", spec.get("scopes") or [], "conflicting scopes"))


def _quota_update(errs: list[FieldError], new: Object, old: Object) -> None:
    resource_quota(errs, new)
    scopes = spec_of(new).get("scopes") or []
    if set(scopes) != set(spec_of(old).get("scopes") or ()):
        errs.append(immutable("spec.scopes", scopes))


def _quota_status(errs: list[FieldError], new: Object, old: Object) -> None:
    status = new.get("status") or {}
    _amounts(errs, status.get("hard"), "status.hard")
    _amounts(errs, status.get("used"), "status.used")


LIMIT_RANGE = Rules(create=limit_range)
RESOURCE_QUOTA = Rules(create=resource_quota, update=_quota_update, subresources={"status": _quota_status})
