"""The overlay between nodes that share no link: Pod traffic in UDP from node to node (RFC 7348).

Nothing is learned and nothing asked: a node's hardware address on the overlay follows from its InternalIP, and its
address there is the first of its Pod range, so every node knows every other from the Node objects alone.
"""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

PORT = 4789
_HEADERS = 50
"""Bytes that the outer Ethernet, IP, UDP and VXLAN headers take of a packet."""


class Overlay:
    """The VXLAN device of a cluster in this network namespace; the cluster's Pod range gives it name and identifier."""

    def __init__(self, cluster_cidr: IPv4Network) -> None:
        number = int(cluster_cidr.network_address) >> 16 & 0xFF
        self.device = f"pwvx{number}"
        self._vni = 0x7000 + number

    def ensure(self, address: IPv4Address, pod_cidr: IPv4Network) -> int:
        """Makes the device, with `address` as this end of every tunnel, if it is not there; its index.

        Raises:
            OSError: the kernel refused.
        """
        found = [link for link in _ip_json("-d", "link", "show", "type", "vxlan") if link["ifname"] == self.device]
        if found and found[0]["linkinfo"]["info_data"].get("local") != str(address):
            _run("ip", "link", "del", self.device)
            found = []
        if not found:
            mtu = _mtu_of(address) - _HEADERS
            _run(
                "ip", "link", "add", self.device, "address", hardware_address(address), "mtu", str(mtu),
                "type", "vxlan", "id", str(self._vni), "dstport", str(PORT), "local", str(address), "nolearning",
            )  # fmt: skip
            _run("ip", "addr", "add", f"{pod_cidr.network_address}/32", "dev", self.device)
            _run("ip", "link", "set", self.device, "up")
            # A Pod's packet may come by the overlay while the way back is another one.
            Path(f"/proc/sys/net/ipv4/conf/{self.device}/rp_filter").write_text("2\n")
            found = _ip_json("link", "show", "dev", self.device)
        return int(found[0]["ifindex"])

    def reach(self, pod_cidr: IPv4Network, address: IPv4Address) -> None:
        """Says where the node with that Pod range is. Raises OSError."""
        mac = hardware_address(address)
        there = str(pod_cidr.network_address)
        _run("ip", "neigh", "replace", there, "lladdr", mac, "dev", self.device, "nud", "permanent")
        _run("bridge", "fdb", "replace", mac, "dev", self.device, "dst", str(address), "self", "permanent")

    def remove(self) -> None:
        """Idempotent."""
        subprocess.run(["ip", "link", "del", self.device], capture_output=True, check=False)


def hardware_address(address: IPv4Address) -> str:
    """Of the node with that InternalIP on the overlay: locally administered, so nobody else's."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\x70" + address.packed)


def own_networks() -> list[IPv4Interface]:
    """The addresses of this network namespace's links, each with its subnet."""
    return [
        IPv4Interface(f"{found['local']}/{found['prefixlen']}")
        for link in _ip_json("-4", "addr", "show")
        for found in link["addr_info"]
    ]


def _mtu_of(address: IPv4Address) -> int:
    for link in _ip_json("-4", "addr", "show"):
        if any(found["local"] == str(address) for found in link["addr_info"]):
            return int(link["mtu"])
    return 1500


def _ip_json(*arguments: str) -> list[Any]:
    return list(json.loads(_run("ip", "-j", *arguments) or "[]"))


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
