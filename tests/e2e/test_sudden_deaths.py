"""SIGKILL to the process with the kubelet at random points of Pods' lives: nothing is restarted, doubled or forgotten,
and nothing is left behind. PODWRIGHT_DEATHS sets how many (100 for the long run), PODWRIGHT_SEED where they fall."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.harness import Cluster, busybox, host_pids, pod, until
from tests.e2e.test_recovery import kill

DEATHS = int(os.environ.get("PODWRIGHT_DEATHS", "3"))
SEED = int(os.environ.get("PODWRIGHT_SEED", str(time.time_ns() % 100_000)))

_LIMITS = {"resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "100m"}}}
_MEMORY = [{"name": "m", "emptyDir": {"medium": "Memory"}}]


def _member(name: str, command: str = "trap 'exit 0' TERM; sleep 10000 & wait") -> dict[str, Any]:
    mounts = [{"name": "m", "mountPath": "/m"}]
    containers = [busybox(c, command, volumeMounts=mounts, **_LIMITS) for c in ("a", "b")]
    return pod(name, *containers, volumes=_MEMORY)


def _node(cluster: Cluster, node: str) -> Path:
    return Path("/run/podwright") / cluster.name / node


def held(cluster: Cluster, node: str = "node-1") -> dict[str, int]:
    """What the node holds of Pods, counted."""
    data = Path("/var/lib/podwright") / cluster.name / "nodes" / node
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    roots = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]
    groups = [g for root in roots for g in (root / f"podwright/{cluster.name}/{node}/kubepods").glob("**/pod*")]
    own = f"{_node(cluster, node)}/"
    return {
        "directories": len(list((data / "pods").iterdir())),
        "network namespaces": sum(m.startswith(own) and m.endswith("/net") for m in mounts),
        "memory volumes": sum(m.startswith(str(data / "pods")) and m.endswith("/m") for m in mounts),
        "root filesystems": sum(m.startswith((f"{data}/", own)) and "rootfs" in m for m in mounts),
        "groups": len({p.name for p in groups}),
        "conmons": sum(b"conmon" in line and own.encode() in line for line in _command_lines()),
    }


def _command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found


def _life(status: dict[str, Any]) -> list[tuple[str, int]]:
    return [(s["containerID"], s["restartCount"]) for s in status["containerStatuses"]]


@pytest.mark.timeout(120 + 60 * DEATHS)
def test_deaths_at_random_points(cluster: Cluster) -> None:
    rng = random.Random(SEED)
    print(f"PODWRIGHT_SEED={SEED} PODWRIGHT_DEATHS={DEATHS}")
    cluster.apply(_member("steady"))
    cluster.running("steady")
    patch = '{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"200m"}}}]}}'
    cluster.kubectl("patch", "pod", "steady", "--subresource", "resize", "--patch", patch)

    def resized() -> bool:
        statuses = {s["name"]: s for s in cluster.pod("steady")["status"]["containerStatuses"]}
        return bool(statuses["a"]["resources"]["limits"]["cpu"] == "200m")

    until(resized, "the resize has been made")
    before, alone = cluster.pod("steady"), held(cluster)
    pids = host_pids(before)
    assert all(alone.values()), alone
    previous = ""
    for number in range(DEATHS):
        name = f"p{number}"
        cluster.apply(_member(name))
        if previous:
            cluster.kubectl("delete", "pod", previous, "--wait=false")
        time.sleep(rng.random() * 0.4)  # The point of death is what is drawn.
        kill(cluster, "server")
        cluster.up()
        status = cluster.running(name)["status"]
        assert [count for _, count in _life(status)] == [0, 0]
        if previous:
            cluster.gone("pod", previous)
        previous = name
    cluster.kubectl("delete", "pod", previous)
    after = cluster.running("steady")
    assert _life(after["status"]) == _life(before["status"])
    assert host_pids(after) == pids
    assert after["status"]["podIP"] == before["status"]["podIP"]
    assert resized()
    until(lambda: held(cluster) == alone, f"{alone} again, not {held(cluster)}")
