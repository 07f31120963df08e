"""EndpointSlices of discovery.k8s.io/v1beta1, whose endpoints have a topology, and of v1, which has fields for it."""

from __future__ import annotations

from podwright.api.objects import Object

_ZONE = "topology.kubernetes.io/zone"
_HOSTNAME = "kubernetes.io/hostname"


def endpoint_slice(source: str, target: str, obj: Object) -> Object:
    endpoints = obj.get("endpoints")
    if not endpoints:
        return obj
    one = _from_beta if source == "discovery.k8s.io/v1beta1" else _to_beta
    return {**obj, "endpoints": [one(e) for e in endpoints]}


def _from_beta(endpoint: Object) -> Object:
    if endpoint.get("topology") is None:
        return endpoint
    out = {field: value for field, value in endpoint.items() if field != "topology"}
    left = dict(endpoint["topology"])
    zone = left.pop(_ZONE, None)
    if zone is not None:
        out["zone"] = zone
    host = left.get(_HOSTNAME)
    if host is not None and out.setdefault("nodeName", host) == host:
        del left[_HOSTNAME]
    if left:
        out["deprecatedTopology"] = left
    return out


def _to_beta(endpoint: Object) -> Object:
    out = {field: value for field, value in endpoint.items() if field not in ("zone", "deprecatedTopology")}
    topology = dict(endpoint.get("deprecatedTopology") or {})
    if endpoint.get("zone") is not None:
        topology[_ZONE] = endpoint["zone"]
    if endpoint.get("nodeName") is not None:
        topology.setdefault(_HOSTNAME, endpoint["nodeName"])
    if topology:
        out["topology"] = topology
    return out
