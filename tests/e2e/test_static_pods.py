"""Static Pods: a file in a directory is all they need."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import yaml
from tests.e2e.conftest import FAST_RESTARTS
from tests.e2e.harness import Cluster, busybox, container_status, host_pids, pod, until

FLAGS = (*FAST_RESTARTS, "--static-pods", "{tmp}/static")


def directory(cluster: Cluster) -> Path:
    path = Path(cluster.flags[-1])
    path.mkdir(exist_ok=True)
    return path


def test_a_static_pods_life(cluster: Cluster) -> None:
    file = directory(cluster) / "web.yaml"
    file.write_text(yaml.safe_dump(pod("web", busybox("c", "sleep 3600"))))
    mirror = cluster.running("web-node-1")
    notes = mirror["metadata"]["annotations"]
    assert notes["kubernetes.io/config.source"] == "file" and "kubernetes.io/config.mirror" in notes
    assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"

    os.kill(host_pids(mirror)["c"], signal.SIGKILL)
    until(lambda: container_status(cluster.pod("web-node-1"), "c")["restartCount"] == 1, "restarted when it died")

    cluster.kubectl("delete", "pod", "web-node-1", "--now", "--wait=false")
    until(
        lambda: cluster.pod("web-node-1")["metadata"]["uid"] != mirror["metadata"]["uid"],
        "deleting the mirror only brings a new mirror",
    )

    file.write_text(yaml.safe_dump(pod("web", busybox("c", "sleep 7200"))))
    until(
        lambda: cluster.running("web-node-1")["spec"]["containers"][0]["command"][-1] == "sleep 7200",
        "follows the file",
    )
    pid = host_pids(cluster.running("web-node-1"))["c"]
    file.unlink()
    cluster.gone("pod", "web-node-1")
    until(lambda: not Path(f"/proc/{pid}").exists(), "its process ended")


def test_a_broken_file_is_told_and_harms_nothing_else(cluster: Cluster) -> None:
    where = directory(cluster)
    (where / "broken.yaml").write_text("kind: Pod\nspec: [")
    (where / "invalid.yaml").write_text(yaml.safe_dump(pod("invalid", {"name": "NOT VALID"})))
    (where / "good.yaml").write_text(yaml.safe_dump(pod("good", busybox("c", "sleep 3600"))))
    cluster.running("good-node-1")

    def told() -> bool:
        events = cluster.get("events", "-A", "--field-selector", "involvedObject.name=node-1")["items"]
        text = " ".join(e["message"] for e in events)
        return "broken.yaml" in text and "invalid.yaml" in text

    until(told, "events about both files")
    log = Path(f"/var/lib/podwright/{cluster.name}/log/server.log").read_text()
    assert "broken.yaml" in log and "invalid.yaml" in log
