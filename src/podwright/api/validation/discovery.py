"""EndpointSlices."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names
from podwright.api.validation.endpoints import endpoint_ip
from podwright.api.validation.field_errors import duplicate, immutable, invalid, not_supported, required, too_many
from podwright.api.validation.rules import Kinds, Rules

_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MAX_PORTS = 20000
_MAX_ENDPOINTS = 1000
_MAX_ADDRESSES = 100
_MAX_TOPOLOGY = 16
_MAX_ZONES = 8


def endpoint_slice(errs: list[FieldError], obj: Object) -> None:
    kind = obj.get("addressType") or ""
    if not kind:
        errs.append(required("addressType"))
    elif kind not in _TYPES:
        errs.append(not_supported("addressType", kind, _TYPES))
    endpoints, ports = obj.get("endpoints") or [], obj.get("ports") or []
    if len(endpoints) > _MAX_ENDPOINTS:
        errs.append(too_many("endpoints", len(endpoints), _MAX_ENDPOINTS))
    else:
        for i, endpoint in enumerate(endpoints):
            _endpoint(errs, endpoint, kind, f"endpoints[{i}]")
    if len(ports) > _MAX_PORTS:
        errs.append(too_many("ports", len(ports), _MAX_PORTS))
    else:
        _ports(errs, ports)


def _endpoint(errs: list[FieldError], endpoint: Object, kind: str, path: str) -> None:
    addresses = endpoint.get("addresses") or []
    field = f"{path}.addresses"
    if not addresses:
        errs.append(required(field, "must contain at least 1 address"))
    elif len(addresses) > _MAX_ADDRESSES:
        errs.append(too_many(field, len(addresses), _MAX_ADDRESSES))
    for i, address in enumerate(addresses):
        _address(errs, address, kind, f"{field}[{i}]")
    node = endpoint.get("nodeName")
    if node is not None:
        errs += [invalid(f"{path}.nodeName", node, said) for said in names.dns_subdomain(node)]
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > _MAX_TOPOLOGY:
        errs.append(too_many(f"{path}.deprecatedTopology", len(topology), _MAX_TOPOLOGY))
    metadata.labels(errs, topology, f"{path}.deprecatedTopology")
    if "topology.kubernetes.io/zone" in topology:
        errs.append(invalid(f"{path}.deprecatedTopology", topology, "must use zone field instead"))
    if hostname := endpoint.get("hostname"):
        errs += [invalid(f"{path}.hostname", hostname, said) for said in names.dns_label(hostname)]
    hints = endpoint.get("hints") or {}
    for what, sort in (("forZones", "zone"), ("forNodes", "node")):
        listed = hints.get(what) or []
        if len(listed) > _MAX_ZONES:
            errs.append(too_many(f"{path}.hints.{what}", len(listed), _MAX_ZONES))
            continue
        seen: set[str] = set()
        for i, hint in enumerate(listed):
            name = hint.get("name") or ""
            where = f"{path}.hints.{what}[{i}].name"
            if name in seen:
                errs.append(duplicate(where, name))
            else:
                check = names.label_value if sort == "zone" else names.dns_subdomain
                errs += [invalid(where, name, said) for said in check(name)]
            seen.add(name)


def _address(errs: list[FieldError], address: str, kind: str, field: str) -> None:
    if kind == "FQDN":
        errs += [invalid(field, address, said) for said in names.fully_qualified_domain(address)]
        return
    parsed = names.parse_ip(address)
    if kind in ("IPv4", "IPv6"):
        if parsed is None:
            errs += [invalid(field, address, said) for said in names.ip(address)]
            return
        if f"IPv{parsed.version}" != kind:
            errs.append(invalid(field, address, f"must be an {kind} address"))
        endpoint_ip(errs, address, field)


def _ports(errs: list[FieldError], ports: list[Object]) -> None:
    seen: set[str] = set()
    for i, port in enumerate(ports):
        where = f"ports[{i}]"
        name = port.get("name") or ""
        if name:
            errs += [invalid(f"{where}.name", name, said) for said in names.dns_label(name)]
        if name in seen:
            errs.append(duplicate(f"{where}.name", name))
        seen.add(name)
        protocol = port.get("protocol")
        if protocol is None:
            errs.append(required(f"{where}.protocol"))
        elif protocol not in _PROTOCOLS:
            errs.append(not_supported(f"{where}.protocol", protocol, _PROTOCOLS))
        number = port.get("port")
        if number is not None:
            errs += [invalid(f"{where}.port", number, said) for said in names.port_number(number)]
        application = port.get("appProtocol")
        if application is not None:
            errs += [invalid(f"{where}.appProtocol", application, said) for said in names.qualified_name(application)]


def _update(errs: list[FieldError], new: Object, old: Object) -> None:
    endpoint_slice(errs, new)
    if new.get("addressType") != old.get("addressType"):
        errs.append(immutable("addressType", new.get("addressType")))


KINDS: Kinds = {
    ("discovery.k8s.io", "EndpointSlice"): Rules(create=endpoint_slice, update=_update, generation=True),
}
