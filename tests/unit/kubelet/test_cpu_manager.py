"""The static CPU manager: who gets which CPUs, and how the others move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.kubelet import cpu_manager
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.cpu_manager import CpuManager, CpusUnavailable, listed, parse, take
from podwright.runtime.protocol import Resources

from .conftest import Cluster, make_container, make_pod

TWO_SOCKETS = {cpu: (cpu // 4, cpu % 4 // 2) for cpu in range(8)}
"""Two sockets of two cores of two threads."""
STATIC = {"cpu_manager_policy": "static", "reserved_cpus": "0", "capacity": {"cpu": "16"}}


def guaranteed(name: str, cpus: str, **more: Any) -> Object:
    amounts = {"cpu": cpus, "memory": "16Mi"}
    return make_container(name, resources={"requests": amounts, "limits": amounts}, **more)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_manager, "topology", lambda: TWO_SOCKETS)


def test_lists_of_cpus() -> None:
    assert parse("0,2-4, 7") == {0, 2, 3, 4, 7} and parse("") == frozenset()
    assert listed({7, 2, 4, 3, 0}) == "0,2-4,7"


@pytest.mark.parametrize(
    ("free", "count", "taken"),
    [
        ("0-7", 4, "0-3"),  # a socket
        ("1-7", 4, "4-7"),  # the one that is whole
        ("0-7", 2, "0-1"),  # a core
        ("1-7", 1, "1"),  # what is left of a core that is broken already
        ("1-7", 3, "1-3"),
        ("0-7", 6, "0-5"),
    ],
)
def test_whole_sockets_then_whole_cores_then_what_is_left(free: str, count: int, taken: str) -> None:
    assert listed(take(parse(free), count, TWO_SOCKETS)) == taken


def test_more_than_there_are_and_a_policy_without_reserve(tmp_path: Path) -> None:
    with pytest.raises(CpusUnavailable, match="requested=3, available=2"):
        take(parse("0-1"), 3, TWO_SOCKETS)
    config = KubeletConfig(node_name="n", data_dir=tmp_path, cgroup_root="/x", cpu_manager_policy="static")
    with pytest.raises(ValueError, match="needs reservedSystemCPUs"):
        CpuManager(config)
    assert listed(CpuManager(replace(config, kube_reserved={"cpu": "1500m"})).allocatable()) == "2-7"
    with pytest.raises(ValueError, match="not all there"):
        CpuManager(replace(config, reserved_cpus="7-9"))


def cpus_of(cluster: Cluster, name: str) -> str:
    found = {c.name: (i, c) for i, c in cluster.runtime.configs.items() if i in cluster.runtime.containers}
    container_id, made = found[name]
    moved = [r.cpuset_cpus for i, r in cluster.runtime.updates if i == container_id and r.cpuset_cpus]
    return moved[-1] if moved else made.resources.cpuset_cpus


@pytest.mark.parametrize("config", [STATIC])
async def test_the_others_share_what_is_left_and_get_it_back(cluster: Cluster) -> None:
    await cluster.create(make_pod("shared", make_container("shared")))
    await cluster.until_ready("shared")
    assert cpus_of(cluster, "shared") == "0-7"
    await cluster.create(make_pod("own", guaranteed("own", "2"), guaranteed("half", "500m")))
    await cluster.until_ready("own")
    assert cpus_of(cluster, "own") == "2-3"
    await cluster.until(lambda: cpus_of(cluster, "shared") == "0-1,4-7" == cpus_of(cluster, "half"))
    # An amount that is whole for a Pod that is not Guaranteed gives nothing of its own.
    loose = make_container("loose", resources={"requests": {"cpu": "2"}, "limits": {"cpu": "3"}})
    await cluster.create(make_pod("loose", loose))
    await cluster.until_ready("loose")
    assert cpus_of(cluster, "loose") == "0-1,4-7"

    await cluster.restart()
    await cluster.create(make_pod("more", guaranteed("more", "4")))
    await cluster.until_ready("more")
    assert (cpus_of(cluster, "own"), cpus_of(cluster, "more")) == ("2-3", "4-7")
    await cluster.until(lambda: cpus_of(cluster, "shared") == "0-1")
    await cluster.create(make_pod("late", guaranteed("late", "2")))
    refused = await cluster.until_pod(lambda p: p["status"].get("phase") == "Failed", "late")
    assert refused["status"]["reason"] == "UnexpectedAdmissionError"
    assert "not enough cpus available to satisfy request: requested=2, available=1" in refused["status"]["message"]

    await cluster.api.client.delete(PODS, "more", namespace="default")
    await cluster.until_gone("more")
    await cluster.until(lambda: cpus_of(cluster, "shared") == "0-1,4-7")


@pytest.mark.parametrize("config", [STATIC])
async def test_init_containers_leave_their_cpus_to_the_others(cluster: Cluster) -> None:
    first = guaranteed("first", "3", command=["exit", "0"])
    side = guaranteed("side", "2", restartPolicy="Always")
    await cluster.create(make_pod("web", guaranteed("main", "3"), initContainers=[first, side]))
    await cluster.until_ready()
    sets = {c.name: parse(c.resources.cpuset_cpus) for c in cluster.runtime.configs.values()}
    assert len(sets["first"]) == 3 and len(sets["side"]) == 2 and len(sets["main"]) == 3
    assert not sets["side"] & sets["main"] and 0 not in sets["first"] | sets["side"] | sets["main"]


@pytest.mark.parametrize("config", [STATIC])
async def test_without_the_policy_everybody_has_all_again(cluster: Cluster) -> None:
    await cluster.create(make_pod("own", guaranteed("own", "4")))
    await cluster.until_ready("own")
    assert cpus_of(cluster, "own") == "4-7"
    cluster.config = replace(cluster.config, cpu_manager_policy="none", reserved_cpus="")
    await cluster.restart()
    await cluster.until(lambda: cpus_of(cluster, "own") == "0-7")
    await cluster.until(lambda: not (cluster.config.data_dir / "cpu_manager_state").exists())


async def test_the_class_of_burstable_pods_weighs_what_they_request(cluster: Cluster) -> None:
    parents = cluster.runtime.parents
    root = cluster.config.pods_cgroup
    await cluster.until(lambda: f"{root}/burstable" in parents)
    assert parents[f"{root}/besteffort"] == Resources(cpu_shares=2)
    assert parents[root].cpu_shares > 2 and parents[root].memory_limit > 1 << 30
    for name, cpu in (("a", "500m"), ("b", "1500m")):
        await cluster.create(make_pod(name, make_container("c", resources={"requests": {"cpu": cpu}})))
        await cluster.until_ready(name)
    assert parents[f"{root}/burstable"].cpu_shares == 2048
    await cluster.api.client.delete(PODS, "b", namespace="default")
    await cluster.until_gone("b")
    await cluster.until(lambda: parents[f"{root}/burstable"].cpu_shares == 512)
