"""Routes and bound ports of a process's network namespace, out of /proc/PID/net."""

from __future__ import annotations

import ipaddress
import struct
from pathlib import Path

_LISTEN = "0A"
_UNCONNECTED = "07"
_BOUND = {"tcp": _LISTEN, "tcp6": _LISTEN, "udp": _UNCONNECTED, "udp6": _UNCONNECTED}


def routes(text: str) -> list[dict[str, str]]:
    """The IPv4 routes of /proc/PID/net/route; no gateway is an empty string."""
    found = []
    for line in text.splitlines()[1:]:
        device, destination, gateway, *_, mask, _mtu, _window, _irtt = line.split()
        network = ipaddress.ip_network(f"{_address4(destination)}/{_address4(mask)}", strict=False)
        via = "" if gateway == "00000000" else _address4(gateway)
        found.append({"destination": str(network), "gateway": via, "device": device})
    return found


def all_routes(net: Path) -> list[dict[str, str]]:
    """IPv4 and IPv6, below a /proc/PID/net."""
    found = routes((net / "route").read_text())
    table = net / "ipv6_route"
    return [*found, *routes6(table.read_text())] if table.exists() else found


def routes6(text: str) -> list[dict[str, str]]:
    """The IPv6 routes of /proc/PID/net/ipv6_route, without those of loopback and of multicast."""
    found = []
    for line in text.splitlines():
        destination, length, _, _, gateway, *_, device = line.split()
        network = ipaddress.IPv6Network((int(destination, 16), int(length, 16)))
        if device == "lo" or network.is_multicast:
            continue
        via = "" if int(gateway, 16) == 0 else str(ipaddress.IPv6Address(int(gateway, 16)))
        found.append({"destination": str(network), "gateway": via, "device": device})
    return found


def ports(net: Path) -> list[dict[str, str | int]]:
    """Listening TCP and unconnected UDP sockets, below a /proc/PID/net."""
    found: list[dict[str, str | int]] = []
    for protocol, state in _BOUND.items():
        table = net / protocol
        if table.exists():
            found.extend(bound(protocol, table.read_text(), state))
    return found


def bound(protocol: str, text: str, state: str) -> list[dict[str, str | int]]:
    """The sockets of one table, of /proc/PID/net/tcp's form, that are in a state (two hex digits)."""
    found: list[dict[str, str | int]] = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if fields[3] != state:
            continue
        address, _, port = fields[1].partition(":")
        spoken = _address6(address) if protocol.endswith("6") else _address4(address)
        found.append({"protocol": protocol, "address": spoken, "port": int(port, 16)})
    return found


def _address4(text: str) -> str:
    """The kernel prints the four bytes as a number of the host's byte order."""
    return str(ipaddress.IPv4Address(struct.pack("=I", int(text, 16))))


def _address6(text: str) -> str:
    words = (int(text[start : start + 8], 16) for start in range(0, 32, 8))
    return str(ipaddress.IPv6Address(struct.pack("=4I", *words)))
