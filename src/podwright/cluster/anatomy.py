"""``podwright inspect pod``: what a running Pod is made of on this machine, out of the API, /proc and the cgroups."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.cluster import cgroup_limits, cgroups, node_link, proc_net, proc_status
from podwright.cluster.admin import local_client
from podwright.cluster.down import find_cluster
from podwright.cluster.pki import Pki
from podwright.cluster.processes import start_time


class NotInspectable(Exception):
    """No container of the Pod has a process on this machine."""


def inspect_pod(name: str, namespace: str, pod: str) -> dict[str, Any]:
    """Raises NoSuchCluster, NotInspectable, ApiError, ServerUnreachable, TimeoutError."""
    spec, layout, _ = find_cluster(name)

    async def ask() -> Object:
        async with local_client(spec, Pki(layout.pki)) as client, asyncio.timeout(10):
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
    profiles = _seccomp_profiles(found)
    containers = [
        _container(s, identities[s["name"]], pids.get(identities[s["name"]], 0), profiles.get(s["name"], ""))
        for s in statuses
    ]
    running = [c for c in containers if c["pid"]]
    if not running:
        raise NotInspectable(
            f"pod {namespace}/{pod} has no process on this machine "
            f"(phase {status.get('phase', 'unknown')}, node {node or 'none yet'})"
        )
    net = Path(f"/proc/{running[0]['pid']}/net")
    try:
        routes, ports = proc_net.all_routes(net), proc_net.ports(net)
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
        "cgroup": {"path": pod_cgroup, **cgroup_limits.numbers(cgroups.directories(pod_cgroup))},
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


def _node(cluster: str, node: str) -> dict[str, int]:
    """The network namespace that stands for the node's machine in a cluster of several."""
    path = Path(f"/run/netns/{node_link.namespace(cluster, node)}")
    return {"net": path.stat().st_ino} if path.exists() else {}


def _seccomp_profiles(pod: Object) -> dict[str, str]:
    """By container, what its manifest asks for: the kernel only tells that there is a filter."""
    spec = pod.get("spec") or {}
    common = (spec.get("securityContext") or {}).get("seccompProfile")
    found = {}
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for ctr in spec.get(kind) or ():
            profile = (ctr.get("securityContext") or {}).get("seccompProfile") or common or {}
            found[ctr["name"]] = " ".join(filter(None, (profile.get("type"), profile.get("localhostProfile"))))
    return found


def _container(status: Object, identity: str, pid: int, profile: str) -> dict[str, Any]:
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
        row["seccompProfile"] = profile
        row["userMap"] = proc_status.user_map((process / "uid_map").read_text())
        row["oomScoreAdj"] = int((process / "oom_score_adj").read_text())
        row["cgroup"] = {"path": path, **cgroup_limits.numbers(cgroups.directories(path))}
        row["namespaces"] = proc_status.namespaces(pid)
        row["mounts"] = proc_status.mounts((process / "mountinfo").read_text())
    except (FileNotFoundError, ProcessLookupError):
        row["pid"] = 0  # It ended meanwhile.
    return row


def _cgroup_path(text: str, identity: str) -> str:
    paths = (line.split(":", 2)[2] for line in text.splitlines())
    path = next(p for p in paths if f"/{identity}" in p)
    return path[: path.index(identity) + len(identity)]
