"""Routes to the Pods of other nodes: each node's Pod range by its InternalIP ("host gateway")."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from podwright.api import objects
from podwright.api.objects import Object
from podwright.network import rtnetlink
from podwright.network.rtnetlink import Netlink


class NodeRoutes:
    """Keeps the routes of `node` (this one, by name) to all others. Only routes with a gateway inside `cluster_cidr`
    that carry our protocol number are ever touched, so clusters on one host do not disturb each other."""

    def __init__(self, *, node: str, cluster_cidr: str) -> None:
        self._node = node
        self._cluster = IPv4Network(cluster_cidr)

    async def sync(self, nodes: Sequence[Object]) -> None:
        """Makes the routes what `nodes`, all the Nodes there are, say. Raises OSError if the kernel refuses one, after
        the others are done."""
        await asyncio.to_thread(self._sync, wanted_routes(nodes, self._node))

    def _sync(self, wanted: dict[IPv4Network, IPv4Address]) -> None:
        failures: list[OSError] = []
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
                    try:
                        netlink.send(rtnetlink.gateway_route(destination, gateway))
                    except OSError as error:
                        failures.append(OSError(error.errno, f"route to {destination} via {gateway}: {error.strerror}"))
        if failures:
            raise failures[0]


def wanted_routes(nodes: Sequence[Object], own: str) -> dict[IPv4Network, IPv4Address]:
    """Pod range → address, for every node but `own` that has both."""
    found: dict[IPv4Network, IPv4Address] = {}
    for node in nodes:
        if objects.name(node) == own:
            continue
        spec = node.get("spec") or {}
        addresses = (node.get("status") or {}).get("addresses") or []
        internal = next((a["address"] for a in addresses if a["type"] == "InternalIP" and "." in a["address"]), None)
        for cidr in spec.get("podCIDRs") or [c for c in [spec.get("podCIDR")] if c]:
            if internal is not None and ":" not in cidr:
                found[IPv4Network(cidr)] = IPv4Address(internal)
    return found
