"""NetworkPolicies as the documentation has them, in the slow and obvious way, straight from the objects."""

from __future__ import annotations

import ipaddress
from typing import Any

from tests.unit.network.policy.packets import Packet

from podwright.api.selectors.labels import from_label_selector

Object = dict[str, Any]


def allowed(policies: list[Object], pods: list[Object], namespaces: list[Object], node: str, packet: Packet) -> bool:
    """Whether the node lets the packet pass on its way between two addresses."""
    if packet.source == packet.target:
        return True
    source, target = _at(pods, packet.source), _at(pods, packet.target)
    if not _one_way(policies, namespaces, node, "Egress", source, (target, packet.target), target, packet):
        return False
    return _one_way(policies, namespaces, node, "Ingress", target, (source, packet.source), target, packet)


def _at(pods: list[Object], address: str) -> Object | None:
    return next((p for p in pods if p["status"].get("podIP") == address and not p["spec"].get("hostNetwork")), None)


def _one_way(
    policies: list[Object], namespaces: list[Object], node: str, kind: str, subject: Object | None,
    peer: tuple[Object | None, str], target: Object | None, packet: Packet,
) -> bool:
    if subject is None or subject["spec"]["nodeName"] != node:
        return True
    selecting = [
        p for p in policies
        if p["metadata"]["namespace"] == subject["metadata"]["namespace"]
        and kind in p["spec"]["policyTypes"]
        and from_label_selector(p["spec"]["podSelector"]).matches(subject["metadata"]["labels"])
    ]
    if not selecting:
        return True
    field, peers = ("ingress", "from") if kind == "Ingress" else ("egress", "to")
    return any(
        _peers_match(rule.get(peers) or [], policy["metadata"]["namespace"], namespaces, peer)
        and _ports_match(rule.get("ports") or [], target, packet)
        for policy in selecting
        for rule in policy["spec"].get(field) or []
    )


def _peers_match(listed: list[Object], own: str, namespaces: list[Object], peer: tuple[Object | None, str]) -> bool:
    pod, address = peer
    for one in listed:
        if "ipBlock" in one:
            inside = ipaddress.ip_address(address) in ipaddress.ip_network(one["ipBlock"]["cidr"])
            holes = one["ipBlock"].get("except") or []
            if inside and not any(ipaddress.ip_address(address) in ipaddress.ip_network(h) for h in holes):
                return True
        elif pod is not None:
            namespace = pod["metadata"]["namespace"]
            if "namespaceSelector" in one:
                known = [n for n in namespaces if n["metadata"]["name"] == namespace]
                chosen = from_label_selector(one["namespaceSelector"])
                right = any(chosen.matches(n["metadata"].get("labels") or {}) for n in known)
            else:
                right = namespace == own
            if right and from_label_selector(one.get("podSelector") or {}).matches(pod["metadata"]["labels"]):
                return True
    return not listed


def _ports_match(listed: list[Object], target: Object | None, packet: Packet) -> bool:
    for one in listed:
        if one.get("protocol", "TCP").lower() != packet.protocol:
            continue
        port = one.get("port")
        if port is None:
            return True
        if isinstance(port, int):
            if port <= packet.port <= one.get("endPort", port):
                return True
        elif target is not None:
            for container in target["spec"]["containers"]:
                for named in container.get("ports") or []:
                    fits = named.get("name") == port and named.get("protocol", "TCP").lower() == packet.protocol
                    if fits and named["containerPort"] == packet.port:
                        return True
    return not listed
