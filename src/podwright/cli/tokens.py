"""``podwright token``: bootstrap tokens, with which machines join a cluster."""

from __future__ import annotations

import dataclasses
import json

import click

from podwright.cli.options import name_option, output_option, tells_failures


def _failures() -> tuple[type[Exception], ...]:
    from podwright.api.status import ApiError
    from podwright.client.transport import ServerUnreachable
    from podwright.cluster.down import NoSuchCluster
    from podwright.cluster.tokens import BadToken

    return (BadToken, NoSuchCluster, ApiError, ServerUnreachable, TimeoutError)


@click.group()
def token() -> None:
    """Tokens with which machines join a cluster."""


@token.command()
@click.option("--ttl", default="24h", show_default=True, help="How long it is good: 24h, 1h30m; 0 for ever.")
@name_option
def create(ttl: str, name: str) -> None:
    """Make a token; prints it, and the line that joins a machine with it."""
    from podwright.cluster import tokens

    made = tells_failures(*_failures())(lambda: tokens.create(name, tokens.time_to_live(ttl)))()
    click.echo(made.token.token)
    click.echo(made.command)


@token.command("list")
@name_option
@output_option
def list_(name: str, output: str) -> None:
    """List tokens."""
    from podwright.cluster import tokens

    found = tells_failures(*_failures())(tokens.listing)(name)
    if output == "json":
        click.echo(json.dumps([dataclasses.asdict(row) for row in found], indent=2))
        return
    click.echo(f"{'TOKEN':<24} {'EXPIRES':<21} USAGES")
    for row in found:
        click.echo(f"{row.token:<24} {row.expires or 'never':<21} {','.join(row.usages)}")


@token.command()
@click.argument("tokens", nargs=-1, required=True, metavar="TOKEN...")
@name_option
def delete(tokens: tuple[str, ...], name: str) -> None:
    """Delete tokens, given whole or by their first six characters."""
    from podwright.cluster.tokens import delete as remove

    for given in tokens:
        click.echo(f"deleted {tells_failures(*_failures())(remove)(name, given)}")
