"""What the kubelet does beside Pods: backoffs, log rotation, image collection, shutdown, node status, static URL."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NODES
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.log_rotation import LogRotation
from podwright.kubelet.node import machine
from podwright.kubelet.node.status import NodeHealth, conditions
from podwright.kubelet.pull_secrets import matching
from podwright.kubelet.runtime_cache import RuntimeCache
from podwright.kubelet.sync.backoff import RestartBackoff, go_duration
from podwright.kubelet.user_namespaces import NoIdsLeft, UserNamespaces
from podwright.runtime.protocol import Container, ContainerState, FilesystemUsage

from .conftest import Cluster, make_container, make_pod
from .fake_runtime import FakeRuntime


class HandClock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


def test_crash_loop_delays() -> None:
    clock = HandClock()
    backoff = RestartBackoff(clock, initial=10, maximum=300, reset=600)
    delays = []
    for _ in range(8):
        failed = clock.now()
        delays.append(backoff.remaining("k", failed))
        clock.time += delays[-1]
        assert backoff.remaining("k", failed) == 0
        backoff.tried("k", failed)
        clock.time += 1
    assert delays == [0, 10 - 0, 20, 40, 80, 160, 300, 300]
    clock.time += 601
    assert backoff.remaining("k", clock.now()) == 0
    backoff.tried("k", clock.now())
    assert backoff.delay("k") == 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (1.5, "1.5s"), (0.2, "200ms"), (0, "0s"), (3661, "1h1m1s")],
)
def test_durations_as_go_prints_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


def test_user_namespaces_do_not_overlap() -> None:
    ranges = UserNamespaces(65536, 2)
    first, second = ranges.allocate("a")[0], ranges.allocate("b")[0]
    assert {first.host_id, second.host_id} == {65536, 131072} and ranges.allocate("a") == [first]
    with pytest.raises(NoIdsLeft):
        ranges.allocate("c")
    ranges.release("a")
    assert ranges.allocate("c") == [first]
    again = UserNamespaces(65536, 2)
    again.taken("b", [second])
    assert again.allocate("x")[0].host_id != second.host_id


def _secret(**auths: Any) -> Object:
    import base64
    import json

    entries = {k.replace("_", "."): {"username": v, "password": "p"} for k, v in auths.items()}
    return {"data": {".dockerconfigjson": base64.b64encode(json.dumps({"auths": entries}).encode()).decode()}}


def test_pull_secrets_match_their_registry() -> None:
    secrets = [_secret(registry_example_com="a", docker_io="hub")]
    assert [c.auth.username for c in matching(secrets, "registry.example.com/x:1")] == ["a"]
    assert [c.auth.username for c in matching(secrets, "busybox")] == ["hub"]
    assert matching(secrets, "other.example.com/x") == []
    assert matching([{"data": {".dockerconfigjson": "no base64 !"}}], "busybox") == []


async def test_logs_are_rotated(tmp_path: Path) -> None:
    runtime, clock = FakeRuntime(), HandClock()
    rotation = LogRotation(runtime, RuntimeCache(runtime, clock), clock, max_size=100, max_files=3)
    path = tmp_path / "0.log"
    container = Container("c", "s", "main", 0, "i", "i", ContainerState.RUNNING, 0.0, log_path=path)
    for number in range(6):
        path.write_text(str(number) * 200)
        clock.time += 11
        await rotation.look(container)
        assert not path.exists()
    found = sorted(p.name for p in tmp_path.iterdir())
    assert len(found) == 2 and found[0].endswith(".gz") and not found[1].endswith(".gz")
    path.write_text("small")
    await rotation.look(container)
    assert path.exists() and runtime.calls.count("reopen_container_log") == 6
    for _ in range(3):  # full again within a second: packing such logs would cost more than it saves
        path.write_text("x" * 200)
        clock.time += 1
        await rotation.look(container)
    assert [p.suffix for p in sorted(tmp_path.iterdir())].count(".gz") == 0 and len(list(tmp_path.iterdir())) == 2


async def test_unused_images_go_when_the_disk_is_full(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.images.add("example.com/old:1")
    await cluster.create(make_pod())
    await cluster.until_ready()
    garbage = cluster.kubelet.garbage
    monkeypatch.setattr(garbage, "_config", replace(cluster.config, image_minimum_age=0.0, image_gc_high_threshold=0,
                                                    image_gc_low_threshold=0))  # fmt: skip

    async def usage() -> FilesystemUsage:
        return FilesystemUsage("/", 1, 1)

    monkeypatch.setattr(cluster.images, "filesystem_usage", usage)
    await garbage.collect_images()
    assert [i.repo_tags for i in await cluster.images.list_images()] == [["docker.io/library/busybox:1.36"]]


async def test_node_shutdown_ends_pods_in_order(cluster: Cluster) -> None:
    cluster.kubelet.config = replace(cluster.config, shutdown_grace_period=4.0, shutdown_grace_period_critical=2.0)
    await cluster.create(make_pod("plain"))
    critical = make_pod("critical", make_container("system"), priority=2_000_000_000)
    await cluster.create(critical)
    await cluster.until_ready("plain")
    await cluster.until_ready("critical")
    await cluster.kubelet.shut_down()
    assert cluster.runtime.stop_order == ["main", "system"]
    for name in ("plain", "critical"):
        pod = await cluster.until_pod(lambda p: p["status"]["phase"] == "Failed", name)
        assert pod["status"]["reason"] == "Terminated"
        assert objects.condition_is_true(pod, "DisruptionTarget")
    await cluster.until(lambda: not objects.condition_is_true(cluster.api.find(NODES, "node-1") or {}, "Ready"))
    await cluster.create(make_pod("late"))
    late = await cluster.until_pod(lambda p: p["status"].get("phase") == "Failed", "late")
    assert late["status"]["reason"] == "NodeShutdown"


def test_allocatable_is_what_is_left(tmp_path: Path) -> None:
    config = KubeletConfig(
        node_name="n", data_dir=tmp_path, cgroup_root="/x",
        capacity={"cpu": "4", "memory": "8Gi", "podwright.io/disk-read-bps": "100Mi"},
        system_reserved={"cpu": "500m", "memory": "1Gi"}, eviction_hard={"memory.available": "100Mi"},
    )  # fmt: skip
    total = machine.capacity(machine.read(tmp_path), config)
    left = machine.allocatable(total, config)
    assert left["cpu"] == "3500m" and left["memory"] == "7068Mi" and left["pods"] == "110"
    assert left["podwright.io/disk-read-bps"] == "100Mi"


def test_conditions_keep_their_times_and_others() -> None:
    first = conditions(NodeHealth(), [{"type": "NetworkUnavailable", "status": "False"}], 100.0)
    second = conditions(NodeHealth(pressure={"MemoryPressure": ("", "")}), first, 200.0)
    by_type = {c["type"]: c for c in second}
    assert by_type["NetworkUnavailable"]["status"] == "False"
    assert by_type["Ready"]["lastTransitionTime"] == objects.format_time(100)
    assert by_type["Ready"]["lastHeartbeatTime"] == objects.format_time(200)
    assert by_type["MemoryPressure"]["reason"] == "KubeletHasInsufficientMemory"
    assert by_type["MemoryPressure"]["lastTransitionTime"] == objects.format_time(200)


async def test_deleted_node_registers_anew(cluster: Cluster) -> None:
    node = await cluster.until(lambda: cluster.api.find(NODES, "node-1"))
    await cluster.until(cluster.kubelet._api_node.has_synced)
    await cluster.api.client.delete(NODES, "node-1")
    again = await cluster.until(lambda: (n := cluster.api.find(NODES, "node-1")) and n is not node and n)
    assert objects.uid(again) != objects.uid(node)


async def test_extended_resources_that_others_advertise_stay_until_they_are_taken_out(cluster: Cluster) -> None:
    await cluster.until(lambda: cluster.api.find(NODES, "node-1"))
    await cluster.until(cluster.kubelet._api_node.has_synced)

    async def advertise(value: str | None) -> None:
        patch = {"status": {"capacity": {"example.com/dongle": value}}}
        await cluster.api.client.patch(NODES, "node-1", patch, subresource="status")

    def allocatable() -> Any:
        return cluster.api.find(NODES, "node-1")["status"]["allocatable"].get("example.com/dongle")

    await advertise("4")
    assert await cluster.until(allocatable) == "4"
    assert cluster.kubelet.node.allocatable["example.com/dongle"] == "4"
    await advertise(None)
    await cluster.until(lambda: allocatable() is None)
    assert "example.com/dongle" not in cluster.kubelet.node.allocatable


async def test_static_pods_from_a_url(tmp_path: Path) -> None:
    from podwright.client.clock import SystemClock
    from podwright.kubelet.sources.static_url import StaticPodUrl

    bodies = ["apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: i}]}"]
    seen: list[Sequence[Object]] = []

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["X-Key"] == "k"
        return web.Response(text=bodies[-1])

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    source = StaticPodUrl(
        f"http://127.0.0.1:{port}/", "n1", SystemClock(), seen.append, period=0.02, headers={"X-Key": "k"}
    )
    task = asyncio.create_task(source.run())
    try:
        async with asyncio.timeout(60):
            while not seen:
                await asyncio.sleep(0.005)
            assert [objects.name(p) for p in seen[-1]] == ["a-n1"]
            bodies.append("nonsense")
            await asyncio.sleep(0.1)
            assert len(seen) == 1
            bodies.append('{"kind": "PodList", "apiVersion": "v1", "items": []}')
            while len(seen) < 2:
                await asyncio.sleep(0.005)
            assert seen[-1] == []
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await runner.cleanup()
