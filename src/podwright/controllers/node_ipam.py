"""Gives every node its own Pod range out of the cluster's: spec.podCIDR and spec.podCIDRs."""

from __future__ import annotations

import ipaddress

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NODES
from podwright.client.events import NORMAL
from podwright.controllers.frame import Context, Controller

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class CidrExhausted(Exception):
    """No range is left for another node."""


class CidrSet:
    """The equal ranges that one cluster range is cut into, and which are taken. Ranges are given out round robin, so
    that one just given back is not at once another node's."""

    def __init__(self, cluster: Network, mask: int) -> None:
        if mask < cluster.prefixlen:
            raise ValueError(f"node mask /{mask} is wider than the cluster range {cluster}")
        self.cluster = cluster
        self._mask = mask
        self._size = 1 << (cluster.max_prefixlen - mask)
        self._count = 1 << (mask - cluster.prefixlen)
        self._taken: set[int] = set()
        self._next = 0

    def allocate(self) -> Network:
        if len(self._taken) >= self._count:
            raise CidrExhausted(f"no range is left in {self.cluster}")
        while self._next in self._taken:
            self._next = (self._next + 1) % self._count
        index, self._next = self._next, (self._next + 1) % self._count
        self._taken.add(index)
        address = self.cluster.network_address + index * self._size
        return ipaddress.ip_network((address, self._mask))

    def occupy(self, network: Network) -> None:
        self._taken.update(self._indexes(network))

    def release(self, network: Network) -> None:
        self._taken.difference_update(self._indexes(network))

    def _indexes(self, network: Network) -> range:
        if network.version != self.cluster.version or not network.overlaps(self.cluster):
            return range(0)
        base = int(self.cluster.network_address)
        first = (int(network.network_address) - base) // self._size
        last = (int(network.broadcast_address) - base) // self._size
        return range(max(0, first), min(self._count - 1, last) + 1)


class NodeIpamController(Controller):
    name = "node-ipam-controller"
    account = "node-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.sets = [
            CidrSet(net, self.config.node_cidr_mask_ipv4 if net.version == 4 else self.config.node_cidr_mask_ipv6)
            for net in map(ipaddress.ip_network, self.config.cluster_cidr)
        ]
        self._held: dict[str, tuple[Network, ...]] = {}
        self.nodes = self.informer(NODES, self._node_changed)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        if not self.sets:
            return
        if new is None:
            assert old is not None
            self._release(objects.name(old))
            return
        ranges = _ranges(new)
        if ranges:
            self._occupy(objects.name(new), ranges)
        else:
            self.enqueue(old, new)

    def _occupy(self, name: str, ranges: tuple[Network, ...]) -> None:
        if self._held.get(name) != ranges:
            self._held[name] = ranges
            for network in ranges:
                for cidrs in self.sets:
                    cidrs.occupy(network)

    def _release(self, name: str) -> None:
        for network in self._held.pop(name, ()):
            for cidrs in self.sets:
                cidrs.release(network)

    async def reconcile(self, key: str) -> None:
        node = self.nodes.get(key)
        if node is None or _ranges(node):
            return
        ranges = self._held.get(key)
        if ranges is None:
            try:
                ranges = tuple(cidrs.allocate() for cidrs in self.sets)
            except CidrExhausted:
                self.events.event(node, NORMAL, "CIDRNotAvailable", f"Node {key} status is now: CIDRNotAvailable")
                raise
            self._held[key] = ranges
        texts = [str(r) for r in ranges]
        # Should it fail, the node keeps its range for the next try; its removal gives it back.
        await self.client.patch(
            NODES, key, {"metadata": {"uid": objects.uid(node)}, "spec": {"podCIDR": texts[0], "podCIDRs": texts}}
        )


def _ranges(node: Object) -> tuple[Network, ...]:
    spec = node.get("spec") or {}
    texts = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    return tuple(ipaddress.ip_network(t) for t in texts)
