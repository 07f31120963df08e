"""What the host looks like from outside: its name and the address by which others reach it."""

from __future__ import annotations

import socket


def hostname() -> str:
    return socket.gethostname().lower() or "localhost"


def primary_address() -> str:
    """The IPv4 address of the interface with the default route; 127.0.0.1 on a host without one. Sends nothing."""
    return address_towards("192.0.2.254")  # of the documentation range: nobody is there


def address_towards(host: str) -> str:
    """The own IPv4 address from which `host` is reached; 127.0.0.1 if it is not. Sends nothing but a name's look-up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket only asks the routing table.
            probe.connect((host, 9))
            address = str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
    return address
