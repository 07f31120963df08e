"""Seccomp profiles of containers."""

from __future__ import annotations

from typing import Any

import orjson

from podwright.runtime.protocol import ProfileType, RuntimeFailure, SecurityContext


def load(security: SecurityContext) -> dict[str, Any] | None:
    """The runtime specification's seccomp object, None for an unconfined container.

    Raises:
        RuntimeFailure: a Localhost profile cannot be read.
    """
    profile = security.seccomp
    if profile.type == ProfileType.UNCONFINED:
        return None
    if profile.type == ProfileType.RUNTIME_DEFAULT:
        raise RuntimeFailure("no default profile yet")
    try:
        with open(profile.path, "rb") as file:
            found = orjson.loads(file.read())
    except OSError as error:
        raise RuntimeFailure(f'cannot load seccomp profile "{profile.path}": {error.strerror}', "CreateContainerError")\
            from None
    except orjson.JSONDecodeError as error:
        raise RuntimeFailure(f'cannot load seccomp profile "{profile.path}": {error}', "CreateContainerError") from None
    if not isinstance(found, dict):
        raise RuntimeFailure(f'seccomp profile "{profile.path}" is not an object', "CreateContainerError")
    return found
