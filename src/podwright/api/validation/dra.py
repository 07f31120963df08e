"""The resource.k8s.io group (dynamic resource allocation). Selectors in CEL are compiled by the API server."""

from __future__ import annotations

import re

from podwright.api import quantity
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import expressions, metadata, names, scheduling
from podwright.api.validation.field_errors import (
    duplicate,
    forbidden,
    immutable,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from podwright.api.validation.rules import Kinds, Rules, spec_of

GROUP = "resource.k8s.io"
_MODES = ("All", "ExactCount")
_EFFECTS = ("NoExecute", "NoSchedule", "None")
_TOLERATION_EFFECTS = ("NoExecute", "NoSchedule")
_DEVICE_VARIABLE = frozenset({"device"})
_MAX_REQUESTS = _MAX_CONSTRAINTS = _MAX_CONFIG = _MAX_SELECTORS = 32
_MAX_FIRST = 8
_MAX_DEVICES = 128
_MAX_ATTRIBUTES = 32
_MAX_RESERVED = 256
_MAX_TEXT = 64
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}").fullmatch
_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
).fullmatch


def _label(errs: list[FieldError], value: str, field: str) -> None:
    if not value:
        errs.append(required(field))
    else:
        errs += [invalid(field, value, said) for said in names.dns_label(value)]


def _driver(errs: list[FieldError], value: str, field: str) -> None:
    if not value:
        errs.append(required(field))
        return
    if len(value) > 63:
        errs.append(too_long(field, 63))
    errs += [invalid(field, value, said) for said in names.dns_subdomain(value.lower())]


def _pool(errs: list[FieldError], value: str, field: str) -> None:
    if not value:
        errs.append(required(field))
        return
    if len(value) > 253:
        errs.append(too_long(field, 253))
    for part in value.split("/"):
        errs += [invalid(field, part, said) for said in names.dns_subdomain(part)]


def _qualified(errs: list[FieldError], value: str, field: str, *, full: bool = False) -> None:
    domain, slash, identifier = value.rpartition("/")
    if full and not slash:
        errs.append(invalid(field, value, "must include a domain"))
        return
    if slash and not domain:
        errs.append(required(field, "the domain must not be empty"))
    elif domain:
        errs += [invalid(field, domain, said) for said in names.dns_subdomain(domain)]
    if not identifier:
        errs.append(required(field, "the name must not be empty"))
    elif not _IDENTIFIER(identifier):
        if len(identifier) > 32:
            errs.append(too_long(field, 32))
        errs += [invalid(field, identifier, said) for said in names.c_identifier(identifier)]


def claim_spec(errs: list[FieldError], spec: Object, path: str) -> None:
    devices = spec.get("devices") or {}
    where = f"{path}.devices"
    requests = devices.get("requests") or []
    known: set[str] = set()
    if len(requests) > _MAX_REQUESTS:
        errs.append(too_many(f"{where}.requests", len(requests), _MAX_REQUESTS))
    for i, request in enumerate(requests):
        field, name = f"{where}.requests[{i}]", request.get("name") or ""
        _label(errs, name, f"{field}.name")
        if name in known:
            errs.append(duplicate(field, name))
        known.add(name)
        known |= {f"{name}/{sub.get('name')}" for sub in request.get("firstAvailable") or ()}
        _request(errs, request, field)
    for kind, most in (("constraints", _MAX_CONSTRAINTS), ("config", _MAX_CONFIG)):
        listed = devices.get(kind) or []
        if len(listed) > most:
            errs.append(too_many(f"{where}.{kind}", len(listed), most))
        for i, entry in enumerate(listed):
            _refers(errs, entry.get("requests") or [], known, f"{where}.{kind}[{i}].requests")
            if kind == "config":
                _opaque(errs, entry, f"{where}.config[{i}]")
            else:
                _constraint(errs, entry, f"{where}.constraints[{i}]")


def _refers(errs: list[FieldError], requests: list[str], known: set[str], field: str) -> None:
    for i, name in enumerate(requests):
        if name not in known:
            said = (
                "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
            )
            errs.append(invalid(f"{field}[{i}]", name, said))
        if name in requests[:i]:
            errs.append(duplicate(f"{field}[{i}]", name))


def _constraint(errs: list[FieldError], constraint: Object, path: str) -> None:
    given = [f for f in ("matchAttribute", "distinctAttribute") if constraint.get(f) is not None]
    if not given:
        errs.append(required(f"{path}.matchAttribute"))
    for field in given:
        _qualified(errs, constraint[field], f"{path}.{field}", full=True)


def _opaque(errs: list[FieldError], config: Object, path: str) -> None:
    opaque = config.get("opaque")
    if opaque is None:
        errs.append(required(f"{path}.opaque"))
        return
    _driver(errs, opaque.get("driver") or "", f"{path}.opaque.driver")
    if opaque.get("parameters") is None:
        errs.append(required(f"{path}.opaque.parameters"))


def _request(errs: list[FieldError], request: Object, path: str) -> None:
    exactly, first = request.get("exactly"), request.get("firstAvailable") or []
    if exactly is None and not first:
        errs.append(required(path, "exactly one of `exactly` or `firstAvailable` is required"))
    elif exactly is not None and first:
        said = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
        errs.append(invalid(path, None, said))
    if exactly is not None:
        _choice(errs, exactly, f"{path}.exactly")
    if len(first) > _MAX_FIRST:
        errs.append(too_many(f"{path}.firstAvailable", len(first), _MAX_FIRST))
    seen: set[str] = set()
    for i, choice in enumerate(first):
        where, name = f"{path}.firstAvailable[{i}]", choice.get("name") or ""
        _label(errs, name, f"{where}.name")
        if name in seen:
            errs.append(duplicate(where, name))
        seen.add(name)
        _choice(errs, choice, where)


def _choice(errs: list[FieldError], choice: Object, path: str) -> None:
    name = choice.get("deviceClassName") or ""
    if not name:
        errs.append(required(f"{path}.deviceClassName"))
    else:
        errs += [invalid(f"{path}.deviceClassName", name, said) for said in names.dns_subdomain(name)]
    _selectors(errs, choice.get("selectors") or [], f"{path}.selectors")
    mode, count = choice.get("allocationMode") or "", choice.get("count") or 0
    if mode == "All":
        if count:
            said = "must not be specified when allocationMode is 'All'"
            errs.append(invalid(f"{path}.count", count, said))
    elif mode == "ExactCount":
        if count <= 0:
            errs.append(invalid(f"{path}.count", count, "must be greater than zero"))
    else:
        errs.append(not_supported(f"{path}.allocationMode", mode, _MODES))
    for i, toleration in enumerate(choice.get("tolerations") or ()):
        _toleration(errs, toleration, f"{path}.tolerations[{i}]")
    for key, amount in ((choice.get("capacity") or {}).get("requests") or {}).items():
        field = f"{path}.capacity.requests[{key}]"
        _qualified(errs, key, field)
        if not quantity.is_valid(amount) or quantity.parse(amount) < 0:
            errs.append(invalid(field, amount, "must be greater than or equal to 0"))


def _selectors(errs: list[FieldError], selectors: list[Object], path: str) -> None:
    if len(selectors) > _MAX_SELECTORS:
        errs.append(too_many(path, len(selectors), _MAX_SELECTORS))
    for i, selector in enumerate(selectors):
        cel = selector.get("cel")
        if cel is None:
            errs.append(required(f"{path}[{i}].cel"))
        elif len(cel.get("expression") or "") > 10 * 1024:
            errs.append(too_long(f"{path}[{i}].cel.expression", 10 * 1024))
        else:
            expressions.compiles(errs, cel.get("expression") or "", f"{path}[{i}].cel.expression", _DEVICE_VARIABLE)


def _toleration(errs: list[FieldError], toleration: Object, path: str) -> None:
    key, operator = toleration.get("key") or "", toleration.get("operator") or ""
    value, effect = toleration.get("value") or "", toleration.get("effect") or ""
    if key:
        metadata.label_name(errs, key, f"{path}.key")
    if operator == "Exists":
        if value:
            errs.append(invalid(f"{path}.value", value, "must be empty for operator `Exists`"))
    elif operator == "Equal":
        errs += [invalid(f"{path}.value", value, said) for said in names.label_value(value)]
        if not key:
            errs.append(required(f"{path}.key", "must not be empty for operator `Equal`"))
    elif not operator:
        errs.append(required(f"{path}.operator"))
    else:
        errs.append(not_supported(f"{path}.operator", operator, ("Equal", "Exists")))
    if effect and effect not in _TOLERATION_EFFECTS:
        errs.append(not_supported(f"{path}.effect", effect, _TOLERATION_EFFECTS))


def claim(errs: list[FieldError], obj: Object) -> None:
    claim_spec(errs, spec_of(obj), "spec")


def _kept_spec(errs: list[FieldError], new: Object, old: Object) -> None:
    if spec_of(new) != spec_of(old):
        errs.append(immutable("spec", spec_of(new)))


def _claim_status(errs: list[FieldError], new: Object, old: Object) -> None:
    status, before = new.get("status") or {}, old.get("status") or {}
    reserved = status.get("reservedFor") or []
    field = "status.reservedFor"
    if len(reserved) > _MAX_RESERVED:
        errs.append(too_many(field, len(reserved), _MAX_RESERVED))
    seen: set[str] = set()
    for i, consumer in enumerate(reserved):
        for what in ("resource", "name", "uid"):
            if not consumer.get(what):
                errs.append(required(f"{field}[{i}].{what}"))
        uid = consumer.get("uid") or ""
        if uid in seen:
            errs.append(duplicate(f"{field}[{i}].uid", uid))
        seen.add(uid)
    allocation, was = status.get("allocation"), before.get("allocation")
    if reserved and allocation is None:
        errs.append(forbidden(field, "may not be specified when `allocated` is not set"))
    if (new.get("metadata") or {}).get("deletionTimestamp"):
        known = {c.get("uid") for c in before.get("reservedFor") or ()}
        if any(c.get("uid") not in known for c in reserved):
            said = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
            errs.append(forbidden(field, said))
    if allocation is not None and was is not None and allocation != was:
        errs.append(immutable("status.allocation", allocation))
    if allocation is not None:
        requests = {r.get("name") for r in (spec_of(new).get("devices") or {}).get("requests") or ()}
        for i, result in enumerate((allocation.get("devices") or {}).get("results") or ()):
            where = f"status.allocation.devices.results[{i}]"
            name = result.get("request") or ""
            if name.partition("/")[0] not in requests:
                errs.append(invalid(f"{where}.request", name, "must be the name of a request in the claim"))
            _driver(errs, result.get("driver") or "", f"{where}.driver")
            _pool(errs, result.get("pool") or "", f"{where}.pool")
            _label(errs, result.get("device") or "", f"{where}.device")
        if (selector := allocation.get("nodeSelector")) is not None:
            scheduling.node_selector(errs, selector, "status.allocation.nodeSelector")


def claim_template(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    meta = spec.get("metadata") or {}
    metadata.annotation_values(errs, meta.get("annotations") or {}, "spec.metadata.annotations")
    metadata.labels(errs, meta.get("labels") or {}, "spec.metadata.labels")
    claim_spec(errs, spec.get("spec") or {}, "spec.spec")


def device_class(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    _selectors(errs, spec.get("selectors") or [], "spec.selectors")
    config = spec.get("config") or []
    if len(config) > _MAX_CONFIG:
        errs.append(too_many("spec.config", len(config), _MAX_CONFIG))
    for i, entry in enumerate(config):
        _opaque(errs, entry, f"spec.config[{i}]")


def resource_slice(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    _driver(errs, spec.get("driver") or "", "spec.driver")
    pool = spec.get("pool") or {}
    _pool(errs, pool.get("name") or "", "spec.pool.name")
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    if count <= 0:
        errs.append(invalid("spec.pool.resourceSliceCount", count, "must be greater than zero"))
    if generation < 0:
        errs.append(invalid("spec.pool.generation", generation, "must be greater than or equal to zero"))
    _placement(errs, spec)
    devices = spec.get("devices") or []
    if len(devices) > _MAX_DEVICES:
        errs.append(too_many("spec.devices", len(devices), _MAX_DEVICES))
    seen: set[str] = set()
    for i, device in enumerate(devices):
        where, name = f"spec.devices[{i}]", device.get("name") or ""
        if name in seen:
            errs.append(duplicate(f"{where}.name", name))
        seen.add(name)
        _device(errs, device, where)


def _placement(errs: list[FieldError], spec: Object) -> None:
    fields = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
    given = [f for f in fields if spec.get(f) not in (None, False, "")]
    one_of = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
    if not given:
        errs.append(required("spec", one_of))
    elif len(given) > 1:
        errs.append(invalid("spec", "{" + ", ".join(f"`{f}`" for f in given) + "}", one_of))
    if name := spec.get("nodeName"):
        errs += [invalid("spec.nodeName", name, said) for said in names.dns_subdomain(name)]
    if (selector := spec.get("nodeSelector")) is not None:
        scheduling.node_selector(errs, selector, "spec.nodeSelector")
        if len(selector.get("nodeSelectorTerms") or ()) != 1:
            said = "must have exactly one node selector term"
            errs.append(invalid("spec.nodeSelector.nodeSelectorTerms", selector.get("nodeSelectorTerms"), said))


def _device(errs: list[FieldError], device: Object, path: str) -> None:
    _label(errs, device.get("name") or "", f"{path}.name")
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    total = len(attributes) + len(capacity)
    if total > _MAX_ATTRIBUTES:
        said = f"the total number of attributes and capacities must not exceed {_MAX_ATTRIBUTES}"
        errs.append(invalid(path, total, said))
    for key, attribute in attributes.items():
        where = f"{path}.attributes[{key}]"
        _qualified(errs, key, where)
        _attribute(errs, attribute, where)
    for key in capacity:
        _qualified(errs, key, f"{path}.capacity[{key}]")
    for i, taint in enumerate(device.get("taints") or ()):
        _taint(errs, taint, f"{path}.taints[{i}]")


def _attribute(errs: list[FieldError], attribute: Object, path: str) -> None:
    given = [k for k, v in attribute.items() if v is not None]
    if not given:
        errs.append(required(path, "exactly one value must be specified"))
    elif len(given) > 1:
        errs.append(invalid(path, attribute, "exactly one value must be specified"))
    text, version = attribute.get("string"), attribute.get("version")
    if text is not None and len(text) > _MAX_TEXT:
        errs.append(too_long(f"{path}.string", _MAX_TEXT))
    if version is not None:
        if not _VERSION(version):
            said = "must be a string compatible with semver.org spec 2.0.0"
            errs.append(invalid(f"{path}.version", version, said))
        if len(version) > _MAX_TEXT:
            errs.append(too_long(f"{path}.version", _MAX_TEXT))


def _taint(errs: list[FieldError], taint: Object, path: str) -> None:
    key, value, effect = taint.get("key") or "", taint.get("value") or "", taint.get("effect") or ""
    metadata.label_name(errs, key, f"{path}.key")
    if value:
        errs += [invalid(f"{path}.value", value, said) for said in names.label_value(value)]
    if effect not in _EFFECTS:
        field = f"{path}.effect"
        errs.append(not_supported(field, effect, _EFFECTS) if effect else required(field))


def _slice_update(errs: list[FieldError], new: Object, old: Object) -> None:
    resource_slice(errs, new)
    spec, before = spec_of(new), spec_of(old)
    for field in ("driver", "nodeName"):
        if spec.get(field) != before.get(field):
            errs.append(immutable(f"spec.{field}", spec.get(field)))
    name = (spec.get("pool") or {}).get("name")
    if name != (before.get("pool") or {}).get("name"):
        errs.append(immutable("spec.pool.name", name))


def taint_rule(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    selector = spec.get("deviceSelector")
    if selector is not None:
        for field, check in (("driver", _driver), ("pool", _pool), ("device", _label)):
            value = selector.get(field)
            if value is not None:
                check(errs, value, f"spec.deviceSelector.{field}")
    _taint(errs, spec.get("taint") or {}, "spec.taint")


KINDS: Kinds = {
    (GROUP, "DeviceClass"): Rules(create=device_class, generation=True),
    (GROUP, "DeviceTaintRule"): Rules(create=taint_rule, generation=True),
    (GROUP, "ResourceClaim"): Rules(
        create=claim, update=_kept_spec, subresources={"status": _claim_status}, status_keeps_metadata=True
    ),
    (GROUP, "ResourceClaimTemplate"): Rules(create=claim_template, update=_kept_spec),
    (GROUP, "ResourceSlice"): Rules(create=resource_slice, update=_slice_update, generation=True),
}
