"""A cluster whose containers are containerd's: ``podwright up --runtime cri://SOCKET``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.harness import Cluster, busybox, container_status, pod
from tests.node.leaks import none_left
from tests.node.runtime import containerd

from podwright.cluster.layout import ARCHIVES


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    marks = f"t-cri-{os.getpid()}", f"t-cri-daemon-{os.getpid()}"
    with none_left(marks), containerd.running(marks[1], "10.214.8.0/24") as daemon:
        (archive,) = ARCHIVES.glob("busybox*")
        daemon.load(archive)
        kubeconfig: Path = tmp_path_factory.mktemp("cluster") / "kubeconfig"
        started = Cluster(marks[0], kubeconfig, ("--runtime", f"cri://{daemon.socket}"))
        try:
            started.up()
            yield started
        finally:
            started.podwright("down", "--purge")


def test_pods_run_in_containerd(cluster: Cluster) -> None:
    assert cluster.get("node", "node-1")["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")
    two = [
        busybox("web", 'trap "exit 0" TERM; echo served; hostname > /tmp/index.html; httpd -f -p 8080 -h /tmp & wait',
                readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1}),
        busybox("beside", 'trap "exit 0" TERM; sleep 1000 & wait'),
    ]  # fmt: skip
    cluster.apply(pod("both", *two), pod("done", busybox("c", "exit 3"), restartPolicy="Never"))
    ready = cluster.running("both")
    assert ready["status"]["podIP"].startswith("10.214.8.")
    assert cluster.kubectl("logs", "both", "-c", "web") == "served\n"
    assert cluster.kubectl("exec", "both", "-c", "beside", "--", "wget", "-qO-", "127.0.0.1:8080") == "both\n"
    assert cluster.kubectl("exec", "-i", "both", "-c", "beside", "--", "cat", given="through") == "through"
    failed = cluster.phase("done", "Failed")
    assert container_status(failed, "c")["state"]["terminated"]["exitCode"] == 3
    cluster.kubectl("delete", "pod", "both", "done", "--timeout=60s")


def test_one_socket_is_one_node(cluster: Cluster) -> None:
    other = Cluster(f"{cluster.name}-2", cluster.kubeconfig)
    refused = other.podwright("up", "--nodes", "2", *cluster.flags, check=False)
    assert refused.returncode != 0 and "one socket serves one node" in refused.stderr
    assert "no cluster" in other.podwright("status", check=False).stderr


def test_images_are_the_runtimes(cluster: Cluster, tmp_path: Path) -> None:
    assert "docker.io/library/busybox:1.36" in cluster.podwright("image", "ls").stdout
    (tmp_path / "image.tar").touch()
    refused = cluster.podwright("image", "load", str(tmp_path / "image.tar"), check=False)
    assert refused.returncode != 0 and "ctr -n k8s.io images import" in refused.stderr
