"""``podwright dashboard``."""

from __future__ import annotations

import asyncio

import click

from podwright.cli.options import name_option, tells_failures


@click.command()
@name_option
@click.option("--port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="Port on 127.0.0.1.")
def dashboard(name: str, port: int) -> None:
    """Show nodes, Pods and events on a web page of this machine, until Ctrl-C.

    The page only reads; as kubectl proxy's, it is there for everybody who is on this machine.
    """
    from podwright.api.status import ApiError
    from podwright.client.transport import ServerUnreachable
    from podwright.cluster import loop
    from podwright.cluster.admin import admin_client
    from podwright.cluster.down import NoSuchCluster, find_cluster
    from podwright.cluster.pki import Pki
    from podwright.dashboard.server import serving

    spec, layout, _ = tells_failures(NoSuchCluster)(find_cluster)(name)

    async def main(stop: asyncio.Event) -> None:
        async with admin_client(spec, Pki(layout.pki)) as client:
            await client.raw("GET", "/version")  # a page of a cluster that is down would stay empty
            async with serving(client, port=port) as url:
                click.echo(f"{url} shows cluster {name}; Ctrl-C ends it")
                await stop.wait()

    try:
        tells_failures(NoSuchCluster, ApiError, ServerUnreachable)(loop.run)(main)
    except OSError as taken:
        raise click.ClickException(f"port {port}: {taken}") from taken
