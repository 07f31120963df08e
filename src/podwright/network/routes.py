"""Routes to the Pods of other nodes: each node's Pod range by its InternalIP ("host gateway"), or by the overlay."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from podwright.api import objects
from podwright.api.objects import Object
from podwright.network import rtnetlink
from podwright.network.rtnetlink import Netlink
from podwright.network.vxlan import Overlay, own_networks

_SIMULATED = "podwright.io/simulated"
"""Label of nodes whose Pods are nowhere."""


class NodeRoutes:
    """Keeps the routes of `node` (this one, by name) to all others. Only routes with a gateway that carry our protocol
    number and lie inside `cluster_cidr` are ever touched, so clusters on one host do not disturb each other.

    A node on a common link is reached through its InternalIP, any other by the overlay. With `overlay` that is there as
    soon as there is another node, because the other may see us as the one that is far."""

    def __init__(self, *, node: str, cluster_cidr: str, overlay: bool = False) -> None:
        self._node = node
        self._cluster = IPv4Network(cluster_cidr)
        self._overlay = Overlay(self._cluster) if overlay else None
        self._reached: dict[IPv4Network, IPv4Address] = {}

    async def sync(self, nodes: Sequence[Object]) -> None:
        """Makes the routes what `nodes`, all the Nodes there are, say. Raises OSError if the kernel refuses one, after
        the others are done."""
        others = {d: g for d, (n, g) in placed(nodes).items() if n != self._node}
        own = {d: g for d, (n, g) in placed(nodes).items() if n == self._node}
        await asyncio.to_thread(self._sync, others, own)

    async def clear(self) -> None:
        """Takes all of it away. Raises OSError."""
        await asyncio.to_thread(self._sync, {}, {})
        if self._overlay is not None:
            await asyncio.to_thread(self._overlay.remove)

    def _sync(self, others: dict[IPv4Network, IPv4Address], own: dict[IPv4Network, IPv4Address]) -> None:
        failures: list[OSError] = []
        far: set[IPv4Network] = set()
        index = 0
        if self._overlay is not None and others and own:
            links = [i.network for i in own_networks()]
            far = {d for d, address in others.items() if not any(address in link for link in links)}
            (pod_cidr, address), *_ = own.items()
            index = self._overlay.ensure(address, pod_cidr)
            for destination in far:
                if self._reached.get(destination) != others[destination]:
                    self._overlay.reach(destination, others[destination])
            self._reached = {d: others[d] for d in far}
        wanted = {d: d.network_address if d in far else address for d, address in others.items()}
        with Netlink() as netlink:
            present = {
                route.destination: route.gateway
                for route in netlink.routes()
                if route.protocol == rtnetlink.PROTOCOL
                and route.gateway is not None
                and route.destination.subnet_of(self._cluster)
            }
            for destination in present.keys() - wanted.keys():
                try:
                    netlink.send(rtnetlink.delete_route(destination))
                except OSError as error:
                    if error.errno != errno.ESRCH:
                        failures.append(error)
            for destination, gateway in wanted.items():
                if present.get(destination) != gateway:
                    link = index if destination in far else 0
                    try:
                        netlink.send(rtnetlink.gateway_route(destination, gateway, onlink_index=link))
                    except OSError as error:
                        failures.append(OSError(error.errno, f"route to {destination} via {gateway}: {error.strerror}"))
        if failures:
            raise failures[0]


def placed(nodes: Sequence[Object]) -> dict[IPv4Network, tuple[str, IPv4Address]]:
    """Pod range → (node, its InternalIP), for every node that has both and is more than a simulation."""
    found: dict[IPv4Network, tuple[str, IPv4Address]] = {}
    for node in nodes:
        if _SIMULATED in (node["metadata"].get("labels") or {}):
            continue
        spec = node.get("spec") or {}
        addresses = (node.get("status") or {}).get("addresses") or []
        internal = next((a["address"] for a in addresses if a["type"] == "InternalIP" and "." in a["address"]), None)
        for cidr in spec.get("podCIDRs") or [c for c in [spec.get("podCIDR")] if c]:
            if internal is not None and ":" not in cidr:
                found[IPv4Network(cidr)] = (objects.name(node), IPv4Address(internal))
    return found
