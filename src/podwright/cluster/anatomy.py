"""``podwright inspect pod``: what a running Pod is made of on this machine, out of the API, /proc and the cgroups."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.cluster import cgroups, node_link, proc_net, proc_status
from podwright.cluster.admin import admin_client
from podwright.cluster.down import find_cluster
from podwright.cluster.pki import Pki
from podwright.cluster.processes import start_time

_UNLIMITED = 1 << 60
"""cgroup v1 says "no limit" with a number close to 2**63."""


class NotInspectable(Exception):
    """No container of the Pod has a process on this machine."""


def inspect_pod(name: str, namespace: str, pod: str) -> dict[str, Any]:
    """Raises NoSuchCluster, NotInspectable, ApiError, ServerUnreachable, TimeoutError."""
    spec, layout, _ = find_cluster(name)

    async def ask() -> Object:
        async with admin_client(Pki(layout.pki), spec.port) as client, asyncio.timeout(10):
            return await client.get(PODS, pod, namespace=namespace)

    found = asyncio.run(ask())
    status = found.get("status") or {}
    node = (found.get("spec") or {}).get("nodeName", "")
    statuses = [
        s
        for key in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        for s in status.get(key) or ()
    ]
    identities = {s["name"]: (s.get("containerID") or "").partition("://")[2] for s in statuses}
    pids = main_pids([identity for identity in identities.values() if identity])
    containers = [_container(s, identities[s["name"]], pids.get(identities[s["name"]], 0)) for s in statuses]
    running = [c for c in containers if c["pid"]]
    if not running:
        raise NotInspectable(
            f"pod {namespace}/{pod} has no process on this machine "
            f"(phase {status.get('phase', 'unknown')}, node {node or 'none yet'})"
        )
    net = Path(f"/proc/{running[0]['pid']}/net")
    try:
        routes, ports = proc_net.routes((net / "route").read_text()), proc_net.ports(net)
    except OSError as failed:  # The process ended meanwhile, or we are not root.
        raise NotInspectable(f"pod {namespace}/{pod}: its network cannot be read: {failed}") from failed
    pod_cgroup = running[0]["cgroup"]["path"].rpartition("/")[0]
    return {
        "name": pod,
        "namespace": namespace,
        "uid": found["metadata"]["uid"],
        "node": node,
        "phase": status.get("phase", ""),
        "hostIP": status.get("hostIP", ""),
        "podIPs": [ip["ip"] for ip in status.get("podIPs") or ()],
        "cgroup": {"path": pod_cgroup, **cgroup_numbers(cgroups.directories(pod_cgroup))},
        "namespaces": shared(
            {c["name"]: c["namespaces"] for c in running},
            # This command's own are the host's; init's cannot be read on every machine.
            {"host": proc_status.namespaces("self"), "node": _node(name, node)},
        ),
        "routes": routes,
        "ports": ports,
        "containers": containers,
    }


def main_pids(identities: Sequence[str]) -> dict[str, int]:
    """Container id → the pid of its oldest process, found by the id in /proc/PID/cgroup."""
    oldest: dict[str, tuple[int, int]] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            path = (process / "cgroup").read_text()
        except OSError:
            continue  # It ended meanwhile.
        for identity in identities:
            if f"/{identity}" in path:
                pid = int(process.name)
                started = start_time(pid)
                if started and (started, pid) < oldest.get(identity, (started, pid + 1)):
                    oldest[identity] = (started, pid)
    return {identity: pid for identity, (_, pid) in oldest.items()}


def shared(
    containers: dict[str, dict[str, int]], outside: dict[str, dict[str, int]]
) -> list[dict[str, Any]]:
    """A row for each namespace of the containers: kind, inode, and who is in it: containers, "host" or "node"."""
    rows: dict[tuple[str, int], list[str]] = {}
    for container, kinds in containers.items():
        for kind, inode in kinds.items():
            rows.setdefault((kind, inode), []).append(container)
    order = {kind: number for number, kind in enumerate(proc_status.NAMESPACES)}
    return [
        {
            "kind": kind,
            "inode": inode,
            "containers": members,
            "sharedWith": [who for who, kinds in outside.items() if kinds.get(kind) == inode],
        }
        for (kind, inode), members in sorted(rows.items(), key=lambda row: order[row[0][0]])
    ]


def cgroup_numbers(directories: Sequence[Path]) -> dict[str, Any]:
    """Limits (None is no limit) and use now, the same words for both versions of cgroups."""

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
        "cpuUsageSeconds": used,
        "pidsLimit": _number(read("pids.max")),
        "pidsUsage": _number(read("pids.current")),
    }


def _number(text: str, unit: float = 0) -> Any:
    if not text.isdecimal() or int(text) >= _UNLIMITED:
        return None
    return int(text) / unit if unit else int(text)


def _node(cluster: str, node: str) -> dict[str, int]:
    """The network namespace that stands for the node's machine in a cluster of several."""
    path = Path(f"/run/netns/{node_link.namespace(cluster, node)}")
    return {"net": path.stat().st_ino} if path.exists() else {}


def _container(status: Object, identity: str, pid: int) -> dict[str, Any]:
    state = next(iter(status.get("state") or {}), "waiting")
    row: dict[str, Any] = {
        "name": status["name"], "id": identity, "image": status.get("image", ""), "state": state,
        "restarts": status.get("restartCount", 0), "pid": pid,
    }  # fmt: skip
    if not pid:
        return row
    process = Path(f"/proc/{pid}")
    try:
        path = _cgroup_path((process / "cgroup").read_text(), identity)
        row |= proc_status.rights((process / "status").read_text())
        row["cgroup"] = {"path": path, **cgroup_numbers(cgroups.directories(path))}
        row["namespaces"] = proc_status.namespaces(pid)
        row["mounts"] = proc_status.mounts((process / "mountinfo").read_text())
    except (FileNotFoundError, ProcessLookupError):
        row["pid"] = 0  # It ended meanwhile.
    return row


def _cgroup_path(text: str, identity: str) -> str:
    paths = (line.split(":", 2)[2] for line in text.splitlines())
    path = next(p for p in paths if f"/{identity}" in p)
    return path[: path.index(identity) + len(identity)]
