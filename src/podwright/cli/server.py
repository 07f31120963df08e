"""``podwright server``: the control plane (and in a cluster of one node, that node) as one process."""

from __future__ import annotations

import click

from podwright.cli.options import name_option, ready_option

_COMPONENTS = ("apiserver", "scheduler", "controllers")


@click.command()
@name_option
@click.option(
    "--components", default=",".join(_COMPONENTS), show_default=True, help="Which components this process runs."
)
@click.option("--node", default="", help="Also run the kubelet of this node in the same process.")
@ready_option
def server(name: str, components: str, node: str, ready_fd: int | None) -> None:
    """Run the control plane in the foreground (what systemd starts)."""
    from podwright.cluster.server_process import run_server

    wanted = [c for c in components.split(",") if c]
    for component in wanted:
        if component not in _COMPONENTS:
            raise click.UsageError(f"no component {component!r}: there are {', '.join(_COMPONENTS)}")
    run_server(name, components=wanted, node=node, ready_fd=ready_fd)
