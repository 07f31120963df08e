"""Scheduler and controllers with their clients and configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from podwright.client.client import Client
from podwright.cluster.pki import Pki
from podwright.cluster.registry import Ranges
from podwright.cluster.spec import ClusterSpec

ClientFor = Callable[[str, Sequence[str]], Client]

_SERVICE_ACCOUNTS = ("system:serviceaccounts", "system:serviceaccounts:kube-system")


async def scheduler(clients: ClientFor) -> None:
    from podwright.scheduler.scheduler import Scheduler

    await Scheduler(clients("system:kube-scheduler", ())).run()


async def controllers(spec: ClusterSpec, pki: Pki, ranges: Ranges, clients: ClientFor) -> None:
    from podwright.controllers.config import ControllerConfig
    from podwright.controllers.manager import ControllerManager

    config = ControllerConfig(
        cluster_name=spec.name,
        node_monitor_grace_period=spec.node_grace,
        node_monitor_period=min(5.0, spec.node_grace / 8),
        # A small cluster is drained at once: one node of two is no zone in trouble.
        node_eviction_rate=0.1 if spec.node_grace >= 40 else 10.0,
        cluster_cidr=(str(ranges.pods),),
        # With the cluster's data, so that --purge leaves none of it behind.
        pvc_local_path_root=str(pki.directory.parent / "volumes"),
        root_ca=pki.ca.certificate.read_text(),
        signing_ca_certificate=pki.ca.certificate,
        signing_ca_key=pki.ca.key,
    )

    def client_for(user: str) -> Client:
        groups = _SERVICE_ACCOUNTS if user.startswith("system:serviceaccount:") else ()
        return clients(user, groups)

    await ControllerManager(client_for, config=config).run()
