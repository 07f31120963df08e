"""Choosing devices for the claims of a Pod on one node: a search with steps back, as upstream's structured allocator
does it (KEP-4381 "DRA: structured parameters")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from podwright.api import objects, taints
from podwright.api.objects import Object
from podwright.scheduler.plugins.devices import (
    Counters,
    Device,
    DeviceId,
    Pool,
    SelectorFailed,
    expressions_of,
    matches,
)

MOST_DEVICES = 32
"""Results of one claim."""
_MOST_STEPS = 20_000


class AllocationFailed(Exception):
    """A claim cannot be allocated anywhere as things are, whichever node is looked at."""


@dataclass(slots=True)
class Wanted:
    """Devices for one request, or for one alternative of it. `names` are those by which constraints and configurations
    know it: the request, and with "/" the alternative."""

    claim: Object
    name: str
    names: tuple[str, ...]
    raw: Object
    expressions: tuple[str, ...]
    count: int
    all: bool
    admin: bool
    config: Sequence[Object]


Result = tuple[Wanted, Device]
Classes = Callable[[str], Object | None]


def requests_of(claim: Object, classes: Classes) -> list[list[Wanted]]:
    """The requests of a claim, each with its alternatives, the preferred first.

    Raises:
        AllocationFailed: a device class does not exist.
    """
    found = []
    for raw in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        name = str(raw.get("name"))
        alternatives = raw.get("firstAvailable")
        if alternatives:
            found.append([_wanted(claim, f"{name}/{a.get('name')}", (name, f"{name}/{a.get('name')}"), a, classes)
                          for a in alternatives])  # fmt: skip
        else:
            found.append([_wanted(claim, name, (name,), raw.get("exactly") or {}, classes)])
    return found


def _wanted(claim: Object, name: str, names: tuple[str, ...], raw: Object, classes: Classes) -> Wanted:
    class_name = str(raw.get("deviceClassName") or "")
    found = classes(class_name)
    if found is None:
        raise AllocationFailed(f"request {name}: device class {class_name} does not exist")
    spec = found.get("spec") or {}
    return Wanted(
        claim, name, names, raw, (*expressions_of(spec), *expressions_of(raw)), int(raw.get("count") or 1),
        raw.get("allocationMode") == "All", bool(raw.get("adminAccess")), spec.get("config") or (),
    )  # fmt: skip


@dataclass
class Allocator:
    """`taken` are the devices of other claims, `used` the counters they consume, by pool."""

    pools: Sequence[Pool]
    taken: frozenset[DeviceId]
    used: Mapping[tuple[str, str], Counters]
    selected: dict[tuple[DeviceId, tuple[str, ...]], bool] = field(default_factory=dict)
    """Answers of expressions, remembered over nodes."""

    def allocate(self, claims: Sequence[tuple[Object, list[list[Wanted]]]], node: Object) -> list[list[Result]] | None:
        """The devices of each claim on a node; None if there are not enough.

        Raises:
            AllocationFailed: an expression fails, or a request asks for more than a claim can hold.
        """
        here = [p for p in self.pools if any(d.place.holds(node) for d in p.devices)]
        search = _Search(self, here, node)
        if not search.place([(claim, request) for claim, requests in claims for request in requests], 0):
            return None
        return [[r for r in search.chosen if r[0].claim is claim] for claim, _ in claims]

    def selects(self, wanted: Wanted, device: Device) -> bool:
        key = device.id, wanted.expressions
        known = self.selected.get(key)
        if known is None:
            try:
                known = matches(device, wanted.expressions)
            except SelectorFailed as failed:
                raise AllocationFailed(
                    f"claim {objects.key(wanted.claim)}: request {wanted.name}: device {'/'.join(device.id)}: {failed}"
                ) from failed
            self.selected[key] = known
        return known


class _Search:
    def __init__(self, allocator: Allocator, pools: Sequence[Pool], node: Object) -> None:
        self.allocator = allocator
        self.pools = pools
        self.node = node
        self.chosen: list[Result] = []
        self._mine: set[DeviceId] = set()
        self._counters: dict[tuple[str, str], Counters] = {}
        self._steps = 0

    def place(self, requests: Sequence[tuple[Object, list[Wanted]]], at: int) -> bool:
        if at == len(requests):
            return True
        for wanted in requests[at][1]:
            devices = list(self._candidates(wanted))
            if wanted.all:
                # Whoever asks for all gets all or nothing; "all of none" is nothing.
                if any(not p.complete for p in self.pools) or not devices:
                    continue
                if self._all(wanted, devices, requests, at):
                    return True
            elif self._some(wanted, devices, 0, wanted.count, requests, at):
                return True
        return False

    def _candidates(self, wanted: Wanted) -> Iterable[Device]:
        for pool in self.pools:
            if not pool.complete and not wanted.all:
                continue
            for device in pool.devices:
                if device.place.holds(self.node) and self.allocator.selects(wanted, device):
                    yield device

    def _all(
        self, wanted: Wanted, devices: Sequence[Device], requests: Sequence[tuple[Object, list[Wanted]]], at: int
    ) -> bool:
        before = len(self.chosen)
        if all(self._take(wanted, device) for device in devices) and self.place(requests, at + 1):
            return True
        while len(self.chosen) > before:
            self._give_back()
        return False

    def _some(
        self, wanted: Wanted, devices: Sequence[Device], start: int, count: int,
        requests: Sequence[tuple[Object, list[Wanted]]], at: int,
    ) -> bool:  # fmt: skip
        if count == 0:
            return self.place(requests, at + 1)
        for i in range(start, len(devices) - count + 1):
            self._steps += 1
            if self._steps > _MOST_STEPS:
                return False
            if self._take(wanted, devices[i]):
                if self._some(wanted, devices, i + 1, count - 1, requests, at):
                    return True
                self._give_back()
        return False

    def _take(self, wanted: Wanted, device: Device) -> bool:
        if sum(1 for w, _ in self.chosen if w.claim is wanted.claim) >= MOST_DEVICES:
            return False
        if not wanted.admin:
            shared = bool(device.raw.get("allowMultipleAllocations"))
            if not shared and (device.id in self.allocator.taken or device.id in self._mine):
                return False
            tolerations = wanted.raw.get("tolerations") or ()
            if taints.untolerated(device.taints, tolerations) is not None:
                return False
            if not self._counts(device, 1):
                return False
        if not self._constrained(wanted, device):
            if not wanted.admin:
                self._counts(device, -1)
            return False
        if not wanted.admin:
            self._mine.add(device.id)
        self.chosen.append((wanted, device))
        return True

    def _give_back(self) -> None:
        wanted, device = self.chosen.pop()
        if not wanted.admin:
            self._mine.discard(device.id)
            self._counts(device, -1)

    def _counts(self, device: Device, sign: int) -> bool:
        """Takes what a part of a larger device consumes of the counters of its pool, if so much is left."""
        pool = device.pool
        key = pool.driver, pool.name
        mine = self._counters.setdefault(key, {})
        others = self.allocator.used.get(key) or {}
        if sign > 0 and any(
            mine.get(c, 0) + others.get(c, 0) + n > pool.counters.get(c, 0) for c, n in device.consumes.items()
        ):
            return False
        for counter, amount in device.consumes.items():
            mine[counter] = mine.get(counter, 0) + sign * amount
        return True

    def _constrained(self, wanted: Wanted, device: Device) -> bool:
        for constraint in ((wanted.claim.get("spec") or {}).get("devices") or {}).get("constraints") or ():
            concerned = constraint.get("requests") or ()
            if concerned and not set(wanted.names) & set(concerned):
                continue
            others = [
                d for w, d in self.chosen
                if w.claim is wanted.claim and (not concerned or set(w.names) & set(concerned))
            ]  # fmt: skip
            if same := constraint.get("matchAttribute"):
                value = device.attributes.get(same)
                if value is None or any(not _equal(d.attributes.get(same), value) for d in others):
                    return False
            if differs := constraint.get("distinctAttribute"):
                value = device.attributes.get(differs)
                if value is None or any(_equal(d.attributes.get(differs), value) for d in others):
                    return False
        return True


def _equal(a: object, b: object) -> bool:
    return type(a) is type(b) and a == b


def allocation_of(claim: Object, results: Sequence[Result]) -> Object:
    """What a claim's status says of its devices."""
    listed, config = [], []
    seen: set[str] = set()
    for wanted, device in results:
        driver, pool, name = device.id
        entry: Object = {"request": wanted.name, "driver": driver, "pool": pool, "device": name}
        if wanted.admin:
            entry["adminAccess"] = True
        if wanted.raw.get("tolerations"):
            entry["tolerations"] = wanted.raw["tolerations"]
        listed.append(entry)
        if wanted.name not in seen:
            seen.add(wanted.name)
            config += [{"source": "FromClass", "requests": [wanted.name], **c} for c in wanted.config]
    for each in ((claim.get("spec") or {}).get("devices") or {}).get("config") or ():
        concerned = each.get("requests") or ()
        if not concerned or any(set(w.names) & set(concerned) for w, _ in results):
            config.append({**each, "source": "FromClaim"})
    devices: Object = {"results": listed}
    if config:
        devices["config"] = config
    found: Object = {"devices": devices}
    selector = _selector([d for _, d in results])
    if selector is not None:
        found["nodeSelector"] = selector
    return found


def _selector(devices: Sequence[Device]) -> Object | None:
    """The nodes on which all of the devices can be used; None: every node."""
    expressions: list[Object] = []
    fields: list[Object] = []
    for device in devices:
        if device.place.node:
            field_ = {"key": "metadata.name", "operator": "In", "values": [device.place.node]}
            return {"nodeSelectorTerms": [{"matchFields": [field_]}]}
        for term in ((device.place.selector or {}).get("nodeSelectorTerms") or ())[:1]:
            expressions += [e for e in term.get("matchExpressions") or () if e not in expressions]
            fields += [f for f in term.get("matchFields") or () if f not in fields]
    if not expressions and not fields:
        return None
    term = {"matchExpressions": expressions} if expressions else {}
    return {"nodeSelectorTerms": [{**term, **({"matchFields": fields} if fields else {})}]}
