"""What containers use now."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from podwright.runtime.oci.host import Host
from podwright.runtime.oci.records import ContainerRecord
from podwright.runtime.protocol import ContainerStats

_LAYER_AGE = 15.0


class Statistics:
    """Reads control groups anew each time; the size of a writable layer, which takes a walk, is kept for a while."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._layers: dict[str, tuple[float, int, int]] = {}

    async def of(self, record: ContainerRecord) -> ContainerStats:
        return await self._host.workers.run(self._read, record)

    def _read(self, record: ContainerRecord) -> ContainerStats:
        usage = self._host.cgroups.usage(record.cgroup)
        size, inodes = self._layer(record.id)
        return replace(
            usage, container_id=record.id, name=record.config.name, at=time.time(), rootfs_bytes=size,
            rootfs_inodes=inodes,
        )

    def _layer(self, container_id: str) -> tuple[int, int]:
        now = time.monotonic()
        for old in [k for k, v in self._layers.items() if now - v[0] > _LAYER_AGE]:
            self._layers.pop(old, None)
        known = self._layers.get(container_id)
        if known is None:
            known = (now, *tree_size(self._host.paths.container(container_id) / "upper"))
            self._layers[container_id] = known
        return known[1], known[2]


def tree_size(root: Path) -> tuple[int, int]:
    """(bytes on disk, inodes); a file with several names counts once."""
    seen: set[int] = set()
    size = 0
    pending = [str(root)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    info = entry.stat(follow_symlinks=False)
                    if info.st_ino not in seen:
                        seen.add(info.st_ino)
                        size += info.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):  # deleted under our hands
            continue
    return size, len(seen)
