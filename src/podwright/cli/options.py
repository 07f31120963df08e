"""Options that several commands share, and how an expected failure is told."""

from __future__ import annotations

import functools
import os
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
_file = click.Path(exists=True, dir_okay=False, resolve_path=True)
_API_SERVER_OPTIONS = (
    click.option(
        "--authentication-config", type=_file, default=None,
        help="AuthenticationConfiguration of the API server: issuers of tokens, who is anonymous.",
    ),
    click.option(
        "--authorization-config", type=_file, default=None,
        help="AuthorizationConfiguration: authorizers in order, in place of Node and RBAC.",
    ),
    click.option(
        "--encryption-provider-config", "encryption_config", type=_file, default=None,
        help="EncryptionConfiguration: what is encrypted in the store, and by which keys.",
    ),
    click.option(
        "--encryption-provider-config-automatic-reload", "encryption_config_automatic_reload", is_flag=True,
        help="Take that file over whenever it changes.",
    ),
    click.option(
        "--audit-policy-file", "audit_policy", type=_file, default=None, help="Policy of audit.k8s.io: what is logged.",
    ),
    click.option(
        "--audit-log-path", "audit_log", type=click.Path(dir_okay=False, resolve_path=True), default=None,
        help="File that the audit log is appended to, one JSON line an event.",
    ),
    click.option(
        "--admission-control-config-file", "admission_config", type=_file, default=None,
        help="AdmissionConfiguration: settings of admission plugins.",
    ),
    click.option(
        "--enable-admission-plugins", "enabled_admission_plugins", default="", metavar="NAME,…",
        help="Admission plugins beside those that run by default.",
    ),
    click.option(
        "--disable-admission-plugins", "disabled_admission_plugins", default="", metavar="NAME,…",
        help="Admission plugins that do not run.",
    ),
)  # fmt: skip


def api_server_options(function: Callable[P, R]) -> Callable[P, R]:
    """How the API server works, by the names of kube-apiserver's flags."""
    for option in reversed(_API_SERVER_OPTIONS):
        function = option(function)
    return function


def _runtime(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if value not in ("auto", "crun", "runc") and not value.startswith("cri://"):
        raise click.BadParameter(f"{value!r} is none of auto, crun, runc and cri:///run/x.sock")
    return value


runtime_option = click.option(
    "--runtime", default="auto", show_default=True, callback=_runtime, help="auto, crun, runc or cri:///run/x.sock."
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
                if not isinstance(failed, (*kinds, PermissionError)):
                    raise
                # The kernel's refusals have a number; those that say themselves what to do have none.
                denied = isinstance(failed, PermissionError) and failed.errno is not None and os.geteuid() != 0
                raise click.ClickException(f"{failed}{': run it with sudo' if denied else ''}") from failed

        return wrapped

    return decorate


def given(ctx: click.Context, parameters: dict[str, Any]) -> dict[str, Any]:
    """Only those parameters that stood on the command line (or in the environment)."""
    return {
        key: value
        for key, value in parameters.items()
        if ctx.get_parameter_source(key) not in (click.core.ParameterSource.DEFAULT, None)
    }
