"""The rows of the networking.k8s.io and discovery.k8s.io groups."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.printing.core import load_balancer
from podwright.api.printing.tables import AGE, NAME, Cells, Printer, Printers, age, more, name, selector, spec, text


def _hosts(rules: list[Object]) -> str:
    """The first three hosts, and how many rules there are beyond three once a rule follows them."""
    listed: list[str] = []
    for rule in rules:
        if len(listed) == 3:
            return more(listed, len(rules), 3)
        if rule.get("host"):
            listed.append(rule["host"])
    return ",".join(listed) or "*"


def _ingress(obj: Object, now: float) -> Cells:
    ingress = spec(obj)
    return [
        name(obj), ingress.get("ingressClassName") or "<none>", _hosts(ingress.get("rules") or []), load_balancer(obj),
        "80, 443" if ingress.get("tls") else "80", age(obj, now),
    ]


def _ingress_class(obj: Object, now: float) -> Cells:
    parameters = spec(obj).get("parameters")
    said = "<none>"
    if parameters:
        group = parameters.get("apiGroup")
        kind = f"{parameters.get('kind')}.{group}" if group is not None else parameters.get("kind")
        said = f"{kind}/{parameters.get('name')}"
    return [name(obj), spec(obj).get("controller") or "", said, age(obj, now)]


def _network_policy(obj: Object, now: float) -> Cells:
    return [name(obj), selector(spec(obj).get("podSelector")) or "<none>", age(obj, now)]


def _service_cidr(obj: Object, now: float) -> Cells:
    return [name(obj), ",".join(spec(obj).get("cidrs") or ()), age(obj, now)]


def _ip_address(obj: Object, now: float) -> Cells:
    parent = spec(obj).get("parentRef")
    said = "<none>"
    if parent:
        resource, group = parent.get("resource") or "", parent.get("group") or ""
        said = (f"{resource}.{group}" if group else resource).lower()
        if parent.get("namespace"):
            said += f"/{parent['namespace']}"
        said += f"/{parent.get('name') or ''}"
    return [name(obj), said, age(obj, now)]


def _slice(obj: Object, now: float) -> Cells:
    ports = [str(p["port"]) if p.get("port") is not None else p.get("name", "*") for p in obj.get("ports") or ()]
    addresses = [address for e in obj.get("endpoints") or () for address in e.get("addresses") or ()]
    return [
        name(obj), obj.get("addressType") or "", more(ports, len(ports), 3) or "<unset>",
        more(addresses, len(addresses), 3) or "<unset>", age(obj, now),
    ]


PRINTERS: Printers = {
    ("discovery.k8s.io", "EndpointSlice"): Printer((NAME, *text("AddressType", "Ports", "Endpoints"), AGE), _slice),
    ("networking.k8s.io", "Ingress"): Printer((NAME, *text("Class", "Hosts", "Address", "Ports"), AGE), _ingress),
    ("networking.k8s.io", "IngressClass"): Printer((NAME, *text("Controller", "Parameters"), AGE), _ingress_class),
    ("networking.k8s.io", "IPAddress"): Printer((NAME, *text("ParentRef"), AGE), _ip_address),
    ("networking.k8s.io", "NetworkPolicy"): Printer((NAME, *text("Pod-Selector"), AGE), _network_policy),
    ("networking.k8s.io", "ServiceCIDR"): Printer((NAME, *text("CIDRs"), AGE), _service_cidr),
}
