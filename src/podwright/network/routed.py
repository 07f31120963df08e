"""The Pod network of one node: routed, a veth and a /32 route for every Pod.

A Pod sees one link, eth0, with its address alone on it, and a gateway that is the same everywhere (169.254.1.1, known
by a permanent neighbour entry, so that nobody has to answer for it). The host has the other end, and a route to the
Pod's address over it. There is no bridge: every packet passes the host's IP layer, where nftables sees it.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import orjson

from podwright.network import rtnetlink
from podwright.network.addresses import Addresses, NoAddressLeft
from podwright.network.nat import Forward, Nat
from podwright.network.rtnetlink import Netlink
from podwright.runtime import atomic
from podwright.runtime.oci.namespaces import enter, in_thread
from podwright.runtime.oci.records import decode, encode
from podwright.runtime.protocol import PortMapping, RuntimeFailure, SandboxMetadata

GATEWAY = IPv4Address("169.254.1.1")
_HOST_MAC = b"\xee\xee\xee\xee\xee\xee"
_ANYWHERE = IPv4Network("0.0.0.0/0")
_SIOCGIFMTU = 0x8921


class RoutedPodNetwork:
    """Implements :class:`podwright.runtime.pod_network.PodNetwork` in the network namespace that this process is in.

    `pod_cidr` is this node's range, `cluster_cidr` that of all nodes (what is not in it is reached under the node's
    address). `mtu` 0 means that of the default route's link. `isolate` is awaited with the Pod and its address before
    anything runs in it; what it raises makes the Pod's network fail.
    """

    def __init__(
        self, *, cluster: str, node: str, pod_cidr: str, cluster_cidr: str, state_dir: Path, mtu: int = 0,
        isolate: Callable[[SandboxMetadata, str], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self._pods = IPv4Network(pod_cidr)
        self._state_dir = state_dir
        self._addresses = Addresses(self._pods, state_dir / "addresses.json")
        self._links = f"pw{hashlib.sha256(f'{cluster}/{node}'.encode()).hexdigest()[:4]}"
        self._nat = Nat(
            f"podwright-{cluster}-{node}".replace(".", "-"), links=self._links, pods=self._pods,
            cluster=IPv4Network(cluster_cidr),
        )
        self._forwards: dict[str, Forward] = {}
        self._mtu = mtu
        self._isolate = isolate

    async def open(self) -> None:
        """Finds what was given out before, turns forwarding on and writes the node's nftables table."""
        await asyncio.to_thread(self._prepare)
        await self._nat.install(self._forwards)

    def _prepare(self) -> None:
        self._state_dir.mkdir(parents=True, exist_ok=True)
        self._addresses.load()
        self._load_forwards()
        self._mtu = self._mtu or _default_mtu()
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        with Netlink() as netlink:
            netlink.send(rtnetlink.blackhole(self._pods))

    async def close(self) -> None:
        """Pods keep their network."""

    async def destroy(self) -> None:
        """Gives back every Pod's network and the node's own: table, routes, addresses. Forwarding stays on."""
        await self.retain([])
        await self._nat.remove()
        with Netlink() as netlink:
            _ignoring(netlink, rtnetlink.delete_route(self._pods), errno.ESRCH)

    async def setup(
        self, sandbox_id: str, netns: str, metadata: SandboxMetadata, port_mappings: Sequence[PortMapping]
    ) -> Sequence[str]:
        try:
            address = self._addresses.take(sandbox_id)
        except NoAddressLeft as error:
            raise RuntimeFailure(
                f'failed to set up network for pod "{metadata.namespace}/{metadata.name}": {error}'
            ) from None
        name = self._link(sandbox_id)
        try:
            await asyncio.to_thread(in_thread, lambda: self._connect(name, netns, address, bool(port_mappings)))
            if self._isolate is not None:
                await self._isolate(metadata, str(address))
            await self._forward(sandbox_id, address, port_mappings)
        except BaseException as error:
            await self.teardown(sandbox_id, netns)
            if isinstance(error, OSError):
                raise RuntimeFailure(
                    f'failed to set up network for pod "{metadata.namespace}/{metadata.name}": {error}'
                ) from error
            raise
        return [str(address)]

    def _link(self, sandbox_id: str) -> str:
        return f"{self._links}{sandbox_id[:9]}"

    def _connect(self, name: str, netns: str, address: IPv4Address, from_loopback: bool) -> None:
        """In a thread of its own, for it ends in the Pod's namespace."""
        host = IPv4Network(address)
        pod_mac = b"\x0a\x58" + address.packed
        ns = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Netlink() as outside:
                veth = rtnetlink.new_veth(name, "eth0", peer_netns=ns, mtu=self._mtu, mac=_HOST_MAC, peer_mac=pod_mac)
                try:
                    outside.send(veth)
                except FileExistsError:
                    outside.send(rtnetlink.delete_link(name))
                    outside.send(veth)
                index = socket.if_nametoindex(name)
                if from_loopback:  # 127.0.0.1:hostPort leads out of this link
                    Path(f"/proc/sys/net/ipv4/conf/{name}/route_localnet").write_text("1")
                outside.send(
                    rtnetlink.set_up(index, ipv6_link_local=False), rtnetlink.add_neighbour(index, address, pod_mac),
                    rtnetlink.link_route(index, host),
                )
            enter(netns, "net")
            with Netlink() as inside:
                inner = socket.if_nametoindex("eth0")
                inside.send(
                    rtnetlink.set_up(socket.if_nametoindex("lo")),
                    rtnetlink.set_up(inner),
                    rtnetlink.add_address(inner, address),
                    rtnetlink.add_neighbour(inner, GATEWAY, _HOST_MAC),
                    rtnetlink.link_route(inner, IPv4Network(GATEWAY)),
                    rtnetlink.gateway_route(_ANYWHERE, GATEWAY, onlink_index=inner),
                )
        finally:
            os.close(ns)

    async def _forward(self, sandbox_id: str, address: IPv4Address, ports: Sequence[PortMapping]) -> None:
        wanted = [port for port in ports if port.host_port]
        if not wanted or sandbox_id in self._forwards:
            return
        forward = Forward(address, wanted)
        await self._nat.add(forward)
        self._forwards[sandbox_id] = forward
        self._save_forwards()

    async def teardown(self, sandbox_id: str, netns: str) -> None:
        forward = self._forwards.pop(sandbox_id, None)
        if forward is not None:
            await self._nat.discard(forward)
            self._save_forwards()
        if self._addresses.of(sandbox_id) is not None:
            await asyncio.to_thread(_delete_link, self._link(sandbox_id))
            self._addresses.release(sandbox_id)

    async def retain(self, sandbox_ids: Sequence[str]) -> None:
        wanted = set(sandbox_ids)
        for owner in self._addresses.owners():
            if owner not in wanted:
                await self.teardown(owner, "")
        kept = {self._link(sandbox_id) for sandbox_id in wanted}
        for _, name in socket.if_nameindex():
            if name.startswith(self._links) and name not in kept:
                await asyncio.to_thread(_delete_link, name)

    def _load_forwards(self) -> None:
        try:
            document = orjson.loads((self._state_dir / "host-ports.json").read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return
        for sandbox_id, ports in document.items():
            address = self._addresses.of(sandbox_id)
            if address is not None:
                self._forwards[sandbox_id] = Forward(address, [decode(PortMapping, port) for port in ports])

    def _save_forwards(self) -> None:
        atomic.write_json(
            self._state_dir / "host-ports.json", {k: encode(list(v.ports)) for k, v in self._forwards.items()}
        )


def _delete_link(name: str) -> None:
    with Netlink() as netlink:
        _ignoring(netlink, rtnetlink.delete_link(name), errno.ENODEV)


def _ignoring(netlink: Netlink, message: rtnetlink.Message, number: int) -> None:
    """Sends what may be done already."""
    try:
        netlink.send(message)
    except OSError as error:
        if error.errno != number:
            raise


def _default_mtu() -> int:
    """The MTU of the link that the default route uses, 1500 without one."""
    for line in Path("/proc/thread-self/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == "00000000":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                request = struct.pack("16si12x", fields[0].encode(), 0)
                return int(struct.unpack("16si12x", fcntl.ioctl(probe, _SIOCGIFMTU, request))[1])
    return 1500
