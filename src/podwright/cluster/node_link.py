"""The link between the nodes of a local cluster: a bridge in the host's network namespace, and for each node a network
namespace of its own with one end of a veth in it. A node there is what a machine on a switch is elsewhere."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from podwright.cluster.registry import Ranges

_NETNS = Path("/run/netns")


class LinkFailed(Exception):
    """The host's network refused; the message is its own."""


def namespace(cluster: str, node: str) -> str:
    """The name of a node's network namespace (in /run/netns)."""
    return f"pw-{cluster}-{node}"


def ensure(cluster: str, ranges: Ranges, nodes: Sequence[str]) -> None:
    """Makes whatever is missing of the bridge and the nodes' namespaces. Idempotent."""
    prefix = ranges.nodes.prefixlen
    if not _exists(ranges.bridge):
        _ip(
            f"link add {ranges.bridge} address {_mac(ranges.bridge_address)} type bridge",
            f"addr add {ranges.bridge_address}/{prefix} dev {ranges.bridge}",
            f"link set {ranges.bridge} up",
        )
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
    _masquerade(cluster, ranges)
    for number, node in enumerate(nodes, start=1):
        inside = namespace(cluster, node)
        if (_NETNS / inside).exists():
            continue
        outside = f"{ranges.bridge}n{number}"
        _ip(
            f"netns add {inside}",
            f"link add {outside} type veth peer name eth0 address {_mac(ranges.node_address(number))} netns {inside}",
            f"link set {outside} master {ranges.bridge} up",
        )
        _ip(
            "link set lo up",
            f"addr add {ranges.node_address(number)}/{prefix} dev eth0",
            "link set eth0 up",
            f"route add default via {ranges.bridge_address}",
            inside=inside,
        )


def remove_node(cluster: str, node: str) -> None:
    """Takes a node off the link, with everything in its network namespace. Idempotent."""
    inside = namespace(cluster, node)
    if (_NETNS / inside).exists():
        _ip(f"netns del {inside}")


def remove(cluster: str, ranges: Ranges, nodes: Sequence[str]) -> None:
    """Removes all of it. Idempotent."""
    for node in nodes:
        remove_node(cluster, node)
    if _exists(ranges.bridge):
        _ip(f"link del {ranges.bridge}")
    subprocess.run(["nft", "delete", "table", "ip", _table(cluster)], capture_output=True, check=False)


def _mac(address: str) -> str:
    """Who has the address keeps it for good, as a machine's card does: a bridge with none of its own takes that of one
    of its ports and changes it when that port goes, and whoever knew the old one would send into the void for seconds.
    """
    return "0a:58:" + socket.inet_aton(address).hex(":")


def _exists(link: str) -> bool:
    """In our own network namespace, of which /sys may not be."""
    try:
        socket.if_nametoindex(link)
    except OSError:
        return False
    return True


def _table(cluster: str) -> str:
    return f"podwright-{cluster}-link"


def _masquerade(cluster: str, ranges: Ranges) -> None:
    """Nodes and their Pods reach the world with the host's address."""
    table = _table(cluster)
    inner = f"{{ {ranges.nodes}, {ranges.pods}, {ranges.services} }}"
    rules = f"""
table ip {table} {{}}
delete table ip {table}
table ip {table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {{ {ranges.nodes}, {ranges.pods} }} ip daddr != {inner} masquerade
  }}
}}
"""
    _run(["nft", "-f", "-"], rules)


def _ip(*lines: str, inside: str = "") -> None:
    command = ["ip", *(("-n", inside) if inside else ()), "-batch", "-"]
    _run(command, "\n".join(lines) + "\n")


def _run(command: Sequence[str], given: str) -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LinkFailed(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
