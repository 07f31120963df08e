from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.e2e.harness import Cluster, busybox, pod

SERVE = "echo hello > /tmp/index.html; echo started; exec httpd -f -p 8080 -h /tmp"


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all clients."""
    started = Cluster(f"t-clients-{os.getpid()}", tmp_path_factory.mktemp("cluster") / "kubeconfig")
    started.podwright("down", "--purge", check=False)
    started.up()
    yield started
    started.podwright("down", "--purge")


@pytest.fixture(scope="package")
def web(cluster: Cluster) -> str:
    """A running Pod that serves one page on port 8080."""
    cluster.apply(pod("web", busybox("main", SERVE), labels={"app": "web"}))
    cluster.running("web")
    return "web"
