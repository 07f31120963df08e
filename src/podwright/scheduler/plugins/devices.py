"""Devices as ResourceSlices publish them, and the CEL expressions that select among them (Kubernetes documentation:
"Dynamic Resource Allocation")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from podwright.api import node_affinity, objects, quantity
from podwright.api.cel import CompileError, EvaluationError, compile_expression
from podwright.api.cel.kubernetes import semver
from podwright.api.cel.values import Quantity
from podwright.api.objects import Object

DeviceId = tuple[str, str, str]
"""Driver, pool and device."""
Counters = dict[tuple[str, str], int]
"""Amounts by counter set and counter, in thousandths."""


class _Domains(dict[str, dict[str, Any]]):
    """Attributes by domain; one that the device has nothing of is empty."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> dict[str, Any]:
        return {}


class SelectorFailed(Exception):
    """An expression does not compile, fails on a device, or gives no boolean."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a device can be used: on one node, on all, or on those of a node selector."""

    node: str = ""
    everywhere: bool = False
    selector: Object | None = None

    def holds(self, node: Object) -> bool:
        if self.everywhere or (self.node and self.node == objects.name(node)):
            return True
        if self.selector is None:
            return False
        return node_affinity.compile(self.selector).matches(node)


def _place(raw: Object) -> Place:
    return Place(str(raw.get("nodeName") or ""), bool(raw.get("allNodes")), raw.get("nodeSelector"))


@dataclass(eq=False)
class Device:
    """`raw` is the device as its slice lists it; `taints` are its own and those of DeviceTaintRules."""

    id: DeviceId
    raw: Object
    place: Place
    pool: Pool
    taints: Sequence[Object] = ()

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Values by qualified name: a name without a domain is of the driver's."""
        return {_qualified(n, self.id[0]): _attribute(v) for n, v in (self.raw.get("attributes") or {}).items()}

    @cached_property
    def variables(self) -> Mapping[str, Any]:
        attributes, capacity = _Domains(), _Domains()
        for name, value in self.attributes.items():
            domain, _, short = name.partition("/")
            attributes.setdefault(domain, {})[short] = value
        for name, raw in (self.raw.get("capacity") or {}).items():
            domain, _, short = _qualified(name, self.id[0]).partition("/")
            text = str(raw.get("value"))
            capacity.setdefault(domain, {})[short] = Quantity(quantity.parse(text), text)
        return {"device": {
            "driver": self.id[0], "attributes": attributes, "capacity": capacity,
            "allowMultipleAllocations": bool(self.raw.get("allowMultipleAllocations")),
        }}  # fmt: skip

    @cached_property
    def consumes(self) -> Counters:
        found: Counters = {}
        for each in self.raw.get("consumesCounters") or ():
            for name, value in (each.get("counters") or {}).items():
                key = str(each.get("counterSet")), name
                found[key] = found.get(key, 0) + quantity.milli(str(value.get("value")))
        return found


@dataclass
class Pool:
    """The devices of a driver's pool in its newest generation. An incomplete pool misses slices."""

    driver: str
    name: str
    generation: int = -1
    wanted: int = 0
    slices: int = 0
    devices: list[Device] = field(default_factory=list)
    counters: Counters = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return self.slices == self.wanted


def _qualified(name: str, driver: str) -> str:
    return name if "/" in name else f"{driver}/{name}"


def _attribute(raw: Object) -> Any:
    if "version" in raw:
        return semver(raw["version"])
    for kind in ("int", "bool", "string"):
        if kind in raw:
            return raw[kind]
    return next(iter(raw.values()), None)


def _taints(raw: Object, identity: DeviceId, rules: Sequence[Object]) -> Sequence[Object]:
    named = dict(zip(("driver", "pool", "device"), identity, strict=True))
    found = list(raw.get("taints") or ())
    for rule in rules:
        selector = rule["spec"].get("deviceSelector")
        if selector is not None and all(named.get(k) == v for k, v in selector.items() if v is not None):
            found.append(rule["spec"]["taint"])
    return found


def pools_of(slices: Iterable[Object], rules: Sequence[Object] = ()) -> list[Pool]:
    """Pools in order of driver and name; their devices in order of slice and as listed, with the taints that `rules`
    (DeviceTaintRules) add."""
    found: dict[tuple[str, str], Pool] = {}
    for each in sorted(slices, key=objects.name):
        spec = each.get("spec") or {}
        said = spec.get("pool") or {}
        key = str(spec.get("driver")), str(said.get("name"))
        generation = int(said.get("generation") or 0)
        pool = found.setdefault(key, Pool(*key))
        if generation < pool.generation:
            continue
        if generation > pool.generation:
            pool = found[key] = Pool(*key, generation=generation)
        pool.wanted = int(said.get("resourceSliceCount") or 1)
        pool.slices += 1
        for shared in spec.get("sharedCounters") or ():
            for name, value in (shared.get("counters") or {}).items():
                pool.counters[str(shared.get("name")), name] = quantity.milli(str(value.get("value")))
        whole = _place(spec)
        for raw in spec.get("devices") or ():
            place = _place(raw) if spec.get("perDeviceNodeSelection") else whole
            identity = (*key, str(raw.get("name")))
            pool.devices.append(Device(identity, raw, place, pool, _taints(raw, identity, rules)))
    return [found[key] for key in sorted(found)]


def matches(device: Device, expressions: Sequence[str]) -> bool:
    """Raises:
    SelectorFailed: see there.
    """
    for source in expressions:
        try:
            answer = compile_expression(source, ("device",)).evaluate(device.variables)
        except (CompileError, EvaluationError) as failed:
            raise SelectorFailed(f"CEL runtime error: {failed}") from failed
        if not isinstance(answer, bool):
            raise SelectorFailed("CEL runtime error: no boolean")
        if not answer:
            return False
    return True


def expressions_of(raw: Object) -> tuple[str, ...]:
    found = ((s.get("cel") or {}).get("expression") for s in raw.get("selectors") or ())
    return tuple(str(e) for e in found if e)
