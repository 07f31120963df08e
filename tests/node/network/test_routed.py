"""The routed Pod network, on network namespaces without containers."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from leaks import none_left, subnet

from podwright.network.routed import RoutedPodNetwork
from podwright.network.routes import NodeRoutes
from podwright.runtime.oci import namespaces
from podwright.runtime.protocol import PortMapping, RuntimeFailure, SandboxMetadata

WHO = SandboxMetadata("pod", "default", "uid")


@pytest.fixture
def mark() -> Iterator[str]:
    name = f"t{os.urandom(4).hex()}"
    links = f"pw{hashlib.sha256(f'{name}/n1'.encode()).hexdigest()[:4]}"
    with none_left([name], link_prefixes=[links]):
        yield name


class Pods:
    """Network namespaces pinned in a directory."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.made: list[str] = []

    def new(self) -> tuple[str, str]:
        sandbox = os.urandom(32).hex()
        path = self._place / sandbox
        namespaces.make({"net": path}, hostname="", sysctls={})
        self.made.append(sandbox)
        return sandbox, str(path)

    def run(self, netns: str, *command: str) -> str:
        inside = ["nsenter", f"--net={netns}", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False).stdout

    def listen(self, netns: str, port: int) -> socket.socket:
        def work() -> socket.socket:
            namespaces.enter(netns, "net")
            return socket.create_server(("0.0.0.0", port))

        return namespaces.in_thread(work)

    def connect(self, netns: str, address: str, port: int) -> socket.socket:
        def work() -> socket.socket:
            namespaces.enter(netns, "net")
            return socket.create_connection((address, port), timeout=30)

        return namespaces.in_thread(work)


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    place = tmp_path / "ns"
    place.mkdir()
    pods = Pods(place)
    yield pods
    for sandbox in pods.made:
        namespaces.unpin(place / sandbox)


def make(mark: str, state: Path, cidr: str = f"{subnet()}.0/28") -> RoutedPodNetwork:
    return RoutedPodNetwork(cluster=mark, node="n1", pod_cidr=cidr, cluster_cidr="10.213.0.0/16", state_dir=state)


@pytest.fixture
async def network(mark: str, tmp_path: Path) -> AsyncIterator[RoutedPodNetwork]:
    network = make(mark, tmp_path / "network")
    await network.open()
    yield network
    await network.destroy()


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("", 0))).getsockname()[1] for _ in range(number)]


def host_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


async def test_a_pod_has_one_link_and_a_gateway(network: RoutedPodNetwork, pods: Pods) -> None:
    sandbox, netns = pods.new()
    (address,) = await network.setup(sandbox, netns, WHO, [])
    assert await network.setup(sandbox, netns, WHO, []) == [address]
    links = pods.run(netns, "ip", "-br", "addr")
    assert f"{address}/32" in links and "127.0.0.1/8" in links
    assert pods.run(netns, "ip", "route").split("\n")[0].startswith("default via 169.254.1.1 dev eth0")
    await network.teardown(sandbox, netns)
    await network.teardown(sandbox, netns)
    assert "eth0" not in pods.run(netns, "ip", "link")


async def test_pods_and_host_reach_each_other(network: RoutedPodNetwork, pods: Pods) -> None:
    (one, first), (two, second) = pods.new(), pods.new()
    (address,) = await network.setup(one, first, WHO, [])
    (other,) = await network.setup(two, second, WHO, [])
    with pods.listen(first, 80) as server:
        with pods.connect(second, address, 80):
            assert server.accept()[1][0] == other  # Pods see each other's own address
        with socket.create_connection((address, 80), timeout=30):
            assert server.accept()[1][0] == host_address()
    with socket.create_server(("0.0.0.0", 0)) as server:
        with pods.connect(second, host_address(), server.getsockname()[1]):
            assert server.accept()[1][0] == other


async def test_host_ports(network: RoutedPodNetwork, pods: Pods) -> None:
    (one, first), (two, second) = pods.new(), pods.new()
    everywhere, loopback = free_ports(2)
    ports = [PortMapping(8080, everywhere), PortMapping(8080, loopback, host_ip="127.0.0.1")]
    (address,) = await network.setup(one, first, WHO, ports)
    await network.setup(two, second, WHO, [])
    with pods.listen(first, 8080) as server:
        server.settimeout(60)
        for connect in (
            lambda: socket.create_connection(("127.0.0.1", everywhere), timeout=30),
            lambda: socket.create_connection(("127.0.0.1", loopback), timeout=30),
            lambda: socket.create_connection((host_address(), everywhere), timeout=30),
            lambda: pods.connect(second, host_address(), everywhere),
            lambda: pods.connect(first, host_address(), everywhere),
        ):
            with connect():
                server.accept()[0].close()
        with pytest.raises(OSError):
            socket.create_connection((host_address(), loopback), timeout=1)
    three, third = pods.new()
    with pytest.raises(RuntimeFailure):
        await network.setup(three, third, WHO, [PortMapping(1, everywhere)])
    assert address
    await network.teardown(one, first)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", everywhere), timeout=1)
    await network.setup(three, third, WHO, [PortMapping(1, everywhere)])


async def test_addresses_are_used_again_late_and_run_out(network: RoutedPodNetwork, pods: Pods) -> None:
    made = [pods.new() for _ in range(14)]
    addresses = []
    for sandbox, netns in made[:13]:
        addresses += await network.setup(sandbox, netns, WHO, [])
    assert len(set(addresses)) == 13
    with pytest.raises(RuntimeFailure, match="no IP addresses available"):
        await network.setup(*made[13], WHO, [])
    await network.teardown(*made[4])
    await network.teardown(*made[2])
    assert await network.setup(*made[13], WHO, []) == [addresses[2]]


async def test_after_a_crash(mark: str, network: RoutedPodNetwork, pods: Pods, tmp_path: Path) -> None:
    (kept, kept_ns), (lost, lost_ns) = pods.new(), pods.new()
    (port,) = free_ports(1)
    (address,) = await network.setup(kept, kept_ns, WHO, [PortMapping(8080, port)])
    (gone,) = await network.setup(lost, lost_ns, WHO, [])
    again = make(mark, tmp_path / "network")
    await again.open()
    await again.retain([kept])
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=False).stdout
    assert address in routes and gone not in routes
    with pods.listen(kept_ns, 8080), socket.create_connection(("127.0.0.1", port), timeout=30):
        pass
    await again.teardown(kept, kept_ns)


async def test_routes_to_other_nodes(pods: Pods) -> None:
    """In a network namespace of its own, as a node of a local cluster is."""
    _, netns = pods.new()

    def node(name: str, cidr: str, address: str) -> dict[str, object]:
        return {
            "metadata": {"name": name},
            "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
            "status": {
                "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]
            },
        }

    routes = NodeRoutes(node="n1", cluster_cidr="10.214.0.0/16")
    nodes = [node("n1", "10.214.0.0/24", "172.31.9.1"), node("n2", "10.214.1.0/24", "172.31.9.2"),
             node("n3", "10.214.2.0/24", "172.31.9.3"), node("n4", "10.214.3.0/24", "172.31.9.4")]
    nodes[3]["metadata"] = {"name": "n4", "labels": {"podwright.io/simulated": "true"}}

    def inside(wanted: list[dict[str, object]]) -> str:
        namespaces.enter(netns, "net")
        subprocess.run(
            "ip link add br0 type bridge; ip addr replace 172.31.9.1/24 dev br0; ip link set br0 up",
            shell=True, check=False, capture_output=True,
        )
        asyncio.run(routes.sync(wanted))
        return subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout

    text = await asyncio.to_thread(namespaces.in_thread, lambda: inside(nodes))
    assert "10.214.1.0/24 via 172.31.9.2" in text and "10.214.2.0/24 via 172.31.9.3" in text
    assert "10.214.0.0/24" not in text and "10.214.3.0/24" not in text
    nodes[1] = node("n2", "10.214.1.0/24", "172.31.9.7")
    text = await asyncio.to_thread(namespaces.in_thread, lambda: inside(nodes[:2]))
    assert "10.214.1.0/24 via 172.31.9.7" in text and "10.214.2.0/24" not in text
