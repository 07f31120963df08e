"""``podwright server``: the control plane (and in a cluster of one node, that node), or part of it, as one process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from podwright.cli.options import api_server_options, name_option, ready_option, tells_failures

_COMPONENTS = ("apiserver", "scheduler", "controllers")
_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_seconds = click.FloatRange(min=0.1)


def _components(ctx: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    wanted = [c for c in value.split(",") if c]
    for component in wanted:
        if component not in _COMPONENTS:
            raise click.UsageError(f"no component {component!r}: there are {', '.join(_COMPONENTS)}")
    return wanted


@click.command()
@name_option
@click.option(
    "--components", default=",".join(_COMPONENTS), show_default=True, callback=_components,
    help="Which components this process runs.",
)  # fmt: skip
@click.option(
    "--store", default="",
    help="etcd://HOST:PORT,…: this machine is one of the control planes of the cluster there (the first start).",
)  # fmt: skip
@click.option("--advertise-address", default="", help="With --store: where others reach this machine.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="With --store: the API server's; default 6443.")
@click.option("--data-dir", default="", help="With --store: durable state; default /var/lib/podwright/NAME.")
@click.option("--fast-failover", is_flag=True, help="With --store: as in podwright up.")
@api_server_options
@click.option("--node", default="", help="Also run the kubelet of this node in the same process.")
@click.option(
    "--leader-elect/--no-leader-elect", default=None,
    help="Scheduler and controllers work only while this process holds their Lease. Default: yes, unless the API "
    "server is in the same process and no other control plane can be there.",
)  # fmt: skip
@click.option("--leader-elect-lease-duration", type=_seconds, default=None, help="Seconds; default 15.")
@click.option("--leader-elect-renew-deadline", type=_seconds, default=None, help="Seconds; default 10.")
@click.option("--leader-elect-retry-period", type=_seconds, default=None, help="Seconds; default 2.")
@click.option(
    "--kubeconfig", type=_file, default=None,
    help="Run scheduler or controllers against this API server, which need not be ours, instead of a cluster of this "
    "machine.",
)  # fmt: skip
@click.option("--config", type=_file, default=None, help="KubeSchedulerConfiguration of the scheduler; its "
              "leaderElection counts for the scheduler where no flag was given.")
@click.option("--controllers", default="*", show_default=True, help='Which controllers run: "*", NAME, -NAME, …')
@click.option("--cluster-name", default="kubernetes", show_default=True, help="With --kubeconfig: the cluster's name.")
@click.option("--cluster-cidr", default="", help="With --kubeconfig: Pod ranges, of which nodes are given a part each.")
@click.option("--root-ca-file", type=_file, default=None, help="With --kubeconfig: the CA published in namespaces.")
@click.option("--cluster-signing-cert-file", type=_file, default=None, help="With --kubeconfig: CA that signs CSRs.")
@click.option("--cluster-signing-key-file", type=_file, default=None, help="With --kubeconfig: that CA's key.")
@click.option(
    "--node-monitor-grace-period", type=click.FloatRange(min=1), default=50.0, show_default=True,
    help="With --kubeconfig: seconds that a node may be silent.",
)  # fmt: skip
@click.option(
    "--use-service-account-credentials/--no-use-service-account-credentials", default=True, show_default=True,
    help="With --kubeconfig: each controller calls as its own ServiceAccount.",
)  # fmt: skip
@click.option(
    "--secure-port", type=click.IntRange(0, 65535), default=None,
    help="With --kubeconfig: where /healthz and /metrics are; 0: nowhere. Default: 10259 with a scheduler, else 10257.",
)  # fmt: skip
@ready_option
def server(
    name: str, components: list[str], node: str, leader_elect: bool | None, leader_elect_lease_duration: float | None,
    leader_elect_renew_deadline: float | None, leader_elect_retry_period: float | None, kubeconfig: Path | None,
    config: Path | None, controllers: str, ready_fd: int | None, store: str, advertise_address: str, port: int,
    data_dir: str, fast_failover: bool, **remote: Any,
) -> None:  # fmt: skip
    """Run the control plane in the foreground (what systemd starts)."""
    from podwright.client.leader_election import Timing
    from podwright.scheduler import config_file

    seconds = {
        "lease_duration": leader_elect_lease_duration, "renew_deadline": leader_elect_renew_deadline,
        "retry_period": leader_elect_retry_period,
    }  # fmt: skip
    given = {field: value for field, value in seconds.items() if value is not None}
    try:
        timing = Timing(**given)
        scheduler = config_file.load(config) if config is not None else None
        if scheduler is not None:
            election = scheduler.leader_election
            elect = election.leader_elect if leader_elect is None else leader_elect
            election = replace(election, leader_elect=elect, timing=replace(election.timing, **given))
            scheduler = replace(scheduler, leader_election=election)
    except ValueError as bad:
        raise click.ClickException(str(bad)) from bad
    chosen = tuple(c for c in controllers.split(",") if c)
    if kubeconfig is None:
        from podwright.cluster import control_plane
        from podwright.cluster.registry import CannotAdd
        from podwright.cluster.server_process import run_server
        from podwright.cluster.spec import API_SERVER_FLAGS

        if store:
            asked = control_plane.Asked(store, advertise_address, port, data_dir, fast_failover)
            tells_failures(control_plane.CannotServe, CannotAdd)(control_plane.ensure)(name, asked)
        run_server(
            name, components=components, node=node, scheduler=scheduler, controllers=chosen,
            leader_elect=leader_elect, timing=timing, ready_fd=ready_fd,
            files={field: remote[field] for field in API_SERVER_FLAGS if remote[field]},
        )  # fmt: skip
        return
    if "apiserver" in components or node:
        raise click.UsageError("--kubeconfig is for --components scheduler, controllers, or both")
    from podwright.client.kubeconfig import BadKubeconfig
    from podwright.cluster.component_process import run_components
    from podwright.controllers.config import ControllerConfig

    ca = remote["root_ca_file"]
    try:
        run_components(
            components,
            kubeconfig,
            scheduler=scheduler,
            controllers=ControllerConfig(
                controllers=chosen,
                cluster_name=remote["cluster_name"],
                cluster_cidr=tuple(c for c in remote["cluster_cidr"].split(",") if c),
                root_ca=ca.read_text() if ca is not None else "",
                signing_ca_certificate=remote["cluster_signing_cert_file"],
                signing_ca_key=remote["cluster_signing_key_file"],
                node_monitor_grace_period=remote["node_monitor_grace_period"],
            ),
            election=timing if leader_elect is not False else None,
            service_accounts=remote["use_service_account_credentials"],
            ready_fd=ready_fd,
            secure_port=remote["secure_port"],
        )
    except BadKubeconfig as bad:
        raise click.ClickException(str(bad)) from bad
