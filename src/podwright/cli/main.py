"""The ``podwright`` command: a group whose subcommands are imported only when they are called, so that each starts
fast."""

from __future__ import annotations

import gc
import importlib

import click

from podwright import KUBERNETES_VERSION, __version__

# What a command imports and what a server caches lives long: not to be walked again and again on the way.
gc.set_threshold(20_000, 20, 50)

_COMMANDS = {
    "up": "podwright.cli.clusters:up",
    "down": "podwright.cli.clusters:down",
    "status": "podwright.cli.clusters:status",
    "image": "podwright.cli.images:image",
    "inspect": "podwright.cli.inspect:inspect",
    "explain-placement": "podwright.cli.placement:explain_placement",
    "server": "podwright.cli.server:server",
    "node": "podwright.cli.nodes:node",
    "dashboard": "podwright.cli.dashboard:dashboard",
    "token": "podwright.cli.tokens:token",
    "backup": "podwright.cli.data:backup",
    "restore": "podwright.cli.data:restore",
    "migrate": "podwright.cli.data:migrate",
    "setup": "podwright.cli.setup:setup",
}


class LazyGroup(click.Group):
    """A group that finds its commands by import path."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        path = _COMMANDS.get(cmd_name)
        if path is None:
            return None
        module, _, attribute = path.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message=f"podwright %(version)s (Kubernetes {KUBERNETES_VERSION})")
def main() -> None:
    """Kubernetes Pods on Linux, in Python: a whole cluster in about a second."""
