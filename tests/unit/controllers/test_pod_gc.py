"""Pods that nobody else will remove."""

from __future__ import annotations

from controller_harness import Harness, make_node, make_pod

from podwright.api import objects
from podwright.api.resources import NODES, PODS
from podwright.controllers.config import ControllerConfig
from podwright.controllers.pod_gc import PodGarbageCollector


async def test_pods_of_a_node_that_went_are_collected_after_the_quarantine() -> None:
    async with Harness().running(PodGarbageCollector) as h:
        h.api.add(NODES, make_node("a"))
        h.api.add(PODS, make_pod("p", node="a"))
        seen = []
        h.api.reactors.append(lambda verb, r, name, obj: seen.append((verb, name, obj)))
        h.api.remove(NODES, "a")
        await h.advance(30)
        assert h.api.find(PODS, "p", "default") is not None
        await h.advance(20)
        assert h.api.find(PODS, "p", "default") is None
        patch = next(obj for verb, _, obj in seen if verb == "patch")
        assert patch["status"]["phase"] == "Failed"
        assert patch["status"]["conditions"][-1]["reason"] == "DeletionByPodGC"


async def test_a_node_that_comes_back_keeps_its_pods() -> None:
    async with Harness().running(PodGarbageCollector) as h:
        h.api.add(NODES, make_node("a"))
        h.api.add(PODS, make_pod("p", node="a"))
        h.api.remove(NODES, "a")
        await h.advance(10)
        h.api.add(NODES, make_node("a"))
        await h.advance(100)
        assert h.api.find(PODS, "p", "default") is not None


async def test_finished_pods_beyond_the_threshold_go_oldest_first() -> None:
    async with Harness(ControllerConfig(terminated_pod_gc_threshold=2)).running(PodGarbageCollector) as h:
        for index in range(4):
            h.api.add(PODS, make_pod(f"p{index}", phase="Succeeded"))
            await h.advance(1)
        await h.advance(30)
        assert [objects.name(p) for p in h.api.objects(PODS)] == ["p2", "p3"]


async def test_a_deleted_pod_that_was_never_scheduled_goes() -> None:
    async with Harness().running(PodGarbageCollector) as h:
        pod = make_pod("p")
        pod["metadata"]["deletionTimestamp"] = "2025-01-01T00:00:00Z"
        pod["metadata"]["deletionGracePeriodSeconds"] = 30
        h.api.add(PODS, pod)
        await h.settle()
        assert h.api.find(PODS, "p", "default") is None


async def test_terminating_pods_of_a_node_out_of_service_go() -> None:
    async with Harness().running(PodGarbageCollector) as h:
        h.api.add(NODES, make_node("a", ready="Unknown"))
        h.api.add(PODS, make_pod("p", node="a"))
        h.api.add(PODS, make_pod("stays", node="a"))
        h.api.remove(PODS, "p")
        await h.settle()
        assert h.api.find(PODS, "p", "default") is not None
        taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
        h.api.change(NODES, "a", {"spec": {"taints": [taint]}})
        await h.settle()
        assert h.api.find(PODS, "p", "default") is None
        assert h.api.find(PODS, "stays", "default") is not None
