"""Seccomp profiles of containers.

RuntimeDefault is an allow list: the system calls that ordinary programs use, more of them with the capabilities that
they need. The names lie in seccomp_default.json, the few rules on arguments here.
"""

from __future__ import annotations

import errno
import platform
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from podwright.runtime.protocol import ProfileType, RuntimeFailure, SecurityContext

_NAMESPACE_FLAGS = 0x7E020000
_AF_VSOCK = 40
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
}


def load(security: SecurityContext, capabilities: Sequence[str]) -> dict[str, Any] | None:
    """The runtime specification's seccomp object, None for an unconfined container.

    Raises:
        RuntimeFailure: a Localhost profile cannot be read.
    """
    profile = security.seccomp
    if profile.type == ProfileType.UNCONFINED:
        return None
    if profile.type == ProfileType.RUNTIME_DEFAULT:
        return default(capabilities)
    try:
        with open(profile.path, "rb") as file:
            found = orjson.loads(file.read())
    except OSError as error:
        raise _cannot_load(profile.path, error.strerror or str(error)) from None
    except orjson.JSONDecodeError as error:
        raise _cannot_load(profile.path, str(error)) from None
    if not isinstance(found, dict) or "defaultAction" not in found:
        raise _cannot_load(profile.path, "it has no defaultAction")
    return found


def _cannot_load(path: str, why: str) -> RuntimeFailure:
    return RuntimeFailure(f'cannot load seccomp profile "{path}": {why}', "CreateContainerError")


@cache
def _names() -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(files(__package__).joinpath("seccomp_default.json").read_bytes())
    return found


def default(capabilities: Sequence[str]) -> dict[str, Any]:
    """The RuntimeDefault profile for a container with these capabilities ("CAP_…")."""
    allowed = set(_names()["allow"])
    for capability, names in _names()["withCapability"].items():
        if capability in capabilities:
            allowed.update(names)
    rules: list[dict[str, Any]] = [{"names": sorted(allowed), "action": "SCMP_ACT_ALLOW"}]
    rules += [_rule(["personality"], 0, value, "SCMP_CMP_EQ") for value in _PERSONALITIES]
    rules.append(_rule(["socket"], 0, _AF_VSOCK, "SCMP_CMP_NE"))
    if "CAP_SYS_ADMIN" not in capabilities:
        no_namespaces = _rule(["clone"], 0, _NAMESPACE_FLAGS, "SCMP_CMP_MASKED_EQ")
        no_namespaces["args"][0]["valueTwo"] = 0
        rules.append(no_namespaces)
        # Its flags lie in memory, where seccomp cannot look: programs fall back to clone.
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno.EPERM,
        "architectures": _ARCHITECTURES.get(platform.machine(), []), "syscalls": rules,
    }


def _rule(names: list[str], index: int, value: int, operation: str) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": [{"index": index, "value": value, "op": operation}]}
