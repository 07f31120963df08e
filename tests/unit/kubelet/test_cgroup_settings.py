"""Swap, huge pages, disk weights and overhead: what stands in containers' and Pods' groups for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.kubelet import qos
from podwright.kubelet.containers.resources import (
    CgroupPolicy,
    container_resources,
    disk_weight,
    limits_disk_writes,
    pids_limit,
    pod_resources,
)

from .conftest import Cluster, make_container, make_pod

GIB = 1 << 30
SWAPPING = CgroupPolicy(memory_capacity=8 * GIB, cgroup_version=2, swap_capacity=4 * GIB, swap_behavior="LimitedSwap")


def asking(request: str, limit: str = "", **spec: Any) -> Object:
    resources: Object = {"requests": {"memory": request}}
    if limit:
        resources["limits"] = {"memory": limit}
    return make_pod("web", make_container("main", resources=resources), **spec)


@pytest.mark.parametrize(
    ("pod", "policy", "swap"),
    [
        # A quarter of the node's memory: a quarter of its swap.
        (asking("2Gi", "4Gi"), SWAPPING, GIB),
        (asking("2Gi"), SWAPPING, GIB),
        # Request equal to limit, Guaranteed, BestEffort, critical: none.
        (asking("2Gi", "2Gi"), SWAPPING, 0),
        (make_pod("web"), SWAPPING, 0),
        (asking("2Gi", "4Gi", priority=2_000_000_000), SWAPPING, 0),
        (asking("2Gi", "4Gi"), replace(SWAPPING, swap_behavior="NoSwap"), 0),
    ],
)
def test_swap(pod: Object, policy: CgroupPolicy, swap: int) -> None:
    made = container_resources(pod, pod["spec"]["containers"][0], policy)
    assert made.unified["memory.swap.max"] == str(swap)
    assert made.memory_swap_limit == (made.memory_limit + swap if made.memory_limit else 0)


def test_without_swap_or_on_version_1_nothing_is_said_of_it() -> None:
    pod = asking("2Gi", "4Gi")
    made = container_resources(pod, pod["spec"]["containers"][0], replace(SWAPPING, swap_capacity=0))
    assert "memory.swap.max" not in made.unified
    made = container_resources(pod, pod["spec"]["containers"][0], replace(SWAPPING, cgroup_version=1))
    assert made.memory_swap_limit == made.memory_limit == 4 * GIB


def test_huge_pages_that_were_not_asked_for_cannot_be_used() -> None:
    policy = CgroupPolicy(hugepages=("hugepages-2Mi", "hugepages-1Gi"))
    limits = {"hugepages-2Mi": "4Mi", "memory": "64Mi"}
    pod = make_pod("web", make_container("main", resources={"limits": limits, "requests": limits}))
    made = container_resources(pod, pod["spec"]["containers"][0], policy)
    assert made.hugepage_limits == {"2MB": 4 << 20, "1GB": 0}


def test_overhead_is_part_of_the_pods_group_and_pod_level_counts_for_containers() -> None:
    limits = {"cpu": "500m", "memory": "64Mi"}
    pod = make_pod(
        "web",
        make_container("main", resources={"limits": limits, "requests": limits}),
        overhead={"cpu": "250m", "memory": "16Mi"},
    )
    whole = pod_resources(pod, CgroupPolicy())
    assert (whole.cpu_shares, whole.cpu_quota, whole.memory_limit) == (768, 75_000, 80 << 20)
    level = {
        "requests": {"cpu": "1", "memory": "32Mi"},
        "limits": {"cpu": "2", "memory": "128Mi", "podwright.io/disk-write-bps": "4Mi"},
    }
    pod = make_pod("web", make_container("a"), make_container("b"), resources=level)
    whole = pod_resources(pod, CgroupPolicy(pod_pids_limit=50))
    assert (whole.cpu_shares, whole.cpu_quota, whole.memory_limit, whole.pids_limit) == (1024, 200_000, 128 << 20, 50)
    level["limits"]["pids"] = "2048"
    bounds = ((-1, (2048, 2048)), (4096, (2048, 2048)), (50, (50, 2048)))
    assert all(pids_limit(pod, CgroupPolicy(pod_pids_limit=node)) == both for node, both in bounds)
    made = container_resources(pod, pod["spec"]["containers"][0], CgroupPolicy())
    assert (made.memory_limit, made.cpu_quota, made.cpu_shares) == (128 << 20, 200_000, 2)
    assert made.disk.write_bps == whole.disk.write_bps == 4 << 20
    # Each has half of what the Pod requests beyond its containers: 16 MiB of a GiB.
    assert qos.oom_score_adj(pod, pod["spec"]["containers"][0], GIB) == 1000 - 1000 * 16 // 1024


def test_weights_follow_requests_of_the_disk() -> None:
    capacity = {"podwright.io/disk-read-bps": "200Mi", "podwright.io/disk-write-iops": "1k"}
    assert disk_weight({"cpu": "1"}, capacity) == 0
    assert disk_weight({"podwright.io/disk-read-bps": "20Mi"}, capacity) == 190
    assert disk_weight({"podwright.io/disk-read-bps": "20Mi", "podwright.io/disk-write-iops": "500"}, capacity) == 550
    assert disk_weight({"podwright.io/disk-read-bps": "1Gi"}, capacity) == 1000
    assert disk_weight({"podwright.io/disk-read-bps": "1Gi"}, {}) == 0


def writer(**limits: str) -> Object:
    return make_container("main", resources={"limits": {f"podwright.io/disk-{k}": v for k, v in limits.items()}})


async def test_version_1_says_once_a_pod_that_buffered_writes_go_unlimited(cluster: Cluster) -> None:
    pod = make_pod("web", writer(**{"write-bps": "1Mi"}), make_container("other"))
    assert limits_disk_writes(pod) and not limits_disk_writes(make_pod("web", writer(**{"read-bps": "1Mi"})))
    if cluster.kubelet.machine.cgroup_version != 1:
        cluster.kubelet._context.node.policy = replace(cluster.kubelet._context.node.policy, cgroup_version=1)
    await cluster.create(pod)
    await cluster.until_ready()
    await cluster.until(lambda: [r for r, _ in cluster.api.events("web")].count("BufferedWritesNotLimited") == 1)


async def test_a_resize_of_the_whole_pod_alone_reaches_its_group_and_its_containers(cluster: Cluster) -> None:
    write = "podwright.io/disk-write-bps"

    def level(cpu: str, speed: str) -> Object:
        return {"requests": {"cpu": cpu, write: speed}, "limits": {"cpu": cpu, write: speed}}

    cluster.kubelet.set_capacity({write: "100Mi"})
    await cluster.create(make_pod("web", make_container("a"), make_container("b"), resources=level("500m", "4Mi")))
    pod = await cluster.until_ready()
    burstable = f"{cluster.config.pods_cgroup}/burstable"
    assert cluster.runtime.parents[burstable].cpu_shares == 512
    await cluster.api.change(PODS, "web", lambda p: p["spec"].update(resources=level("1", "8Mi")))

    def newest(key: str) -> Any:
        return next((r for k, r in reversed(cluster.runtime.updates) if k == key), None)

    sandbox = next(iter(cluster.runtime.sandboxes))
    await cluster.until(lambda: (r := newest(sandbox)) and (r.cpu_quota, r.disk.write_bps) == (100_000, 8 << 20))
    for status in pod["status"]["containerStatuses"]:
        found = newest(status["containerID"].partition("://")[2])
        assert (found.cpu_quota, found.disk.write_bps) == (100_000, 8 << 20)
    await cluster.until(lambda: cluster.runtime.parents[burstable].cpu_shares == 1024)
    waiting = [c["type"] for c in (cluster.pod() or {})["status"]["conditions"] if c["type"].startswith("PodResize")]
    assert waiting == []
    before = len(cluster.runtime.updates)
    await cluster.restart()
    # Whatever the kubelet before had acted on: it is done, once, by the new one.
    await cluster.until(lambda: len(cluster.runtime.updates) > before)


@pytest.mark.parametrize(
    ("name", "priority", "score"),
    [("system-node-critical", 2_000_001_000, -997), ("system-cluster-critical", 2_000_000_000, 1000), ("", 0, 1000)],
)
def test_only_what_is_critical_for_the_node_is_kept_from_the_killer(name: str, priority: int, score: int) -> None:
    pod = make_pod("web", priorityClassName=name, priority=priority)
    assert qos.oom_score_adj(pod, pod["spec"]["containers"][0], GIB) == score
