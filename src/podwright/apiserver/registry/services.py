"""Services: cluster IPs and node ports (Kubernetes documentation, "Service ClusterIP allocation")."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable

from podwright.api import status
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.apiserver.cache.entries import Cached, Event
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.registry.strategies import Strategy, Undo

HEADLESS = "None"
_EXTERNAL = "ExternalName"
_WITH_PORTS = ("NodePort", "LoadBalancer")
_STATIC_MIN, _STATIC_MAX, _STATIC_SHARE = 16, 256, 16
_PORT_TRIES = 128


class Pool:
    """Numbers handed out once. `taken` is what stored objects use; `promised` is on its way to the store."""

    def __init__(self, first: int, last: int, dynamic_from: int) -> None:
        self.first, self.last, self.dynamic_from = first, last, dynamic_from
        self.taken: dict[int, int] = {}
        self.promised: set[int] = set()

    def contains(self, number: int) -> bool:
        return self.first <= number <= self.last

    def is_free(self, number: int) -> bool:
        return number not in self.taken and number not in self.promised

    def promise(self, number: int) -> Undo:
        self.promised.add(number)
        return lambda: self.promised.discard(number)

    def pick(self) -> int | None:
        """A free number, of the dynamic part first; None if all are taken."""
        for low, high in ((self.dynamic_from, self.last), (self.first, self.dynamic_from - 1)):
            if high < low:
                continue
            for _ in range(_PORT_TRIES):
                number = random.randint(low, high)
                if self.is_free(number):
                    return number
            for number in range(low, high + 1):
                if self.is_free(number):
                    return number
        return None

    def use(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.taken[number] = self.taken.get(number, 0) + 1
            self.promised.discard(number)

    def release(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            count = self.taken.get(number, 0) - 1
            if count > 0:
                self.taken[number] = count
            else:
                self.taken.pop(number, None)


def _static_share(size: int) -> int:
    """The lower part of a range is kept for numbers that people choose (KEP-3070, KEP-3668)."""
    return 0 if size < _STATIC_MIN else min(max(_STATIC_MIN, size // _STATIC_SHARE), _STATIC_MAX)


class ServiceStrategy(Strategy):
    returns_deleted = True

    def __init__(self, cidr: str, ports: tuple[int, int]) -> None:
        network = ipaddress.ip_network(cidr)
        self.family = "IPv4" if network.version == 4 else "IPv6"
        self.network = network
        base = int(network.network_address)
        size = min(network.num_addresses, 1 << 20)
        last = base + size - (2 if network.version == 4 else 1)
        self.ips = Pool(base + 1, last, base + 1 + _static_share(size))
        low, high = ports
        self.ports = Pool(low, high, low + _static_share(high - low + 1))

    def watch(self, cached: Iterable[Cached], listeners: list[Callable[[Event], None]]) -> None:
        """Learns what stored Services use, and follows it."""
        for entry in cached:
            self._use(entry.object)
        listeners.append(self._event)

    def _event(self, event: Event) -> None:
        if event.previous is not None:
            self.ips.release(self._ips(event.previous.object))
            self.ports.release(_ports(event.previous.object))
        if event.type != "DELETED":
            self._use(event.current.object)

    def _use(self, service: Object) -> None:
        self.ips.use(self._ips(service))
        self.ports.use(_ports(service))

    def _ips(self, service: Object) -> list[int]:
        found = []
        for text in _cluster_ips(service):
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                continue
            if address in self.network:
                found.append(int(address))
        return found

    async def begin_create(self, registry: Registry, obj: Object, dry_run: bool) -> list[Undo]:
        undo: list[Undo] = []
        try:
            self._allocate(obj, None, undo)
        except BaseException:
            _revert(undo)
            raise
        return undo

    async def begin_update(self, registry: Registry, obj: Object, old: Object, dry_run: bool) -> list[Undo]:
        undo: list[Undo] = []
        _keep_allocated(obj["spec"], old.get("spec") or {})
        try:
            self._allocate(obj, old, undo)
        except BaseException:
            _revert(undo)
            raise
        return undo

    def _allocate(self, obj: Object, old: Object | None, undo: list[Undo]) -> None:
        spec = obj.setdefault("spec", {})
        kind = spec.get("type") or "ClusterIP"
        before = old.get("spec") or {} if old else {}
        if kind == _EXTERNAL:
            if before and before.get("type") != _EXTERNAL:
                for field in ("clusterIP", "clusterIPs"):
                    if spec.get(field) == before.get(field):
                        spec.pop(field, None)
            for field in ("ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
                spec.pop(field, None)
        else:
            self._allocate_ip(obj, spec, before, undo)
        if kind in _WITH_PORTS and (kind == "NodePort" or spec.get("allocateLoadBalancerNodePorts", True)):
            self._allocate_ports(obj, spec, before, undo)
        if kind == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
            if not spec.get("healthCheckNodePort"):
                spec["healthCheckNodePort"] = self._port(obj, "spec.healthCheckNodePort", 0, undo)
            elif spec["healthCheckNodePort"] != before.get("healthCheckNodePort"):
                self._port(obj, "spec.healthCheckNodePort", spec["healthCheckNodePort"], undo)

    def _allocate_ip(self, obj: Object, spec: Object, before: Object, undo: list[Undo]) -> None:
        address = spec.get("clusterIP") or (spec.get("clusterIPs") or [""])[0]
        if not spec.get("ipFamilyPolicy"):
            spec["ipFamilyPolicy"] = "SingleStack"
        if not spec.get("ipFamilies"):
            spec["ipFamilies"] = [self.family]
        if address == HEADLESS:
            spec["clusterIP"], spec["clusterIPs"] = HEADLESS, [HEADLESS]
            return
        if address and address in ([before.get("clusterIP")] if before else []):
            spec["clusterIP"], spec["clusterIPs"] = address, [address]
            return
        if address:
            number = self._given_ip(obj, address)
        else:
            picked = self.ips.pick()
            if picked is None:
                raise status.internal("failed to allocate a serviceIP: range is full")
            number = picked
            address = str(ipaddress.ip_address(number) if self.family == "IPv4" else ipaddress.IPv6Address(number))
        undo.append(self.ips.promise(number))
        spec["clusterIP"], spec["clusterIPs"] = address, [address]

    def _given_ip(self, obj: Object, text: str) -> int:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise _invalid(obj, "spec.clusterIPs[0]", f'Invalid value: "{text}": must be a valid IP address') from None
        number = int(address)
        if address not in self.network or not self.ips.contains(number):
            raise _invalid(
                obj, "spec.clusterIPs",
                f'Invalid value: ["{text}"]: failed to allocate IP {text}: the provided IP ({text}) is not in the '
                f"valid range. The range of valid IPs is {self.network}",
            )
        if not self.ips.is_free(number):
            raise _invalid(
                obj, "spec.clusterIPs",
                f'Invalid value: ["{text}"]: failed to allocate IP {text}: provided IP is already allocated',
            )
        return number

    def _allocate_ports(self, obj: Object, spec: Object, before: Object, undo: list[Undo]) -> None:
        kept = {port.get("nodePort") for port in before.get("ports") or [] if port.get("nodePort")}
        here: dict[int, set[str]] = {}
        for i, port in enumerate(spec.get("ports") or []):
            number = port.get("nodePort") or 0
            protocol = port.get("protocol") or "TCP"
            shared = number in here and protocol not in here[number]
            if not number:
                same = next(
                    (p["nodePort"] for p in (spec.get("ports") or [])[:i]
                     if p.get("port") == port.get("port") and p.get("nodePort") and p.get("protocol") != protocol),
                    0,
                )
                number = same or self._port(obj, f"spec.ports[{i}].nodePort", 0, undo)
                port["nodePort"] = number
            elif number not in kept and not shared:
                self._port(obj, f"spec.ports[{i}].nodePort", number, undo)
            here.setdefault(number, set()).add(protocol)

    def _port(self, obj: Object, path: str, number: int, undo: list[Undo]) -> int:
        if not number:
            picked = self.ports.pick()
            if picked is None:
                raise status.internal("failed to allocate a nodePort: range is full")
            number = picked
        elif not isinstance(number, int) or not self.ports.contains(number):
            raise _invalid(
                obj, path,
                f"Invalid value: {number}: provided port is not in the valid range. The range of valid ports is "
                f"{self.ports.first}-{self.ports.last}",
            )
        elif not self.ports.is_free(number):
            raise _invalid(obj, path, f"Invalid value: {number}: provided port is already allocated")
        undo.append(self.ports.promise(number))
        return number


def _revert(undo: list[Undo]) -> None:
    for revert in undo:
        revert()


def _invalid(obj: Object, path: str, message: str) -> status.ApiError:
    name = str(obj["metadata"].get("name") or "")
    return status.invalid("", "Service", name, [FieldError(path, status.INVALID, message)])


def _cluster_ips(service: Object) -> list[str]:
    spec = service.get("spec") or {}
    return [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip and ip != HEADLESS]


def _ports(service: Object) -> set[int]:
    spec = service.get("spec") or {}
    found = {port["nodePort"] for port in spec.get("ports") or [] if port.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        found.add(spec["healthCheckNodePort"])
    return found


def _keep_allocated(spec: Object, before: Object) -> None:
    """A client that sends a whole Service without what the server filled in keeps what was filled in."""
    kind, was = spec.get("type") or "ClusterIP", before.get("type") or "ClusterIP"
    if _EXTERNAL in (kind, was):
        return
    if not spec.get("clusterIP") and not spec.get("clusterIPs"):
        for field in ("clusterIP", "clusterIPs"):
            if before.get(field):
                spec[field] = before[field]
    elif not spec.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP"):
        spec["clusterIPs"] = before.get("clusterIPs")
    for field in ("ipFamilies", "ipFamilyPolicy"):
        if not spec.get(field) and before.get(field):
            spec[field] = before[field]
    if kind in _WITH_PORTS and was in _WITH_PORTS:
        ports = {(p.get("port"), p.get("protocol")): p.get("nodePort") for p in before.get("ports") or []}
        for port in spec.get("ports") or []:
            known = ports.get((port.get("port"), port.get("protocol") or "TCP"))
            if not port.get("nodePort") and known:
                port["nodePort"] = known
        if not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = before["healthCheckNodePort"]
    elif kind == "ClusterIP" and was in _WITH_PORTS:
        ports_before = {p.get("nodePort") for p in before.get("ports") or []}
        for port in spec.get("ports") or []:
            if port.get("nodePort") in ports_before:
                port.pop("nodePort", None)
        for field in ("healthCheckNodePort", "externalTrafficPolicy", "allocateLoadBalancerNodePorts"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
