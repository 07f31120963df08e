from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.eviction.manager import Evictions
from podwright.kubelet.eviction.ranking import rank
from podwright.kubelet.eviction.thresholds import Observation, Threshold
from podwright.kubelet.pod_status import Verdict
from podwright.kubelet.stats.pod_usage import PodUsage
from podwright.runtime.protocol import Container, ContainerState, ContainerStats

MI = 1 << 20
FREE = {"memory.available": Observation(1000 * MI, 500 * MI), "nodefs.available": Observation(1000 * MI, 500 * MI)}
LOW_MEMORY = {**FREE, "memory.available": Observation(1000 * MI, 50 * MI)}
LOW_DISK = {**FREE, "nodefs.available": Observation(1000 * MI, 50 * MI)}
NOTHING = ContainerStats("", "main", 0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def make_pod(name: str, *, priority: int = 0, memory: str = "", volumes: Any = (), limits: Any = None) -> Any:
    requests = {"memory": memory} if memory else {}
    ctr = {"name": "main", "resources": {"requests": requests, "limits": limits or {}}}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"priority": priority, "containers": [ctr], "volumes": list(volumes)},
    }


def usage(pod: Any, memory: int) -> PodUsage:
    uid = pod["metadata"]["uid"]
    container = Container(uid, "s", "main", 0, "i", "i", ContainerState.RUNNING, 0.0)
    return PodUsage(pod, [(container, replace(NOTHING, memory_working_set=memory))], {}, {})


class FakeClock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class FakeKubelet:
    """What evictions ask of a kubelet: Pods by what they use of memory."""

    def __init__(self, directory: Path, **config: Any) -> None:
        settings: dict[str, Any] = {
            "eviction_hard": {"memory.available": "100Mi", "nodefs.available": "10%"}, **config
        }  # fmt: skip
        self.config = KubeletConfig(node_name="n", data_dir=directory, cgroup_root="/x", **settings)
        self.clock, self.recorder = FakeClock(), self
        self.garbage = self.runtime = self
        self.found: dict[str, tuple[Any, ContainerStats]] = {}
        self.events: list[tuple[str, str]] = []
        self.evicted: list[tuple[str, Verdict]] = []
        self.pressure: set[str] = set()
        self.freed: list[int] = []
        self.seen: list[Any] = [FREE]

    def add(self, pod: Any, memory: int = 0) -> None:
        self.found[pod["metadata"]["uid"]] = (pod, replace(NOTHING, memory_working_set=memory))

    async def see(self, kubelet: Any) -> Any:
        return self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]

    def event(self, about: Any, kind: str, reason: str, message: str) -> None:
        self.events.append((reason, message))

    async def free(self, wanted: int) -> int:
        self.freed.append(wanted)
        return wanted

    async def container_stats(self, container_id: str) -> ContainerStats:
        return self.found[container_id][1]

    def active_pods(self) -> list[Any]:
        return [pod for pod, _ in self.found.values()]

    def pod_runtime(self, uid: str) -> Any:
        class Found:
            def running(self) -> list[Container]:
                return [Container(uid, "s", "main", 0, "i", "i", ContainerState.RUNNING, 0.0)]

        return Found()

    def set_pressure(self, condition: str, pressed: bool) -> None:
        (self.pressure.add if pressed else self.pressure.discard)(condition)

    def evict(self, uid: str, verdict: Verdict) -> asyncio.Event:
        self.evicted.append((uid, verdict))
        done = asyncio.Event()
        done.set()
        return done


def made(kubelet: FakeKubelet) -> Evictions:
    return Evictions(kubelet, see=kubelet.see)  # type: ignore[arg-type]


async def test_a_node_with_room_evicts_nobody(tmp_path: Path) -> None:
    kubelet = FakeKubelet(tmp_path)
    kubelet.add(make_pod("a"), 100 * MI)
    await made(kubelet).check()
    assert kubelet.evicted == [] and kubelet.pressure == set()


async def test_memory_pressure_ends_the_greediest_and_stays_for_a_while(tmp_path: Path) -> None:
    kubelet = FakeKubelet(tmp_path)
    kubelet.add(make_pod("modest", memory="300Mi"), 200 * MI)
    kubelet.add(make_pod("greedy", memory="10Mi"), 100 * MI)
    kubelet.seen = [LOW_MEMORY]
    evictions = made(kubelet)
    await evictions.check()
    ((uid, verdict),) = kubelet.evicted
    assert (uid, verdict.reason, verdict.grace) == ("greedy", "Evicted", 1.0)
    assert verdict.message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51200Ki. "
        "Container main was using 102400Ki, request is 10Mi, has larger consumption of memory. "
    )
    assert verdict.condition is not None and verdict.condition["reason"] == "TerminationByKubelet"
    assert kubelet.pressure == {"MemoryPressure"}
    await evictions.check()
    assert len(kubelet.evicted) == 1, "one is still ending"
    kubelet.seen = [FREE]
    kubelet.clock.time += 200
    await evictions.check()
    assert kubelet.pressure == {"MemoryPressure"}
    kubelet.clock.time += 200
    await evictions.check()
    assert kubelet.pressure == set()


async def test_a_soft_threshold_must_be_crossed_for_its_grace_period(tmp_path: Path) -> None:
    kubelet = FakeKubelet(
        tmp_path,
        eviction_hard={},
        eviction_soft={"memory.available": "100Mi"},
        eviction_soft_grace_period={"memory.available": 60.0},
        eviction_max_pod_grace_period=5.0,
    )
    kubelet.add(make_pod("a"), MI)
    kubelet.seen = [LOW_MEMORY]
    evictions = made(kubelet)
    await evictions.check()
    assert kubelet.evicted == [] and kubelet.pressure == {"MemoryPressure"}
    kubelet.clock.time += 61
    await evictions.check()
    assert [(u, v.grace) for u, v in kubelet.evicted] == [("a", 5.0)]


async def test_disk_is_first_reclaimed_from_images(tmp_path: Path) -> None:
    kubelet = FakeKubelet(tmp_path)
    kubelet.add(make_pod("a"))
    kubelet.seen = [LOW_DISK, FREE]
    await made(kubelet).check()
    assert kubelet.freed == [50 * MI] and kubelet.evicted == [] and kubelet.pressure == {"DiskPressure"}
    kubelet.seen = [LOW_DISK]
    await made(kubelet).check()
    assert [u for u, _ in kubelet.evicted] == ["a"]


async def test_an_empty_dir_over_its_size_limit_ends_the_pod(tmp_path: Path) -> None:
    kubelet = FakeKubelet(tmp_path)
    kubelet.add(make_pod("a", volumes=[{"name": "cache", "emptyDir": {"sizeLimit": "10Ki"}}]))
    directory = tmp_path / "pods/a/volumes/kubernetes.io~empty-dir/cache"
    directory.mkdir(parents=True)
    evictions = made(kubelet)
    await evictions.check()
    assert kubelet.evicted == []
    (directory / "data").write_bytes(b"x" * 50_000)
    await evictions.check()
    assert kubelet.evicted[0][1].message == 'Usage of EmptyDir volume "cache" exceeds the limit "10Ki". '


async def test_ephemeral_storage_over_the_limit_ends_the_pod(tmp_path: Path) -> None:
    kubelet = FakeKubelet(tmp_path)
    pod = make_pod("a", limits={"ephemeral-storage": "1Mi"})
    kubelet.found["a"] = (pod, replace(NOTHING, rootfs_bytes=2 * MI))
    await made(kubelet).check()
    expected = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "
    assert kubelet.evicted[0][1].message == expected


def test_ranking_over_request_then_priority_then_excess() -> None:
    found = [
        usage(make_pod("within", memory="500Mi"), 400 * MI),
        usage(make_pod("important", priority=10), 300 * MI),
        usage(make_pod("small"), 10 * MI),
        usage(make_pod("large"), 20 * MI),
        usage(make_pod("critical", priority=2_000_000_000), 900 * MI),
    ]
    assert [u.pod["metadata"]["name"] for u in rank(found, "memory")] == ["large", "small", "important", "within"]


@pytest.mark.parametrize(("limit", "value"), [("100Mi", 100 * MI), ("10%", 100)])
def test_thresholds_are_quantities_or_shares(limit: str, value: int) -> None:
    assert Threshold("memory.available", limit).value(1000) == value
