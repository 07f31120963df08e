"""``podwright up --simulated-nodes 50``: marked for everybody to see, Pods on them run, end and go; none lands there
by accident."""

from __future__ import annotations

from tests.e2e.harness import Cluster, busybox, pod, until

FLAGS = ("--simulated-nodes", "50")
_TOLERATES = [{"key": "podwright.io/simulated", "operator": "Exists"}]


def test_kubectl_shows_that_they_are_simulated(cluster: Cluster) -> None:
    lines = cluster.kubectl("get", "nodes", "-o", "wide", "--no-headers").splitlines()
    simulated = [line.split() for line in lines if line.startswith("simulated-")]
    assert len(simulated) == 50 and len(lines) == 51
    for columns in simulated:
        assert columns[1:3] == ["Ready", "simulated"]
        assert columns[-1].startswith("simulated://")
    assert len(cluster.kubectl("get", "nodes", "-l", "podwright.io/simulated=true", "-o", "name").split()) == 50


def test_a_deployment_that_tolerates_them_runs_on_them(cluster: Cluster) -> None:
    template = {
        "metadata": {"labels": {"app": "many"}},
        "spec": {
            "tolerations": _TOLERATES,
            "nodeSelector": {"podwright.io/simulated": "true"},
            "containers": [busybox("c", "true", resources={"requests": {"cpu": "1"}})],
        },
    }
    cluster.apply(
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"},
            "spec": {"replicas": 150, "selector": {"matchLabels": {"app": "many"}}, "template": template},
        }
    )  # fmt: skip
    cluster.kubectl("rollout", "status", "deployment/many", "--timeout=60s")
    pods = cluster.get("pods", "-l", "app=many")["items"]
    per_node: dict[str, int] = {}
    for each in pods:
        per_node[each["spec"]["nodeName"]] = per_node.get(each["spec"]["nodeName"], 0) + 1
    assert len(pods) == 150 and max(per_node.values()) <= 4
    assert len({p["status"]["podIP"] for p in pods}) == 150
    assert all(name.startswith("simulated-") for name in per_node)
    refused = cluster.try_kubectl("logs", pods[0]["metadata"]["name"])
    assert refused.returncode != 0
    cluster.kubectl("delete", "deployment", "many")
    until(lambda: not cluster.get("pods", "-l", "app=many")["items"], "Pods of the Deployment gone")


def test_a_job_of_annotated_pods_completes(cluster: Cluster) -> None:
    template = {
        "metadata": {"annotations": {"podwright.io/simulated-run-seconds": "0.2"}},
        "spec": {
            "restartPolicy": "Never", "tolerations": _TOLERATES, "nodeSelector": {"podwright.io/simulated": "true"},
            "containers": [busybox("c", "true")],
        },
    }  # fmt: skip
    job = {"completions": 5, "parallelism": 5, "template": template}
    cluster.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": job})
    cluster.kubectl("wait", "--for=condition=complete", "job/job", "--timeout=60s")


def test_other_pods_stay_on_the_real_node(cluster: Cluster) -> None:
    cluster.apply(pod("real", busybox("c", "sleep 1000")))
    assert cluster.running("real")["spec"]["nodeName"] == "node-1"
