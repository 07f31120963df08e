"""A NetworkPolicy object, read into what it means. Pure.

The rules are those of the NetworkPolicy page of the Kubernetes documentation and the API's own field descriptions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.selectors.labels import LabelSelector, from_label_selector
from podwright.network.policy.members import Member, Peers, short_name

INGRESS, EGRESS = "ingress", "egress"


@dataclass(frozen=True, slots=True)
class Port:
    """`first` 0: every port of the protocol. `name` instead of numbers is looked up in the Pod that is connected to.
    `protocol` is in lower case."""

    protocol: str
    first: int = 0
    last: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be reached, or may reach: any of `peers` or `blocks` at any of `ports`. `anybody`: the rule names no
    peers; `ports` None: it names no ports, so everything (also what has none, as ICMP) is allowed."""

    anybody: bool
    peers: tuple[Peers, ...]
    blocks: tuple[IPv4Network, ...]
    ports: tuple[Port, ...] | None


@dataclass(frozen=True, slots=True)
class Policy:
    """`name` is short, the same in every run. `directions` has INGRESS, EGRESS or both: those in which the selected
    Pods are isolated, each with what is allowed nevertheless."""

    name: str
    namespace: str
    pods: LabelSelector
    directions: dict[str, tuple[Rule, ...]]

    def selects(self, candidate: Member) -> bool:
        return candidate.namespace == self.namespace and self.pods.matches(candidate.labels)


def policy(obj: Object) -> Policy:
    spec = obj.get("spec") or {}
    namespace = objects.namespace(obj)
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    directions = {}
    for kind, direction, field in (("Ingress", INGRESS, "from"), ("Egress", EGRESS, "to")):
        if kind in types:
            directions[direction] = tuple(_rule(namespace, rule, field) for rule in spec.get(direction) or ())
    selector = from_label_selector(spec.get("podSelector") or {})
    return Policy(short_name(namespace, objects.name(obj)), namespace, selector, directions)


def _rule(namespace: str, rule: Object, field: str) -> Rule:
    listed = rule.get(field) or ()
    blocks = [block for peer in listed if peer.get("ipBlock") for block in _ranges(peer["ipBlock"])]
    return Rule(
        anybody=not listed,
        peers=tuple(dict.fromkeys(Peers.of(namespace, peer) for peer in listed if not peer.get("ipBlock"))),
        blocks=tuple(collapse_addresses(blocks)),
        ports=tuple(_port(port) for port in rule["ports"]) if rule.get("ports") else None,
    )


def _port(port: Object) -> Port:
    protocol, number = (port.get("protocol") or "TCP").lower(), port.get("port")
    if number is None:
        return Port(protocol)
    if isinstance(number, str):
        return Port(protocol, name=number)
    return Port(protocol, int(number), int(port.get("endPort") or number))


def _ranges(block: Object) -> Sequence[IPv4Network]:
    """The block less its exceptions. Pods have IPv4 addresses only, so a block of IPv6 is none."""
    if ":" in block["cidr"]:
        return ()
    left: Iterable[IPv4Network] = [IPv4Network(block["cidr"], strict=False)]
    for text in block.get("except") or ():
        if ":" not in text:
            left = _less(left, IPv4Network(text, strict=False))
    return list(left)


def _less(networks: Iterable[IPv4Network], hole: IPv4Network) -> list[IPv4Network]:
    kept: list[IPv4Network] = []
    for network in networks:
        if hole.supernet_of(network):
            continue
        kept.extend(network.address_exclude(hole) if hole.subnet_of(network) else [network])
    return kept
