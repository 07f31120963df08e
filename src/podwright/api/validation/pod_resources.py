"""Rules for resource names, requests and limits."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from podwright.api import quantity
from podwright.api.defaulting.pod_resources import DISK_IO_PREFIX, aggregate, supported_at_pod_level
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.field_errors import (
    NEGATIVE,
    duplicate,
    forbidden,
    formed,
    invalid,
    not_found,
    not_supported,
    required,
)

_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
_COUNTED = frozenset(
    (
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    )
)
_STANDARD = _COUNTED | {
    "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage",
    "limits.cpu", "limits.memory", "limits.ephemeral-storage", "storage", "requests.storage",
}
_STANDARD_QUOTA = _STANDARD - {"storage"}
_DISK_IO = frozenset(DISK_IO_PREFIX + what for what in ("read-bps", "write-bps", "read-iops", "write-iops"))
_NOT_EXTENDED = "doesn't follow extended resource name standard"
NOT_INTEGER = "must be an integer"
_PIDS = range(128, 16385)


def is_huge_page(name: str) -> bool:
    return name.startswith("hugepages-")


def is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


@lru_cache(2048)
def is_extended(name: str) -> bool:
    """A countable resource of a device plugin or an administrator: "example.com/foo"."""
    if is_native(name) or name.startswith("requests."):
        return False
    return not names.qualified_name("requests." + name)


def is_integer_resource(name: str) -> bool:
    return name in _COUNTED or is_extended(name)


@lru_cache(2048)
def overcommit_allowed(name: str) -> bool:
    """Whether requests may be below limits. Disk I/O is ours and may be (docs/differences.md)."""
    return (is_native(name) and not is_huge_page(name)) or name in _DISK_IO


@lru_cache(2048)
def _resource_problems(name: str) -> tuple[str, ...]:
    if problems := names.qualified_name(name):
        return problems
    if "/" not in name and name not in _STANDARD and not is_huge_page(name):
        return ("must be a standard resource type or fully qualified",)
    return ()


def resource_name(errs: list[FieldError], name: str, path: str) -> bool:
    """Any resource's name. Answers whether it is right."""
    problems = _resource_problems(name)
    errs += [invalid(path, name, said) for said in problems]
    return not problems


@lru_cache(2048)
def _container_problems(name: str) -> tuple[str, ...]:
    problems = _resource_problems(name)
    if "/" not in name:
        if name not in _CONTAINER and not is_huge_page(name):
            return (*problems, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        return (*problems, _NOT_EXTENDED)
    return problems


def container_resource_name(errs: list[FieldError], name: str, path: str) -> None:
    if problems := _container_problems(name):
        errs += [invalid(path, name, said) for said in problems]


def _pod_resource_name(errs: list[FieldError], name: str, path: str) -> None:
    if resource_name(errs, name, path) and not supported_at_pod_level(name):
        errs.append(not_supported(path, name, ("cpu", "hugepages-", "memory")))


def is_standard_quota(name: str) -> bool:
    return name in _STANDARD_QUOTA or name.startswith(("hugepages-", "requests.hugepages-"))


def quota_resource_name(errs: list[FieldError], name: str, path: str) -> None:
    resource_name(errs, name, path)
    if "/" not in name and not is_standard_quota(name):
        errs.append(invalid(path, name, "must be a standard resource for quota"))


@lru_cache(8192)
def _amount_problems(name: str, amount: Any) -> tuple[str, ...]:
    try:
        value = quantity.parse(amount)
    except quantity.QuantityError as error:
        return (str(error),)
    errs = []
    if value < 0:
        errs.append(NEGATIVE)
    if is_integer_resource(name) and value != int(value):
        errs.append(NOT_INTEGER)
    return tuple(errs)


def resource_amount(errs: list[FieldError], name: str, amount: Any, path: str) -> bool:
    """Answers whether the amount is a quantity at all."""
    problems = _amount_problems(name, amount)
    errs += [invalid(path, amount, said) for said in problems]
    return not problems or quantity.is_valid(amount)


def container_requirements(errs: list[FieldError], resources: Object, claims: frozenset[str], path: str) -> None:
    _requirements(errs, resources, container_resource_name, claims, path)


def overhead(errs: list[FieldError], amounts: Object, path: str) -> None:
    _requirements(errs, {"limits": amounts}, container_resource_name, frozenset(), path)


def _requirements(
    errs: list[FieldError],
    resources: Object,
    check_name: Callable[[list[FieldError], str, str], None],
    claims: frozenset[str],
    path: str,
) -> None:
    limits = resources.get("limits") or {}
    requests = resources.get("requests") or {}
    huge = False
    for which, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            field = f"{path}.{which}[{name}]"
            check_name(errs, name, field)
            valid = resource_amount(errs, name, amount, field)
            if which == "requests":
                _against_limit(errs, name, amount, limits, path, valid)
            if valid and is_huge_page(name):
                huge = True
                _huge_page_amount(errs, name, amount, field)
    if huge and not ({"cpu", "memory"} & (limits.keys() | requests.keys())):
        errs.append(forbidden(path, "HugePages require cpu or memory"))
    if used := resources.get("claims"):
        _claims(errs, used, claims, f"{path}.claims")


def _against_limit(errs: list[FieldError], name: str, amount: Any, limits: Object, path: str, valid: bool) -> None:
    if name not in limits:
        if not overcommit_allowed(name):
            errs.append(required(f"{path}.limits", "Limit must be set for non overcommitable resources"))
        return
    limit = limits[name]
    if amount == limit or not valid or not quantity.is_valid(limit):
        return
    order = quantity.compare(amount, limit)
    if order and not overcommit_allowed(name):
        errs.append(invalid(f"{path}.requests", amount, f"must be equal to {name} limit of {limit}"))
    elif order > 0:
        errs.append(invalid(f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limit}"))


def _huge_page_amount(errs: list[FieldError], name: str, amount: Any, path: str) -> None:
    size = name.removeprefix("hugepages-")
    if not quantity.is_valid(size) or quantity.value(size) <= 0 or quantity.value(amount) % quantity.value(size):
        errs.append(invalid(path, amount, f"{amount} is not positive integer multiple of {name}"))


def _claims(errs: list[FieldError], claims: list[Object], known: frozenset[str], path: str) -> None:
    seen: set[str] = set()
    for i, claim in enumerate(claims):
        name = claim.get("name")
        if not name:
            errs.append(required(f"{path}[{i}]"))
            continue
        if name in seen:
            errs.append(duplicate(f"{path}[{i}]", name))
        else:
            key = name
            if request := claim.get("request"):
                formed(errs, request, f"{path}[{i}].request", names.dns_label)
                key += "/" + request
            if key in seen:
                errs.append(duplicate(f"{path}[{i}]", key))
            elif not claim.get("request") and any(other.startswith(name + "/") for other in seen):
                errs.append(duplicate(f"{path}[{i}]", name))
            seen.add(key)
        if name not in known:
            said = "must be one of the names in pod.spec.resourceClaims"
            said += ": " + ", ".join(sorted(known)) if known else " which is empty"
            errs.append(not_found(f"{path}[{i}]", name, said))


def pod_level(errs: list[FieldError], spec: Object, path: str) -> None:
    """spec.resources (KEP-2837)."""
    resources = spec.get("resources")
    if not resources:
        return
    where = f"{path}.resources"
    if (spec.get("os") or {}).get("name") == "windows":
        errs.append(forbidden(where, "may not be set for a windows pod"))
        return
    if resources.get("claims") is not None:
        errs.append(forbidden(f"{where}.claims", "claims may not be set for Resources at pod-level"))
    amounts = {k: {n: a for n, a in (resources.get(k) or {}).items() if n != "pids"} for k in ("limits", "requests")}
    _requirements(errs, amounts, _pod_resource_name, frozenset(), where)
    _pids(errs, resources, where)
    try:
        _consistency(errs, spec, resources, where)
    except quantity.QuantityError:
        return  # Said where that amount stands.


def _pids(errs: list[FieldError], resources: Object, path: str) -> None:
    """How many processes the Pod may have: a limit alone (KEP-6063)."""
    if "pids" in (resources.get("requests") or ()):
        errs.append(forbidden(f"{path}.requests[pids]", "pids may only be specified in limits"))
    limit = (resources.get("limits") or {}).get("pids")
    field = f"{path}.limits[pids]"
    if limit is None or not resource_amount(errs, "pids", limit, field):
        return
    if quantity.milli(limit) % 1000 or quantity.value(limit) not in _PIDS:
        errs.append(invalid(field, limit, f"must be an integer between {_PIDS.start} and {_PIDS.stop - 1}"))


def _consistency(errs: list[FieldError], spec: Object, resources: Object, path: str) -> None:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, total in aggregate(spec, "requests").items():
        if name in requests and quantity.compare(total, requests[name]) > 0:
            said = f"must be greater than or equal to aggregate container requests of {total}"
            errs.append(invalid(f"{path}.requests[{name}]", requests[name], said))
    for name, total in aggregate(spec, "limits").items():
        if is_huge_page(name) and name in limits and quantity.compare(total, limits[name]) > 0:
            said = f"must be greater than or equal to aggregate container limits of {total}"
            errs.append(invalid(f"{path}.limits[{name}]", limits[name], said))
    for i, ctr in enumerate(spec.get("containers") or ()):
        for name, limit in ((ctr.get("resources") or {}).get("limits") or {}).items():
            if name in limits and quantity.compare(limit, limits[name]) > 0:
                said = f"must be less than or equal to pod limits of {limits[name]}"
                errs.append(invalid(f"{path}.containers[{i}][{name}].limits", limit, said))
