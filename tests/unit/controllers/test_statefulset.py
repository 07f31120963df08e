"""StatefulSets: order, identity, storage, rolling."""

from __future__ import annotations

from controller_harness import Harness, template

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from podwright.controllers.statefulset import StatefulSetController


def stateful_set(replicas: int = 3, **spec: object) -> Object:
    return {
        "metadata": {"name": "s", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "svc",
            "selector": {"matchLabels": {"app": "s"}},
            "template": template({"app": "s"}, "v1"),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            **spec,
        },
    }


def names(h: Harness) -> list[str]:
    return [objects.name(p) for p in h.api.objects(PODS) if not objects.is_deleting(p)]


def images(h: Harness) -> list[str]:
    return [p["spec"]["containers"][0]["image"] for p in h.api.objects(PODS)]


def ready(h: Harness, name: str) -> None:
    now = objects.format_time(h.clock.now())
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": now}]
    h.api.change(PODS, name, {"spec": {"nodeName": "n"}, "status": {"phase": "Running", "conditions": conditions}})


def roll(h: Harness, image: str) -> None:
    containers = [{"name": "c", "image": image}]
    h.api.change(STATEFULSETS, "s", {"spec": {"template": {"spec": {"containers": containers}}}})


async def test_pods_come_one_after_the_other_with_stable_identity() -> None:
    async with Harness().running(StatefulSetController) as h:
        h.api.add(STATEFULSETS, stateful_set())
        await h.settle()
        assert names(h) == ["s-0"]
        ready(h, "s-0")
        await h.settle()
        assert names(h) == ["s-0", "s-1"]
        await h.ready_pods()
        assert names(h) == ["s-0", "s-1", "s-2"]
        pod = h.api.read(PODS, "s-1")
        assert pod["spec"]["hostname"] == "s-1" and pod["spec"]["subdomain"] == "svc"
        assert pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "s-1"
        assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
        status = h.api.read(STATEFULSETS, "s")["status"]
        assert (status["replicas"], status["readyReplicas"], status["availableReplicas"]) == (3, 3, 3)
        assert status["currentRevision"] == status["updateRevision"]


async def test_parallel_makes_all_at_once() -> None:
    async with Harness().running(StatefulSetController) as h:
        h.api.add(STATEFULSETS, stateful_set(podManagementPolicy="Parallel"))
        await h.settle()
        assert names(h) == ["s-0", "s-1", "s-2"]


async def test_scales_down_from_the_highest_and_waits_for_each() -> None:
    async with Harness().running(StatefulSetController) as h:
        h.api.add(STATEFULSETS, stateful_set(3))
        await h.ready_pods()
        for name in names(h):
            ready(h, name)
        h.api.change(STATEFULSETS, "s", {"spec": {"replicas": 1}})
        await h.settle()
        assert names(h) == ["s-0", "s-1"]
        h.api.finish_deletions(PODS)
        await h.settle()
        h.api.finish_deletions(PODS)
        await h.settle()
        assert names(h) == ["s-0"]


async def test_start_ordinal() -> None:
    async with Harness().running(StatefulSetController) as h:
        h.api.add(STATEFULSETS, stateful_set(2, ordinals={"start": 5}))
        await h.ready_pods()
        assert names(h) == ["s-5", "s-6"]


async def test_a_failed_pod_is_made_anew_under_its_name() -> None:
    async with Harness().running(StatefulSetController) as h:
        h.api.add(STATEFULSETS, stateful_set(1))
        await h.ready_pods()
        before = objects.uid(h.api.read(PODS, "s-0"))
        h.api.set_status(PODS, "s-0", {"phase": "Failed"})
        await h.advance(2)
        assert objects.uid(h.api.read(PODS, "s-0")) != before
        assert "RecreatingFailedPod" in h.event_reasons("s")


async def test_rolls_from_the_highest_one_at_a_time() -> None:
    async with Harness().running(StatefulSetController) as h:
        h.api.add(STATEFULSETS, stateful_set(3))
        await h.ready_pods()
        roll(h, "v2")
        await h.settle()
        assert images(h) == ["v1", "v1", "v2"]
        await h.advance(60)
        assert images(h) == ["v1", "v1", "v2"]
        await h.ready_pods()
        assert images(h) == ["v2", "v2", "v2"]
        status = h.api.read(STATEFULSETS, "s")["status"]
        assert status["currentRevision"] == status["updateRevision"]
        assert len(h.api.objects(CONTROLLERREVISIONS)) == 2


async def test_partition_holds_the_lower_ones_back() -> None:
    async with Harness().running(StatefulSetController) as h:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
        h.api.add(STATEFULSETS, stateful_set(3, updateStrategy=strategy))
        await h.ready_pods()
        roll(h, "v2")
        await h.ready_pods()
        assert images(h) == ["v1", "v1", "v2"]
        h.api.purge(PODS, "s-0")
        await h.ready_pods()
        assert images(h) == ["v1", "v1", "v2"]
        status = h.api.read(STATEFULSETS, "s")["status"]
        assert status["currentRevision"] != status["updateRevision"]
        assert (status["currentReplicas"], status["updatedReplicas"]) == (2, 1)


async def test_max_unavailable_rolls_several() -> None:
    async with Harness().running(StatefulSetController) as h:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 2}}
        h.api.add(STATEFULSETS, stateful_set(4, updateStrategy=strategy, podManagementPolicy="Parallel"))
        await h.ready_pods()
        roll(h, "v2")
        await h.settle()
        assert images(h) == ["v1", "v1", "v2", "v2"]


async def test_on_delete() -> None:
    async with Harness().running(StatefulSetController) as h:
        h.api.add(STATEFULSETS, stateful_set(2, updateStrategy={"type": "OnDelete"}))
        await h.ready_pods()
        roll(h, "v2")
        await h.ready_pods()
        assert images(h) == ["v1", "v1"]
        h.api.purge(PODS, "s-0")
        await h.ready_pods()
        assert images(h) == ["v2", "v1"]


async def test_min_ready_seconds_holds_the_next_back() -> None:
    async with Harness().running(StatefulSetController) as h:
        h.api.add(STATEFULSETS, stateful_set(2, minReadySeconds=30))
        await h.ready_pods()
        assert names(h) == ["s-0"]
        await h.advance(35)
        assert names(h) == ["s-0", "s-1"]


CLAIM = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}


async def test_claims_are_made_and_outlive_their_pods() -> None:
    async with Harness().running(StatefulSetController) as h:
        h.api.add(STATEFULSETS, stateful_set(2, volumeClaimTemplates=[CLAIM]))
        await h.ready_pods()
        claims = [objects.name(c) for c in h.api.objects(PERSISTENTVOLUMECLAIMS)]
        assert claims == ["data-s-0", "data-s-1"]
        assert "ownerReferences" not in h.api.objects(PERSISTENTVOLUMECLAIMS)[0]["metadata"]
        volume = h.api.read(PODS, "s-1")["spec"]["volumes"][0]
        assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "data-s-1"}}
        h.api.change(STATEFULSETS, "s", {"spec": {"replicas": 1}})
        await h.ready_pods()
        assert len(h.api.objects(PERSISTENTVOLUMECLAIMS)) == 2


async def test_retention_policy_ties_claims_to_set_and_pod() -> None:
    async with Harness().running(StatefulSetController) as h:
        policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
        owner = h.api.add(
            STATEFULSETS, stateful_set(2, volumeClaimTemplates=[CLAIM], persistentVolumeClaimRetentionPolicy=policy)
        )
        await h.ready_pods()
        refs = h.api.read(PERSISTENTVOLUMECLAIMS, "data-s-1")["metadata"]["ownerReferences"]
        assert [r["uid"] for r in refs] == [objects.uid(owner)]
        pod = objects.uid(h.api.read(PODS, "s-1"))
        ready(h, "s-1")
        h.api.change(STATEFULSETS, "s", {"spec": {"replicas": 1}})
        await h.settle()
        refs = h.api.read(PERSISTENTVOLUMECLAIMS, "data-s-1")["metadata"]["ownerReferences"]
        assert [r["uid"] for r in refs] == [pod]


async def test_idle_makes_no_calls() -> None:
    async with Harness().running(StatefulSetController) as h:
        h.api.add(STATEFULSETS, stateful_set(2))
        await h.ready_pods()
        before = h.api.total
        await h.advance(600)
        assert h.api.total == before
