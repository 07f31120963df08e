"""``podwright image``: load, pull, list and remove a cluster's images."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from podwright.cli.options import name_option, output_option, tells_failures


def _store(name: str) -> Any:
    from podwright.cluster.down import NoSuchCluster, find_cluster
    from podwright.cluster.node_process import image_service

    spec, layout, _ = tells_failures(NoSuchCluster)(find_cluster)(name)
    return image_service(spec, layout)


def _failures() -> tuple[type[Exception], ...]:
    from podwright.runtime.protocol import RuntimeFailure

    return (RuntimeFailure, OSError, ValueError)


def _load(store: Any, file: Path) -> list[str]:
    if not hasattr(store, "load_archive"):
        raise ValueError("the images are the container runtime's: load them by its tools (ctr -n k8s.io images import)")
    loaded: list[str] = asyncio.run(store.load_archive(file))
    return loaded


def _remove(store: Any, reference: str) -> bool:
    if asyncio.run(store.image_status(reference)) is None:
        return False
    asyncio.run(store.remove_image(reference))
    return True


@click.group()
def image() -> None:
    """Images of a cluster: OCI and docker archives, or a registry's."""


@image.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@name_option
def load(files: tuple[Path, ...], name: str) -> None:
    """Load images from archive files."""
    store = _store(name)
    for file in files:
        for reference in tells_failures(*_failures())(_load)(store, file):
            click.echo(f"loaded {reference}")


@image.command()
@click.argument("reference")
@name_option
def pull(reference: str, name: str) -> None:
    """Pull an image from its registry."""
    store = _store(name)
    image_id = tells_failures(*_failures())(lambda: asyncio.run(store.pull_image(reference)))()
    click.echo(image_id)


@image.command()
@name_option
@output_option
def ls(name: str, output: str) -> None:
    """List images."""
    store = _store(name)
    images = tells_failures(*_failures())(lambda: asyncio.run(store.list_images()))()
    if output == "json":
        rows = [
            {"id": i.id, "repoTags": list(i.repo_tags), "repoDigests": list(i.repo_digests), "size": i.size}
            for i in images
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo(f"{'IMAGE':<50} {'ID':<14} SIZE")
    for found in images:
        for tag in found.repo_tags or ("<none>",):
            click.echo(f"{tag:<50} {found.id.removeprefix('sha256:')[:12]:<14} {found.size / 1e6:.1f} MB")


@image.command()
@click.argument("references", nargs=-1, required=True)
@name_option
def rm(references: tuple[str, ...], name: str) -> None:
    """Remove images by reference or id."""
    store = _store(name)
    for reference in references:
        if not tells_failures(*_failures())(_remove)(store, reference):
            raise click.ClickException(f"no image {reference!r} in cluster {name}")
        click.echo(f"removed {reference}")


@image.command(hidden=True)
def collect() -> None:
    """Delete the content that no cluster of this machine refers to."""
    from podwright.cluster.image_garbage import collect_images

    collect_images()
