"""What a name in the cluster's domain means. Pure: Services and EndpointSlices in, records out.

The rules are those of "Kubernetes DNS-Based Service Discovery", schema version 1.1.0.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from podwright.api import objects
from podwright.api.objects import Object

SCHEMA_VERSION = "1.1.0"
TTL = 5
"""Seconds; names follow their Services, so answers are not kept for long."""


@dataclass(frozen=True, slots=True)
class Record:
    """`kind` is A, AAAA, CNAME, SRV, PTR or TXT; `data` its text form."""

    kind: str
    data: str


@dataclass(frozen=True, slots=True)
class Zone:
    """Answers for one cluster domain. `service` finds a Service by (namespace, name), `slices` its EndpointSlices;
    `services` gives all (for reverse look-ups), `namespace_exists` tells Pod names from nonsense."""

    domain: str
    service: Callable[[str, str], Object | None]
    slices: Callable[[str, str], Sequence[Object]]
    services: Callable[[], Iterable[Object]]
    namespace_exists: Callable[[str], bool]

    def owns(self, name: str) -> bool:
        """Whether the lower-case `name` (no final dot) lies in the domain."""
        return name == self.domain or name.endswith("." + self.domain)

    def lookup(self, name: str) -> list[Record] | None:
        """Every record of a name in the domain; an empty list for a name that exists but has none, None for one that
        does not exist."""
        if name == self.domain:
            return []
        parts = name.removesuffix("." + self.domain).split(".")
        if parts == ["dns-version"]:
            return [Record("TXT", f'"{SCHEMA_VERSION}"')]
        if parts[-1] == "svc":
            return self._service_name(parts[:-1])
        if parts[-1] == "pod":
            return self._pod_name(parts[:-1])
        return None

    def _service_name(self, parts: list[str]) -> list[Record] | None:
        if not parts:
            return []
        namespace = parts[-1]
        if len(parts) == 1:
            return [] if self.namespace_exists(namespace) else None
        service = self.service(namespace, parts[-2])
        if service is None:
            return None
        rest = parts[:-2]
        if not rest:
            return list(self._addresses(service))
        if len(rest) == 2 and rest[0].startswith("_") and rest[1].startswith("_"):
            return list(self._srv(service, rest[0][1:], rest[1][1:])) or None
        if len(rest) == 1:
            hosts = [Record(_kind(a), a) for host, a, _ in self._endpoints(service) if host == rest[0]]
            return list(dict.fromkeys(hosts)) or None
        return None

    def _addresses(self, service: Object) -> Iterator[Record]:
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            yield Record("CNAME", str(spec.get("externalName")).rstrip(".") + ".")
        elif _is_headless(service):
            yield from dict.fromkeys(Record(_kind(a), a) for _, a, _ in self._endpoints(service))
        else:
            for address in spec.get("clusterIPs") or [spec.get("clusterIP")]:
                if address:
                    yield Record(_kind(address), address)

    def _srv(self, service: Object, port: str, protocol: str) -> Iterator[Record]:
        owner = f"{objects.name(service)}.{objects.namespace(service)}.svc.{self.domain}."
        if _is_headless(service):
            found: dict[Record, None] = {}
            for host, _, ports in self._endpoints(service):
                for entry in ports:
                    if (entry.get("name") or "").lower() == port and entry.get("protocol", "TCP").lower() == protocol:
                        found[Record("SRV", f"0 100 {entry['port']} {host}.{owner}")] = None
            yield from found
            return
        for entry in (service.get("spec") or {}).get("ports") or []:
            if (entry.get("name") or "").lower() == port and entry.get("protocol", "TCP").lower() == protocol:
                yield Record("SRV", f"0 100 {entry['port']} {owner}")

    def _endpoints(self, service: Object) -> Iterator[tuple[str, str, Sequence[Object]]]:
        """(host label, address, ports) of each endpoint that DNS may name."""
        unready = bool((service.get("spec") or {}).get("publishNotReadyAddresses"))
        for endpoint_slice in self.slices(objects.namespace(service), objects.name(service)):
            for endpoint in endpoint_slice.get("endpoints") or []:
                if not unready and (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                for address in endpoint.get("addresses") or []:
                    host = endpoint.get("hostname") or address.replace(".", "-").replace(":", "-")
                    yield host, address, endpoint_slice.get("ports") or []

    def _pod_name(self, parts: list[str]) -> list[Record] | None:
        if not parts:
            return []
        if not self.namespace_exists(parts[-1]):
            return None
        if len(parts) == 1:
            return []
        if len(parts) != 2:
            return None
        try:
            address = str(ipaddress.IPv4Address(parts[0].replace("-", ".")))
        except ValueError:
            return None
        return [Record("A", address)]

    def reverse(self, address: str) -> list[Record]:
        """PTR records of an address: its Service's name, or that of an endpoint with a host name."""
        found: dict[Record, None] = {}
        for service in self.services():
            spec = service.get("spec") or {}
            owner = f"{objects.name(service)}.{objects.namespace(service)}.svc.{self.domain}."
            if _is_headless(service):
                for host, candidate, _ in self._endpoints(service):
                    if candidate == address:
                        found[Record("PTR", f"{host}.{owner}")] = None
            elif address in (spec.get("clusterIPs") or [spec.get("clusterIP")]):
                found[Record("PTR", owner)] = None
        return list(found)


def _is_headless(service: Object) -> bool:
    return (service.get("spec") or {}).get("clusterIP") == "None"


def _kind(address: str) -> str:
    return "AAAA" if ":" in address else "A"
