"""The interface that holds the cluster's DNS address on a node: a bridge without ports (which kernels without the dummy
driver have too), so that the address is the node's own and goes with the interface."""

from __future__ import annotations

import socket
import subprocess


def ensure(interface: str, address: str) -> None:
    """Makes the interface with the address if it is not there. Raises OSError."""
    if not _exists(interface):
        _batch(
            f"link add {interface} type bridge", f"addr add {address}/32 dev {interface}", f"link set {interface} up",
        )


def remove(interface: str) -> None:
    """Idempotent."""
    if _exists(interface):
        _batch(f"link del {interface}")


def _exists(interface: str) -> bool:
    """In this network namespace: /sys may be another one's."""
    return any(name == interface for _, name in socket.if_nameindex())


def _batch(*lines: str) -> None:
    done = subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(f"ip: {done.stderr.strip()}")
