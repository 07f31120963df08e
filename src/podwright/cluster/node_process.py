"""A node: network, runtime and kubelet put together, in the server's process or in one of its own."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NODES
from podwright.client.client import Client
from podwright.client.clock import SystemClock
from podwright.client.events import EventRecorder
from podwright.client.https import HttpsTransport
from podwright.client.informers import Informer
from podwright.cluster import demo_images, loop, renewal
from podwright.cluster.down import find_cluster
from podwright.cluster.layout import DISK_SPEED, IMAGES, Layout, node_name
from podwright.cluster.pki import Pki
from podwright.cluster.processes import ReadyPipe, notify_systemd
from podwright.cluster.registry import Ranges
from podwright.cluster.servers import SERVERS_FILE, Servers
from podwright.cluster.spec import ClusterSpec
from podwright.cluster.up import node_names
from podwright.kubelet import config_file
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.eviction.manager import Evictions
from podwright.kubelet.kubelet import Kubelet
from podwright.kubelet.probes.manager import Probes
from podwright.kubelet.server.access import Access
from podwright.kubelet.server.node_pods import KubeletPods
from podwright.kubelet.server.server import KubeletServer
from podwright.kubelet.stats.pages import pages
from podwright.network.dns import interface as dns_interface
from podwright.network.dns.server import DnsServer, host_resolvers
from podwright.network.nftables import remove_table
from podwright.network.node_routes import follow_nodes
from podwright.network.policy.enforcer import PolicyEnforcer
from podwright.network.routed import RoutedPodNetwork
from podwright.network.routes import NodeRoutes
from podwright.network.services.proxy import ServiceProxy
from podwright.runtime.cri import SCHEME
from podwright.runtime.images.store import ImageStore
from podwright.runtime.oci.runtime import OciRuntime
from podwright.runtime.protocol import ContainerRuntime

if TYPE_CHECKING:
    from podwright.runtime.cri.images import CriImages
    from podwright.runtime.cri.runtime import CriRuntime

log = logging.getLogger(__name__)

STOP_SIGNAL = signal.SIGUSR1
_READY_TIMEOUT = 50.0


def image_service(spec: ClusterSpec, layout: Layout) -> ImageStore | CriImages:
    """The machine's images, or those of the runtime behind the socket that the cluster was told to use."""
    if not spec.runtime.startswith(SCHEME):
        return image_store(layout)
    from podwright.runtime.cri.images import CriImages

    return CriImages(Path(spec.runtime.removeprefix(SCHEME)))


def image_store(layout: Layout) -> ImageStore:
    """The machine's images as this cluster names them."""
    return ImageStore(IMAGES, layout.image_references)


def pod_cidr(spec: ClusterSpec, ranges: Ranges, node: str) -> str:
    """Local nodes have their Pod range by their number, one that joined was given its own."""
    if spec.pod_cidr:
        return spec.pod_cidr
    return str(list(ranges.pods.subnets(new_prefix=24))[_number(node)])


def pod_network(
    spec: ClusterSpec, layout: Layout, ranges: Ranges, node: str, policies: PolicyEnforcer | None = None
) -> RoutedPodNetwork:
    return RoutedPodNetwork(
        cluster=spec.name,
        node=node,
        pod_cidr=pod_cidr(spec, ranges, node),
        cluster_cidr=str(ranges.pods),
        state_dir=layout.node_data(node) / "network",
        isolate=policies.isolate if policies is not None else None,
    )


def container_runtime(
    spec: ClusterSpec, layout: Layout, node: str, images: ImageStore | CriImages, network: RoutedPodNetwork
) -> OciRuntime | CriRuntime:
    if not isinstance(images, ImageStore):
        from podwright.runtime.cri.runtime import CriRuntime

        return CriRuntime(images.socket, owner=f"{spec.name}.{node}")
    return OciRuntime(
        cluster=spec.name,
        node=node,
        state_dir=layout.node_data(node) / "runtime",
        run_dir=layout.node_run(node),
        images=images,
        network=network,
        cgroup_root=layout.cgroup(node),
        runtime=spec.runtime,
    )


def _number(node: str) -> int:
    return int(node.rpartition("-")[2])


class LocalNode:
    """One node of a local cluster: kubelet, its server, Service rules and DNS."""

    def __init__(
        self,
        spec: ClusterSpec,
        layout: Layout,
        ranges: Ranges,
        name: str,
        client: Client,
        *,
        network_client: Client,
        address: str,
    ) -> None:
        self.name = name
        self._client = client
        self._network_client = network_client
        self._layout = layout
        self._spec = spec
        self._ranges = ranges
        self._images = image_service(spec, layout)
        self._policies = PolicyEnforcer(network_client, node=name, table=policies_table(spec, name))
        self._network = pod_network(spec, layout, ranges, name, self._policies)
        runtime = container_runtime(spec, layout, name, self._images, self._network)
        # Only the first node is given the directory: a static Pod belongs to one node.
        static = Path(spec.static_pods) if spec.static_pods and name == node_name(1) else None
        config = KubeletConfig(
            node_name=name,
            data_dir=layout.node_data(name),
            cgroup_root=layout.cgroup(name),
            node_ips=(address,),
            port=spec.kubelet_port,
            pod_cidr=pod_cidr(spec, ranges, name),
            cluster_dns=(ranges.cluster_dns,),
            image_access_dir=layout.image_references.with_name("image-access"),
            static_pod_path=static,
            disk_speed_cache=DISK_SPEED,
            crash_loop_initial=spec.crash_loop_initial,
            crash_loop_maximum=spec.crash_loop_maximum,
            crash_loop_reset=spec.crash_loop_reset,
            lease_period=min(10.0, spec.node_grace / 4),
            shutdown_grace_period=spec.shutdown_grace,
            shutdown_grace_period_critical=spec.shutdown_grace_critical,
        )
        if spec.kubelet_config:
            config = config_file.applied(config, Path(spec.kubelet_config))
        clock = SystemClock()
        # The kubelet makes its own recorder; probes are made before it.
        self._recorder = EventRecorder(client, "kubelet", host=name, clock=clock)
        probes = Probes(runtime, self._recorder, clock)
        self._kubelet = Kubelet(config, client, runtime, self._images, clock, probes=probes)
        pki = Pki(layout.pki)
        self._server = KubeletServer(
            KubeletPods(self._kubelet),
            runtime,
            host="0.0.0.0",
            port=spec.kubelet_port,
            certificate=pki.directory / f"kubelet-{name}.crt",
            key=pki.directory / f"kubelet-{name}.key",
            client_ca=pki.ca.certificate,
            gate=Access(client, name, clock),
            pages=pages(self._kubelet),
        )

    async def start(self, group: asyncio.TaskGroup) -> None:
        self._layout.node_data(self.name).mkdir(parents=True, exist_ok=True)
        self._layout.node_run(self.name).mkdir(parents=True, exist_ok=True)
        if isinstance(self._images, ImageStore):  # Elsewhere images and Pod network are the runtime's own.
            await demo_images.load(self._images)
            await self._network.open()
        await self._server.start()
        group.create_task(self._stop_server_at_end(), name="kubelet server")
        pair = Pki(self._layout.pki).pair(f"kubelet-{self.name}")
        group.create_task(renewal.shown(pair, self._server.renew), name="kubelet certificate")
        group.create_task(self._recorder.run(), name="probe events")
        group.create_task(self._kubelet.run(), name=f"kubelet {self.name}")
        group.create_task(self._stop_when_asked(), name="node stop")
        group.create_task(Evictions(self._kubelet).run(), name="evictions")
        proxy = ServiceProxy(
            self._network_client,
            node=self.name,
            table=services_table(self._spec, self.name),
            pod_cidr=str(self._ranges.pods),
        )
        group.create_task(proxy.run(), name="services")
        group.create_task(self._policies.run(), name="network policies")
        await asyncio.to_thread(dns_interface.ensure, dns_link(self._ranges), self._ranges.cluster_dns)
        dns = DnsServer(self._network_client, address=self._ranges.cluster_dns, upstreams=host_resolvers())
        group.create_task(dns.run(), name="dns")
        routes = follow_nodes(self._network_client, node_routes(self._spec, self._ranges, self.name))
        group.create_task(routes, name="routes")

    async def _stop_when_asked(self) -> None:
        """``podwright node stop``: unlike the end of this process it ends the Pods."""
        asked = asyncio.Event()
        events = asyncio.get_running_loop()
        events.add_signal_handler(STOP_SIGNAL, asked.set)
        try:
            await asked.wait()
        finally:
            events.remove_signal_handler(STOP_SIGNAL)
        log.info("asked to stop the node: its Pods end first")
        await self._kubelet.shut_down()
        raise loop.Stopped

    async def _stop_server_at_end(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await self._server.stop()

    async def ready(self) -> None:
        """Returns when the API says that the node is Ready. Raises TimeoutError."""
        async with asyncio.timeout(_READY_TIMEOUT):
            await until_ready(self._client, self.name)


async def until_ready(client: Client, node: str) -> None:
    """Returns when the API says that the node is Ready. A server that does not answer, or ends the watch, is asked
    again."""
    ready = asyncio.Event()

    def look(old: Object | None, new: Object | None) -> None:
        if new is not None and objects.condition_is_true(new, "Ready"):
            ready.set()

    own = Informer(client, NODES, field_selector=f"metadata.name={node}")
    own.add_handler(look)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(own.run(), name=f"until {node} is ready")
        await ready.wait()
        following.cancel()


def node_routes(spec: ClusterSpec, ranges: Ranges, node: str) -> NodeRoutes:
    """The nodes of a local cluster share a bridge; those of several machines may have only a router between them."""
    return NodeRoutes(node=node, cluster_cidr=str(ranges.pods), overlay=spec.nodes == 1)


def services_table(spec: ClusterSpec, node: str) -> str:
    """The nftables table of a node's Service rules."""
    return f"podwright-{spec.name}-{node}-services"


def policies_table(spec: ClusterSpec, node: str) -> str:
    """The nftables table of a node's NetworkPolicies."""
    return f"podwright-{spec.name}-{node}-policies"


def dns_link(ranges: Ranges) -> str:
    """The interface that holds the cluster's DNS address on a node."""
    return f"{ranges.bridge}dns"


def run_node(name: str, node: str, *, ready_fd: int | None) -> None:
    """A node as a process of its own: of a local cluster in its own network namespace, or this machine as a node of a
    cluster elsewhere. Runs until SIGTERM; Pods keep
    running after it ended, however it ended."""
    pipe = ReadyPipe(ready_fd)
    try:
        loop.run(lambda stop: _node(name, node, pipe, stop))
    except BaseException as failed:
        pipe.failed(failed)
        raise


async def _node(name: str, node: str, pipe: ReadyPipe, stop: asyncio.Event) -> None:
    spec, layout, ranges = find_cluster(name)
    if node not in node_names(spec):
        raise ValueError(f"cluster {name} has no node {node!r}")

    def client(certificate: str) -> Client:
        pki = Pki(layout.pki)
        return Client(
            HttpsTransport(
                [f"https://{ranges.bridge_address}:{spec.port}"],
                ca_file=pki.ca.certificate,
                certificate=(pki.directory / f"{certificate}.crt", pki.directory / f"{certificate}.key"),
                user_agent="kubelet",
            )
        )

    clock = SystemClock()
    if spec.joined_node:
        from podwright.cluster.join import keep_certificates, node_client, renew_certificates

        await renew_certificates(spec, layout, clock.now())
        own, network = (node_client(spec, Pki(layout.pki)) for _ in range(2))
        certificates = [f"node-{node}"] * 2
        address = spec.address
    else:
        certificates = [f"node-{node}", "node-network"]
        own, network = (client(certificate) for certificate in certificates)
        address = ranges.node_address(_number(node))
    try:
        async with asyncio.TaskGroup() as group:
            local = LocalNode(spec, layout, ranges, node, own, network_client=network, address=address)
            transports = [t for t in (own.transport, network.transport) if isinstance(t, HttpsTransport)]
            for transport, shows in zip(transports, certificates, strict=True):
                showing = renewal.shown(Pki(layout.pki).pair(shows), transport.renew)
                group.create_task(showing, name=f"certificate {shows}")
            if spec.joined_node:
                servers = Servers(spec.server, layout.data / SERVERS_FILE, transports)
                group.create_task(servers.follow(network), name="servers")
                group.create_task(keep_certificates(spec, layout, clock), name="certificates")
            await local.start(group)
            pipe.progress(f"{node} runs")
            await local.ready()
            pipe.ready()
            await loop.until(stop)
    except* loop.Stopped:
        log.info("asked to end: Pods keep running")
    finally:
        await own.aclose()
        await network.aclose()
    notify_systemd("STOPPING=1")


def clear_node(name: str, node: str, *, remove: bool) -> None:
    """Stops every Pod of a node whose kubelet does not run; with `remove`, forgets them too."""
    asyncio.run(_clear(name, node, remove=remove))


async def _clear(name: str, node: str, *, remove: bool) -> None:
    spec, layout, ranges = find_cluster(name)
    network = pod_network(spec, layout, ranges, node)
    images = image_service(spec, layout)
    if isinstance(images, ImageStore):
        await network.open()
    runtime = container_runtime(spec, layout, node, images, network)
    await runtime.open()
    grace = _REMOVE_GRACE if remove else _STOP_GRACE
    try:
        async with asyncio.TaskGroup() as group:
            for container in await runtime.list_containers():
                group.create_task(runtime.stop_container(container.id, grace))
        async with asyncio.TaskGroup() as group:
            for sandbox in await runtime.list_pod_sandboxes():
                group.create_task(_stop_sandbox(runtime, sandbox.id, remove=remove))
    finally:
        await runtime.close()
    await network.destroy()
    await node_routes(spec, ranges, node).clear()
    await asyncio.to_thread(dns_interface.remove, dns_link(ranges))
    await remove_table(services_table(spec, node))
    await remove_table(policies_table(spec, node))


_STOP_GRACE, _REMOVE_GRACE = 5.0, 1.0
"""Seconds between SIGTERM and SIGKILL; what is removed has little left to tidy up."""


async def _stop_sandbox(runtime: ContainerRuntime, sandbox: str, *, remove: bool) -> None:
    await runtime.stop_pod_sandbox(sandbox)
    if remove:
        await runtime.remove_pod_sandbox(sandbox)
