"""``podwright up``, ``down`` and ``status``."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from podwright.cli.options import api_server_options, given, name_option, output_option, runtime_option, tells_failures


def _failures() -> tuple[type[Exception], ...]:
    from podwright.cluster.down import NoSuchCluster
    from podwright.cluster.kubeconfig import NotAKubeconfig
    from podwright.cluster.layout import BadClusterName
    from podwright.cluster.node_link import LinkFailed
    from podwright.cluster.processes import StartFailed
    from podwright.cluster.registry import CannotAdd
    from podwright.cluster.up import BadFlags
    from podwright.kubelet.config_file import BadConfiguration

    return (
        BadConfiguration, BadFlags, BadClusterName, StartFailed, LinkFailed, CannotAdd, NoSuchCluster, NotAKubeconfig,
    )  # fmt: skip


def _store(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if value:
        from podwright.store.urls import open_store

        try:
            open_store(value)
        except ValueError as wrong:
            raise click.BadParameter(str(wrong)) from wrong
    return value


@click.command()
@name_option
@click.option("--nodes", type=click.IntRange(1, 200), default=1, show_default=True, help="Real nodes.")
@click.option("--data-dir", default="", help="Durable state; default /var/lib/podwright/NAME.")
@click.option("--kubeconfig", default="", help="File to merge the context into; default $KUBECONFIG or ~/.kube/config.")
@click.option("--port", type=click.IntRange(1, 65535), default=None, help="API server port; default 6443 or next free.")
@click.option("--store", default="", callback=_store, help="sqlite:///FILE (default) or etcd://HOST:PORT,…")
@runtime_option
@click.option("--simulated-nodes", type=click.IntRange(0, 20000), default=0, help="Nodes without containers.")
@click.option("--static-pods", default="", help="Directory of manifests that node-1's kubelet runs by itself.")
@click.option("--kubelet-config", default="", help="KubeletConfiguration file of the nodes; read at each start.")
@click.option("--fast-failover", is_flag=True, help="Replace Pods of a dead node after 4 s instead of 50 s + 300 s.")
@click.option("--crash-loop-initial", type=float, default=10.0, hidden=True)
@click.option("--crash-loop-maximum", type=float, default=300.0, hidden=True)
@click.option("--crash-loop-reset", type=float, default=600.0, hidden=True)
@click.option(
    "--shutdown-grace-period", "shutdown_grace", type=click.FloatRange(0), default=30.0, show_default=True,
    help="Seconds in which a node's shutdown ends its Pods; 0: it does not wait for them.",
)
@click.option(
    "--shutdown-grace-period-critical-pods", "shutdown_grace_critical", type=click.FloatRange(0), default=10.0,
    show_default=True, help="The last part of them, kept for critical Pods.",
)
@api_server_options
@click.option("--node-grace", type=float, default=50.0, hidden=True)
@click.option("--toleration", type=int, default=300, hidden=True)
@click.pass_context
def up(ctx: click.Context, /, name: str, **parameters: Any) -> None:
    """Start a cluster in the background; returns when every node is Ready."""
    begin = time.monotonic()
    from podwright.cluster.up import OtherFlags, require_root
    from podwright.cluster.up import up as start

    def progress(process: str, line: str) -> None:
        click.echo(f"  {time.monotonic() - begin:5.2f}s  {line}")

    run = tells_failures(*_failures())(start)
    tells_failures()(require_root)()
    try:
        spec, path = run(name, given(ctx, parameters), progress)
    except OtherFlags as other:
        click.echo(f"{other}:", err=True)
        for line in other.differences:
            click.echo(f"  {line}", err=True)
        click.echo(f"take it down first: podwright down --name {name} --purge", err=True)
        sys.exit(1)
    nodes = f"{spec.nodes} node{'s' if spec.nodes > 1 else ''} Ready" if spec.nodes else "a control plane"
    if spec.simulated_nodes:
        nodes += f" and {spec.simulated_nodes} simulated"
    server = spec.server or f"https://127.0.0.1:{spec.port}"
    click.echo(f"cluster {name}: {nodes} in {time.monotonic() - begin:.2f}s, {server}")
    if path is not None:
        click.echo(f"kubeconfig: {path}")


@click.command()
@name_option
@click.option("--purge", is_flag=True, help="Also delete the data: nothing of the cluster is left.")
def down(name: str, purge: bool) -> None:
    """Stop a cluster's Pods and processes; keeps its data."""
    from podwright.cluster.down import down as stop
    from podwright.cluster.up import require_root

    tells_failures()(require_root)()
    tells_failures(*_failures())(stop)(name, purge=purge, progress=lambda line: click.echo(f"  {line}"))
    click.echo(f"cluster {name} is down" + (" and gone" if purge else "; its data is kept"))


@click.command()
@name_option
@output_option
def status(name: str, output: str) -> None:
    """Say what runs. Exit code 0 if everything does, else 3."""
    from podwright.cluster.status import status as ask

    report = tells_failures(*_failures())(ask)(name)
    if output == "json":
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo(f"cluster {report['name']}   {report['server']}   data {report['data']}")
        for process in report["processes"]:
            state = f"running, pid {process['pid']}" if process["running"] else "not running"
            click.echo(f"  process {process['name']:<12} {state}")
        for node in (n for n in report["nodes"] if not n["simulated"]):
            ready = "Ready" if node["ready"] else "NotReady"
            click.echo(f"  node    {node['name']:<12} {ready}, {node['pods']} Pods, {', '.join(node['addresses'])}")
        if simulated := [n for n in report["nodes"] if n["simulated"]]:
            ready = sum(n["ready"] for n in simulated)
            pods = sum(n["pods"] for n in simulated)
            click.echo(f"  simulated nodes: {ready} of {len(simulated)} Ready, {pods} Pods")
        if "error" in report:
            click.echo(f"  the API server does not answer: {report['error']}")
    if not report["ready"]:
        sys.exit(3)
