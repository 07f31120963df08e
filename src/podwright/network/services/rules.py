"""The nftables ruleset that serves Service ports on a node. Pure: ports in, text for ``nft -f`` out.

The shape follows from what the kernel is good at: verdict maps are looked up by (address, protocol, port) in constant
time, so the cost of a packet does not grow with the number of Services; a chain for each port picks an endpoint at
random (or the one a client had before), a chain for each endpoint rewrites the destination. The
affinity sets are named by endpoint, so that they live on through changes of the Service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from podwright.network.services.ports import Endpoint, ServicePort

MASQUERADE_MARK = "0x4000"
"""Packets with this bit leave with the node's own address."""


_MAPS = {
    "service-ips": "ipv4_addr . inet_proto . inet_service : verdict",
    "service-nodeports": "inet_proto . inet_service : verdict",
    "no-endpoint-ips": "ipv4_addr . inet_proto . inet_service : verdict",
    "no-endpoint-nodeports": "inet_proto . inet_service : verdict",
}


@dataclass(slots=True)
class _Ruleset:
    chains: dict[str, str] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    service_ips: dict[str, str] = field(default_factory=dict)
    node_ports: dict[str, str] = field(default_factory=dict)
    refused_ips: dict[str, str] = field(default_factory=dict)
    refused_node_ports: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A whole table. `chains` and `sets` are body by name, `hooks` the chains that the kernel calls."""

    table: str
    chains: dict[str, str]
    sets: dict[str, str]
    hooks: dict[str, str]
    maps: dict[str, dict[str, str]]

    def transaction(self, previous: Ruleset | None) -> str:
        """What brings the kernel here: from nothing (or from whatever stands there), or from `previous`, which keeps
        the clients that the affinity sets remember."""
        table = f"ip {self.table}"
        lines = [f"table {table} {{}}"]
        if previous is None:
            lines += [f"delete table {table}", f"table {table} {{}}"]
            old_chains, old_sets = set(), set()
        else:
            old_chains, old_sets = set(previous.chains), set(previous.sets)
            lines += [f"flush chain {table} {name}" for name in (*previous.hooks, *previous.chains)]
            lines += [f"flush map {table} {name}" for name in _MAPS]
        lines.append(f"table {table} {{")
        lines += [f"  chain {name} {{ }}" for name in self.chains if name not in old_chains]
        lines += [f"  set {name} {{ {body} }}" for name, body in self.sets.items() if name not in old_sets]
        lines += [_map(name, self.maps[name]) for name in _MAPS]
        lines += [f"  chain {name} {{\n{body}  }}" for name, body in (*self.chains.items(), *self.hooks.items())]
        lines.append("}")
        lines += [f"delete chain {table} {name}" for name in sorted(old_chains - set(self.chains))]
        lines += [f"delete set {table} {name}" for name in sorted(old_sets - set(self.sets))]
        return "\n".join(lines) + "\n"


def ruleset(table: str, ports: Sequence[ServicePort], *, pod_cidr: str) -> Ruleset:
    """`pod_cidr` is the cluster's Pod range: traffic to a Service from outside of it is masqueraded, so that the answer
    finds its way back through this node."""
    rules = _Ruleset()
    rules.chains["mark-masquerade"] = f"    meta mark set meta mark or {MASQUERADE_MARK}\n"
    rules.chains["refuse"] = "    reject\n"
    for port in ports:
        _serve(port, rules, pod_cidr)
    rules.chains["services"] = (
        "    ip daddr . meta l4proto . th dport vmap @service-ips\n"
        "    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports\n"
    )
    rules.chains["refusals"] = (
        "    ip daddr . meta l4proto . th dport vmap @no-endpoint-ips\n"
        "    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @no-endpoint-nodeports\n"
    )
    maps = {
        "service-ips": rules.service_ips, "service-nodeports": rules.node_ports, "no-endpoint-ips": rules.refused_ips,
        "no-endpoint-nodeports": rules.refused_node_ports,
    }
    return Ruleset(table, rules.chains, rules.sets, _HOOKS, maps)


_REFUSE = "type filter hook {} priority -110; policy accept;\n    ct state new jump refusals\n"

_HOOKS = {
    "prerouting": "    type nat hook prerouting priority dstnat; policy accept;\n    jump services\n",
    "output": "    type nat hook output priority -100; policy accept;\n    jump services\n",
    "postrouting": (
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        f"    meta mark and {MASQUERADE_MARK} == 0 return\n"
        f"    meta mark set meta mark xor {MASQUERADE_MARK}\n"
        "    masquerade fully-random\n"
    ),
    "filter-input": "    " + _REFUSE.format("input"),
    "filter-forward": "    " + _REFUSE.format("forward"),
    "filter-output": "    " + _REFUSE.format("output"),
}


def _map(name: str, elements: dict[str, str]) -> str:
    body = f"  map {name} {{ type {_MAPS[name]};"
    if elements:
        body += " elements = { " + ", ".join(f"{key} : {verdict}" for key, verdict in elements.items()) + " };"
    return body + " }"


def _serve(port: ServicePort, rules: _Ruleset, pod_cidr: str) -> None:
    tag = _tag(port)
    internal = f"svc-{tag}"
    external = f"ext-{tag}"
    _balance(internal, port, port.internal_endpoints, rules, _outside(pod_cidr))
    _entries(rules, port.cluster_ips, port, internal, bool(port.internal_endpoints), drop=port.internal_local)
    if not (port.node_port or port.external_ips or port.load_balancer_ips):
        return
    if port.external_local:
        # The client's address is kept, so only endpoints on this node can answer. Traffic that starts in the cluster
        # is not bound by the policy.
        _balance(f"any-{tag}", port, port.cluster, rules, "")
        inside = f"    ip saddr {pod_cidr} goto any-{tag}\n    fib saddr type local jump mark-masquerade\n"
        inside += f"    fib saddr type local goto any-{tag}\n"
        _balance(external, port, port.local, rules, inside)
    else:
        _balance(external, port, port.cluster, rules, "    jump mark-masquerade\n")
    served = bool(port.external_endpoints) or (port.external_local and bool(port.cluster))
    _entries(rules, port.external_ips, port, external, served, drop=port.external_local)
    if port.load_balancer_ips:
        guarded = external
        if port.source_ranges and served:
            guarded = f"fw-{tag}"
            allowed = ", ".join(port.source_ranges)
            rules.chains[guarded] = f"    ip saddr {{ {allowed} }} goto {external}\n    drop\n"
        _entries(rules, port.load_balancer_ips, port, guarded, served, drop=port.external_local)
    if port.node_port:
        key = f"{port.protocol} . {port.node_port}"
        if served:
            rules.node_ports[key] = f"goto {external}"
        else:
            rules.refused_node_ports[key] = "drop" if port.external_local and port.has_any else "goto refuse"


def _entries(
    rules: _Ruleset, addresses: Iterable[str], port: ServicePort, chain: str, served: bool, *, drop: bool
) -> None:
    for address in addresses:
        key = f"{address} . {port.protocol} . {port.port}"
        if served:
            rules.service_ips[key] = f"goto {chain}"
        else:
            rules.refused_ips[key] = "drop" if drop and port.has_any else "goto refuse"


def _outside(pod_cidr: str) -> str:
    return f"    ip saddr != {pod_cidr} jump mark-masquerade\n"


def _balance(chain: str, port: ServicePort, endpoints: Sequence[Endpoint], rules: _Ruleset, first: str) -> None:
    """A chain that sends a new connection to one of `endpoints`, after the statements `first`."""
    if not endpoints:
        if first and "goto" in first:
            rules.chains[chain] = first
        return
    lines = first
    targets = []
    for number, endpoint in enumerate(endpoints):
        name = f"{chain}-{number}"
        hairpin = f"    ip saddr {endpoint.address} jump mark-masquerade\n"
        remember = ""
        if port.affinity:
            known = f"had-{chain}-{endpoint.address.replace('.', '-')}-{endpoint.port}"
            rules.sets[known] = f"type ipv4_addr; flags dynamic,timeout; timeout {port.affinity}s; size 65536;"
            lines += f"    ip saddr @{known} goto {name}\n"
            remember = f"    update @{known} {{ ip saddr }}\n"
        target = f"    meta l4proto {port.protocol} dnat to {endpoint.address}:{endpoint.port}\n"
        rules.chains[name] = hairpin + remember + target
        targets.append(name)
    if len(targets) == 1:
        lines += f"    goto {targets[0]}\n"
    else:
        choices = ", ".join(f"{i} : goto {name}" for i, name in enumerate(targets))
        lines += f"    numgen random mod {len(targets)} vmap {{ {choices} }}\n"
    rules.chains[chain] = lines


def _tag(port: ServicePort) -> str:
    """A short name for chains, the same for the same port in every run."""
    text = f"{port.namespace}/{port.service}/{port.protocol}/{port.port_name or port.port}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]
