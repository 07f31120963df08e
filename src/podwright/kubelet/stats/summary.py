"""/stats/summary: the Summary API's JSON (k8s.io/kubelet/pkg/apis/stats/v1alpha1)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from podwright.api import objects
from podwright.api.objects import Object
from podwright.kubelet.kubelet import Kubelet
from podwright.kubelet.stats import node_usage
from podwright.kubelet.stats.pod_usage import PodUsage, usages
from podwright.runtime.protocol import ContainerStats


class CpuRates:
    """CPU in use at present, from two readings at least a second apart."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, int, int]] = {}

    def rate(self, key: str, at: float, used: int) -> int:
        """Nanocores; 0 at the first reading."""
        before = self._before.get(key)
        if before is None:
            self._before[key] = (at, used, 0)
            return 0
        then, was, known = before
        if at - then < 1.0:
            return known
        now = max(0, int((used - was) / (at - then)))
        self._before[key] = (at, used, now)
        return now

    def keep(self, keys: set[str]) -> None:
        """Forgets all others."""
        self._before = {k: v for k, v in self._before.items() if k in keys}


def _cpu(stamp: str, used: int, rate: int) -> Object:
    return {"time": stamp, "usageNanoCores": rate, "usageCoreNanoSeconds": used}


def _filesystem(stamp: str, disk: node_usage.Filesystem, used: int, inodes: int) -> Object:
    return {
        "time": stamp,
        "availableBytes": disk.available,
        "capacityBytes": disk.capacity,
        "usedBytes": used,
        "inodesFree": disk.inodes_free,
        "inodes": disk.inodes,
        "inodesUsed": inodes,
    }


def _driver_usage(entries: Sequence[Object], stamp: str) -> Object:
    """NodeGetVolumeStats in the Summary API's words: unit 1 are bytes, 2 inodes."""
    found: Object = {"time": stamp}
    for entry in entries:
        names = {1: ("availableBytes", "capacityBytes", "usedBytes"), 2: ("inodesFree", "inodes", "inodesUsed")}
        for name, field in zip(names.get(entry.get("unit", 0), ()), ("available", "total", "used"), strict=False):
            found[name] = int(entry.get(field, 0))
    return found


def _network(stamp: str, found: Sequence[node_usage.Interface]) -> Object:
    """The first interface is the default one, told twice as the Summary API does."""
    each = [
        {"name": i.name, "rxBytes": i.rx_bytes, "rxErrors": i.rx_errors, "txBytes": i.tx_bytes, "txErrors": i.tx_errors}
        for i in found
    ]
    return {"time": stamp, **each[0], "interfaces": each} if each else {}


def _pressure(found: Mapping[str, Mapping[str, float]]) -> Object:
    """"psi", if there is any: averages in percent, totals in nanoseconds."""
    if not found:
        return {}
    told = {k: {**v, "total": int(v.get("total", 0.0)) * 1000} for k, v in found.items()}
    return {"psi": {"some": {}, "full": {}, **told}}


def _disk(stats: ContainerStats) -> Object:
    """What upstream's IOStats have not: since the container started, in bytes and operations."""
    return {
        "readBytes": stats.disk_read_bytes,
        "writeBytes": stats.disk_write_bytes,
        "reads": stats.disk_read_ops,
        "writes": stats.disk_write_ops,
    }


def _memory(stamp: str, stats: Sequence[ContainerStats]) -> Object:
    return {
        "time": stamp,
        "usageBytes": sum(s.memory_usage for s in stats),
        "workingSetBytes": sum(s.memory_working_set for s in stats),
        "rssBytes": sum(s.memory_rss for s in stats),
        "pageFaults": sum(s.memory_page_faults for s in stats),
        "majorPageFaults": sum(s.memory_major_page_faults for s in stats),
    }


class Summary:
    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet
        self._rates = CpuRates()

    async def make(self) -> Object:
        kubelet = self._kubelet
        found = await usages(kubelet)
        node = await asyncio.to_thread(node_usage.read)
        disk = node_usage.filesystem(kubelet.config.data_dir)
        images = await kubelet.image_service.filesystem_usage()
        now = kubelet.clock.now()
        stamp = objects.format_time(now)
        image_disk = node_usage.filesystem(images.mountpoint)
        image_fs = _filesystem(stamp, image_disk, images.used_bytes, images.inodes_used)
        self._rates.keep({"", *(c.id for u in found for c, _ in u.containers)})
        used = node.memory_total - node.memory_available
        return {
            "node": {
                "nodeName": kubelet.config.node_name,
                "startTime": objects.format_time(node.boot_time),
                "systemContainers": [self._pods_together(found, stamp)],
                "cpu": _cpu(stamp, node.cpu, self._rates.rate("", now, node.cpu))
                | _pressure(node_usage.pressure("cpu")),
                "memory": {
                    "time": stamp,
                    "availableBytes": node.memory_available,
                    "usageBytes": used,
                    "workingSetBytes": used,
                    **_pressure(node_usage.pressure("memory")),
                },
                "io": {"time": stamp, **_pressure(node_usage.pressure("io"))},
                "network": _network(stamp, node_usage.interfaces()),
                "runtime": {"imageFs": image_fs, "containerFs": image_fs},
                "fs": _filesystem(
                    stamp, disk, disk.capacity - disk.available, disk.inodes - disk.inodes_free
                ),
                "rlimit": {"time": stamp, "maxpid": node.max_processes, "curproc": node.processes},
            },
            "pods": [await self._with_claims(self._pod(u, disk, stamp), u.pod, stamp) for u in found],
        }

    async def _with_claims(self, told: Object, pod: Object, stamp: str) -> Object:
        """The volumes of claims too, whose CSI drivers say how full they are."""
        usage = await self._kubelet.csi.usage(objects.uid(pod))
        for volume in pod["spec"].get("volumes") or ():
            entries = usage.get(volume["name"])
            if entries:
                claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
                name = claim or f"{objects.name(pod)}-{volume['name']}"
                reference = {"name": name, "namespace": objects.namespace(pod)}
                owned = {"pvcRef": reference} if claim or "ephemeral" in volume else {}
                told["volume"].append({**_driver_usage(entries, stamp), "name": volume["name"], **owned})
        return told

    def _pods_together(self, found: Sequence[PodUsage], stamp: str) -> Object:
        """The system container "pods": what all Pods use."""
        every = [s for usage in found for _, s in usage.containers]
        used = sum(s.cpu_usage for s in every)
        rate = sum(self._rates.rate(s.container_id, s.at, s.cpu_usage) for s in every)
        return {"name": "pods", "startTime": stamp, "cpu": _cpu(stamp, used, rate), "memory": _memory(stamp, every)}

    def _pod(self, usage: PodUsage, disk: node_usage.Filesystem, stamp: str) -> Object:
        containers, total_rate = [], 0
        for container, stats in usage.containers:
            rate = self._rates.rate(container.id, stats.at, stats.cpu_usage)
            total_rate += rate
            logs = usage.logs.get(container.name, (0, 0))
            entry: Object = {
                "name": container.name,
                "startTime": objects.format_time(container.started_at),
                "cpu": _cpu(stamp, stats.cpu_usage, rate) | _pressure(stats.psi.get("cpu") or {}),
                "memory": _memory(stamp, [stats]) | _pressure(stats.psi.get("memory") or {}),
                "io": {"time": stamp, **_disk(stats), **_pressure(stats.psi.get("io") or {})},
                "rootfs": _filesystem(stamp, disk, stats.rootfs_bytes, stats.rootfs_inodes),
                "logs": _filesystem(stamp, disk, *logs),
            }
            containers.append(entry)
        every = [s for _, s in usage.containers]
        shares = usage.pod["spec"].get("hostNetwork")
        first = None if shares else next((c for c, _ in usage.containers if c.pid), None)
        meta = usage.pod["metadata"]
        status = usage.pod.get("status") or {}
        return {
            "podRef": {"name": meta["name"], "namespace": meta.get("namespace", ""), "uid": meta["uid"]},
            "startTime": status.get("startTime") or meta.get("creationTimestamp") or stamp,
            "containers": containers,
            "cpu": _cpu(stamp, sum(s.cpu_usage for s in every), total_rate),
            "memory": _memory(stamp, every),
            "network": _network(stamp, node_usage.interfaces(Path("/proc", str(first.pid))) if first else ()),
            "volume": [{**_filesystem(stamp, disk, *size), "name": n} for n, size in usage.volumes.items()],
            "ephemeral-storage": _filesystem(stamp, disk, usage.disk, sum(s.rootfs_inodes for s in every)),
            "process_stats": {"process_count": usage.processes},
        }
