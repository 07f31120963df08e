"""``podwright node``: one node's process, and what can be done to a node."""

from __future__ import annotations

import click

from podwright.cli.options import name_option, ready_option, runtime_option, tells_failures


@click.group(invoke_without_command=True)
@name_option
@click.option("--node", "node_name", default="", help="The node's name in its cluster.")
@ready_option
@click.pass_context
def node(ctx: click.Context, name: str, node_name: str, ready_fd: int | None) -> None:
    """Run a node's kubelet in the foreground (what systemd starts); or join, stop or kill one."""
    if ctx.invoked_subcommand is not None:
        return
    if not node_name:
        raise click.UsageError("--node is missing")
    from podwright.cluster.node_process import run_node

    run_node(name, node_name, ready_fd=ready_fd)


@node.command()
@click.option("--server", required=True, metavar="URL", help="The cluster's API server.")
@click.option("--token", required=True, help="A token of podwright token create.")
@click.option("--ca-hash", required=True, metavar="HASH", help="sha256:… of its CA, as token create prints it.")
@click.option("--name", default="", help="The cluster's name on this machine.  [default: its own name]")
@click.option("--node", default="", help="The node's name.  [default: this machine's host name]")
@click.option("--address", default="", help="Where others reach the node.  [default: the address towards the server]")
@click.option("--data-dir", default="", help="Where its data lies.  [default: /var/lib/podwright/NAME]")
@runtime_option
@click.option("--kubelet-config", default="", help="KubeletConfiguration file; read at each start.")
def join(**asked: str) -> None:
    """Make this machine a node of a cluster that runs elsewhere."""
    from podwright.cluster.join import Asked, CannotJoin
    from podwright.cluster.join import join as join_cluster
    from podwright.cluster.layout import BadClusterName
    from podwright.cluster.processes import StartFailed
    from podwright.cluster.registry import CannotAdd
    from podwright.cluster.up import require_root
    from podwright.kubelet.config_file import BadConfiguration

    tells_failures()(require_root)()
    failures = tells_failures(BadConfiguration, CannotJoin, BadClusterName, CannotAdd, StartFailed)
    spec = failures(join_cluster)(Asked(**asked), lambda node, text: click.echo(f"{node}: {text}"))
    click.echo(f"{spec.joined_node} is a Ready node of cluster {spec.name}; podwright down --name {spec.name} stops it")


@node.command()
@click.argument("node_name", metavar="NODE")
@name_option
def kill(node_name: str, name: str) -> None:
    """End a node of a local cluster with everything in it, as a power cut would."""
    from podwright.cluster.down import NoSuchCluster
    from podwright.cluster.node_kill import NoSuchNode, kill_node
    from podwright.cluster.up import require_root

    tells_failures()(require_root)()
    tells_failures(NoSuchCluster, NoSuchNode, TimeoutError)(kill_node)(name, node_name)
    click.echo(f"node {node_name} of cluster {name} is dead; podwright up --name {name} boots it again")


@node.command()
@click.argument("node_name", metavar="[NODE]", default="")
@name_option
def stop(node_name: str, name: str) -> None:
    """Shut a node down gracefully: its Pods end within the configured graces, critical ones last."""
    from podwright.cluster.down import NoSuchCluster
    from podwright.cluster.node_kill import NoSuchNode
    from podwright.cluster.node_stop import stop_node
    from podwright.cluster.up import require_root

    tells_failures()(require_root)()
    stopped = tells_failures(NoSuchCluster, NoSuchNode, TimeoutError)(stop_node)(name, node_name)
    click.echo(f"node {stopped} of cluster {name} is stopped; podwright up --name {name} starts it again")


@node.command("measure-disk")
def measure_disk() -> None:
    """Measure this machine's disk again; nodes advertise it from their next start."""
    from podwright.cluster.layout import DISK_SPEED
    from podwright.cluster.up import require_root
    from podwright.kubelet.node.disk_speed import measured_once

    tells_failures()(require_root)()
    DISK_SPEED.parent.mkdir(parents=True, exist_ok=True)
    for name, speed in tells_failures(OSError)(measured_once)(DISK_SPEED, DISK_SPEED.parent, anew=True).items():
        click.echo(f"{name}: {speed}")


@node.command(hidden=True)
@name_option
@click.option("--node", "node_name", required=True)
@click.option("--remove", is_flag=True, help="Remove the stopped Pods' records too.")
def clear(name: str, node_name: str, remove: bool) -> None:
    """Stop every Pod of a node whose kubelet is down."""
    from podwright.cluster.node_process import clear_node
    from podwright.runtime.protocol import RuntimeFailure

    tells_failures(RuntimeFailure)(clear_node)(name, node_name, remove=remove)
