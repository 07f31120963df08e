"""What a cgroup allows and what it uses now, in the same words for both versions of cgroups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_UNLIMITED = 1 << 60
"""cgroup v1 says "no limit" with a number close to 2**63."""
_DISK = {"rbps": "readBps", "wbps": "writeBps", "riops": "readIops", "wiops": "writeIops"}
_THROTTLES = {
    "blkio.throttle.read_bps_device": "readBps", "blkio.throttle.write_bps_device": "writeBps",
    "blkio.throttle.read_iops_device": "readIops", "blkio.throttle.write_iops_device": "writeIops",
}  # fmt: skip


def numbers(directories: Sequence[Path]) -> dict[str, Any]:
    """Limits (None is no limit) and use now, of the directories that a cgroup has in each hierarchy."""

    def read(*names: str) -> str:
        for name in names:
            for directory in directories:
                try:
                    return (directory / name).read_text().strip()
                except OSError:
                    continue  # Another hierarchy has it, or none.
        return ""

    quota, _, period = read("cpu.max").partition(" ")
    quota, period = quota or read("cpu.cfs_quota_us"), period or read("cpu.cfs_period_us")
    limited = quota.isdecimal() and period.isdecimal()
    stat = dict(line.split(" ", 1) for line in read("cpu.stat").splitlines())
    used = int(stat["usage_usec"]) / 1e6 if "usage_usec" in stat else _number(read("cpuacct.usage"), 1e9)
    return {
        "memoryLimitBytes": _number(read("memory.max", "memory.limit_in_bytes")),
        "memoryUsageBytes": _number(read("memory.current", "memory.usage_in_bytes")),
        "cpuLimitMillicores": round(1000 * int(quota) / int(period)) if limited else None,
        "cpuWeight": _number(read("cpu.weight", "cpu.shares")),
        "cpuset": read("cpuset.cpus.effective", "cpuset.effective_cpus"),
        "cpuUsageSeconds": used,
        "pidsLimit": _number(read("pids.max")),
        "pidsUsage": _number(read("pids.current")),
        "diskLimits": _disk_limits(read),
        **_disk_usage(read),
    }


def _disk_limits(read: Callable[..., str]) -> list[dict[str, Any]]:
    """A row for each device ("major:minor") that has a limit."""
    found: dict[str, dict[str, Any]] = {}
    for line in read("io.max").splitlines():
        device, *pairs = line.split()
        limits = {_DISK[k]: int(v) for k, _, v in (p.partition("=") for p in pairs) if k in _DISK and v.isdecimal()}
        if limits:
            found[device] = limits
    for file, name in _THROTTLES.items():
        for line in read(file).splitlines():
            device, value = line.split()
            found.setdefault(device, {})[name] = int(value)
    return [{"device": device, **limits} for device, limits in sorted(found.items())]


def _disk_usage(read: Callable[..., str]) -> dict[str, int]:
    """Bytes read and written since the cgroup is there."""
    total = {"diskReadBytes": 0, "diskWriteBytes": 0}
    for line in read("io.stat").splitlines():
        fields = dict(pair.split("=", 1) for pair in line.split()[1:] if "=" in pair)
        total["diskReadBytes"] += int(fields.get("rbytes", 0))
        total["diskWriteBytes"] += int(fields.get("wbytes", 0))
    for line in read("blkio.throttle.io_service_bytes").splitlines():
        fields_v1 = line.split()
        if len(fields_v1) == 3 and fields_v1[1] in ("Read", "Write"):
            total[f"disk{fields_v1[1]}Bytes"] += int(fields_v1[2])
    return total


def _number(text: str, unit: float = 0) -> Any:
    if not text.isdecimal() or int(text) >= _UNLIMITED:
        return None
    return int(text) / unit if unit else int(text)
