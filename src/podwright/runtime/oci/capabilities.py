"""Linux capabilities: the default set of the container world, and what add and drop make of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

ALL = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)
"""In the order of their numbers (linux/capability.h)."""

DEFAULT = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
"""docker's and containerd's default."""


class UnknownCapability(ValueError):
    """There is no capability of that name."""


@cache
def held() -> frozenset[str]:
    """What this process may hand on at all: its bounding set."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            bits = int(line.split()[1], 16)
            return frozenset(name for number, name in enumerate(ALL) if bits >> number & 1)
    return frozenset(ALL)


def has_sys_resource() -> bool:
    return "CAP_SYS_RESOURCE" in held()


def effective(
    *, add: Sequence[str], drop: Sequence[str], privileged: bool, available: frozenset[str] | None = None
) -> list[str]:
    """The capabilities of a container, sorted. "ALL" is dropped before and added after the named ones, as containerd
    does. What this host cannot give is left out.

    Raises:
        UnknownCapability: for the first name that is none.
    """
    available = held() if available is None else available
    if privileged:
        return sorted(available)
    added, dropped = [_full(name) for name in add], [_full(name) for name in drop]
    found = set() if "ALL" in dropped else set(DEFAULT)
    if "ALL" in added:
        found = set(ALL)
    found |= {name for name in added if name != "ALL"}
    found -= {name for name in dropped if name != "ALL"}
    return sorted(found & available)


def _full(name: str) -> str:
    upper = name.upper()
    if upper == "ALL":
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in ALL:
        raise UnknownCapability(f'unknown capability "{full}"')
    return full
