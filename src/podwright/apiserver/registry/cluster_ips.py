"""Cluster IPs: the ranges of the ServiceCIDRs, and each address that is in use as an IPAddress object, so that no two
servers of one store give an address out twice (KEP-1880, "Multiple Service CIDRs")."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import IPADDRESSES, SERVICECIDRS, SERVICES
from podwright.api.status import ApiError
from podwright.apiserver.cache.entries import Cached
from podwright.apiserver.registry.creating import fill_system_fields
from podwright.apiserver.registry.number_pools import Pool, Uses, static_share
from podwright.apiserver.registry.registry import Conflict, KeyExists, Missing, Registry
from podwright.apiserver.requests import ChangeHandler, Objects, Writer

_log = logging.getLogger(__name__)

DEFAULT_NAME = "kubernetes"
FAMILY_LABEL = "ipaddress.kubernetes.io/ip-family"
MANAGED_BY_LABEL = "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"
_REPAIR_SECONDS = 180.0
_ORPHAN_SECONDS = 60.0
"""An address whose Service is not there may have one that is just being written."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Ranges:
    """What may be given out: the networks of the ServiceCIDRs that are ready, of one family. `cidr` is the range of
    the server's configuration; it counts until there are ServiceCIDRs."""

    def __init__(self, cidr: str) -> None:
        self.default = ipaddress.ip_network(cidr)
        self.family = f"IPv{self.default.version}"
        self.uses = Uses()
        self._known: dict[str, list[Network]] = {}
        self._pools = {self.default: self._pool(self.default)}

    def _pool(self, network: Network) -> Pool:
        base = int(network.network_address)
        last = base + network.num_addresses - (2 if network.version == 4 else 1)
        return Pool(base + 1, last, base + 1 + static_share(network.num_addresses), self.uses)

    def service_cidr_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            self._known.pop(objects.name(old), None)
        if new is not None:
            ready = is_ready(new) and not new["metadata"].get("deletionTimestamp")
            networks = [ipaddress.ip_network(text) for text in cidrs(new)] if ready else []
            self._known[objects.name(new)] = [n for n in networks if n.version == self.default.version]
        wanted = {network for networks in self._known.values() for network in networks}
        self._pools = {network: self._pools.get(network) or self._pool(network) for network in wanted}

    def address_changed(self, old: Object | None, new: Object | None) -> None:
        """Every IPAddress takes its address, whoever made it."""
        if old is not None and new is None:
            self.uses.release(self.numbers([objects.name(old)]))
        elif new is not None and old is None:
            self.uses.use(self.numbers([objects.name(new)]))

    def numbers(self, texts: Sequence[str]) -> list[int]:
        """Of the addresses of our family."""
        found = []
        for text in texts:
            address = parse(text)
            if address is not None and address.version == self.default.version:
                found.append(int(address))
        return found

    def pick(self) -> int | None:
        for pool in self._pools.values():
            number = pool.pick()
            if number is not None:
                return number
        return None

    def of(self, address: Address) -> tuple[Network, Pool] | None:
        """The range that has the address."""
        return next(((n, p) for n, p in self._pools.items() if address in n), None)

    def text(self, number: int) -> str:
        return str(ipaddress.IPv4Address(number) if self.family == "IPv4" else ipaddress.IPv6Address(number))


def parse(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def cidrs(obj: Object) -> list[str]:
    return (obj.get("spec") or {}).get("cidrs") or []


def is_ready(service_cidr: Object) -> bool:
    """One that nobody has judged yet counts as ready: the controllers may not run."""
    conditions = (service_cidr.get("status") or {}).get("conditions") or ()
    return all(c.get("status") == "True" for c in conditions if c.get("type") == "Ready")


def in_use(service: Object) -> list[str]:
    spec = service.get("spec") or {}
    return [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip and ip != "None"]


def parent_of(service: Object) -> Object:
    return {
        "group": "", "resource": "services", "namespace": objects.namespace(service), "name": objects.name(service),
    }


class Taken(Exception):
    """The address is another's."""


async def claim(registry: Registry, text: str, service: Object) -> bool:
    """Makes the address's object. False: the Service has it already. Raises Taken."""
    parent = parent_of(service)
    obj: Object = {
        "apiVersion": IPADDRESSES.api_version,
        "kind": IPADDRESSES.kind,
        "metadata": {
            "name": text, "labels": {FAMILY_LABEL: "IPv6" if ":" in text else "IPv4", MANAGED_BY_LABEL: MANAGER}
        },
        "spec": {"parentRef": {field: value for field, value in parent.items() if value}},
    }
    fill_system_fields(registry, obj["metadata"])
    try:
        await registry.commit_create(IPADDRESSES, text, obj)
    except KeyExists:
        there = registry.read(IPADDRESSES, "", text)
        if there is None or not _is_of(there, parent):
            raise Taken(text) from None
        return False
    return True


async def give_back(registry: Registry, texts: Sequence[str], service: Object) -> None:
    """Deletes the objects of addresses that the Service has no more."""
    for text in texts:
        entry = registry.cache(IPADDRESSES).get(text)
        if entry is not None and _is_of(entry.object, parent_of(service)):
            await _remove(registry, entry)


async def _remove(registry: Registry, entry: Cached) -> None:
    try:
        await registry.commit_delete(IPADDRESSES, entry)
    except (Conflict, Missing):
        return  # somebody else was faster
    except ApiError as failed:
        _log.warning("the address %s stays taken until the next repair: %s", entry.name, failed)


def _is_of(address: Object, parent: Object) -> bool:
    ref = (address.get("spec") or {}).get("parentRef") or {}
    return all((ref.get(field) or "") == value for field, value in parent.items())


class Keeper:
    """Keeps what the rest relies on: the ServiceCIDR of the configuration, and an IPAddress for each cluster IP; takes
    away addresses whose Services are gone. What is appended to `repairs` is done with its own."""

    def __init__(self, registry: Registry, objects_: Objects, writer: Writer, cidr: str) -> None:
        self._registry = registry
        self._objects = objects_
        self._writer = writer
        self._cidr = str(ipaddress.ip_network(cidr))
        self._wake = asyncio.Event()
        self.repairs: list[Callable[[Registry], Awaitable[None]]] = []

    def follow(self, ranges: Ranges) -> None:
        def waking(handler: ChangeHandler) -> ChangeHandler:
            def handle(old: Object | None, new: Object | None) -> None:
                handler(old, new)
                if new is None:
                    self._wake.set()

            return handle

        self._objects.subscribe(SERVICECIDRS, waking(ranges.service_cidr_changed))
        self._objects.subscribe(IPADDRESSES, waking(ranges.address_changed))

    async def ensure_default(self) -> None:
        """The ServiceCIDR kubernetes, where there is none."""
        if self._objects.get(SERVICECIDRS, "", DEFAULT_NAME) is not None:
            return
        ready = {
            "type": "Ready", "status": "True", "reason": "", "message": "Kubernetes default Service CIDR is ready",
            "lastTransitionTime": objects.format_time(self._registry.now()),
        }
        wanted: Object = {
            "metadata": {"name": DEFAULT_NAME}, "spec": {"cidrs": [self._cidr]}, "status": {"conditions": [ready]},
        }
        try:
            await self._writer.create(SERVICECIDRS, wanted)
        except ApiError as refused:
            if refused.code != 409:
                raise

    async def run(self) -> None:
        """Until cancelled: at once, when an object was deleted, and every three minutes."""
        while True:
            try:
                await self.ensure_default()
                await self.repair()
                for repair in self.repairs:
                    await repair(self._registry)
            except ApiError as failed:
                _log.warning("repairing cluster IPs: %s", failed)
            try:
                async with asyncio.timeout(_REPAIR_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue
            finally:
                self._wake.clear()

    async def repair(self) -> None:
        registry = self._registry
        living: dict[str, Object] = {}
        for service in registry.read_all(SERVICES):
            for text in in_use(service):
                living[text] = service
                if registry.read(IPADDRESSES, "", text) is None:
                    try:
                        await claim(registry, text, service)
                    except Taken:
                        _log.warning("the cluster IP %s of %s is another's", text, objects.key(service))
        oldest = registry.now() - _ORPHAN_SECONDS
        for entry in list(registry.cache(IPADDRESSES).objects.values()):
            metadata = entry.object["metadata"]
            if (metadata.get("labels") or {}).get(MANAGED_BY_LABEL) != MANAGER:
                continue
            user = living.get(entry.name)
            if user is not None and _is_of(entry.object, parent_of(user)):
                continue
            if objects.parse_time(metadata["creationTimestamp"]) < oldest:
                await _remove(registry, entry)
