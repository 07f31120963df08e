"""Which container has which devices, and what the plugin said it needs for them: kept in a file, for the containers
outlive the kubelet."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from podwright.api.objects import Object
from podwright.runtime import atomic

log = logging.getLogger(__name__)

FILE = "kubelet_internal_checkpoint"
"""Upstream's name of the file; what is in it is our own."""


@dataclass(slots=True)
class Allocation:
    """`response` is the plugin's ContainerAllocateResponse, None as long as it was not asked."""

    ids: list[str]
    response: Object | None = None


@dataclass(slots=True)
class Ledger:
    """Pod uid → container → resource → allocation."""

    file: Path
    pods: dict[str, dict[str, dict[str, Allocation]]] = field(default_factory=dict)
    resources: set[str] = field(default_factory=set)
    """That plugins have registered: they count nothing until these are back."""

    @classmethod
    def read(cls, file: Path) -> Ledger:
        """An unreadable file is an empty ledger; its devices may be given a second time then, and the log says so."""
        found = cls(file)
        try:
            stored = orjson.loads(file.read_bytes())
            found.resources = set(stored["resources"])
            found.pods = {
                uid: {c: {r: Allocation(**a) for r, a in each.items()} for c, each in containers.items()}
                for uid, containers in stored["pods"].items()
            }
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as broken:
            log.error("%s cannot be read, allocations of devices are not known: %r", file, broken)
        return found

    def write(self) -> None:
        """Raises OSError."""
        pods = {
            uid: {c: {r: asdict(a) for r, a in each.items()} for c, each in containers.items()}
            for uid, containers in self.pods.items()
        }
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        atomic.write_json(self.file, {"resources": sorted(self.resources), "pods": pods})

    def of_pod(self, uid: str) -> Iterator[tuple[str, str, Allocation]]:
        """(container, resource, allocation)"""
        for container, each in self.pods.get(uid, {}).items():
            for resource, allocation in each.items():
                yield container, resource, allocation

    def taken(self, resource: str, *, but: str = "") -> set[str]:
        """Devices that Pods have, other than the Pod `but`."""
        return {
            device
            for uid in self.pods if uid != but
            for _, name, allocation in self.of_pod(uid) if name == resource
            for device in allocation.ids
        }  # fmt: skip
