"""``podwright setup``: makes a host ready to run clusters."""

from __future__ import annotations

import click

from podwright.cli.options import tells_failures


@click.command()
@click.option("--development", is_flag=True, help="Also what tests and benchmarks need.")
def setup(development: bool) -> None:
    """Install the programs that Pods need, and build the demo images. Run twice, it does nothing the second time."""
    from podwright.cluster.setup import SetupFailed
    from podwright.cluster.setup import setup as prepare

    tells_failures(SetupFailed)(prepare)(click.echo, development=development)
