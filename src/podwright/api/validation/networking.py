"""NetworkPolicies, IPAddresses and ServiceCIDRs, and the table of the networking.k8s.io group."""

from __future__ import annotations

import ipaddress

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import ingresses, names
from podwright.api.validation.field_errors import forbidden, immutable, invalid, not_supported, required
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
        if kind not in _TYPES:
            errs.append(not_supported(f"spec.policyTypes[{i}]", kind, _TYPES))


def _port(errs: list[FieldError], port: Object, path: str) -> None:
    protocol = port.get("protocol")
    if protocol is not None and protocol not in _PROTOCOLS:
        errs.append(not_supported(f"{path}.protocol", protocol, _PROTOCOLS))
    first, last = port.get("port"), port.get("endPort")
    if first is None:
        if last is not None:
            errs.append(invalid(f"{path}.endPort", last, "may not be specified when `port` is not specified"))
    elif isinstance(first, str):
        if last is not None:
            errs.append(invalid(f"{path}.endPort", last, "may not be specified when `port` is non-numeric"))
        errs += [invalid(f"{path}.port", first, said) for said in names.port_name(first)]
    else:
        errs += [invalid(f"{path}.port", first, said) for said in names.port_number(first)]
        if last is not None:
            if last < first:
                errs.append(invalid(f"{path}.endPort", first, "must be greater than or equal to `port`"))
            errs += [invalid(f"{path}.endPort", last, said) for said in names.port_number(last)]


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
    if not cidr:
        errs.append(required(f"{path}.cidr"))
        return
    errs += [invalid(f"{path}.cidr", cidr, said) for said in names.cidr(cidr)]
    whole = names.parse_cidr(cidr)
    if whole is None:
        return
    for i, text in enumerate(block.get("except") or ()):
        field = f"{path}.except[{i}]"
        errs += [invalid(field, text, said) for said in names.cidr(text)]
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
    parent = spec_of(obj).get("parentRef")
    if parent is None:
        errs.append(required("spec.parentRef"))
        return
    path = "spec.parentRef"
    if group := parent.get("group"):
        errs += [invalid(f"{path}.group", group, said) for said in names.dns_subdomain(group)]
    for field in ("resource", "name"):
        value = parent.get(field) or ""
        if not value:
            errs.append(required(f"{path}.{field}"))
        else:
            errs += [invalid(f"{path}.{field}", value, said) for said in names.path_segment_name(value)]
    if namespace := parent.get("namespace"):
        errs += [invalid(f"{path}.namespace", namespace, said) for said in names.path_segment_name(namespace)]


def _ip_address_update(errs: list[FieldError], new: Object, old: Object) -> None:
    parent = spec_of(new).get("parentRef")
    if parent != spec_of(old).get("parentRef"):
        errs.append(immutable("spec.parentRef", parent))


def service_cidr(errs: list[FieldError], obj: Object) -> None:
    cidrs = spec_of(obj).get("cidrs") or []
    if not cidrs:
        errs.append(required("spec.cidrs", "at least one CIDR required"))
        return
    if len(cidrs) > 2:
        errs.append(invalid("spec", spec_of(obj), "may only hold up to 2 values"))
        return
    networks = [names.parse_cidr(c) for c in cidrs]
    if len(cidrs) == 2 and None not in networks and len({n.version for n in networks if n is not None}) != 2:
        said = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        errs.append(invalid("spec", spec_of(obj), said))
    for i, cidr in enumerate(cidrs):
        errs += [invalid(f"spec.cidrs[{i}]", cidr, said) for said in names.canonical_cidr(cidr)]


def _service_cidr_update(errs: list[FieldError], new: Object, old: Object) -> None:
    cidrs, before = spec_of(new).get("cidrs") or [], spec_of(old).get("cidrs") or []
    if len(before) == 1 and len(cidrs) == 2:
        # A second family may join (KEP-1880).
        service_cidr(errs, new)
        if cidrs[0] != before[0]:
            errs.append(immutable("spec.cidrs[0]", cidrs[0]))
    elif cidrs != before:
        errs.append(immutable("spec.cidrs", cidrs))


KINDS: Kinds = {
    ("networking.k8s.io", "Ingress"): ingresses.INGRESS,
    ("networking.k8s.io", "IngressClass"): ingresses.INGRESS_CLASS,
    ("networking.k8s.io", "IPAddress"): Rules(name=_address_name, create=ip_address, update=_ip_address_update),
    ("networking.k8s.io", "NetworkPolicy"): Rules(create=network_policy, generation=True),
    ("networking.k8s.io", "ServiceCIDR"): Rules(create=service_cidr, update=_service_cidr_update),
}
