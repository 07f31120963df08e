"""``podwright backup``, ``restore`` and ``migrate``."""

from __future__ import annotations

from pathlib import Path

import click

from podwright.cli.options import name_option, tells_failures


def _failures() -> tuple[type[Exception], ...]:
    from podwright.cluster.data import DataRefused
    from podwright.cluster.down import NoSuchCluster
    from podwright.store.migrate import MigrationFailed
    from podwright.store.protocol import StoreUnavailable

    return (DataRefused, NoSuchCluster, MigrationFailed, StoreUnavailable, OSError)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@name_option
def backup(file: Path, name: str) -> None:
    """Write a cluster's data to FILE; the cluster may run meanwhile."""
    from podwright.cluster.data import backup as write

    revision = tells_failures(*_failures())(write)(name, file)
    click.echo(f"cluster {name} at revision {revision}: {file}, {file.stat().st_size / 1e6:.1f} MB")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@name_option
def restore(file: Path, name: str) -> None:
    """Replace the data of a cluster that is down by a backup's."""
    from podwright.cluster.data import restore as put_back

    revision = tells_failures(*_failures())(put_back)(name, file)
    click.echo(f"cluster {name} has the data of {file}, revision {revision}; start it: podwright up --name {name}")


@click.command()
@click.option("--from", "source", required=True, metavar="URL", help="sqlite:///FILE or etcd://HOST:PORT,…")
@click.option("--to", "target", required=True, metavar="URL", help="An empty store.")
def migrate(source: str, target: str) -> None:
    """Copy everything from one store to another, and compare. Nobody may write to either meanwhile."""
    from podwright.cluster.data import migrate as move

    count = tells_failures(*_failures())(move)(source, target)
    click.echo(f"{count} entries copied and compared: {target}")
