"""IP families of Services in a cluster of one family (Kubernetes documentation, "IPv4/IPv6 dual-stack")."""

from __future__ import annotations

from podwright.api import status
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import invalid
from podwright.api.validation.services import cluster_ip_fields
from podwright.apiserver.registry import cluster_ips

_POLICY, _FAMILIES, _ADDRESSES = "ipFamilyPolicy", "ipFamilies", "clusterIPs"
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
_BOTH = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"


def keep(spec: Object, before: Object) -> None:
    """Addresses of an update: clusterIP speaks for clients that know no clusterIPs, and what is not said stays."""
    address, was = spec.get("clusterIP") or "", before.get("clusterIP") or ""
    same = (spec.get(_ADDRESSES) or []) == (before.get(_ADDRESSES) or [])
    if was and not address and same:
        spec.pop(_ADDRESSES, None)
    elif address != was and address and same:
        spec[_ADDRESSES] = [address, *(spec.get(_ADDRESSES) or [])[1:]]
    if not spec.get("clusterIP") and was:
        spec["clusterIP"] = was
    if not spec.get(_ADDRESSES) and spec.get("clusterIP") == was and before.get(_ADDRESSES):
        spec[_ADDRESSES] = list(before[_ADDRESSES])


def settle(obj: Object, before: Object, family: str) -> None:
    """Sets ipFamilyPolicy and ipFamilies of a Service that is not ExternalName; `before` is the old spec, empty for a
    new Service. Raises ApiError (422)."""
    spec = obj["spec"]
    if spec.get("clusterIP") and not spec.get(_ADDRESSES):
        spec[_ADDRESSES] = [spec["clusterIP"]]
    same = all((spec.get(f) or []) == (before.get(f) or []) for f in (_FAMILIES, _ADDRESSES))
    if before and spec.get(_POLICY) == before.get(_POLICY) == PREFER and same:
        return
    headless = spec.get("clusterIP") == "None"
    free = headless and not spec.get("selector")
    if spec.get(_POLICY) is None:
        spec[_POLICY] = before.get(_POLICY) or (REQUIRE if free else SINGLE)
    errors: list[FieldError] = []
    cluster_ip_fields(errors, spec)
    _refuse(obj, errors)
    _reduced(errors, spec, before)
    _infer(errors, spec, family)
    _refuse(obj, errors)
    if free:
        families = spec.get(_FAMILIES) or [family]
        if len(families) < 2 and spec[_POLICY] != SINGLE:
            families = [*families, "IPv6" if families[0] == "IPv4" else "IPv4"]
        spec[_FAMILIES] = families
        return
    if spec[_POLICY] == REQUIRE:
        errors.append(invalid(f"spec.{_POLICY}", REQUIRE, "this cluster is not configured for dual-stack services"))
    errors += [
        invalid(f"spec.{_FAMILIES}[{i}]", other, "not configured on this cluster")
        for i, other in enumerate(spec.get(_FAMILIES) or ()) if other != family
    ]
    _refuse(obj, errors)
    if not spec.get(_FAMILIES):
        spec[_FAMILIES] = [family]


def _reduced(errors: list[FieldError], spec: Object, before: Object) -> None:
    path, policy = f"spec.{_POLICY}", spec[_POLICY]
    named = ((_ADDRESSES, "cluster IP", "cluster IPs"), (_FAMILIES, "IP family", "IP families"))
    for field, one, many in named:
        new, old = spec.get(field) or [], before.get(field) or []
        if policy == SINGLE:
            if len(new) > 1 and new == old:
                spec[field] = new = new[:1]
            if len(new) == 2:
                errors.append(invalid(path, policy, _BOTH.format(many)))
        elif len(old) == 2 and len(new) == 1 and new[0] == old[0]:
            errors.append(invalid(path, policy, f"must be 'SingleStack' to release the secondary {one}"))


def _infer(errors: list[FieldError], spec: Object, family: str) -> None:
    """Families of addresses that were given without."""
    families = list(spec.get(_FAMILIES) or ())
    for i, text in enumerate(spec.get(_ADDRESSES) or ()):
        address = cluster_ips.parse(text)
        if address is None:
            break
        if i < len(families):
            continue
        if family != f"IPv{address.version}":
            said = f"IPv{address.version} is not configured on this cluster"
            errors.append(invalid(f"spec.{_ADDRESSES}[{i}]", spec[_ADDRESSES], said))
        else:
            families.append(family)
    if families:
        spec[_FAMILIES] = families


def _refuse(obj: Object, errors: list[FieldError]) -> None:
    if errors:
        raise status.invalid("", "Service", str(obj["metadata"].get("name") or ""), errors)
