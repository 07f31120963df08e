"""ResourceSlices: what a driver says of the devices of a pool."""

from __future__ import annotations

import re
from decimal import Decimal

from podwright.api import quantity
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names, ratcheting, scheduling
from podwright.api.validation.dra_names import binding_conditions, device_name, pool_name, qualified, taint
from podwright.api.validation.field_errors import forbidden, formed, invalid, items, named, required, too_long, too_many
from podwright.api.validation.rules import Rules, spec_of
from podwright.api.validation.volume_systems import csi_driver_name

_MOST_DEVICES = 128
_MOST_ADVANCED = 64
"""Devices with taints or shared counters."""
_MOST_ATTRIBUTES = 32
_MOST_VALUES = 48
_MOST_TAINTS = 16
_MOST_COUNTER_SETS = 8
_MOST_COUNTERS = 32
_MOST_CONSUMED = 2
_MOST_OPTIONS = 10
_MAX_TEXT = 64
_NUMBER, _PRE, _BUILD = r"(0|[1-9]\d*)", r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)", "[0-9a-zA-Z-]+"
_version = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE}(\.{_PRE})*)?(\+{_BUILD}(\.{_BUILD})*)?", re.ASCII
).fullmatch
_MAX_INT64 = 2**63 - 1
_MULTIPLE = ", but multiple fields are set"


def _update(errs: list[FieldError], new: Object, old: Object) -> None:
    spec, before = spec_of(new), spec_of(old)
    resource_slice(errs, new)
    pool, was = ((s.get("pool") or {}).get("name") for s in (spec, before))
    for field, now, then in (
        ("pool.name", pool, was),
        ("driver", spec.get("driver"), before.get("driver")),
        ("nodeName", spec.get("nodeName"), before.get("nodeName")),
    ):
        metadata.same(errs, now, then, f"spec.{field}")


def resource_slice(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    csi_driver_name(errs, spec.get("driver") or "", "spec.driver")
    pool = spec.get("pool") or {}
    pool_name(errs, pool.get("name") or "", "spec.pool.name")
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    if count <= 0:
        errs.append(invalid("spec.pool.resourceSliceCount", count, "must be greater than zero"))
    if generation < 0:
        errs.append(invalid("spec.pool.generation", generation, "must be greater than or equal to zero"))
    fields = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
    said = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
    _place(errs, spec, fields, "spec", "must be either unset or set to a non-empty string", (said, said + _MULTIPLE))
    selector = spec.get("nodeSelector")
    if selector is not None and len(terms := selector.get("nodeSelectorTerms") or []) != 1:
        errs.append(invalid("spec.nodeSelector.nodeSelectorTerms", terms, "must have exactly one node selector term"))
    devices, counters = spec.get("devices"), spec.get("sharedCounters")
    if devices is not None and counters is not None:
        errs.append(invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed"))
    advanced = any(device.get("taints") or device.get("consumesCounters") for device in devices or ())
    per_device = bool(spec.get("perDeviceNodeSelection"))

    def check(errs: list[FieldError], device: Object, path: str) -> None:
        _device(errs, device, per_device, path)

    most = _MOST_ADVANCED if advanced else _MOST_DEVICES
    items(errs, devices or [], "spec.devices", check, most=most, key=lambda device: device.get("name") or "")
    items(
        errs,
        counters or [],
        "spec.sharedCounters",
        lambda errs, group, path: _counters(errs, group, "name", path),
        most=_MOST_COUNTER_SETS,
        key=lambda group: group.get("name") or "",
    )


def _place(
    errs: list[FieldError], holder: Object, fields: tuple[str, ...], path: str, empty: str, said: tuple[str, str]
) -> None:
    """On which nodes devices are: exactly one of the `fields`; `said` if none is set, and if several are."""
    given = []
    for field in fields:
        value, where = holder.get(field), f"{path}.{field}"
        if value is None:
            continue
        if not value and field != "nodeSelector":
            errs.append(invalid(where, value, empty if field == "nodeName" else "must be either unset or set to true"))
            continue
        given.append(f"`{field}`")
        if field == "nodeName":
            formed(errs, value, where, names.dns_subdomain)
        elif field == "nodeSelector":
            scheduling.node_selector(errs, value, where)
    if not given:
        errs.append(required(path, said[0]))
    elif len(given) > 1:
        errs.append(invalid(path, "{" + ", ".join(given) + "}", said[1]))


def _counters(errs: list[FieldError], group: Object, name: str, path: str) -> None:
    named(errs, group.get(name), f"{path}.{name}", names.dns_label)
    counters = group.get("counters") or {}
    if not counters:
        errs.append(required(f"{path}.counters"))
    elif len(counters) > _MOST_COUNTERS:
        errs.append(too_many(f"{path}.counters", len(counters), _MOST_COUNTERS))
    else:
        for key in counters:
            formed(errs, key, f"{path}.counters", names.dns_label)


def _device(errs: list[FieldError], device: Object, per_device: bool, path: str) -> None:
    device_name(errs, device.get("name") or "", f"{path}.name")
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    if (total := len(attributes) + len(capacity)) > _MOST_ATTRIBUTES:
        said = f"the total number of attributes and capacities must not exceed {_MOST_ATTRIBUTES}"
        errs.append(invalid(path, total, said))
    if len(attributes) > _MOST_VALUES:
        said = f"the total number of attribute values must not exceed {_MOST_VALUES}"
        errs.append(invalid(path, len(attributes), said))
    for key, attribute in attributes.items():
        qualified(errs, key, f"{path}.attributes")
        _attribute(errs, attribute, f"{path}.attributes[{key}]")
    for key, amount in capacity.items():
        qualified(errs, key, f"{path}.capacity")
        _capacity(errs, amount, bool(device.get("allowMultipleAllocations")), f"{path}.capacity[{key}]")
    items(errs, device.get("taints") or [], f"{path}.taints", taint, most=_MOST_TAINTS)
    items(
        errs,
        device.get("consumesCounters") or [],
        f"{path}.consumesCounters",
        lambda errs, use, where: _counters(errs, use, "counterSet", where),
        most=_MOST_CONSUMED,
        key=lambda use: use.get("counterSet") or "",
    )
    fields = ("nodeName", "nodeSelector", "allNodes")
    when = "`perDeviceNodeSelection` is set to true in the ResourceSlice spec"
    if per_device:
        said = f"exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when {when}"
        _place(errs, device, fields, path, "must not be empty", (said, said))
    elif any(device.get(field) is not None for field in fields):
        errs.append(invalid(path, None, f"`nodeName`, `nodeSelector` and `allNodes` can only be set if {when}"))
    binding_conditions(errs, device, path)


def _attribute(errs: list[FieldError], attribute: Object, path: str) -> None:
    text, version = attribute.get("string"), attribute.get("version")
    if text is not None and len(text.encode()) > _MAX_TEXT:
        errs.append(too_long(f"{path}.string", _MAX_TEXT))
    if version is not None:
        if not _version(version):
            errs.append(invalid(f"{path}.version", version, "must be a string compatible with semver.org spec 2.0.0"))
        if len(version) > _MAX_TEXT:
            errs.append(too_long(f"{path}.version", _MAX_TEXT))
    fields = ("bool", "int", "string", "version")
    given = [f"`{field}`" for field in fields if attribute.get(field) is not None]
    listed = ", ".join(f"`{field}`" for field in fields)
    if not given:
        errs.append(invalid(path, "", f"must specify one of: {listed}"))
    elif len(given) > 1:
        errs.append(invalid(path, "{" + ", ".join(given) + "}", f"must specify exactly one of: {listed}"))


def _capacity(errs: list[FieldError], capacity: Object, shared: bool, path: str) -> None:
    policy, where = capacity.get("requestPolicy") or {}, f"{path}.requestPolicy"
    values, bounds = policy.get("validValues") or [], policy.get("validRange")
    amounts = (capacity.get("value") or "0", policy.get("default"), *values, *(bounds or {}).values())
    wrong = [amount for amount in amounts if amount is not None and not quantity.is_valid(amount)]
    if wrong or capacity.get("requestPolicy") is None:
        errs += [invalid(path, amount, quantity.FORMAT_ERROR) for amount in wrong]
        return
    kind = "validValues" if values else "validRange"
    if not shared:
        errs.append(forbidden(where, "allowMultipleAllocations must be true"))
    elif values and bounds is not None:
        said = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        errs.append(forbidden(where, said))
    elif values or bounds is not None:
        if policy.get("default") is None:
            errs.append(required(f"{where}.default", f"required when {kind} is defined"))
        elif values:
            _options(errs, values, policy["default"], capacity.get("value") or "0", f"{where}.validValues")
        else:
            _range(errs, bounds or {}, policy["default"], capacity.get("value") or "0", f"{where}.validRange")


def _options(errs: list[FieldError], options: list[str], default: str, most: str, path: str) -> None:
    for i in range(len(options) - 1):
        if quantity.compare(options[i], options[i + 1]) > 0:
            errs.append(invalid(f"{path}[{i + 1}]", options[i + 1], "values must be sorted in ascending order"))

    def fits(errs: list[FieldError], option: str, field: str) -> None:
        if quantity.compare(option, most) > 0:
            errs.append(invalid(field, option, f"option is larger than capacity value: {most}"))

    items(errs, options, path, fits, most=_MOST_OPTIONS, key=quantity.canonical)
    if not any(quantity.compare(option, default) == 0 for option in options):
        errs.append(invalid(path, default, "default value is not valid according to the requestPolicy"))


def _range(errs: list[FieldError], bounds: Object, default: str, most: str, path: str) -> None:
    low, high, step = bounds.get("min"), bounds.get("max"), bounds.get("step")
    if low is None:
        errs.append(required(f"{path}.min", "required when validRange is defined"))
        return
    for above, field, value, limit, said in (
        (low, "min", low, most, "min is larger than capacity value"),
        (low, "max", low, high, "min is larger than max"),
        (high, "max", high, most, "max is larger than capacity value"),
        (default, "default", default, high, "default is more than max"),
    ):
        if above is not None and limit is not None and quantity.compare(above, limit) > 0:
            errs.append(invalid(f"{path}.{field}", value, f"{said}: {limit}"))
    if quantity.compare(default, low) < 0:
        errs.append(invalid(f"{path}.default", default, f"default is less than min: {low}"))
    given = {"default": default, "min": low, "max": high, "step": step}
    numbers = {field: quantity.parse(value) for field, value in given.items() if value is not None}
    fractions = any(number != int(number) for number in numbers.values())
    unsafe = [field for field, number in numbers.items() if number * 1000 != int(number * 1000)]
    if fractions and unsafe:
        for field in unsafe:
            errs.append(invalid(f"{path}.{field}", given[field], "value cannot be represented as a milli value"))
    elif step is not None:
        _step(errs, given, numbers, most, path, fractions)


def _step(
    errs: list[FieldError], given: dict[str, str], numbers: dict[str, Decimal], most: str, path: str, fractions: bool
) -> None:
    step, low, where = numbers["step"], numbers["min"], f"{path}.step"
    if step <= 0:
        errs.append(invalid(where, given["step"], "must be greater than zero"))
        return
    if low + step > quantity.parse(most):
        added = quantity.add(given["min"], given["step"])
        errs.append(invalid(where, given["step"], f"one step {added} is larger than capacity value: {most}"))
    outside = [] if fractions else [f for f, number in numbers.items() if not 0 <= number <= _MAX_INT64]
    for field in outside:
        said = "must be greater than or equal to 0" if numbers[field] < 0 else f"must not be larger than {_MAX_INT64}"
        errs.append(invalid(f"{path}.{field}", given[field], said))
    for field in ("default", "max"):
        if not outside and field in numbers and (numbers[field] - low) % step:
            said = f"value is not a multiple of a given step ({given['step']}) from ({given['min']})"
            errs.append(invalid(where, given[field], said))


RESOURCE_SLICE = Rules(
    create=resource_slice,
    update=_update,
    generation=True,
    ratchet=(ratcheting.unchanged(r"spec\.(?:sharedCounters|devices\[\]\.(?:capacity|taints|attrib|consumes|binding))"),),
)
