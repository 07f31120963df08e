"""Services: cluster IPs and node ports (Kubernetes documentation, "Service ClusterIP allocation")."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from podwright.api import objects, status
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.apiserver.cache.entries import Cached, Event
from podwright.apiserver.registry import cluster_ips, node_ports, service_families
from podwright.apiserver.registry.number_pools import Pool, Uses, static_share
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.registry.strategies import Release, Strategy, Undo

_log = logging.getLogger(__name__)

HEADLESS = "None"
_EXTERNAL = "ExternalName"
_WITH_PORTS = ("NodePort", "LoadBalancer")
_TAKEN = "provided IP is already allocated"
_FULL = "failed to allocate a nodePort: range is full"
_TRIES = 128


class ServiceStrategy(Strategy):
    returns_deleted = True
    reserves = True

    def __init__(self, cidr: str, ports: tuple[int, int]) -> None:
        self.ranges = cluster_ips.Ranges(cidr)
        low, high = ports
        self.ports = Pool(low, high, low + static_share(high - low + 1), Uses())
        self._picked: set[int] = set()
        """Addresses that nobody asked for: if another server was faster, another will do."""
        self._picked_ports: set[int] = set()
        self.marks = node_ports.Marks(low, high)

    def watch(self, cached: Iterable[Cached], listeners: list[Callable[[Event], None]]) -> None:
        """Learns what stored Services use, and follows it."""
        for entry in cached:
            self._use(entry.object)
        listeners.append(self._event)

    def _event(self, event: Event) -> None:
        if event.previous is not None:
            self.ranges.uses.release(self._ips(event.previous.object))
            self.ports.uses.release(node_ports.in_use(event.previous.object))
        if event.type != "DELETED":
            self._use(event.current.object)

    def _use(self, service: Object) -> None:
        self.ranges.uses.use(self._ips(service))
        self.ports.uses.use(node_ports.in_use(service))

    def _ips(self, service: Object) -> list[int]:
        return self.ranges.numbers(cluster_ips.in_use(service))

    async def begin_create(self, registry: Registry, obj: Object, dry_run: bool) -> list[Undo]:
        return self._allocated(obj, None)

    async def begin_update(self, registry: Registry, obj: Object, old: Object, dry_run: bool) -> list[Undo]:
        _keep_allocated(obj["spec"], old.get("spec") or {})
        return self._allocated(obj, old)

    def _allocated(self, obj: Object, old: Object | None) -> list[Undo]:
        undo: list[Undo] = []
        try:
            self._allocate(obj, old, undo)
        except BaseException:
            for revert in undo:
                revert()
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
            service_families.settle(obj, before, self.ranges.family)
            self._allocate_ip(obj, spec, before, undo)
        if kind in _WITH_PORTS and (kind == "NodePort" or spec.get("allocateLoadBalancerNodePorts", True)):
            self._allocate_ports(obj, spec, before, undo)
        if kind == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
            if not spec.get("healthCheckNodePort"):
                spec["healthCheckNodePort"] = self._port(obj, "spec.healthCheckNodePort", 0, undo)
            elif spec["healthCheckNodePort"] != before.get("healthCheckNodePort"):
                self._port(obj, "spec.healthCheckNodePort", spec["healthCheckNodePort"], undo)

    def _allocate_ip(self, obj: Object, spec: Object, before: Object, undo: list[Undo]) -> None:
        address = (spec.get("clusterIPs") or [""])[0]
        if address == HEADLESS or (address and address in (before.get("clusterIPs") or ())):
            return
        if address:
            number = self._given_ip(obj, address)
        else:
            number = self._pick()
            undo.append(lambda: self._picked.discard(number))
        undo.append(self.ranges.uses.promise(number))
        _set_address(spec, address or self.ranges.text(number))

    def _pick(self) -> int:
        number = self.ranges.pick()
        if number is None:
            raise status.internal("failed to allocate a serviceIP: range is full")
        self._picked.add(number)
        return number

    def _given_ip(self, obj: Object, text: str) -> int:
        address = cluster_ips.parse(text)
        assert address is not None, "service_families has looked at it"
        number = int(address)
        found = self.ranges.of(address)
        if found is None:
            raise _refused(obj, text, "the provided network does not match the current range")
        network, pool = found
        if not pool.contains(number):
            raise _refused(
                obj, text,
                f"the provided IP ({text}) is not in the valid range. The range of valid IPs is {network}",
            )
        if not self.ranges.uses.is_free(number):
            raise _refused(obj, text, _TAKEN)
        return number

    async def reserve(self, registry: Registry, obj: Object, old: Object | None) -> Release | None:
        """An IPAddress for each new address, and a mark for each new port. Another server may have given one out
        meanwhile: then it is another one, unless it was asked for."""
        claimed: list[str] = []
        marked: set[int] = set()

        async def release() -> None:
            await cluster_ips.give_back(registry, claimed, obj)
            await self.marks.release(registry, marked)

        try:
            await self._claim_addresses(registry, obj, cluster_ips.in_use(old) if old is not None else [], claimed)
            marked |= await self._mark_ports(registry, obj, node_ports.in_use(old) if old is not None else set())
        except BaseException:
            await asyncio.shield(release())
            raise
        return release if claimed or marked else None

    async def _claim_addresses(
        self, registry: Registry, obj: Object, before: Sequence[str], claimed: list[str]
    ) -> None:
        for text in cluster_ips.in_use(obj):
            if text in before:
                continue
            number = next(iter(self.ranges.numbers([text])), 0)
            while True:
                try:
                    made = await cluster_ips.claim(registry, text, obj)
                    break
                except cluster_ips.Taken:
                    if number not in self._picked:
                        raise _refused(obj, text, _TAKEN) from None
                    self._picked.discard(number)
                    number = self._pick()
                    text = self.ranges.text(number)
                    _set_address(obj["spec"], text)
            self._picked.discard(number)
            if made:
                claimed.append(text)

    async def _mark_ports(self, registry: Registry, obj: Object, before: set[int]) -> set[int]:
        for _ in range(_TRIES):
            wanted = node_ports.in_use(obj) - before
            try:
                await self.marks.claim(registry, wanted)
            except node_ports.Marked as taken:
                for number in taken.ports:
                    if number not in self._picked_ports:
                        raise _taken_port(obj, _path_of(obj["spec"], number), number) from None
                    self._picked_ports.discard(number)
                    _set_port(obj["spec"], number, self._pick_port())
            else:
                self._picked_ports -= wanted
                return wanted
        raise status.internal(_FULL)

    async def settled(self, registry: Registry, old: Object, new: Object | None) -> None:
        kept = cluster_ips.in_use(new) if new is not None else []
        await cluster_ips.give_back(registry, [ip for ip in cluster_ips.in_use(old) if ip not in kept], old)
        try:
            gone = node_ports.in_use(old) - (node_ports.in_use(new) if new is not None else set())
            await self.marks.release(registry, gone)
        except status.ApiError as failed:
            _log.warning("node ports of %s stay marked until a repair: %s", objects.key(old), failed)

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
            number = self._pick_port()
            undo.append(lambda: self._picked_ports.discard(number))
        elif not isinstance(number, int) or not self.ports.contains(number):
            raise _invalid(
                obj, path,
                f"Invalid value: {number}: provided port is not in the valid range. The range of valid ports is "
                f"{self.ports.first}-{self.ports.last}",
            )
        elif not self.ports.uses.is_free(number):
            raise _taken_port(obj, path, number)
        undo.append(self.ports.uses.promise(number))
        return number

    def _pick_port(self) -> int:
        number = self.ports.pick()
        if number is None:
            raise status.internal(_FULL)
        self._picked_ports.add(number)
        return number


def _invalid(obj: Object, path: str, message: str) -> status.ApiError:
    name = str(obj["metadata"].get("name") or "")
    return status.invalid("", "Service", name, [FieldError(path, status.INVALID, message)])


def _refused(obj: Object, text: str, why: str) -> status.ApiError:
    listed: Sequence[str] = (obj.get("spec") or {}).get("clusterIPs") or [text]
    shown = ",".join(f'"{ip}"' for ip in listed)
    return _invalid(obj, "spec.clusterIPs", f"Invalid value: [{shown}]: failed to allocate IP {text}: {why}")


def _set_address(spec: Object, text: str) -> None:
    spec["clusterIP"], spec["clusterIPs"] = text, [text]


def _taken_port(obj: Object, path: str, number: int) -> status.ApiError:
    return _invalid(obj, path, f"Invalid value: {number}: provided port is already allocated")


def _path_of(spec: Object, number: int) -> str:
    """Where the Service has the node port."""
    found = (f"spec.ports[{i}].nodePort" for i, p in enumerate(spec.get("ports") or ()) if p.get("nodePort") == number)
    return next(found, "spec.healthCheckNodePort")


def _set_port(spec: Object, old: int, new: int) -> None:
    for port in spec.get("ports") or ():
        if port.get("nodePort") == old:
            port["nodePort"] = new
    if spec.get("healthCheckNodePort") == old:
        spec["healthCheckNodePort"] = new


def _keep_allocated(spec: Object, before: Object) -> None:
    """A client that sends a whole Service without what the server filled in keeps what was filled in."""
    kind, was = spec.get("type") or "ClusterIP", before.get("type") or "ClusterIP"
    if _EXTERNAL in (kind, was):
        return
    service_families.keep(spec, before)
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
