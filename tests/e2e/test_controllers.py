"""ReplicaSets and Deployments with real Pods, and the end of a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.harness import Cluster, busybox, has_condition, pod, until

FLAGS = ("--nodes", "2", "--static-pods", "{tmp}/static", "--node-grace", "3", "--toleration", "1")


def deployment(name: str, replicas: int, command: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = pod("", busybox("c", command), labels=labels)
    del template["metadata"]["name"], template["apiVersion"], template["kind"]
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec},
    }  # fmt: skip


def pods_of(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    return [p for p in cluster.get("pods", "-l", f"app={name}")["items"] if "deletionTimestamp" not in p["metadata"]]


def test_scale_heal_roll_and_roll_back(cluster: Cluster) -> None:
    cluster.apply(deployment("web", 2, "sleep 3600"))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    cluster.kubectl("scale", "deployment/web", "--replicas=4")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    before = {p["metadata"]["name"] for p in pods_of(cluster, "web")}
    assert len(before) == 4
    cluster.kubectl("delete", "pod", sorted(before)[0])
    until(lambda: sum(has_condition(p, "Ready") for p in pods_of(cluster, "web")) == 4, "the deleted Pod replaced")

    cluster.kubectl("set", "env", "deployment/web", "VERSION=2")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    env = {e["value"] for p in pods_of(cluster, "web") for e in p["spec"]["containers"][0].get("env", [])}
    assert env == {"2"}
    assert "revision" in cluster.kubectl("rollout", "history", "deployment/web").lower()
    cluster.kubectl("rollout", "undo", "deployment/web")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    until(lambda: all("env" not in p["spec"]["containers"][0] for p in pods_of(cluster, "web")), "rolled back")
    cluster.kubectl("delete", "deployment", "web")
    until(lambda: not cluster.get("pods", "-l", "app=web")["items"], "garbage collected")
    assert not cluster.get("rs", "-l", "app=web")["items"]


@pytest.mark.usefixtures("cluster")
def test_a_dead_nodes_controlled_pods_move_and_its_static_pods_do_not(cluster: Cluster) -> None:
    static = Path(cluster.flags[3])
    static.mkdir(exist_ok=True)
    (static / "s.yaml").write_text(yaml.safe_dump(pod("static", busybox("c", "sleep 3600"))))
    cluster.apply(deployment("moving", 4, "sleep 3600"))
    cluster.kubectl("rollout", "status", "deployment/moving", "--timeout=60s")
    cluster.running("static-node-1")
    placed = {p["spec"]["nodeName"] for p in pods_of(cluster, "moving")}
    assert placed == {"node-1", "node-2"}, "four Pods spread over two equal nodes"
    cluster.podwright("node", "kill", "node-1")

    def healed() -> bool:
        alive = [p for p in pods_of(cluster, "moving") if p["spec"].get("nodeName") == "node-2"]
        return len([p for p in alive if has_condition(p, "Ready")]) == 4

    until(healed, "all four Pods on node-2", timeout=60)
    node = cluster.get("node", "node-1")
    assert has_condition(node, "Ready", "Unknown")
    assert {t["key"] for t in node["spec"]["taints"]} >= {"node.kubernetes.io/unreachable"}
    static_pods = [p for p in cluster.get("pods")["items"] if p["metadata"]["name"].startswith("static")]
    assert [p["spec"]["nodeName"] for p in static_pods] == ["node-1"]

    cluster.up()
    until(lambda: has_condition(cluster.get("node", "node-1"), "Ready"), "node-1 is back")
    cluster.running("static-node-1", timeout=60)
    until(lambda: len(cluster.get("pods", "-l", "app=moving")["items"]) == 4, "no doubles", timeout=60)
    until(lambda: "taints" not in cluster.get("node", "node-1")["spec"], "taints are gone")


def test_drain_keeps_to_the_budget_and_uncordon_ends_it(cluster: Cluster) -> None:
    cluster.apply(
        deployment("steady", 2, "trap 'exit 0' TERM; sleep 3600 & wait"),
        {
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "steady"},
            "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "steady"}}},
        },
    )  # fmt: skip
    cluster.kubectl("rollout", "status", "deployment/steady", "--timeout=60s")
    until(lambda: cluster.get("pdb", "steady")["status"].get("currentHealthy") == 2, "the budget counts")
    refused = cluster.try_kubectl(
        "drain", "node-1", "--ignore-daemonsets", "--force", "--timeout=1s", "--pod-selector=app=steady"
    )
    assert refused.returncode == 1 and "violate the pod's disruption budget" in refused.stderr
    assert cluster.get("node", "node-1")["spec"]["unschedulable"] is True
    cluster.kubectl("scale", "deployment/steady", "--replicas=3")
    cluster.kubectl("drain", "node-1", "--ignore-daemonsets", "--force", "--pod-selector=app=steady", "--timeout=60s")
    until(lambda: len([p for p in pods_of(cluster, "steady") if has_condition(p, "Ready")]) == 3, "three, elsewhere")
    assert {p["spec"]["nodeName"] for p in pods_of(cluster, "steady")} == {"node-2"}
    cluster.kubectl("uncordon", "node-1")
    assert "unschedulable" not in cluster.get("node", "node-1")["spec"]
    cluster.kubectl("delete", "deployment/steady", "pdb/steady")


def test_pods_reach_pods_on_the_other_node(cluster: Cluster) -> None:
    until(lambda: has_condition(cluster.get("node", "node-1"), "Ready"))
    serve = busybox("c", "echo hi > /tmp/index.html; httpd -f -p 8080 -h /tmp")
    cluster.apply(
        pod("server", serve, nodeName="node-1"), pod("client", busybox("c", "sleep 3600"), nodeName="node-2")
    )
    server = cluster.running("server")
    cluster.running("client")
    ip = server["status"]["podIP"]
    assert cluster.kubectl("exec", "client", "--", "wget", "-qO-", f"http://{ip}:8080/") == "hi\n"
