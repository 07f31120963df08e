"""Scheduler and controllers with their clients and configuration, elected where several processes have them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from podwright.client.client import Client
from podwright.client.leader_election import LeaderElector, Timing
from podwright.cluster import host
from podwright.cluster.pki import Pki
from podwright.cluster.registry import Ranges
from podwright.cluster.spec import ClusterSpec

if TYPE_CHECKING:
    from podwright.controllers.config import ControllerConfig
    from podwright.scheduler.config import SchedulerConfig
    from podwright.scheduler.scheduler import Scheduler

ClientFor = Callable[[str, Sequence[str]], Client]

_SERVICE_ACCOUNTS = ("system:serviceaccounts", "system:serviceaccounts:kube-system")


def scheduler(
    clients: ClientFor, config: SchedulerConfig | None = None, *, election: Timing | None = None
) -> Scheduler:
    """A candidate for the configuration's Lease if that says so; if it says nothing, with `election`, which is also the
    timing if there is no configuration."""
    from podwright.scheduler.config import LeaderElectionConfig, SchedulerConfig
    from podwright.scheduler.scheduler import Scheduler

    config = config or SchedulerConfig(leader_election=LeaderElectionConfig(timing=election or Timing()))
    chosen = config.leader_election
    if chosen.leader_elect is None:
        chosen = replace(chosen, leader_elect=election is not None)
    return Scheduler(clients("system:kube-scheduler", ()), config=replace(config, leader_election=chosen))


async def controllers(
    spec: ClusterSpec, pki: Pki, ranges: Ranges, clients: ClientFor, chosen: Sequence[str] = ("*",), *,
    election: Timing | None = None,
) -> None:  # fmt: skip
    """The controllers of a local cluster, those that are `chosen` (see ControllerConfig)."""
    from podwright.controllers.config import ControllerConfig

    config = ControllerConfig(
        controllers=tuple(chosen),
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
    await run_controllers(clients, config, election=election)


async def run_controllers(clients: ClientFor, config: ControllerConfig, *, election: Timing | None) -> None:
    from podwright.controllers.manager import INFORMER_USER, ControllerManager

    def client_for(user: str) -> Client:
        return clients(user, _SERVICE_ACCOUNTS if user.startswith("system:serviceaccount:") else ())

    if election is None:
        await ControllerManager(client_for, config=config).run()
        return
    identity = f"{host.hostname()}_{os.getpid()}_{uuid.uuid4()}"
    elector = LeaderElector(
        client_for(INFORMER_USER), name="kube-controller-manager", identity=identity, timing=election
    )
    manager = ControllerManager(lambda user: elector.fenced(client_for(user)), config=config)
    await elector.run(manager.run)
