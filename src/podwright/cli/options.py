"""Options that several commands share, and how an expected failure is told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_NAME = "podwright"

name_option = click.option("--name", default=DEFAULT_NAME, show_default=True, help="The cluster's name.")
output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output format."
)
ready_option = click.option("--ready-fd", type=int, default=None, hidden=True)


def tells_failures(*kinds: type[Exception]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Exceptions of these kinds (and PermissionError) become one line on standard error and exit code 1."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as failed:
                if isinstance(failed, (*kinds, PermissionError)):
                    raise click.ClickException(str(failed)) from failed
                raise

        return wrapped

    return decorate


def given(ctx: click.Context, parameters: dict[str, Any]) -> dict[str, Any]:
    """Only those parameters that stood on the command line (or in the environment)."""
    return {
        key: value
        for key, value in parameters.items()
        if ctx.get_parameter_source(key) not in (click.core.ParameterSource.DEFAULT, None)
    }
