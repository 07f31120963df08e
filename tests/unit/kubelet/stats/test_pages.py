from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import orjson

from podwright.kubelet.probes.manager import Probes
from podwright.kubelet.stats import node_usage
from podwright.kubelet.stats.pages import family, pages
from podwright.kubelet.stats.summary import CpuRates
from podwright.runtime.protocol import Container, ContainerState, ContainerStats, FilesystemUsage

POD: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
    "spec": {"containers": [{"name": "main"}]},
}
STATS = ContainerStats(
    "c1", "main", 100.0, 2_000_000_000, 900, 800, 700, 6, 5, 4096, 3, 11, 12, 13, 14, 2,
    {"cpu": {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 7}}},
)  # fmt: skip


class Runtime:
    async def container_stats(self, container_id: str) -> ContainerStats:
        return STATS


class Found:
    def running(self) -> list[Container]:
        return [Container("c1", "s1", "main", 0, "busybox", "busybox", ContainerState.RUNNING, 90.0, started_at=91.0,
                          pid=os.getpid())]  # fmt: skip


class Images:
    async def filesystem_usage(self) -> FilesystemUsage:
        return FilesystemUsage("/", 12345, 6)


class FakeKubelet:
    """What pages ask of a kubelet."""

    def __init__(self, directory: Path) -> None:
        from podwright.client.clock import SystemClock
        from podwright.kubelet.config import KubeletConfig
        from podwright.kubelet.volumes.csi.volumes import CsiVolumes

        self.config = KubeletConfig(node_name="node-1", data_dir=directory, cgroup_root="/x")
        self.runtime, self.clock, self.image_service = Runtime(), SystemClock(), Images()
        self.csi = CsiVolumes(self.config, None, None, lambda: None)  # type: ignore[arg-type]
        self.probes = Probes(self.runtime, None, self.clock)  # type: ignore[arg-type]
        self.exits = Counter({("regular", 139, "Error"): 2})

    def active_pods(self) -> list[dict[str, Any]]:
        return [POD]

    def pod_runtime(self, uid: str) -> Found:
        return Found()


async def ask(directory: Path, path: str) -> str:
    response: Any = await pages(FakeKubelet(directory))[path](None)  # type: ignore[arg-type]
    return bytes(response.body).decode()


async def test_summary(tmp_path: Path) -> None:
    volume = tmp_path / "pods/u1/volumes/kubernetes.io~empty-dir/cache"
    volume.mkdir(parents=True)
    (volume / "data").write_bytes(b"x" * 100_000)
    found = orjson.loads(await ask(tmp_path, "/stats/summary"))
    assert found["node"]["nodeName"] == "node-1"
    assert found["node"]["memory"]["availableBytes"] > 0
    (pod,) = found["pods"]
    assert pod["podRef"] == {"name": "web", "namespace": "default", "uid": "u1"}
    assert pod["containers"][0]["cpu"]["usageCoreNanoSeconds"] == 2_000_000_000
    assert pod["memory"]["workingSetBytes"] == 800
    assert pod["volume"][0]["name"] == "cache"
    assert 100_000 <= pod["volume"][0]["usedBytes"] < 130_000


async def test_summary_tells_of_images_networks_and_pressure(tmp_path: Path) -> None:
    found = orjson.loads(await ask(tmp_path, "/stats/summary"))
    assert found["node"]["runtime"]["imageFs"]["usedBytes"] == 12345
    names = {line.partition(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]} - {"lo"}
    assert {i["name"] for i in found["pods"][0]["network"].get("interfaces", ())} == names
    assert found["pods"][0]["containers"][0]["cpu"]["psi"]["some"] == {
        "avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 7000,
    }  # fmt: skip
    assert found["node"]["systemContainers"][0]["memory"]["workingSetBytes"] == 800


def test_interfaces_and_pressure_are_parsed(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/dev").write_text(
        "Inter-|   Receive\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs ...\n"
        "    lo:  9 0 0 0 0 0 0 0   0 0 0 0 0 0 0\n"
        "  net1: 100 2 3 0 0 0 0 0 200 2 4 0 0 0 0\n"
        "  eth0: 1 2 0 0 0 0 0 0 2 2 0 0 0 0 0\n"
    )
    eth0, net1 = node_usage.interfaces(tmp_path)
    assert eth0.name == "eth0" and net1 == node_usage.Interface("net1", 100, 3, 200, 4)
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/io").write_text("some avg10=0.50 avg60=0.26 avg300=0.48 total=10\n")
    assert node_usage.pressure("io", tmp_path) == {"some": {"avg10": 0.5, "avg60": 0.26, "avg300": 0.48, "total": 10.0}}
    assert node_usage.pressure("cpu", tmp_path) == {} == node_usage.pressure("io", tmp_path / "none")


async def test_prometheus_pages(tmp_path: Path) -> None:
    resource = await ask(tmp_path, "/metrics/resource")
    assert 'container_cpu_usage_seconds_total{container="main",namespace="default",pod="web"} 2.0' in resource
    assert 'pod_memory_working_set_bytes{namespace="default",pod="web"} 800.0' in resource
    assert "container_fs_writes_bytes_total" in await ask(tmp_path, "/metrics/cadvisor")
    own = await ask(tmp_path, "/metrics")
    ended = 'kubelet_terminated_containers_total{container_type="container",exit_code="139",reason="Error"} 2.0'
    assert "kubelet_running_pods 1.0" in own and ended in own
    assert "prober_probe_total" in await ask(tmp_path, "/metrics/probes")


def test_label_values_are_escaped() -> None:
    assert family("m", "gauge", "h", [({"a": 'x"\\'}, 1.0)]).splitlines()[-1] == 'm{a="x\\"\\\\"} 1.0'


def test_cpu_rate_needs_two_readings() -> None:
    rates = CpuRates()
    assert rates.rate("a", 10.0, 0) == 0
    assert rates.rate("a", 12.0, 1_000_000_000) == 500_000_000


def test_node_usage_is_read() -> None:
    found = node_usage.read()
    assert found.cpu > 0 and 0 < found.memory_available <= found.memory_total and found.processes > 1
