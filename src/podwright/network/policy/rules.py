"""From policies, Pods and namespaces to the node's nftables table. Pure: changes in, a table out.

A packet on its way to or from a Pod is looked up by address in one of two maps, so that Pods without a policy and
policies of other Pods cost it nothing. What it finds is the chain of all policies that select this Pod in this
direction: it leaves it as soon as one of them allows it, else it is dropped. Who counts as a peer stands in sets, so
that a Pod that comes or goes is an element and no rule. Pods with the same policies share a chain.

Addresses are the real ones: a Service's is translated before. Traffic of the node itself does not pass here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from podwright.network.policy.members import Member, Peers, short_name
from podwright.network.policy.policies import EGRESS, INGRESS, Policy, Port, Rule
from podwright.network.policy.table import Table

_HOOK = """    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    ip saddr . ip daddr @itself accept
    ip saddr vmap @from-isolated
    goto arriving
"""
_ARRIVING = """    ip daddr vmap @to-isolated
    accept
"""
_ALLOWED = {INGRESS: "accept", EGRESS: "goto arriving"}
"""What may leave must still be let in."""
_PEER = {INGRESS: "saddr", EGRESS: "daddr"}


@dataclass(slots=True)
class _LiveSet:
    """A set to which each Pod adds elements, by `of`."""

    kind: str
    of: Callable[[Member], tuple[str, ...]]
    by_pod: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _elements: frozenset[str] | None = None

    def put(self, key: str, member: Member | None) -> None:
        elements = self.of(member) if member is not None else ()
        if elements != self.by_pod.get(key, ()):
            self._elements = None
            if elements:
                self.by_pod[key] = elements
            else:
                del self.by_pod[key]

    @property
    def elements(self) -> frozenset[str]:
        if self._elements is None:
            self._elements = frozenset(e for elements in self.by_pod.values() for e in elements)
        return self._elements


class PolicyRules:
    """Told of each change, it knows the table. Keys are "namespace/name"."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._policies: dict[str, Policy] = {}
        self._members: dict[str, Member] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._live: dict[str, _LiveSet] = {}
        self._chains: dict[str, dict[str, str]] = {}
        self._blocks: dict[str, dict[str, frozenset[str]]] = {}
        """The last two by policy: its chains, and its sets of address ranges."""

    def set_policy(self, key: str, policy: Policy | None) -> None:
        if policy is None:
            for known in (self._policies, self._chains, self._blocks):
                known.pop(key, None)
        else:
            self._policies[key] = policy
            self._chains[key] = {
                _chain(policy, direction): "".join(_lines(rules, direction))
                for direction, rules in policy.directions.items()
            }
            self._blocks[key] = {
                _blocks_name(rule): frozenset(map(str, rule.blocks)) for rule in _rules((policy,)) if rule.blocks
            }
        self._find_sets()

    def set_pod(self, key: str, member: Member | None) -> bool:
        """Whether that is anything new."""
        if self._members.get(key) == member:
            return False
        if member is None:
            del self._members[key]
        else:
            self._members[key] = member
        for live in self._live.values():
            live.put(key, member)
        return True

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        if self._namespaces.get(name) == labels:
            return
        if labels is None:
            del self._namespaces[name]
        else:
            self._namespaces[name] = labels
        for key, member in self._members.items():
            if member.namespace == name:
                for live in self._live.values():
                    live.put(key, member)

    def isolates(self, member: Member) -> bool:
        """Whether any policy selects it."""
        return any(policy.selects(member) for policy in self._policies.values())

    def _find_sets(self) -> None:
        """Those that the policies name now: old ones are kept as they are, new ones filled."""
        wanted: dict[str, _LiveSet] = {}
        for rule in _rules(self._policies.values()):
            for peers in rule.peers:
                wanted[f"peers-{peers.name}"] = _LiveSet("ipv4_addr", self._peers(peers))
            for port in rule.ports or ():
                if port.name:
                    wanted[_port_set(port)] = _LiveSet("ipv4_addr . inet_service", _named(port))
        for name, live in wanted.items():
            if name in self._live:
                wanted[name] = self._live[name]
                continue
            for key, member in self._members.items():
                live.put(key, member)
        self._live = wanted

    def _peers(self, peers: Peers) -> Callable[[Member], tuple[str, ...]]:
        return lambda m: (m.address,) if peers.include(m, self._namespaces.get(m.namespace)) else ()

    def table(self) -> Table:
        chains = {"arriving": _ARRIVING}
        sets = {name: (live.kind, live.elements) for name, live in self._live.items()}
        for key in self._policies:
            chains |= self._chains[key]
            sets |= {name: ("ipv4_addr; flags interval", ranges) for name, ranges in self._blocks[key].items()}
        verdicts: dict[str, dict[str, str]] = {INGRESS: {}, EGRESS: {}}
        itself = set()
        for member in self._members.values():
            if not member.local:
                continue
            selecting = [policy for policy in self._policies.values() if policy.selects(member)]
            for direction, found in verdicts.items():
                policies = sorted(_chain(p, direction) for p in selecting if direction in p.directions)
                if policies:
                    name = f"{direction}-of-{short_name(*policies)}"
                    chains[name] = "".join(f"    jump {chain}\n" for chain in policies) + "    drop\n"
                    found[member.address] = f"goto {name}"
                    itself.add(f"{member.address} . {member.address}")
        return Table(
            self._table,
            hooks={"forward": _HOOK},
            chains=chains,
            sets={**sets, "itself": ("ipv4_addr . ipv4_addr", frozenset(itself))},
            maps={
                "to-isolated": ("ipv4_addr : verdict", verdicts[INGRESS]),
                "from-isolated": ("ipv4_addr : verdict", verdicts[EGRESS]),
            },
        )


def _rules(policies: Iterable[Policy]) -> Iterator[Rule]:
    return (rule for policy in policies for rules in policy.directions.values() for rule in rules)


def _chain(policy: Policy, direction: str) -> str:
    return f"{direction}-by-{policy.name}"


def _blocks_name(rule: Rule) -> str:
    return f"blocks-{short_name(*map(str, rule.blocks))}"


def _port_set(port: Port) -> str:
    return f"ports-{port.protocol}-{port.name}"


def _named(port: Port) -> Callable[[Member], tuple[str, ...]]:
    def of(member: Member) -> tuple[str, ...]:
        fitting = (p for p in member.ports if (p.name, p.protocol) == (port.name, port.protocol))
        return tuple(f"{member.address} . {p.number}" for p in fitting)

    return of


def _lines(rules: Sequence[Rule], direction: str) -> Iterator[str]:
    for rule in rules:
        sets = [f"peers-{peers.name}" for peers in rule.peers] + ([_blocks_name(rule)] if rule.blocks else [])
        sources = [""] if rule.anybody else [f"ip {_PEER[direction]} @{name} " for name in sets]
        targets = [""] if rule.ports is None else list(_ports(rule.ports))
        for source in sources:
            for target in targets:
                yield f"    {source}{target}{_ALLOWED[direction]}\n"


def _ports(ports: Sequence[Port]) -> Iterator[str]:
    for protocol in dict.fromkeys(port.protocol for port in ports):
        mine = [port for port in ports if port.protocol == protocol]
        if any(not port.first and not port.name for port in mine):
            yield f"meta l4proto {protocol} "
            continue
        numbers = _merged((port.first, port.last) for port in mine if port.first)
        if numbers:
            yield f"meta l4proto {protocol} th dport {{ {', '.join(numbers)} }} "
        for name in dict.fromkeys(_port_set(port) for port in mine if port.name):
            yield f"meta l4proto {protocol} ip daddr . th dport @{name} "


def _merged(ranges: Iterable[tuple[int, int]]) -> list[str]:
    """Without overlaps, which nftables refuses."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return [str(first) if first == last else f"{first}-{last}" for first, last in found]
