"""NetworkPolicies, IPAddresses and ServiceCIDRs, and the table of the networking.k8s.io group."""

from __future__ import annotations

import ipaddress

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import ingresses, metadata, names, ratcheting
from podwright.api.validation.field_errors import forbidden, formed, invalid, named, one_of, required
from podwright.api.validation.label_selectors import label_selector
from podwright.api.validation.rules import Kinds, Rules, spec_of

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_TYPES = ("Ingress", "Egress")


def network_policy(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    label_selector(errs, spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(spec.get(direction) or ()):
            where = f"spec.{direction}[{i}]"
            for j, port in enumerate(rule.get("ports") or ()):
                _port(errs, port, f"{where}.ports[{j}]")
            for j, peer in enumerate(rule.get(peers) or ()):
                _peer(errs, peer, f"{where}.{peers}[{j}]")
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        errs.append(invalid("spec.policyTypes", types, "may not specify more than two policyTypes"))
        return
    for i, kind in enumerate(types):
        one_of(errs, kind, f"spec.policyTypes[{i}]", _TYPES)


def _port(errs: list[FieldError], port: Object, path: str) -> None:
    if (protocol := port.get("protocol")) is not None:
        one_of(errs, protocol, f"{path}.protocol", _PROTOCOLS)
    first, last = port.get("port"), port.get("endPort")
    if first is None:
        if last is not None:
            errs.append(invalid(f"{path}.endPort", last, "may not be specified when `port` is not specified"))
    elif isinstance(first, str):
        if last is not None:
            errs.append(invalid(f"{path}.endPort", last, "may not be specified when `port` is non-numeric"))
        formed(errs, first, f"{path}.port", names.port_name)
    else:
        formed(errs, first, f"{path}.port", names.port_number)
        if last is not None:
            if last < first:
                errs.append(invalid(f"{path}.endPort", first, "must be greater than or equal to `port`"))
            formed(errs, last, f"{path}.endPort", names.port_number)


def _peer(errs: list[FieldError], peer: Object, path: str) -> None:
    pods, namespaces, block = peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock")
    label_selector(errs, pods, f"{path}.podSelector")
    label_selector(errs, namespaces, f"{path}.namespaceSelector")
    if block is not None:
        _block(errs, block, f"{path}.ipBlock")
    if pods is None and namespaces is None and block is None:
        errs.append(required(path, "must specify a peer"))
    elif block is not None and (pods is not None or namespaces is not None):
        errs.append(forbidden(path, "may not specify both ipBlock and another peer"))


def _block(errs: list[FieldError], block: Object, path: str) -> None:
    cidr = block.get("cidr") or ""
    named(errs, cidr, f"{path}.cidr", names.cidr)
    if (whole := names.parse_cidr(cidr)) is None:
        return
    for i, text in enumerate(block.get("except") or ()):
        field = f"{path}.except[{i}]"
        formed(errs, text, field, names.cidr)
        part = names.parse_cidr(text)
        if part is not None and not _strictly_inside(part, whole):
            errs.append(invalid(field, text, "must be a strict subset of `cidr`"))


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _strictly_inside(part: Network, whole: Network) -> bool:
    same_family = part.version == whole.version
    return same_family and part.network_address in whole and part.prefixlen > whole.prefixlen


def _address_name(name: str, _prefix: bool) -> names.Problems:
    return names.canonical_ip(name)


def ip_address(errs: list[FieldError], obj: Object) -> None:
    if (parent := spec_of(obj).get("parentRef")) is None:
        errs.append(required("spec.parentRef"))
        return
    path = "spec.parentRef"
    if group := parent.get("group"):
        formed(errs, group, f"{path}.group", names.dns_subdomain)
    for field in ("resource", "name"):
        named(errs, parent.get(field), f"{path}.{field}", names.path_segment_name)
    formed(errs, parent.get("namespace") or "", f"{path}.namespace", names.path_segment_name)


def _ip_address_update(errs: list[FieldError], new: Object, old: Object) -> None:
    metadata.same(errs, spec_of(new).get("parentRef"), spec_of(old).get("parentRef"), "spec.parentRef")


def service_cidr(errs: list[FieldError], obj: Object) -> None:
    cidrs, field = spec_of(obj).get("cidrs") or [], "spec.cidrs"
    families = {network and network.version for network in map(names.parse_cidr, cidrs)}
    if not cidrs:
        errs.append(required(field, "at least one CIDR required"))
    elif len(cidrs) > 2:
        errs.append(invalid(field, spec_of(obj), "may only hold up to 2 values"))
    elif len(cidrs) == 2 and families != {4, 6}:
        said = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        errs.append(invalid(field, spec_of(obj), said))
    else:
        for i, cidr in enumerate(cidrs):
            formed(errs, cidr, f"{field}[{i}]", names.canonical_cidr)


def _service_cidr_update(errs: list[FieldError], new: Object, old: Object) -> None:
    cidrs, before = spec_of(new).get("cidrs") or [], spec_of(old).get("cidrs") or []
    if len(before) == 1 and len(cidrs) == 2:
        # A second family may join (KEP-1880).
        service_cidr(errs, new)
        metadata.same(errs, cidrs[0], before[0], "spec.cidrs[0]")
    else:
        metadata.same(errs, cidrs, before, "spec.cidrs")


KINDS: Kinds = {
    ("networking.k8s.io", "Ingress"): ingresses.INGRESS,
    ("networking.k8s.io", "IngressClass"): ingresses.INGRESS_CLASS,
    ("networking.k8s.io", "IPAddress"): Rules(name=_address_name, create=ip_address, update=_ip_address_update),
    ("networking.k8s.io", "NetworkPolicy"): Rules(
        create=network_policy,
        generation=True,
        ratchet=(ratcheting.SELECTOR_VALUES, ratcheting.unchanged(r".*\.ipBlock\.cidr: Required")),
    ),
    ("networking.k8s.io", "ServiceCIDR"): Rules(create=service_cidr, update=_service_cidr_update),
}
