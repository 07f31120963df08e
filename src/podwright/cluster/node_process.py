"""A node: network, runtime and kubelet put together, in the server's process or in one of its own."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from pathlib import Path

from podwright.api import objects
from podwright.api.resources import NODES
from podwright.client.client import Client
from podwright.client.https import HttpsTransport
from podwright.cluster import loop
from podwright.cluster.down import find_cluster
from podwright.cluster.layout import ARCHIVES, IMAGES, Layout, node_name
from podwright.cluster.pki import Pki
from podwright.cluster.processes import ReadyPipe, notify_systemd
from podwright.cluster.registry import Ranges
from podwright.cluster.spec import ClusterSpec
from podwright.cluster.up import node_names
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.kubelet import Kubelet
from podwright.network.routed import RoutedPodNetwork
from podwright.runtime.images.store import ImageStore
from podwright.runtime.oci.runtime import OciRuntime

log = logging.getLogger(__name__)

_READY_TIMEOUT = 50.0


def image_store(layout: Layout) -> ImageStore:
    """The machine's images as this cluster names them."""
    return ImageStore(IMAGES, layout.image_references)


def pod_network(spec: ClusterSpec, layout: Layout, ranges: Ranges, node: str) -> RoutedPodNetwork:
    return RoutedPodNetwork(
        cluster=spec.name,
        node=node,
        pod_cidr=str(list(ranges.pods.subnets(new_prefix=24))[_number(node)]),
        cluster_cidr=str(ranges.pods),
        state_dir=layout.node_data(node) / "network",
    )


def container_runtime(spec: ClusterSpec, layout: Layout, ranges: Ranges, node: str) -> OciRuntime:
    return OciRuntime(
        cluster=spec.name,
        node=node,
        state_dir=layout.node_data(node) / "runtime",
        run_dir=layout.node_run(node),
        images=image_store(layout),
        network=pod_network(spec, layout, ranges, node),
        cgroup_root=layout.cgroup(node),
        runtime=spec.runtime,
    )


def _number(node: str) -> int:
    return int(node.rpartition("-")[2])


class LocalNode:
    """One node of a local cluster."""

    def __init__(
        self, spec: ClusterSpec, layout: Layout, ranges: Ranges, name: str, client: Client, *, address: str
    ) -> None:
        self.name = name
        self._client = client
        self._layout = layout
        self._runtime = container_runtime(spec, layout, ranges, name)
        pki = Pki(layout.pki)
        # Only the first node is given the directory: a static Pod belongs to one node.
        static = Path(spec.static_pods) if spec.static_pods and name == node_name(1) else None
        config = KubeletConfig(
            node_name=name,
            data_dir=layout.node_data(name),
            cgroup_root=layout.cgroup(name),
            node_ips=(address,),
            port=spec.kubelet_port,
            pod_cidr=str(list(ranges.pods.subnets(new_prefix=24))[_number(name)]),
            cluster_dns=(ranges.cluster_dns,),
            static_pod_path=static,
            crash_loop_initial=spec.crash_loop_initial,
            crash_loop_maximum=spec.crash_loop_maximum,
            crash_loop_reset=spec.crash_loop_reset,
            lease_period=min(10.0, spec.node_grace / 4),
            tls_certificate=pki.directory / f"kubelet-{name}.crt",
            tls_key=pki.directory / f"kubelet-{name}.key",
            client_ca=pki.ca.certificate,
        )
        self._kubelet = Kubelet(config, client, self._runtime, self._runtime.images)

    async def start(self, group: asyncio.TaskGroup) -> None:
        self._layout.node_data(self.name).mkdir(parents=True, exist_ok=True)
        self._layout.node_run(self.name).mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(load_demo_images, self._layout)
        group.create_task(self._kubelet.run(), name=f"kubelet {self.name}")

    async def ready(self) -> None:
        """Returns when the API says that the node is Ready. Raises TimeoutError."""
        async with asyncio.timeout(_READY_TIMEOUT):
            watch = self._client.watch(NODES, field_selector=f"metadata.name={self.name}")
            async with aclosing(watch) as events:  # type: ignore[type-var]
                async for _, node in events:
                    if objects.condition_is_true(node, "Ready"):
                        return


def load_demo_images(layout: Layout) -> None:
    """Makes the images that setup built known to the cluster; cheap if they are."""
    store = image_store(layout)
    for archive in sorted(ARCHIVES.glob("*.tar")):
        store.ensure_archive(archive)


def run_node(name: str, node: str, *, ready_fd: int | None) -> None:
    """A node of a local cluster as a process of its own, in its own network namespace. Runs until SIGTERM; Pods keep
    running after it ended, however it ended."""
    pipe = ReadyPipe(ready_fd)
    try:
        loop.run(lambda stop: _node(name, node, pipe, stop))
    except BaseException as failed:
        pipe.failed(f"{type(failed).__name__}: {failed}")
        raise


async def _node(name: str, node: str, pipe: ReadyPipe, stop: asyncio.Event) -> None:
    spec, layout, ranges = find_cluster(name)
    if node not in node_names(spec):
        raise ValueError(f"cluster {name} has no node {node!r}")
    pki = Pki(layout.pki)
    client = Client(
        HttpsTransport(
            [f"https://{ranges.bridge_address}:{spec.port}"],
            ca_file=pki.ca.certificate,
            certificate=(pki.directory / f"node-{node}.crt", pki.directory / f"node-{node}.key"),
            user_agent=f"podwright kubelet {node}",
        )
    )
    try:
        async with asyncio.TaskGroup() as group:
            local = LocalNode(spec, layout, ranges, node, client, address=ranges.node_address(_number(node)))
            await local.start(group)
            pipe.progress(f"{node} runs")
            await local.ready()
            pipe.ready()
            await loop.run_until(stop, group)
    except* loop.Stopped:
        log.info("asked to end: Pods keep running")
    finally:
        await client.aclose()
    notify_systemd("STOPPING=1")


def clear_node(name: str, node: str, *, remove: bool) -> None:
    """Stops every Pod of a node whose kubelet does not run; with `remove`, forgets them too."""
    asyncio.run(_clear(name, node, remove=remove))


async def _clear(name: str, node: str, *, remove: bool) -> None:
    spec, layout, ranges = find_cluster(name)
    runtime = container_runtime(spec, layout, ranges, node)
    await runtime.open()
    try:
        sandboxes = await runtime.list_pod_sandboxes()
        containers = await runtime.list_containers()
        async with asyncio.TaskGroup() as group:
            for container in containers:
                group.create_task(runtime.stop_container(container.id, _STOP_GRACE))
        async with asyncio.TaskGroup() as group:
            for sandbox in sandboxes:
                group.create_task(_stop_sandbox(runtime, sandbox.id, remove=remove))
    finally:
        await runtime.close()


_STOP_GRACE = 5.0


async def _stop_sandbox(runtime: OciRuntime, sandbox: str, *, remove: bool) -> None:
    await runtime.stop_pod_sandbox(sandbox)
    if remove:
        await runtime.remove_pod_sandbox(sandbox)
