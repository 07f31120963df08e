"""The resource.k8s.io group (dynamic resource allocation): claims, templates, classes and taint rules."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import orjson

from podwright.api.cel.variables import DEVICE
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import (
    conditions,
    dra_slices,
    expressions,
    metadata,
    names,
    pod_resources,
    ratcheting,
    scheduling,
)
from podwright.api.validation.dra_names import (
    EFFECTS,
    binding_conditions,
    device_name,
    fully_qualified,
    pool_name,
    taint,
)
from podwright.api.validation.field_errors import (
    forbidden,
    formed,
    invalid,
    items,
    named,
    one_of,
    required,
    too_long,
    too_many,
)
from podwright.api.validation.rules import Kinds, Rules, spec_of
from podwright.api.validation.volume_systems import csi_driver_name as driver_name

GROUP = "resource.k8s.io"
_MAX_COST = 1_000_000
_MOST = 32
"""Requests, constraints, configurations, selectors and results."""
_MOST_FIRST = 8
_MOST_RESERVED = 256
_MOST_CONDITIONS = 8
_MOST_ADDRESSES = 16
_MAX_EXPRESSION = _MAX_RAW = 10 * 1024
_uid = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_UID_SAID = (
    "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal "
    "characters"
)
_NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"


def _name(item: Object) -> str:
    return item.get("name") or ""


class _Claim:
    """The rules within one claim: parts of it name its requests."""

    def __init__(self, devices: Object) -> None:
        self._known = {
            _name(r): {_name(sub) for sub in r.get("firstAvailable") or ()} for r in devices.get("requests") or ()
        }

    def reference(self, errs: list[FieldError], name: str, field: str) -> None:
        parent, slash, sub = name.partition("/")
        if "/" in sub:
            errs.append(invalid(field, name, _NO_REQUEST))
            return
        for part in name.split("/"):
            formed(errs, part, field, names.dns_label)
        if parent not in self._known or (slash and sub not in self._known[parent]):
            errs.append(invalid(field, name, _NO_REQUEST))

    def _references(self, errs: list[FieldError], holder: Object, path: str) -> None:
        items(errs, holder.get("requests") or [], f"{path}.requests", self.reference, most=_MOST, key=str)

    def constraint(self, errs: list[FieldError], constraint: Object, path: str) -> None:
        self._references(errs, constraint, path)
        for field in ("matchAttribute", "distinctAttribute"):
            if (value := constraint.get(field)) is not None:
                fully_qualified(errs, value, f"{path}.{field}")
                return
        said = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
        errs.append(required(path, said))

    def config(self, errs: list[FieldError], config: Object, path: str) -> None:
        self._references(errs, config, path)
        _opaque(errs, config, path)

    def allocated_config(self, errs: list[FieldError], config: Object, path: str) -> None:
        one_of(errs, config.get("source"), f"{path}.source", ("FromClaim", "FromClass"), needed=True)
        self.config(errs, config, path)

    def result(self, errs: list[FieldError], result: Object, path: str) -> None:
        self.reference(errs, result.get("request") or "", f"{path}.request")
        _device_id(errs, result, path)
        binding_conditions(errs, result, path)
        items(errs, result.get("tolerations") or [], f"{path}.tolerations", _toleration)


def claim_spec(errs: list[FieldError], spec: Object, path: str) -> None:
    devices, where = spec.get("devices") or {}, f"{path}.devices"
    claim = _Claim(devices)
    items(errs, devices.get("requests") or [], f"{where}.requests", _request, most=_MOST, key=_name)
    items(errs, devices.get("constraints") or [], f"{where}.constraints", claim.constraint, most=_MOST)
    items(errs, devices.get("config") or [], f"{where}.config", claim.config, most=_MOST)


def _request(errs: list[FieldError], request: Object, path: str) -> None:
    formed(errs, _name(request), f"{path}.name", names.dns_label)
    exactly, first = request.get("exactly"), request.get("firstAvailable") or []
    one_of_both = "exactly one of `exactly` or `firstAvailable` is required"
    if exactly is None and not first:
        errs.append(required(path, one_of_both))
    elif exactly is not None and first:
        errs.append(invalid(path, None, f"{one_of_both}, but multiple fields are set"))
    elif exactly is not None:
        _choice(errs, exactly, f"{path}.exactly")
    else:
        items(errs, first, f"{path}.firstAvailable", _alternative, most=_MOST_FIRST, key=_name)


def _alternative(errs: list[FieldError], choice: Object, path: str) -> None:
    formed(errs, _name(choice), f"{path}.name", names.dns_label)
    _choice(errs, choice, path)


def _choice(errs: list[FieldError], choice: Object, path: str) -> None:
    named(errs, choice.get("deviceClassName"), f"{path}.deviceClassName", names.dns_subdomain)
    items(errs, choice.get("selectors") or [], f"{path}.selectors", _selector, most=_MOST)
    mode, count = choice.get("allocationMode") or "", choice.get("count") or 0
    if mode == "All" and count:
        errs.append(invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'"))
    elif mode == "ExactCount" and count <= 0:
        errs.append(invalid(f"{path}.count", count, "must be greater than zero"))
    one_of(errs, mode, f"{path}.allocationMode", ("All", "ExactCount"))
    items(errs, choice.get("tolerations") or [], f"{path}.tolerations", _toleration)


def _selector(errs: list[FieldError], selector: Object, path: str) -> None:
    if (cel := selector.get("cel")) is None:
        errs.append(required(f"{path}.cel"))
    elif len(expression := cel.get("expression") or "") > _MAX_EXPRESSION:
        errs.append(too_long(f"{path}.cel.expression", _MAX_EXPRESSION))
    else:
        where, before = f"{path}.cel.expression", len(errs)
        found = expressions.compiles(errs, expression, where, {"device": DEVICE})
        if len(errs) == before and found.type.name not in ("bool", "dyn"):
            errs.append(invalid(where, expression, f"must evaluate to bool or the unknown type, not {found.type}"))
        elif found.cost > _MAX_COST:
            errs.append(forbidden(where, "too complex, exceeds cost limit"))


def _toleration(errs: list[FieldError], toleration: Object, path: str) -> None:
    operator, value = toleration.get("operator") or "", toleration.get("value") or ""
    if key := toleration.get("key"):
        formed(errs, key, f"{path}.key", names.qualified_name)
    if operator == "Exists" and value:
        errs.append(invalid(f"{path}.value", value, "must be empty for operator `Exists`"))
    elif operator == "Equal":
        formed(errs, value, f"{path}.value", names.label_value)
    one_of(errs, operator, f"{path}.operator", ("Equal", "Exists"), needed=True)
    if effect := toleration.get("effect"):
        one_of(errs, effect, f"{path}.effect", EFFECTS)


def _opaque(errs: list[FieldError], config: Object, path: str) -> None:
    if (opaque := config.get("opaque")) is None:
        errs.append(required(f"{path}.opaque"))
        return
    driver_name(errs, opaque.get("driver") or "", f"{path}.opaque.driver")
    _raw(errs, opaque.get("parameters"), f"{path}.opaque.parameters")


def _raw(errs: list[FieldError], value: Any, field: str) -> None:
    if value is None:
        errs.append(required(field))
    elif len(orjson.dumps(value)) > _MAX_RAW:
        errs.append(too_long(field, _MAX_RAW))
    elif not isinstance(value, dict):
        errs.append(invalid(field, "<value omitted>", "must be a valid JSON object"))


def claim(errs: list[FieldError], obj: Object) -> None:
    claim_spec(errs, spec_of(obj), "spec")


def _kept_spec(errs: list[FieldError], new: Object, old: Object) -> None:
    metadata.same(errs, spec_of(new), spec_of(old), "spec")


def _consumer(errs: list[FieldError], consumer: Object, path: str) -> None:
    errs += [required(f"{path}.{what}") for what in ("resource", "name", "uid") if not consumer.get(what)]


def _claim_status(errs: list[FieldError], new: Object, old: Object) -> None:
    status, before = new.get("status") or {}, old.get("status") or {}
    reserved, field = status.get("reservedFor") or [], "status.reservedFor"
    items(errs, reserved, field, _consumer, most=_MOST_RESERVED, key=lambda consumer: consumer.get("uid") or "")
    allocation, was = status.get("allocation"), before.get("allocation")
    allocated = {_identity(r) for r in ((allocation or {}).get("devices") or {}).get("results") or ()}
    devices = status.get("devices") or []
    for i, device in enumerate(devices):
        _device_status(errs, device, allocated, f"status.devices[{i}]")
    items(errs, devices, "status.devices", None, key=_identity)
    if reserved and allocation is None:
        errs.append(forbidden(field, "may not be specified when `allocated` is not set"))
    elif (new.get("metadata") or {}).get("deletionTimestamp"):
        if any(consumer not in (before.get("reservedFor") or ()) for consumer in reserved):
            said = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
            errs.append(forbidden(field, said))
    if allocation is None:
        return
    if was is not None:
        if allocation != was:
            errs.append(invalid("status.allocation", None, "field cannot be modified once set"))
        return
    rules, found = _Claim(spec_of(new).get("devices") or {}), allocation.get("devices") or {}
    path = "status.allocation.devices"
    items(errs, found.get("results") or [], f"{path}.results", rules.result, most=_MOST)
    items(errs, found.get("config") or [], f"{path}.config", rules.allocated_config, most=2 * _MOST)
    if (selector := allocation.get("nodeSelector")) is not None:
        scheduling.node_selector(errs, selector, "status.allocation.nodeSelector")


def _identity(device: Object) -> str:
    """driver/pool/device, and the share if several claims use it."""
    parts = [device.get(part) or "" for part in ("driver", "pool", "device", "shareID")]
    return "/".join(parts if parts[3] else parts[:3])


def _device_id(errs: list[FieldError], device: Object, path: str) -> None:
    driver_name(errs, device.get("driver") or "", f"{path}.driver")
    pool_name(errs, device.get("pool") or "", f"{path}.pool")
    device_name(errs, device.get("device") or "", f"{path}.device")
    share = device.get("shareID")
    if share is not None and not _uid(share):
        errs.append(invalid(f"{path}.shareID", share, _UID_SAID))


def _device_status(errs: list[FieldError], device: Object, allocated: set[str], path: str) -> None:
    _device_id(errs, device, path)
    if (identity := _identity(device)) not in allocated:
        errs.append(invalid(path, identity, "must be an allocated device in the claim"))
    _conditions(errs, device, path)
    if device.get("data") is not None:
        _raw(errs, device["data"], f"{path}.data")
    network, where = device.get("networkData") or {}, f"{path}.networkData"
    for field, most in (("interfaceName", 256), ("hardwareAddress", 128)):
        if len((network.get(field) or "").encode()) > most:
            errs.append(too_long(f"{where}.{field}", most))
    items(errs, network.get("ips") or [], f"{where}.ips", _interface_address, most=_MOST_ADDRESSES, key=str)


def _interface_address(errs: list[FieldError], address: str, field: str) -> None:
    try:
        canonical = str(ipaddress.ip_interface(address)) if "/" in address else None
    except ValueError:
        canonical = None
    if canonical is None:
        said = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"
        errs.append(invalid(field, address, said))
    elif canonical != address:
        errs.append(invalid(field, address, f'must be in canonical form ("{canonical}")'))


def _conditions(errs: list[FieldError], holder: Object, path: str) -> None:
    listed = holder.get("conditions") or []
    if len(listed) > _MOST_CONDITIONS:
        errs.append(too_many(f"{path}.conditions", len(listed), _MOST_CONDITIONS))
    conditions.conditions(errs, listed, f"{path}.conditions")


def claim_template(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    metadata.of_template(errs, spec.get("metadata") or {}, "spec.metadata")
    claim_spec(errs, spec.get("spec") or {}, "spec.spec")


def device_class(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    for field, check in (("selectors", _selector), ("config", _opaque)):
        items(errs, spec.get(field) or [], f"spec.{field}", check, most=_MOST)
    name = spec.get("extendedResourceName")
    if name is not None and not pod_resources.is_extended(name):
        errs.append(invalid("spec.extendedResourceName", name, "must be a valid extended resource name"))


def taint_rule(errs: list[FieldError], obj: Object) -> None:
    selector = spec_of(obj).get("deviceSelector") or {}
    for field, check in (("driver", driver_name), ("pool", pool_name), ("device", device_name)):
        if (value := selector.get(field)) is not None:
            check(errs, value, f"spec.deviceSelector.{field}")
    taint(errs, spec_of(obj).get("taint") or {}, "spec.taint")


def _taint_rule_status(errs: list[FieldError], new: Object, old: Object) -> None:
    _conditions(errs, new.get("status") or {}, "status")


KINDS: Kinds = {
    (GROUP, "DeviceClass"): Rules(create=device_class, generation=True, ratchet=(ratcheting.unchanged(r"spec\."),)),
    (GROUP, "DeviceTaintRule"): Rules(
        create=taint_rule,
        subresources={"status": _taint_rule_status},
        generation=True,
        ratchet=(ratcheting.unchanged(r"spec\.taint\.effect"),),
    ),
    (GROUP, "ResourceClaim"): Rules(
        create=claim,
        update=_kept_spec,
        subresources={"status": _claim_status},
        status_keeps_metadata=True,
        ratchet=(ratcheting.unchanged(r"status\.(?:devices|reservedFor)"),),
    ),
    (GROUP, "ResourceClaimTemplate"): Rules(create=claim_template, update=_kept_spec),
    (GROUP, "ResourceSlice"): dra_slices.RESOURCE_SLICE,
}
