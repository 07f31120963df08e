"""The pytest plugin's real cluster: one a session, gone at the end, whatever became of the tests and of the run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.node.leaks import none_left

from podwright.cluster.registry import Registry
from podwright.testing.cluster import purge_orphans

pytest_plugins = ["pytester"]


def test_a_session_has_one_cluster_and_leaves_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import kr8s, pytest
        from kubernetes import client, config
        from kubernetes.stream import stream

        LEAVING = "trap 'exit 0' TERM; sleep 1000 & wait"

        def test_real_pods(podwright_cluster):
            podwright_cluster.kubectl("run", "p", "--image=busybox:1.36", "--", "sh", "-c", LEAVING)
            podwright_cluster.wait("pod/p")
            core = client.CoreV1Api(config.new_client_from_config(str(podwright_cluster.kubeconfig)))
            said = stream(core.connect_get_namespaced_pod_exec, "p", "default", command=["hostname"], stdout=True)
            assert said == "p\\n"

        def test_the_same_cluster(podwright_cluster):
            deny = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"}}
            podwright_cluster.apply({**deny, "spec": {"podSelector": {}}})
            [pod] = kr8s.api(kubeconfig=str(podwright_cluster.kubeconfig)).get("pods", namespace="default")
            assert pod.name == "p"

        def test_that_fails(podwright_cluster):
            raise AssertionError("on purpose")
        """
    )
    mark = f"under-test-{os.getpid()}-"
    with none_left([mark]):
        pytester.runpytest().assert_outcomes(passed=2, failed=1)
    assert not [name for name in Registry().clusters() if name.startswith(mark)]


def test_clusters_of_runs_that_were_killed_are_purged_by_the_next() -> None:
    nobody = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    orphan, ours = f"under-test-{nobody}-1", f"under-test-{os.getpid()}-999"
    registry = Registry()
    for name in (orphan, ours):
        registry.add(name, None)
    try:
        purge_orphans()
        assert orphan not in registry.clusters()
        assert ours in registry.clusters()
    finally:
        registry.remove(ours)
