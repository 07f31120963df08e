"""Defaults of the networking.k8s.io and discovery.k8s.io groups."""

from __future__ import annotations

from podwright.api.objects import Object


def network_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                port.setdefault("protocol", "TCP")


def ingress_class(obj: Object) -> None:
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters:
        parameters.setdefault("scope", "Cluster")


def endpoint_slice(obj: Object) -> None:
    for port in obj.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


DEFAULTERS = {
    ("networking.k8s.io", "", "NetworkPolicy"): network_policy,
    ("networking.k8s.io", "", "IngressClass"): ingress_class,
    ("discovery.k8s.io", "", "EndpointSlice"): endpoint_slice,
}
