"""The node's address translation: Pods leave the cluster under the node's address, host ports lead into Pods.

One nftables table a node, written whole at start and changed by single elements afterwards.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from podwright.runtime.protocol import PortMapping, RuntimeFailure

_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Forward:
    """Host ports that lead to a Pod's address."""

    address: IPv4Address
    ports: Sequence[PortMapping]


class Nat:
    """`table` is our own name; `links` the prefix of the Pods' links; `pods` this node's range, `cluster` that of all
    nodes."""

    def __init__(self, table: str, *, links: str, pods: IPv4Network, cluster: IPv4Network) -> None:
        self._table = table
        self._links = links
        self._pods = pods
        self._cluster = cluster

    async def install(self, forwards: Mapping[str, Forward]) -> None:
        """Writes the whole table in one transaction, in place of an earlier one."""
        rules = f"""
add table ip {self._table}
delete table ip {self._table}
table ip {self._table} {{
  map ports {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map ports-of-address {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
  set hairpin {{ type ipv4_addr . ipv4_addr; }}
  chain host-ports {{
    dnat ip to ip daddr . meta l4proto . th dport map @ports-of-address
    dnat ip to meta l4proto . th dport map @ports
  }}
  chain prerouting {{ type nat hook prerouting priority dstnat; fib daddr type local jump host-ports; }}
  chain output {{ type nat hook output priority -100; fib daddr type local jump host-ports; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr . ip daddr @hairpin masquerade
    ip saddr 127.0.0.0/8 oifname "{self._links}*" masquerade
    ip saddr {self._pods} ip daddr != {{ {self._cluster}, 224.0.0.0/4 }} masquerade
  }}
}}
"""
        for forward in forwards.values():
            rules += self._elements("add", forward)
        await _nft(rules)

    async def remove(self) -> None:
        await _nft(f"add table ip {self._table}\ndelete table ip {self._table}\n")

    async def add(self, forward: Forward) -> None:
        """Raises RuntimeFailure if a port is taken."""
        await _nft(self._elements("create", forward))

    async def discard(self, forward: Forward) -> None:
        try:
            await _nft(self._elements("delete", forward))
        except RuntimeFailure:
            # One of them is gone already: take them out one by one.
            for line in self._elements("delete", forward).splitlines():
                try:
                    await _nft(line)
                except RuntimeFailure:
                    continue

    def _elements(self, verb: str, forward: Forward) -> str:
        lines = []
        for port in forward.ports:
            protocol = port.protocol.lower()
            target = f"{forward.address} . {port.container_port}"
            key = f"{protocol} . {port.host_port}"
            if port.host_ip and ipaddress.ip_address(port.host_ip).version == 6:
                continue
            if port.host_ip and port.host_ip != "0.0.0.0":
                name, key = "ports-of-address", f"{port.host_ip} . {key}"
            else:
                name = "ports"
            value = f" : {target}" if verb != "delete" else ""
            lines.append(f"{verb} element ip {self._table} {name} {{ {key}{value} }}")
        if lines:
            adding = "add" if verb == "create" else verb
            lines.append(f"{adding} element ip {self._table} hairpin {{ {forward.address} . {forward.address} }}")
        return "\n".join(lines) + "\n"


async def _nft(rules: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "nft", "-f", "-",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_TIMEOUT):
            _, stderr = await process.communicate(rules.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeFailure(f"nft: {stderr.decode(errors='replace').strip()}")
