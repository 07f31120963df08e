"""The machine's list of clusters: gives each name an index, from which its ranges, ports and names on the host
follow."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podwright.cluster.files import locked, read_json, write_json
from podwright.cluster.layout import STATE_ROOT, Layout, check_name
from podwright.cluster.mounts import LOST_AND_FOUND

_CLUSTERS = 60


class CannotAdd(Exception):
    """The machine cannot have this cluster; the message says why."""


class TooManyClusters(CannotAdd):
    """All indexes of this machine are taken."""


class BadDataDirectory(CannotAdd):
    """Somebody else's things are in it."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """The networks of the cluster with this index: Pods, Services, and the link between its local nodes."""

    index: int

    @property
    def pods(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(f"10.{128 + self.index}.0.0/16")

    @property
    def services(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(f"10.{64 + self.index}.0.0/16")

    @property
    def nodes(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(f"10.{192 + self.index}.0.0/24")

    @property
    def cluster_dns(self) -> str:
        return str(self.services.network_address + 10)

    @property
    def kubernetes_service(self) -> str:
        return str(self.services.network_address + 1)

    @property
    def bridge_address(self) -> str:
        return str(self.nodes.network_address + 1)

    def node_address(self, number: int) -> str:
        """The address on the link of node number `number` (from 1)."""
        return str(self.nodes.network_address + 1 + number)

    @property
    def bridge(self) -> str:
        """The bridge's interface name on the host (at most 15 characters)."""
        return f"pw{self.index}"


def _check_data(layout: Layout) -> None:
    """`down --purge` deletes what is in a cluster's data directory: nothing else must be in it."""
    if not layout.data.exists() or layout.spec_file.exists():
        return
    if not layout.data.is_dir() or {p.name for p in layout.data.iterdir()} - {LOST_AND_FOUND}:
        raise BadDataDirectory(f"--data-dir {layout.data} is neither empty nor a cluster's: choose an empty directory")


class Registry:
    """``/var/lib/podwright/registry.json``, changed under a lock."""

    def __init__(self, root: Path = STATE_ROOT) -> None:
        self._file = root / "registry.json"
        self._lock = root / "registry.lock"
        self._root = root

    def _read(self) -> dict[str, dict[str, Any]]:
        return read_json(self._file) or {}

    def clusters(self) -> dict[str, Layout]:
        return {name: Layout(name, Path(entry["data"])) for name, entry in sorted(self._read().items())}

    def layout(self, name: str) -> Layout | None:
        """None if there is no such cluster."""
        entry = self._read().get(check_name(name))
        return Layout(name, Path(entry["data"])) if entry else None

    def ranges(self, name: str) -> Ranges:
        return Ranges(int(self._read()[name]["index"]))

    def add(self, name: str, data_dir: Path | None, *, index: int | None = None) -> Layout:
        """The layout of an existing or a new cluster. A cluster that runs elsewhere comes with its index.

        Raises:
            BadClusterName, TooManyClusters, BadDataDirectory.
        """
        check_name(name)
        with locked(self._lock):
            entries = self._read()
            if name not in entries:
                taken = {int(entry["index"]) for entry in entries.values()}
                if index in taken:
                    raise TooManyClusters(f"a cluster on this machine has the networks of {name}: index {index}")
                free = index if index is not None else next((i for i in range(_CLUSTERS) if i not in taken), None)
                if free is None:
                    raise TooManyClusters(f"there are {_CLUSTERS} clusters on this machine already")
                if data_dir is not None:
                    _check_data(Layout(name, data_dir))
                entries[name] = {"index": free, "data": str((data_dir or self._root / name).absolute())}
                write_json(self._file, entries)
        return Layout(name, Path(entries[name]["data"]))

    def remove(self, name: str) -> None:
        with locked(self._lock):
            entries = self._read()
            if entries.pop(name, None) is not None:
                write_json(self._file, entries)
