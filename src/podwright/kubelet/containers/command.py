"""command and args of a container, expanded (documentation page "Define a Command and Arguments")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from podwright.api.objects import Object
from podwright.kubelet.containers.expansion import expand


def command_and_args(ctr: Object, env: Mapping[str, str]) -> tuple[Sequence[str] | None, Sequence[str] | None]:
    """What replaces the image's entrypoint and cmd. A command without args drops the image's cmd too."""
    command, args = ctr.get("command"), ctr.get("args")
    expanded_command = [expand(part, env) for part in command] if command else None
    expanded_args = [expand(part, env) for part in args] if args else None
    if expanded_command is not None and expanded_args is None:
        expanded_args = []
    return expanded_command, expanded_args
