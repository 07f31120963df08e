"""Services and EndpointSlices, put together into the ports that a node must serve. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from podwright.api import objects
from podwright.api.objects import Object

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_PROXIED_ELSEWHERE = "service.kubernetes.io/service-proxy-name"
_HEADLESS_LABEL = "service.kubernetes.io/headless"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """`local`: it runs on this node."""

    address: str
    port: int
    local: bool = False


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of one Service. `cluster` are the endpoints for traffic without a local policy, `local` those on this
    node; either is already reduced to what may get traffic. `affinity` is the ClientIP timeout in seconds, 0 for
    none. `external_ips` are externalIPs and load-balancer addresses; `source_ranges` restrict the latter."""

    namespace: str
    service: str
    port_name: str
    protocol: str
    cluster_ips: Sequence[str]
    port: int
    node_port: int = 0
    external_ips: Sequence[str] = ()
    load_balancer_ips: Sequence[str] = ()
    source_ranges: Sequence[str] = ()
    affinity: int = 0
    internal_local: bool = False
    external_local: bool = False
    cluster: Sequence[Endpoint] = ()
    local: Sequence[Endpoint] = ()
    has_any: bool = field(default=True)

    @property
    def name(self) -> str:
        tail = f":{self.port_name}" if self.port_name else ""
        return f"{self.namespace}/{self.service}{tail}"

    @property
    def internal_endpoints(self) -> Sequence[Endpoint]:
        return self.local if self.internal_local else self.cluster

    @property
    def external_endpoints(self) -> Sequence[Endpoint]:
        return self.local if self.external_local else self.cluster


@dataclass(slots=True)
class _State:
    """What slices say about an endpoint: whether it is ready, or serves while it terminates, and whose it shall be."""

    ready: bool = False
    leaving: bool = False
    zones: set[str] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)


def service_ports(services: Iterable[Object], slices: Iterable[Object], node: str, zone: str = "") -> list[ServicePort]:
    """What the node, which lies in `zone`, has to serve, in a stable order. Only IPv4 addresses."""
    by_service: dict[str, list[Object]] = {}
    for endpoint_slice in slices:
        owner = objects.labels(endpoint_slice).get(SERVICE_NAME_LABEL)
        if owner and endpoint_slice.get("addressType") == "IPv4":
            by_service.setdefault(f"{objects.namespace(endpoint_slice)}/{owner}", []).append(endpoint_slice)
    ports: list[ServicePort] = []
    for service in services:
        if _is_proxied(service):
            ports.extend(_ports_of(service, by_service.get(objects.key(service), ()), node, zone))
    return sorted(ports, key=lambda p: (p.name, p.protocol, p.port))


def _is_proxied(service: Object) -> bool:
    spec = service.get("spec") or {}
    labels = objects.labels(service)
    return (
        spec.get("type") != "ExternalName"
        and spec.get("clusterIP") not in (None, "", "None")
        and _PROXIED_ELSEWHERE not in labels
        and _HEADLESS_LABEL not in labels
    )


def _ports_of(service: Object, slices: Sequence[Object], node: str, zone: str) -> Iterable[ServicePort]:
    spec = service["spec"]
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        affinity = int(((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds") or 10800)
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    balancers = [i["ip"] for i in ingress if _is_v4(i.get("ip")) and i.get("ipMode", "VIP") == "VIP"]
    for port in spec.get("ports") or []:
        protocol = port.get("protocol", "TCP")
        usable = _endpoints(slices, port.get("name") or "", protocol, node)
        yield ServicePort(
            namespace=objects.namespace(service),
            service=objects.name(service),
            port_name=port.get("name") or "",
            protocol=protocol.lower(),
            cluster_ips=[ip for ip in spec.get("clusterIPs") or [spec["clusterIP"]] if _is_v4(ip)],
            port=int(port["port"]),
            node_port=int(port.get("nodePort") or 0),
            external_ips=[ip for ip in spec.get("externalIPs") or [] if _is_v4(ip)],
            load_balancer_ips=balancers,
            source_ranges=[r for r in spec.get("loadBalancerSourceRanges") or [] if ":" not in r],
            affinity=affinity,
            internal_local=spec.get("internalTrafficPolicy") == "Local",
            external_local=spec.get("externalTrafficPolicy") == "Local",
            cluster=_serving(_hinted(usable, node, zone)),
            local=_serving({e: state for e, state in usable.items() if e.local}),
            has_any=bool(usable),
        )


def _endpoints(slices: Sequence[Object], port_name: str, protocol: str, node: str) -> dict[Endpoint, _State]:
    """Each address once, in order."""
    found: dict[Endpoint, _State] = {}
    for endpoint_slice in slices:
        numbers = [
            int(p["port"])
            for p in endpoint_slice.get("ports") or []
            if (p.get("name") or "") == port_name and p.get("protocol", "TCP") == protocol and p.get("port")
        ]
        for endpoint in endpoint_slice.get("endpoints") or []:
            conditions, hints = endpoint.get("conditions") or {}, endpoint.get("hints") or {}
            for number in numbers:
                for address in endpoint.get("addresses") or []:
                    state = found.setdefault(Endpoint(address, number, endpoint.get("nodeName") == node), _State())
                    state.ready |= conditions.get("ready") is not False
                    state.leaving |= conditions.get("serving") is not False and conditions.get("terminating") is True
                    state.zones.update(z["name"] for z in hints.get("forZones") or ())
                    state.nodes.update(n["name"] for n in hints.get("forNodes") or ())
    return dict(sorted(found.items()))


def _hinted(usable: dict[Endpoint, _State], node: str, zone: str) -> dict[Endpoint, _State]:
    """The endpoints that are meant for this node, else those meant for its zone, else all. Hints count only where every
    ready endpoint has one: a half-hinted Service is one whose hints are on their way (KEP-2433, KEP-3015)."""
    ready = {e: state for e, state in usable.items() if state.ready}
    for hints, here in (("nodes", node), ("zones", zone)):
        if here and ready and all(getattr(state, hints) for state in ready.values()):
            chosen = {e: state for e, state in ready.items() if here in getattr(state, hints)}
            if chosen:
                return chosen
    return usable


def _serving(usable: dict[Endpoint, _State]) -> list[Endpoint]:
    """The ready endpoints; if there is none, those that still serve while they terminate (KEP-1669)."""
    ready = [endpoint for endpoint, state in usable.items() if state.ready]
    return ready or [endpoint for endpoint, state in usable.items() if state.leaving]


def _is_v4(address: object) -> bool:
    return isinstance(address, str) and bool(address) and ":" not in address and address != "None"
