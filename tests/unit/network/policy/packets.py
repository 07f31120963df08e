"""What the kernel would do with a packet: walks a Table's chains as nftables does."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from podwright.network.policy.table import Table


@dataclass(frozen=True)
class Packet:
    """The first of a connection. `port` 0: the protocol has none."""

    source: str
    target: str
    protocol: str = "tcp"
    port: int = 80


def passes(table: Table, packet: Packet) -> bool:
    verdict = _walk(table, table.hooks["forward"], packet)
    return verdict != "drop"


def _walk(table: Table, body: str, packet: Packet) -> str:
    """ "accept", "drop", or "" for the end of the chain."""
    for line in body.splitlines():
        verdict = _rule(table, line.strip(), packet)
        verb, _, chain = verdict.partition(" ")
        if verb in ("accept", "drop"):
            return verb
        if verb in ("goto", "jump"):
            inner = _walk(table, table.chains[chain], packet)
            if inner or verb == "goto":
                return inner
    return ""


def _rule(table: Table, line: str, packet: Packet) -> str:
    if line.startswith(("type filter", "ct state")):
        return ""
    own = {"saddr": packet.source, "daddr": packet.target}
    if found := re.fullmatch(r"ip (saddr|daddr) vmap @(\S+)", line):
        return table.maps[found[2]][1].get(own[found[1]], "")
    if line.startswith("ip saddr . ip daddr @"):
        name, _, line = line.removeprefix("ip saddr . ip daddr @").partition(" ")
        if f"{packet.source} . {packet.target}" not in table.sets[name][1]:
            return ""
    while found := re.match(r"ip (saddr|daddr) @(\S+) (.*)", line):
        if not _contains(table.sets[found[2]], own[found[1]]):
            return ""
        line = found[3]
    if found := re.match(r"meta l4proto (\S+) (.*)", line):
        if packet.protocol != found[1]:
            return ""
        line = found[2]
    if found := re.match(r"th dport \{ ([^}]*) \} (.*)", line):
        spans = [(int(s.partition("-")[0]), int(s.rpartition("-")[2])) for s in found[1].split(", ")]
        if not any(first <= packet.port <= last for first, last in spans):
            return ""
        line = found[2]
    if found := re.match(r"ip daddr \. th dport @(\S+) (.*)", line):
        if f"{packet.target} . {packet.port}" not in table.sets[found[1]][1]:
            return ""
        line = found[2]
    assert re.fullmatch(r"accept|drop|goto \S+|jump \S+", line), f"not understood: {line}"
    return line


def _contains(named: tuple[str, frozenset[str]], address: str) -> bool:
    kind, elements = named
    if "interval" not in kind:
        return address in elements
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(element) for element in elements)
