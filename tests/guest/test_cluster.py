"""A whole cluster in the guest, seen through the real kubectl: what a Pod's manifest becomes under cgroup v2."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.harness import Cluster, busybox, container_status, host_pids, pod, until

ROOT = Path("/sys/fs/cgroup")
MIB = 1 << 20


def group_of(pid: int) -> Path:
    return ROOT / Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")


def host_commands() -> list[str]:
    """Of every process but the test's own."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [command for command in found if "pytest" not in command]


def text(path: Path) -> str:
    return path.read_text().strip()


def resources(requests: dict[str, str], limits: dict[str, str]) -> dict[str, Any]:
    return {"resources": {"requests": requests, "limits": limits}}


@pytest.fixture
def swap(tmp_path: Path) -> Iterator[None]:
    file = tmp_path / "swap"
    file.write_bytes(bytes(64 * MIB))
    file.chmod(0o600)
    for command in ("mkswap", "swapon"):
        subprocess.run([command, file], check=True, capture_output=True)
    yield
    subprocess.run(["swapoff", file], check=True)


@pytest.fixture
def cluster(tmp_path: Path, swap: None) -> Iterator[Cluster]:
    config = tmp_path / "kubelet.yaml"
    config.write_text(
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
        "memorySwap: {swapBehavior: LimitedSwap}\npodPidsLimit: 70\n"
    )
    started = Cluster("limits", tmp_path / "kubeconfig", ("--kubelet-config", str(config)))
    try:
        started.up()
        yield started
    finally:
        started.podwright("down", "--purge", check=False)


@pytest.mark.timeout(240)
def test_pods_with_limits_from_manifest_to_nothing(cluster: Cluster) -> None:
    limits = resources({"cpu": "100m", "memory": "16Mi"}, {"cpu": "500m", "memory": "24Mi"})
    whole = {"cpu": "200m", "memory": "32Mi"}
    level = {"requests": {"cpu": "300m", "memory": "40Mi"}, "limits": {"cpu": "600m", "memory": "80Mi"}}
    cluster.apply(
        pod("oom", busybox("c", "head -c 200m /dev/zero | tail", **limits), restartPolicy="Never"),
        pod("burstable", busybox("c", "sleep 3600", **limits)),
        pod("guaranteed", busybox("c", "sleep 3600", **resources(whole, whole))),
        pod("besteffort", busybox("c", "sleep 3600")),
        pod("level", busybox("one", "sleep 3600"), busybox("two", "sleep 3600"), resources=level),
    )
    # One kubectl that watches: each start of it costs a second of an emulated processor.
    up = [f"pod/{name}" for name in ("burstable", "guaranteed", "besteffort", "level")]
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=90s", *up, timeout=100)
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "--timeout=60s", "pod/oom", timeout=70)
    found = {p["metadata"]["name"]: p for p in cluster.get("pods")["items"]}
    ended = container_status(found.pop("oom"), "c")["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    groups = {name: group_of(next(iter(host_pids(p).values()))) for name, p in found.items()}
    top = f"/podwright/{cluster.name}/node-1/kubepods"
    for name, tree in (("burstable", "/burstable"), ("guaranteed", ""), ("besteffort", "/besteffort")):
        assert found[name]["status"]["qosClass"].lower() == name
        assert f"/{groups[name].parent.relative_to(ROOT)}" == f"{top}{tree}/pod{found[name]['metadata']['uid']}"
    group = groups["burstable"]
    assert (text(group / "cpu.max"), text(group / "cpu.weight")) == ("50000 100000", "4")
    # Of the node's swap the part that it requests of the node's memory, in whole pages.
    has = {line.split()[0]: int(line.split()[1]) << 10 for line in Path("/proc/meminfo").read_text().splitlines()}
    swap = 16 * MIB * has["SwapTotal:"] // has["MemTotal:"] // 4096 * 4096
    assert (text(group / "memory.max"), text(group / "memory.swap.max")) == (str(24 * MIB), str(swap)) and swap
    assert text(groups["guaranteed"] / "memory.swap.max") == text(groups["besteffort"] / "memory.swap.max") == "0"
    # What is above them does not take it away again.
    above = (group.parent, group.parent.parent, ROOT / top[1:])
    assert {text(g / "memory.swap.max") for g in above} == {"max"}
    assert text(group / "hugetlb.2MB.max") == "0" and text(group.parent / "pids.max") == "70"
    # Those of Burstable Pods weigh 100m and 300m together.
    assert [text(ROOT / top[1:] / c / "cpu.weight") for c in ("burstable", "besteffort")] == ["16", "1"]
    assert text(group / "memory.oom.group") == "1"
    assert (text(group.parent / "cpu.max"), text(group.parent / "memory.max")) == ("50000 100000", str(24 * MIB))
    assert text(groups["besteffort"] / "cpu.weight") == "1" and text(groups["besteffort"] / "memory.max") == "max"
    shared = groups["level"].parent
    assert (text(shared / "cpu.max"), text(shared / "memory.max")) == ("60000 100000", str(80 * MIB))

    # Resized in place: the same process, the files and the status follow.
    pid = host_pids(found["burstable"])["c"]
    patch = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "700m", "memory": "48Mi"}}}]}}
    cluster.kubectl("patch", "pod", "burstable", "--subresource", "resize", "-p", json.dumps(patch))
    until(lambda: text(group / "cpu.max") == "70000 100000" and text(group / "memory.max") == str(48 * MIB))
    until(lambda: text(group.parent / "memory.max") == str(48 * MIB))
    shown = "jsonpath={.status.containerStatuses[0].resources.limits.memory}=48Mi"
    cluster.kubectl("wait", f"--for={shown}", "--timeout=60s", "pod/burstable")
    now = cluster.pod("burstable")
    assert host_pids(now)["c"] == pid and container_status(now, "c")["restartCount"] == 0

    # Figures come from the same files.
    summary = json.loads(cluster.kubectl("get", "--raw", "/api/v1/nodes/node-1/proxy/stats/summary"))
    (row,) = (p for p in summary["pods"] if p["podRef"]["name"] == "burstable")
    assert 0 < row["memory"]["workingSetBytes"] < 48 * MIB and row["cpu"]["usageCoreNanoSeconds"] > 0
    assert row["containers"][0]["memory"]["psi"]["some"]["total"] >= 0

    cluster.podwright("down", "--purge")
    assert not (ROOT / "podwright").exists()
    assert not [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "/podwright/limits" in line]
    assert not [p for p in host_commands() if "conmon" in p or "--name limits" in p]
