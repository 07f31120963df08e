"""EndpointSlices."""

from __future__ import annotations

from functools import partial

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names, ratcheting
from podwright.api.validation.endpoints import endpoint_ip
from podwright.api.validation.field_errors import duplicate, formed, invalid, items, one_of, required, too_many
from podwright.api.validation.rules import Kinds, Rules

_TYPES = ("FQDN", "IPv4", "IPv6")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MAX_PORTS = 20000
_MAX_ENDPOINTS = 1000
_MAX_ADDRESSES = 100
_MAX_TOPOLOGY = 16
_MAX_HINTS = 8


def endpoint_slice(errs: list[FieldError], obj: Object) -> None:
    kind = obj.get("addressType") or ""
    one_of(errs, kind, "addressType", _TYPES, needed=True)
    items(errs, obj.get("endpoints") or [], "endpoints", partial(_endpoint, kind), most=_MAX_ENDPOINTS)
    ports = obj.get("ports") or []
    items(errs, ports, "ports", _port, most=_MAX_PORTS)
    if len(ports) <= _MAX_PORTS:
        _names(errs, ports, "ports")


def _names(errs: list[FieldError], listed: list[Object], path: str) -> None:
    """No two of the same name."""
    seen: set[str] = set()
    for i, item in enumerate(listed):
        if (name := item.get("name") or "") in seen:
            errs.append(duplicate(f"{path}[{i}].name", name))
        seen.add(name)


def _endpoint(kind: str, errs: list[FieldError], endpoint: Object, path: str) -> None:
    addresses = endpoint.get("addresses") or []
    field = f"{path}.addresses"
    if not addresses:
        errs.append(required(field, "must contain at least 1 address"))
    elif len(addresses) > _MAX_ADDRESSES:
        errs.append(too_many(field, len(addresses), _MAX_ADDRESSES))
    for i, address in enumerate(addresses):
        _address(errs, address, kind, f"{field}[{i}]")
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > _MAX_TOPOLOGY:
        errs.append(too_many(f"{path}.deprecatedTopology", len(topology), _MAX_TOPOLOGY))
    metadata.labels(errs, topology, f"{path}.deprecatedTopology")
    for name, check in (("nodeName", names.dns_subdomain), ("hostname", names.dns_label)):
        if (value := endpoint.get(name)) is not None:
            formed(errs, value, f"{path}.{name}", check)
    for what, check in (("forZones", names.label_value), ("forNodes", names.dns_subdomain)):
        listed = (endpoint.get("hints") or {}).get(what) or []
        if len(listed) > _MAX_HINTS:
            errs.append(too_many(f"{path}.hints.{what}", len(listed), _MAX_HINTS))
            return
        _names(errs, listed, f"{path}.hints.{what}")
        for i, hint in enumerate(listed):
            formed(errs, hint.get("name") or "", f"{path}.hints.{what}[{i}].name", check)


def _address(errs: list[FieldError], address: str, kind: str, field: str) -> None:
    if kind == "FQDN":
        formed(errs, address, field, names.fully_qualified_domain)
        return
    if kind not in ("IPv4", "IPv6"):
        return
    before, parsed = len(errs), names.parse_ip(address)
    formed(errs, address, field, names.ip)
    if parsed is not None and len(errs) == before:
        if f"IPv{parsed.version}" != kind:
            errs.append(invalid(field, address, f"must be an {kind} address"))
        endpoint_ip(errs, address, field)


def _port(errs: list[FieldError], port: Object, path: str) -> None:
    if name := port.get("name"):
        formed(errs, name, f"{path}.name", names.dns_label)
    one_of(errs, port.get("protocol"), f"{path}.protocol", _PROTOCOLS, needed=port.get("protocol") is None)
    if (application := port.get("appProtocol")) is not None:
        formed(errs, application, f"{path}.appProtocol", names.qualified_name)


def _update(errs: list[FieldError], new: Object, old: Object) -> None:
    endpoint_slice(errs, new)
    metadata.same(errs, new.get("addressType"), old.get("addressType"), "addressType")


def _moved(obj: Object) -> None:
    """A zone has a field of its own."""
    for endpoint in obj.get("endpoints") or ():
        (endpoint.get("deprecatedTopology") or {}).pop("topology.kubernetes.io/zone", None)


KINDS: Kinds = {
    ("discovery.k8s.io", "EndpointSlice"): Rules(
        create=endpoint_slice,
        update=_update,
        prepare_create=_moved,
        generation=True,
        ratchet=(ratcheting.unchanged(r"endpoints\[\]\.addresses: (?:Required|Too many)", "addressType"),),
    ),
}
