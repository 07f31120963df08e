"""Which sandbox has which address: one small file a node, replaced whole at each change.

It survives the death of the process but needs no power-cut safety: after a reboot every sandbox is made anew.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import orjson

from podwright.runtime import atomic


class NoAddressLeft(Exception):
    """Every address of the node's range is taken."""


class Addresses:
    """Hands out the host addresses of `network` in turn, so that one is used again as late as can be. The first is
    left free (by custom a gateway's)."""

    def __init__(self, network: IPv4Network, path: Path) -> None:
        self._network = network
        self._path = path
        self._taken: dict[str, IPv4Address] = {}
        self._next = 0

    def load(self) -> None:
        try:
            document = orjson.loads(self._path.read_bytes())
            taken = {str(k): IPv4Address(v) for k, v in document["addresses"].items()}
            self._next = int(document["next"])
        except (FileNotFoundError, orjson.JSONDecodeError, KeyError, ValueError):
            return
        self._taken = {k: v for k, v in taken.items() if v in self._network}

    def of(self, sandbox_id: str) -> IPv4Address | None:
        return self._taken.get(sandbox_id)

    def owners(self) -> list[str]:
        return list(self._taken)

    def take(self, sandbox_id: str) -> IPv4Address:
        """The sandbox's address, the one it has if it has one. Raises NoAddressLeft."""
        known = self._taken.get(sandbox_id)
        if known is not None:
            return known
        used = set(self._taken.values())
        size = self._network.num_addresses
        first, last = (2, size - 2) if size > 4 else (0, size - 1)
        count = last - first + 1
        for step in range(count):
            position = (self._next + step) % count
            candidate = self._network[first + position]
            if candidate not in used:
                self._next = (position + 1) % count
                self._taken[sandbox_id] = candidate
                self._save()
                return candidate
        raise NoAddressLeft(f"no IP addresses available in range set: {self._network}")

    def release(self, sandbox_id: str) -> None:
        if self._taken.pop(sandbox_id, None) is not None:
            self._save()

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(self._path, {"next": self._next, "addresses": {k: str(v) for k, v in self._taken.items()}})
