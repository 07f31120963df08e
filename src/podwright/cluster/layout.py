"""Where a cluster keeps what: durable below its data directory, volatile below /run/podwright/NAME."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

STATE_ROOT = Path("/var/lib/podwright")
RUN_ROOT = Path("/run/podwright")

IMAGES = STATE_ROOT / "images"
"""The machine's one content store: layers unpacked once, by digest, for all clusters."""

DISK_SPEED = STATE_ROOT / "disk-speed.json"
"""What this machine's disk was measured to give."""

ARCHIVES = STATE_ROOT / "archives"
"""OCI archives that ``podwright setup`` built; every cluster knows these images from its start."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
_RESERVED = {"images", "archives", "registry"}


class BadClusterName(ValueError):
    """The message says what a cluster name may be."""


def check_name(name: str) -> str:
    """Gives the name back.

    Raises:
        BadClusterName: not a DNS label of at most 30 characters, or a name that the layout needs itself.
    """
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise BadClusterName(
            f"invalid cluster name {name!r}: it must be lower-case letters, digits and '-', at most 30 of them, "
            f"begin and end with a letter or digit, and not be one of {', '.join(sorted(_RESERVED))}"
        )
    return name


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one cluster. `data` is ``/var/lib/podwright/NAME`` unless ``--data-dir`` said otherwise."""

    name: str
    data: Path

    @property
    def run(self) -> Path:
        return RUN_ROOT / self.name

    @property
    def spec_file(self) -> Path:
        return self.data / "cluster.json"

    @property
    def store_file(self) -> Path:
        return self.data / "store" / "store.db"

    @property
    def pki(self) -> Path:
        return self.data / "pki"

    @property
    def front_proxy(self) -> Path:
        """Certificates of another authority: who shows one speaks for others to extension API servers."""
        return self.pki / "front-proxy"

    @property
    def image_references(self) -> Path:
        return self.data / "images.json"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.data / "admin.kubeconfig"

    def node_data(self, node: str) -> Path:
        return self.data / "nodes" / node

    def node_run(self, node: str) -> Path:
        return self.run / node

    def process_file(self, process: str) -> Path:
        """The record of a running process: "server", or a node's name."""
        return self.run / f"{process}.process.json"

    def log_file(self, process: str) -> Path:
        return self.data / "log" / f"{process}.log"

    def cgroup(self, node: str = "") -> str:
        """Path below each cgroup hierarchy's root."""
        return f"/podwright/{self.name}/{node}" if node else f"/podwright/{self.name}"

    @staticmethod
    def context(name: str) -> str:
        """The kubeconfig context of a cluster."""
        return "podwright" if name == "podwright" else f"podwright-{name}"


def node_name(index: int) -> str:
    """The name of a local cluster's node; nodes count from 1."""
    return f"node-{index}"
