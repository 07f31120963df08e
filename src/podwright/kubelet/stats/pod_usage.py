"""What each Pod uses: its running containers, its emptyDir volumes, its logs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podwright.api import objects
from podwright.api.objects import Object
from podwright.kubelet.kubelet import Kubelet
from podwright.kubelet.stats.node_usage import disk_usage
from podwright.runtime.protocol import Container, ContainerStats, RuntimeFailure

_EMPTY_DIRS = Path("volumes") / "kubernetes.io~empty-dir"


@dataclass(frozen=True, slots=True)
class PodUsage:
    """`volumes` and `logs` are (bytes, inodes), of emptyDir volumes by name and of logs by container name."""

    pod: Object
    containers: Sequence[tuple[Container, ContainerStats]]
    volumes: Mapping[str, tuple[int, int]]
    logs: Mapping[str, tuple[int, int]]

    @property
    def memory(self) -> int:
        return sum(s.memory_working_set for _, s in self.containers)

    @property
    def processes(self) -> int:
        return sum(s.pids for _, s in self.containers)

    def disk_of(self, container: str) -> int:
        """Writable layer and logs of one container."""
        layer = sum(s.rootfs_bytes for c, s in self.containers if c.name == container)
        return layer + self.logs.get(container, (0, 0))[0]

    @property
    def disk(self) -> int:
        """What counts as ephemeral storage: layers, logs, and emptyDir volumes that are not in memory."""
        in_memory = {
            v["name"] for v in self.pod["spec"].get("volumes") or ()
            if (v.get("emptyDir") or {}).get("medium") == "Memory"
        }  # fmt: skip
        names = {c.name for c, _ in self.containers} | set(self.logs)
        return sum(self.disk_of(n) for n in names) + sum(
            size for name, (size, _) in self.volumes.items() if name not in in_memory
        )


def _on_disk(directory: Path, logs: Mapping[str, Path]) -> tuple[dict[str, tuple[int, int]], ...]:
    try:
        volumes = {entry.name: disk_usage(entry) for entry in (directory / _EMPTY_DIRS).iterdir()}
    except OSError:
        volumes = {}
    return volumes, {name: disk_usage(path) for name, path in logs.items()}


async def usages(kubelet: Kubelet, *, disks: bool = True) -> list[PodUsage]:
    """Of all active Pods, with what can be read of them; a container that ends meanwhile is left out. Without `disks`
    volumes and logs, which take a walk through their files, are not measured."""
    return [await usage(kubelet, pod, disks=disks) for pod in list(kubelet.active_pods())]


async def usage(kubelet: Kubelet, pod: Object, *, disks: bool = True) -> PodUsage:
    uid = objects.uid(pod)
    containers = []
    logs: dict[str, Path] = {}
    for container in kubelet.pod_runtime(uid).running():
        try:
            containers.append((container, await kubelet.runtime.container_stats(container.id)))
        except RuntimeFailure:
            continue
        if container.log_path.name:
            logs[container.name] = container.log_path.parent
    if not disks:
        return PodUsage(pod, containers, {}, {})
    volumes, sizes = await asyncio.to_thread(_on_disk, kubelet.config.pod_dir(uid), logs)
    return PodUsage(pod, containers, volumes, sizes)
