"""The rows of sig-scheduling in the conformance list, by kubectl on two real nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.conftest import FAST_RESTARTS
from tests.e2e.harness import Cluster, busybox, has_condition, pod, until

from podwright.api import quantity

FLAGS = (*FAST_RESTARTS, "--nodes", "2")
RANKS = {"p1": 1, "p2": 2, "p3": 3, "p4": 4}


def sleeper(name: str, cpu: str = "", priority: str = "", where: str = "", **spec: Any) -> dict[str, Any]:
    more = {"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}} if cpu else {}
    if priority:
        spec["priorityClassName"] = priority
    if where:
        spec["nodeSelector"] = {"kubernetes.io/hostname": where}
    return pod(name, busybox("c", "sleep 3600", **more), labels={"app": name}, **spec)


@pytest.fixture(scope="module")
def unit(cluster: Cluster) -> int:
    """A tenth of what a node has left of its CPU, in milli-CPUs."""
    for name, value in RANKS.items():
        cluster.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
                       "value": value})  # fmt: skip
    return quantity.milli(cluster.get("node", "node-1")["status"]["allocatable"]["cpu"]) // 10


@pytest.fixture(autouse=True)
def cleared(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.kubectl("delete", "replicasets,pods,limitranges", "--all", "--grace-period=1")


def refusal(cluster: Cluster, name: str) -> str:
    def told() -> str:
        found = [c for c in cluster.pod(name)["status"].get("conditions", []) if c["type"] == "PodScheduled"]
        return found[0].get("message", "") if found and found[0]["status"] == "False" else ""

    return str(until(told, f"{name} is refused"))


def test_node_selectors_and_resource_limits(cluster: Cluster, unit: int) -> None:
    cluster.kubectl("label", "node", "node-2", "example.com/kind=special")
    cluster.apply(sleeper("matching", nodeSelector={"example.com/kind": "special"}),
                  sleeper("not-matching", nodeSelector={"example.com/kind": "none"}),
                  sleeper("fills", cpu=f"{unit * 7}m", where="node-1"), sleeper("too-big", cpu=f"{unit * 11}m"),
                  )  # fmt: skip
    assert cluster.running("matching")["spec"]["nodeName"] == "node-2"
    cluster.running("fills")
    assert refusal(cluster, "not-matching") == (
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    assert refusal(cluster, "too-big").startswith("0/2 nodes are available: 2 Insufficient cpu. preemption: ")
    cluster.apply(sleeper("no-room", cpu=f"{unit * 6}m", where="node-1"))
    assert "1 Insufficient cpu" in refusal(cluster, "no-room")
    events = [m for r, m in cluster.events("too-big") if r == "FailedScheduling"]
    assert events and events[0].startswith("0/2 nodes are available: 2 Insufficient cpu.")


def test_a_host_port_on_every_address_conflicts(cluster: Cluster) -> None:
    def on_port(name: str, **port: Any) -> dict[str, Any]:
        made = sleeper(name, where="node-1")
        made["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 54322, **port}]
        return made

    cluster.apply(on_port("every"))
    cluster.running("every")
    cluster.apply(on_port("one", hostIP="127.0.0.1"), on_port("udp", protocol="UDP"))
    assert "1 node(s) didn't have free ports for the requested pod ports" in refusal(cluster, "one")
    assert cluster.running("udp")["spec"]["nodeName"] == "node-1"


def test_the_lowest_goes_and_says_so(cluster: Cluster, unit: int) -> None:
    held = sleeper("held", cpu=f"{unit * 6}m", priority="p1", where="node-1")
    held["metadata"]["finalizers"] = ["example.com/test"]
    cluster.apply(held, sleeper("spared", cpu=f"{unit * 6}m", priority="p2", where="node-2"))
    cluster.running("held")
    cluster.running("spared")
    cluster.apply(sleeper("preemptor", cpu=f"{unit * 6}m", priority="p3"))

    def disrupted() -> bool:
        found = cluster.pod("held")
        return "deletionTimestamp" in found["metadata"] and has_condition(found, "DisruptionTarget")

    until(disrupted, "the victim shows why it ends")
    condition = next(c for c in cluster.pod("held")["status"]["conditions"] if c["type"] == "DisruptionTarget")
    assert condition["reason"] == "PreemptionByScheduler"
    cluster.kubectl("patch", "pod", "held", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    assert cluster.running("preemptor")["spec"]["nodeName"] == "node-1"
    assert cluster.phase("spared", "Running")["spec"]["nodeName"] == "node-2"
    assert any(reason == "Preempted" for reason, _ in cluster.events("held"))


def test_a_critical_pod_gets_room(cluster: Cluster, unit: int) -> None:
    for node in ("node-1", "node-2"):
        cluster.apply(sleeper(node, cpu=f"{unit * 6}m", priority="p4" if node == "node-1" else "p1", where=node))
    for node in ("node-1", "node-2"):
        cluster.running(node)
    critical = sleeper("critical", cpu=f"{unit * 6}m", priority="system-cluster-critical")
    critical["metadata"]["namespace"] = "kube-system"
    cluster.apply(critical)
    try:
        cluster.gone("pod", "node-2")
        until(lambda: cluster.pod("critical", "kube-system")["status"]["phase"] == "Running", "the critical Pod runs")
        assert cluster.phase("node-1", "Running")
    finally:
        cluster.kubectl("delete", "pod", "critical", "-n", "kube-system", "--now")


def test_replica_sets_of_four_priorities(cluster: Cluster, unit: int) -> None:
    def replicas(name: str, count: int, units: int) -> None:
        template = sleeper(name, cpu=f"{units * unit}m", priority=name, where="node-1")
        cluster.apply({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name},
            "spec": {"replicas": count, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": {"labels": {"app": name}}, "spec": template["spec"]}},
        })  # fmt: skip

    def ready(**wanted: int) -> None:
        def reached() -> bool:
            found = {r["metadata"]["name"]: r["status"].get("readyReplicas", 0) for r in cluster.get("rs")["items"]}
            return all(found.get(name) == count for name, count in wanted.items())

        until(reached, f"{wanted} are ready")

    replicas("p1", 5, 2)
    ready(p1=5)
    replicas("p2", 2, 2)
    ready(p2=2, p1=3)
    replicas("p3", 1, 2)
    ready(p3=1, p2=2, p1=2)
    replicas("p4", 1, 4)
    ready(p4=1, p3=1, p2=2, p1=0)


def test_priority_classes(cluster: Cluster, unit: int) -> None:
    names = {c["metadata"]["name"] for c in cluster.get("priorityclasses")["items"]}
    assert names >= {*RANKS, "system-cluster-critical", "system-node-critical"}
    cluster.kubectl("patch", "priorityclass", "p1", "-p", '{"description": "patched"}')
    known = cluster.get("priorityclass", "p1")
    known["description"] = "updated"
    cluster.kubectl("replace", "-f", "-", given=json.dumps(known))
    assert cluster.get("priorityclass", "p1")["description"] == "updated"
    refused = cluster.try_kubectl("patch", "priorityclass", "p1", "-p", '{"value": 77}')
    assert refused.returncode and "may not be changed in an update" in refused.stderr


def test_limit_ranges(cluster: Cluster) -> None:
    def limits(name: str, cpu: str, namespace: str = "default") -> dict[str, Any]:
        return {
            "apiVersion": "v1", "kind": "LimitRange",
            "metadata": {"name": name, "namespace": namespace, "labels": {"t": "x"}},
            "spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": cpu}, "default": {"cpu": "300m"},
                                 "max": {"cpu": "500m"}, "min": {"cpu": "10m"}}]},
        }  # fmt: skip

    cluster.kubectl("create", "namespace", "ranges")
    cluster.apply(limits("r", "20m"), limits("r", "20m", "ranges"))
    assert len(cluster.get("limitranges", "-A", "-l", "t=x")["items"]) == 2
    cluster.apply(sleeper("defaulted"))
    resources = cluster.pod("defaulted")["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"cpu": "300m"}, "requests": {"cpu": "20m"}}
    refused = cluster.try_kubectl("create", "-f", "-", given=json.dumps(sleeper("greedy", cpu="600m")))
    assert refused.returncode and "maximum cpu usage per Container is 500m" in refused.stderr
    cluster.apply(limits("r", "40m"))
    cluster.apply(sleeper("later"))
    assert cluster.pod("later")["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "40m"}
    cluster.kubectl("label", "limitrange", "r", "-n", "ranges", "--overwrite", "t=y")
    cluster.kubectl("delete", "limitranges", "-n", "ranges", "-l", "t=y")
    assert [r["metadata"]["namespace"] for r in cluster.get("limitranges", "-A")["items"]] == ["default"]
