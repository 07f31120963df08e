"""The server process of a local cluster: API server, scheduler and controllers in one event loop, and in a cluster of
one node that node's kubelet too. Components get in-process clients; each with its own user."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podwright.api.calls import agent
from podwright.api.status import ApiError
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.server import ApiServer
from podwright.client.client import Client
from podwright.client.clock import SystemClock
from podwright.client.https import HttpsTransport
from podwright.client.leader_election import Timing
from podwright.client.transport import InProcessTransport
from podwright.cluster import control_plane, host, joining, loop, renewal, roles, storage
from podwright.cluster.down import find_cluster
from podwright.cluster.layout import Layout
from podwright.cluster.pki import Pki
from podwright.cluster.processes import ReadyPipe, notify_systemd
from podwright.cluster.registry import Ranges
from podwright.cluster.spec import API_SERVER_FILES, ClusterSpec
from podwright.cluster.up import node_names
from podwright.network.node_routes import follow_nodes
from podwright.network.routes import NodeRoutes

if TYPE_CHECKING:
    from podwright.scheduler.config import SchedulerConfig

log = logging.getLogger(__name__)

ClientFor = Callable[[str, Sequence[str]], Client]


def run_server(
    name: str,
    *,
    components: Sequence[str],
    node: str,
    ready_fd: int | None,
    leader_elect: bool | None = None,
    timing: Timing | None = None,
    scheduler: SchedulerConfig | None = None,
    controllers: Sequence[str] = ("*",),
    files: Mapping[str, str] | None = None,
) -> None:
    """Runs until SIGTERM. Pods keep running after it ended, however it ended. With `leader_elect` scheduler and
    controllers work while this process holds their Leases; None: where there may be others. `files` are fields of
    ``spec.API_SERVER_FLAGS``, in place of the cluster's."""
    pipe = ReadyPipe(ready_fd)
    try:
        loop.run(
            lambda stop: ServerProcess(
                name, components, node, pipe, leader_elect=leader_elect, timing=timing, scheduler=scheduler,
                controllers=controllers, files=files or {},
            ).run(stop)
        )
    except BaseException as failed:
        pipe.failed(failed)
        raise

FRONT_PROXY = "front-proxy-client"
"""The user whose certificate extension API servers believe about who asks."""


class ServerProcess:
    """Starts what it was asked for, in the order in which each needs the other."""

    def __init__(
        self, name: str, components: Sequence[str], node: str, pipe: ReadyPipe, *, leader_elect: bool | None,
        timing: Timing | None, scheduler: SchedulerConfig | None, controllers: Sequence[str], files: Mapping[str, Any],
    ) -> None:  # fmt: skip
        spec, self._layout, self._ranges = find_cluster(name)
        self._spec = replace(spec, **files)
        if leader_elect is None:
            leader_elect = self._spec.nodes == 0 or "apiserver" not in components
        self._election = (timing or Timing()) if leader_elect else None
        self._scheduler_config = scheduler
        self._controllers = controllers
        self._components = components
        self._node = node
        self._pipe = pipe
        self._pki = Pki(self._layout.pki)
        self._authorities = [self._pki]

    async def run(self, stop: asyncio.Event) -> None:
        try:
            # The API server ends last: whoever leads gives its Lease back through it.
            async with contextlib.AsyncExitStack() as servers, asyncio.TaskGroup() as group:
                clients = await self._start_api_server(servers, group)
                self._start_components(group, clients)
                if self._spec.nodes != 1 and "apiserver" in self._components:
                    # Proxies and webhooks reach Pods from here; the routes go with the bridge.
                    routes = NodeRoutes(node="", cluster_cidr=str(self._ranges.pods))
                    group.create_task(follow_nodes(clients(roles.NODE_NETWORK_USER, ()), routes), name="routes")
                if self._node:
                    await self._start_node(group, clients)
                if self._spec.simulated_nodes and "apiserver" in self._components:
                    await self._start_simulated_nodes(group, clients)
                keeping = renewal.keep(self._spec.name, self._renewal, self._renew, SystemClock(), OSError)
                group.create_task(keeping, name="certificates")
                self._pipe.ready()
                await loop.until(stop)
        except* loop.Stopped:
            log.info("asked to end: Pods keep running")
        notify_systemd("STOPPING=1")

    async def _start_api_server(
        self, servers: contextlib.AsyncExitStack, group: asyncio.TaskGroup
    ) -> ClientFor:
        if "apiserver" not in self._components:
            return partial(self._remote_client, group)
        self._authorities += make_certificates(self._spec, self._layout, self._ranges)
        if self._spec.nodes == 0:
            control_plane.write_admin_kubeconfig(self._spec, self._layout)
        self._pipe.progress("certificates are there")
        server = ApiServer(api_server_config(self._spec, self._layout, self._ranges))
        names = {"scheduler": "scheduler", "controllers": "controller-manager"}
        server.component_statuses.here.update(names[c] for c in self._components if c in names)
        await server.start()
        servers.push_async_callback(server.stop)
        await self._make_first_objects(server)
        group.create_task(server.wait(), name="api server")
        self._pipe.progress(f"API server serves on port {self._spec.port}")
        return lambda user, groups: Client(InProcessTransport(server.local, user, groups))

    def _renewal(self) -> float:
        return min(authority.renewal() for authority in self._authorities)

    async def _renew(self) -> None:
        for authority in self._authorities:
            authority.renew()
        if self._spec.nodes == 0 and "apiserver" in self._components:
            control_plane.write_admin_kubeconfig(self._spec, self._layout)

    async def _make_first_objects(self, server: ApiServer) -> None:
        while True:
            try:
                await roles.ensure(server, roles.NODE_NETWORK_USER)
                if self._spec.simulated_nodes:
                    await roles.ensure(server, roles.SIMULATOR_USER)
                await storage.ensure(server, self._layout)
                await joining.ensure(server, self._spec, self._ranges)
                return
            except ApiError as refused:
                if refused.code != 409:
                    raise
                await server.registry.fresh()  # another control plane starts too, and made the same

    def _remote_client(self, group: asyncio.TaskGroup, user: str, groups: Sequence[str]) -> Client:
        pair = self._pki.client(user.replace(":", "_"), user, groups)
        transport = HttpsTransport(
            [f"https://127.0.0.1:{self._spec.port}"],
            ca_file=self._pki.ca.certificate,
            certificate=(pair.certificate, pair.key),
            user_agent=agent(user),
        )
        group.create_task(renewal.shown(pair, transport.renew), name=f"certificate of {user}")
        return Client(transport)

    def _start_components(self, group: asyncio.TaskGroup, clients: ClientFor) -> None:
        if "scheduler" in self._components:
            from podwright.cluster.components import scheduler

            chosen = scheduler(clients, self._scheduler_config, election=self._election)
            group.create_task(chosen.run(), name="scheduler")
        if "controllers" in self._components:
            from podwright.cluster.components import controllers

            made = controllers(
                self._spec, self._pki, self._ranges, clients, self._controllers, election=self._election
            )
            group.create_task(made, name="controllers")

    async def _start_simulated_nodes(self, group: asyncio.TaskGroup, clients: ClientFor) -> None:
        from podwright.kubelet.simulated.simulator import Simulator

        count, period = self._spec.simulated_nodes, min(10.0, self._spec.node_grace / 4)
        simulator = Simulator(clients(roles.SIMULATOR_USER, ()), count, lease_period=period)
        group.create_task(simulator.run(), name="simulated nodes")
        await simulator.ready()
        self._pipe.progress(f"{count} simulated nodes take Pods")

    async def _start_node(self, group: asyncio.TaskGroup, clients: ClientFor) -> None:
        from podwright.cluster.node_process import LocalNode

        node = LocalNode(
            self._spec,
            self._layout,
            self._ranges,
            self._node,
            clients(f"system:node:{self._node}", ("system:nodes",)),
            network_client=clients(roles.NODE_NETWORK_USER, ()),
            address=host.primary_address(),
        )
        await node.start(group)
        self._pipe.progress(f"{self._node} runs")
        await node.ready()


def make_certificates(spec: ClusterSpec, layout: Layout, ranges: Ranges) -> list[Pki]:
    """Everything that a local cluster's processes and its admin need, and who makes it anew in time."""
    pki = Pki(layout.pki)
    pki.ensure_ca()
    pki.ensure_service_account_key()
    names = [
        "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local", host.hostname(),
        "127.0.0.1", ranges.kubernetes_service, ranges.bridge_address, host.primary_address(),
        *((spec.address,) if spec.address else ()),
    ]  # fmt: skip
    pki.server("apiserver", "kube-apiserver", names)
    pki.client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"])
    pki.client("admin", "kubernetes-admin", ["system:masters"])
    for number, node in enumerate(node_names(spec), start=1):
        address = host.primary_address() if spec.nodes == 1 else ranges.node_address(number)
        pki.server(f"kubelet-{node}", f"system:node:{node}", [node, address, "127.0.0.1"], ["system:nodes"])
        if spec.nodes > 1:
            pki.client(f"node-{node}", f"system:node:{node}", ["system:nodes"])
    pki.client("node-network", roles.NODE_NETWORK_USER)
    front_proxy = Pki(layout.front_proxy)
    front_proxy.ensure_ca()
    front_proxy.client("client", FRONT_PROXY)
    return [pki, front_proxy]


def api_server_config(spec: ClusterSpec, layout: Layout, ranges: Ranges) -> ApiServerConfig:
    pki = Pki(layout.pki)
    layout.store_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files: dict[str, Any] = {field: Path(file) for field in API_SERVER_FILES if (file := getattr(spec, field))}
    return ApiServerConfig(
        store_url=spec.store or f"sqlite://{layout.store_file}",
        store_exclusive=not spec.store.startswith("etcd"),
        certificate=pki.directory / "apiserver.crt",
        key=pki.directory / "apiserver.key",
        client_ca=pki.ca.certificate,
        port=spec.port,
        advertise_address=spec.address or (host.primary_address() if spec.nodes == 1 else ranges.bridge_address),
        service_cidr=str(ranges.services),
        service_account_signing_key=pki.service_account_key,
        kubelet_client_certificate=pki.directory / "apiserver-kubelet-client.crt",
        kubelet_client_key=pki.directory / "apiserver-kubelet-client.key",
        kubelet_ca=pki.ca.certificate,
        proxy_client_certificate=layout.front_proxy / "client.crt",
        proxy_client_key=layout.front_proxy / "client.key",
        requestheader_client_ca=layout.front_proxy / "ca.crt",
        requestheader_allowed_names=(FRONT_PROXY,),
        encryption_config_automatic_reload=spec.encryption_config_automatic_reload,
        enabled_admission_plugins=_listed(spec.enabled_admission_plugins),
        disabled_admission_plugins=_listed(spec.disabled_admission_plugins),
        default_not_ready_toleration_seconds=spec.toleration,
        default_unreachable_toleration_seconds=spec.toleration,
        **files,
    )


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())
