"""Pods and namespaces as NetworkPolicies see them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.api.selectors.labels import EVERYTHING, LabelSelector, from_label_selector


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A port that a container gave a name. `protocol` is as nftables spells it: lower case."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class Member:
    """A Pod that has its own address. `local`: it runs on this node."""

    namespace: str
    address: str
    labels: Mapping[str, str]
    local: bool
    ports: tuple[NamedPort, ...] = ()


def member(pod: Object, node: str, address: str = "") -> Member | None:
    """None for a Pod that policies do not concern: one without an IPv4 address of its own (on the host's network, or
    not yet with one), or one that has ended. `address` is what is known before the status has it."""
    spec = pod.get("spec") or {}
    if spec.get("hostNetwork") or pods.is_terminal(pod):
        return None
    status = pod.get("status") or {}
    known = [ip["ip"] for ip in status.get("podIPs") or () if ip.get("ip")] or [status.get("podIP") or ""]
    address = next((ip for ip in known if ip and ":" not in ip), address)
    if not address:
        return None
    ports = tuple(
        NamedPort(port["name"], port.get("protocol", "TCP").lower(), int(port["containerPort"]))
        for kind, container in pods.all_containers(pod)
        if kind == pods.REGULAR or (kind == pods.INIT and pods.is_sidecar(container))
        for port in container.get("ports") or ()
        if port.get("name")
    )
    return Member(objects.namespace(pod), address, objects.labels(pod), pods.node_name(pod) == node, ports)


@dataclass(frozen=True, slots=True)
class Peers:
    """A podSelector and a namespaceSelector of a rule. Without `namespaces`, Pods of `namespace` alone."""

    namespace: str
    pods: LabelSelector
    namespaces: LabelSelector | None = None
    name: str = field(default="", compare=False)

    @staticmethod
    def of(namespace: str, peer: Object) -> Peers:
        """Of a peer that is no ipBlock, in a policy of `namespace`."""
        chosen = from_label_selector(peer["podSelector"]) if peer.get("podSelector") is not None else EVERYTHING
        if peer.get("namespaceSelector") is None:
            return Peers(namespace, chosen, None, short_name(namespace, repr(chosen)))
        spaces = from_label_selector(peer["namespaceSelector"])
        return Peers("", chosen, spaces, short_name("", repr(chosen), repr(spaces)))

    def include(self, candidate: Member, namespace_labels: Mapping[str, str] | None) -> bool:
        """`namespace_labels` are those of the candidate's namespace, None if it is not known (yet)."""
        if self.namespaces is None:
            if candidate.namespace != self.namespace:
                return False
        elif namespace_labels is None or not self.namespaces.matches(namespace_labels):
            return False
        return self.pods.matches(candidate.labels)


def short_name(*parts: str) -> str:
    """The same for the same parts in every run; fit for the name of a chain or set."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
