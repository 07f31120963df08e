"""PodDisruptionBudgets and ResourceQuotas: what is counted."""

from __future__ import annotations

from controller_harness import Harness, make_pod, template

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    RESOURCEQUOTAS,
    SERVICES,
)
from podwright.controllers.disruption import DisruptionController
from podwright.controllers.resource_quotas import ResourceQuotaController


def budget(**spec: object) -> Object:
    return {
        "metadata": {"name": "b", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, **spec},
    }


def owned_pods(h: Harness, count: int, ready: int, replicas: int | None = None) -> Object:
    rs = h.api.add(
        REPLICASETS,
        {
            "metadata": {"name": "rs", "namespace": "default"},
            "spec": {"replicas": count if replicas is None else replicas, "template": template({"app": "a"})},
        },
    )
    for index in range(count):
        h.api.add(PODS, make_pod(f"p{index}", labels={"app": "a"}, owner=rs, ready=index < ready, node="n"))
    return rs


def status(h: Harness) -> tuple[int, int, int, int]:
    s = h.api.read(PODDISRUPTIONBUDGETS, "b")["status"]
    return s["expectedPods"], s["desiredHealthy"], s["currentHealthy"], s["disruptionsAllowed"]


async def test_min_available_number_and_percent() -> None:
    for minimum, desired, allowed in ((2, 2, 1), ("50%", 2, 1), ("100%", 4, 0)):
        async with Harness().running(DisruptionController) as h:
            owned_pods(h, 4, 3)
            h.api.add(PODDISRUPTIONBUDGETS, budget(minAvailable=minimum))
            await h.settle()
            assert status(h) == (4, desired, 3, allowed)
            condition = objects.condition(h.api.read(PODDISRUPTIONBUDGETS, "b"), "DisruptionAllowed")
            assert condition is not None and (condition["status"] == "True") == bool(allowed)


async def test_max_unavailable_counts_by_scale_of_the_deployment() -> None:
    async with Harness().running(DisruptionController) as h:
        deployment = h.api.add(
            DEPLOYMENTS,
            {"metadata": {"name": "d", "namespace": "default"},
             "spec": {"replicas": 10, "template": template({"app": "a"})}},
        )  # fmt: skip
        owned_pods(h, 4, 4)
        h.api.change(REPLICASETS, "rs", {"metadata": {"ownerReferences": [objects.owner_reference(deployment)]}})
        h.api.add(PODDISRUPTIONBUDGETS, budget(maxUnavailable="30%"))
        await h.settle()
        assert status(h) == (10, 7, 4, 0)
        h.api.change(DEPLOYMENTS, "d", {"spec": {"replicas": 4}})
        await h.settle()
        assert status(h) == (4, 2, 4, 2)


async def test_pods_nobody_scales_cannot_be_counted() -> None:
    async with Harness().running(DisruptionController) as h:
        owner = {"apiVersion": "example.com/v1", "kind": "Band", "metadata": {"name": "b", "uid": "u"}}
        h.api.add(PODS, make_pod("p", labels={"app": "a"}, owner=owner))
        h.api.add(PODDISRUPTIONBUDGETS, budget(maxUnavailable=1))
        await h.settle()
        assert status(h)[3] == 0
        condition = objects.condition(h.api.read(PODDISRUPTIONBUDGETS, "b"), "DisruptionAllowed")
        assert condition is not None and condition["reason"] == "SyncFailed"


async def test_evicted_pods_do_not_count_until_they_are_overdue() -> None:
    async with Harness().running(DisruptionController) as h:
        owned_pods(h, 3, 3)
        h.api.add(PODDISRUPTIONBUDGETS, budget(minAvailable=1))
        await h.settle()
        now = objects.format_time(h.clock.now())
        h.api.change(PODDISRUPTIONBUDGETS, "b", {"status": {"disruptedPods": {"p0": now, "gone": now}}})
        await h.settle()
        assert status(h) == (3, 1, 2, 1)
        assert list(h.api.read(PODDISRUPTIONBUDGETS, "b")["status"]["disruptedPods"]) == ["p0"]
        await h.advance(130)
        assert status(h) == (3, 1, 3, 2)


async def test_a_disruption_that_did_not_come_is_taken_back() -> None:
    async with Harness().running(DisruptionController) as h:
        pod = make_pod("p", node="n")
        now = objects.format_time(h.clock.now())
        pod["status"]["conditions"].append({"type": "DisruptionTarget", "status": "True", "lastTransitionTime": now})
        h.api.add(PODS, pod)
        await h.advance(125)
        assert not objects.condition_is_true(h.api.read(PODS, "p"), "DisruptionTarget")


async def test_quota_counts_and_follows_deletions() -> None:
    async with Harness().running(ResourceQuotaController) as h:
        hard = {"pods": "10", "requests.cpu": "4", "services": "5", "count/configmaps": "9"}
        h.api.add(RESOURCEQUOTAS, {"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": hard}})
        pod = make_pod("p")
        pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "500m"}}
        h.api.add(PODS, pod)
        h.api.add(PODS, make_pod("done", phase="Succeeded"))
        h.api.add(SERVICES, {"metadata": {"name": "s", "namespace": "default"}, "spec": {}})
        h.api.add(CONFIGMAPS, {"metadata": {"name": "c", "namespace": "default"}})
        await h.advance(1)
        used = {"pods": "1", "requests.cpu": "500m", "services": "1", "count/configmaps": "1"}
        assert h.api.read(RESOURCEQUOTAS, "q")["status"] == {"hard": hard, "used": used}
        h.api.purge(PODS, "p")
        await h.advance(1)
        assert h.api.read(RESOURCEQUOTAS, "q")["status"]["used"]["requests.cpu"] == "0"
        before = h.api.total
        h.api.change(CONFIGMAPS, "c", {"data": {"k": "v"}})
        await h.advance(600)
        assert h.api.total == before


async def test_a_scoped_quota_counts_only_its_scope() -> None:
    async with Harness().running(ResourceQuotaController) as h:
        spec = {"hard": {"pods": "10"}, "scopes": ["Terminating"]}
        h.api.add(RESOURCEQUOTAS, {"metadata": {"name": "q", "namespace": "default"}, "spec": spec})
        h.api.add(PODS, make_pod("a", activeDeadlineSeconds=30))
        h.api.add(PODS, make_pod("b"))
        await h.advance(1)
        assert h.api.read(RESOURCEQUOTAS, "q")["status"]["used"] == {"pods": "1"}


async def test_a_pod_without_a_controller_is_not_counted_where_scales_count() -> None:
    async with Harness().running(DisruptionController) as h:
        owned_pods(h, 3, 3)
        h.api.add(PODS, make_pod("lone", labels={"app": "a"}, node="n"))
        h.api.add(PODDISRUPTIONBUDGETS, budget(maxUnavailable=1))
        await h.settle()
        assert status(h) == (3, 2, 4, 2)
        assert "UnmanagedPods" in h.event_reasons("b")
