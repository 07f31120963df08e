"""What the machine is: processors, memory, disk, kernel, names."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from podwright.api import quantity
from podwright.kubelet.config import KubeletConfig

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}
_HUGEPAGES = Path("/sys/kernel/mm/hugepages")


@dataclass(frozen=True, slots=True)
class Machine:
    """`capacity` in the words of the API, without the Pod count. `memory` and `swap` in bytes."""

    capacity: Mapping[str, str]
    memory: int
    swap: int
    cpus: int
    architecture: str
    kernel: str
    os_image: str
    machine_id: str
    system_uuid: str
    boot_id: str
    hugepages: Mapping[str, int] = field(default_factory=dict)
    cgroup_version: int = 1


def _read(path: str, default: str = "") -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return default


def read(data_dir: Path) -> Machine:
    """Looks at the machine. `data_dir` lies on the filesystem that counts as node storage."""
    meminfo = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        meminfo[name] = int(rest.split()[0]) << 10 if rest.split() else 0
    cpus = len(os.sched_getaffinity(0))
    disk = os.statvfs(data_dir)
    capacity = {
        "cpu": str(cpus),
        "memory": f"{meminfo.get('MemTotal', 0) >> 10}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize >> 10}Ki",
    }
    pages = _hugepages()
    capacity.update({name: quantity.from_value(amount, quantity.BINARY_SI) for name, amount in pages.items()})
    uname = platform.uname()
    return Machine(
        capacity=capacity,
        memory=meminfo.get("MemTotal", 0),
        swap=meminfo.get("SwapTotal", 0),
        cpus=cpus,
        architecture=_ARCHITECTURES.get(uname.machine, uname.machine),
        kernel=uname.release,
        os_image=_os_image(),
        machine_id=_read("/etc/machine-id"),
        system_uuid=_read("/sys/class/dmi/id/product_uuid") or _read("/etc/machine-id"),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        hugepages=pages,
        cgroup_version=2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
    )


def _hugepages() -> dict[str, int]:
    found = {"hugepages-2Mi": 0, "hugepages-1Gi": 0} if _HUGEPAGES.is_dir() else {}
    for directory in _HUGEPAGES.glob("hugepages-*kB"):
        size = int(directory.name.removeprefix("hugepages-").removesuffix("kB")) << 10
        count = int(_read(str(directory / "nr_hugepages"), "0") or 0)
        found["hugepages-" + quantity.from_value(size, quantity.BINARY_SI)] = size * count
    return found


def _os_image() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def capacity(machine: Machine, config: KubeletConfig) -> dict[str, str]:
    """status.capacity: what the machine has, overridden by what the configuration says."""
    found = {**machine.capacity, "pods": str(config.max_pods), **config.capacity}
    return {name: quantity.canonical(amount) for name, amount in found.items()}


def allocatable(total: Mapping[str, str], config: KubeletConfig) -> dict[str, str]:
    """status.allocatable: capacity less what is reserved and less the hard eviction thresholds of memory and disk."""
    found = dict(total)
    reserved = [config.system_reserved, config.kube_reserved]
    thresholds = {}
    for signal, name in (("memory.available", "memory"), ("nodefs.available", "ephemeral-storage")):
        if signal in config.eviction_hard and name in total:
            thresholds[name] = _threshold(config.eviction_hard[signal], total[name])
    for amounts in (*reserved, thresholds):
        for name, amount in amounts.items():
            if name in found:
                left = quantity.subtract(found[name], amount)
                found[name] = left if quantity.parse(left) > 0 else "0"
    for name, amount in total.items():
        # Huge pages are no longer memory that can be given out as such.
        if name.startswith("hugepages-") and "memory" in found and quantity.parse(amount) > 0:
            found["memory"] = quantity.subtract(found["memory"], amount)
    return found


def _threshold(text: str, total: str) -> str:
    if text.endswith("%"):
        share = quantity.parse(total) * Decimal(text.removesuffix("%")) / 100
        return quantity.from_value(int(share), quantity.BINARY_SI)
    return text
