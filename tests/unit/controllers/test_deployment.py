"""Deployments: rollouts, scaling, pausing, history, conditions."""

from __future__ import annotations

from controller_harness import Harness, template

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import DEPLOYMENTS, PODS, REPLICASETS
from podwright.api.status import failure
from podwright.controllers.deployment import DeploymentController, arithmetic, revisions
from podwright.controllers.replicaset import ReplicaSetController

BOTH = (DeploymentController, ReplicaSetController)


def deployment(replicas: int = 3, image: str = "v1", **spec: object) -> Object:
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template({"app": "web"}, image),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            **spec,
        },
    }


def image(h: Harness, to: str) -> None:
    h.api.change(DEPLOYMENTS, "web", {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": to}]}}}})


def condition(h: Harness, kind: str) -> Object:
    found = objects.condition(h.api.read(DEPLOYMENTS, "web"), kind)
    assert found is not None
    return found


def sizes(h: Harness) -> dict[str, int]:
    return {
        rs["spec"]["template"]["spec"]["containers"][0]["image"]: rs["spec"]["replicas"]
        for rs in h.api.objects(REPLICASETS)
    }


async def test_creates_a_replica_set_with_hash_revision_and_owner() -> None:
    async with Harness().running(*BOTH) as h:
        owner = h.api.add(DEPLOYMENTS, deployment())
        await h.ready_pods()
        (rs,) = h.api.objects(REPLICASETS)
        hash_value = rs["metadata"]["labels"][revisions.HASH_LABEL]
        assert objects.name(rs) == f"web-{hash_value}"
        assert rs["spec"]["selector"]["matchLabels"] == {"app": "web", revisions.HASH_LABEL: hash_value}
        assert rs["metadata"]["ownerReferences"] == [objects.owner_reference(owner)]
        assert rs["metadata"]["annotations"][revisions.REVISION] == "1"
        stands = h.api.read(DEPLOYMENTS, "web")
        assert stands["metadata"]["annotations"][revisions.REVISION] == "1"
        status = stands["status"]
        assert (status["replicas"], status["updatedReplicas"], status["availableReplicas"]) == (3, 3, 3)
        assert condition(h, "Available")["reason"] == "MinimumReplicasAvailable"
        assert condition(h, "Progressing")["reason"] == "NewReplicaSetAvailable"
        assert "ScalingReplicaSet" in h.event_reasons("web")


async def test_rolls_within_surge_and_unavailability() -> None:
    async with Harness().running(*BOTH) as h:
        h.api.add(DEPLOYMENTS, deployment(4, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}))
        await h.ready_pods()
        image(h, "v2")
        for _ in range(30):
            await h.settle()
            active = [p for p in h.api.objects(PODS) if not objects.is_deleting(p)]
            assert len(active) <= 5
            assert sum(p["status"]["phase"] == "Running" for p in active) >= 3
            pending = [p for p in active if p["status"]["phase"] == "Pending"]
            if not pending:
                break
            now = objects.format_time(h.clock.now())
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
            h.api.set_status(PODS, objects.name(pending[0]), {"phase": "Running", "conditions": [ready]})
        assert sizes(h) == {"v1": 0, "v2": 4}
        assert h.api.read(DEPLOYMENTS, "web")["metadata"]["annotations"][revisions.REVISION] == "2"


async def test_recreate_waits_until_old_pods_are_gone() -> None:
    async with Harness().running(*BOTH) as h:
        h.api.add(DEPLOYMENTS, deployment(2, strategy={"type": "Recreate"}))
        await h.ready_pods()
        for pod in h.api.objects(PODS):
            h.api.change(PODS, objects.name(pod), {"spec": {"nodeName": "n"}})
        image(h, "v2")
        await h.settle()
        assert sizes(h) == {"v1": 0}
        assert all(objects.is_deleting(p) for p in h.api.objects(PODS))
        h.api.purge(PODS, objects.name(h.api.objects(PODS)[0]))
        await h.settle()
        assert sizes(h) == {"v1": 0}
        h.api.finish_deletions(PODS)
        await h.ready_pods()
        assert sizes(h) == {"v1": 0, "v2": 2}
        assert condition(h, "Progressing")["reason"] == "NewReplicaSetAvailable"


async def test_going_back_reuses_the_old_set_and_raises_its_revision() -> None:
    async with Harness().running(*BOTH) as h:
        h.api.add(DEPLOYMENTS, deployment(2))
        await h.ready_pods()
        image(h, "v2")
        await h.ready_pods()
        image(h, "v1")
        await h.ready_pods()
        assert sizes(h) == {"v1": 2, "v2": 0}
        back = next(rs for rs in h.api.objects(REPLICASETS) if rs["spec"]["replicas"])
        assert back["metadata"]["annotations"][revisions.REVISION] == "3"
        assert back["metadata"]["annotations"][revisions.REVISION_HISTORY] == "1"


async def test_rollback_annotation_takes_the_template_of_that_revision() -> None:
    async with Harness().running(*BOTH) as h:
        h.api.add(DEPLOYMENTS, deployment(1))
        await h.ready_pods()
        image(h, "v2")
        await h.ready_pods()
        h.api.change(DEPLOYMENTS, "web", {"metadata": {"annotations": {revisions.ROLLBACK_TO: "0"}}})
        await h.ready_pods()
        assert sizes(h) == {"v1": 1, "v2": 0}
        assert "DeploymentRollback" in h.event_reasons("web")
        assert revisions.ROLLBACK_TO not in h.api.read(DEPLOYMENTS, "web")["metadata"]["annotations"]


async def test_paused_does_not_roll_but_scales() -> None:
    async with Harness().running(*BOTH) as h:
        h.api.add(DEPLOYMENTS, deployment(2))
        await h.ready_pods()
        h.api.change(DEPLOYMENTS, "web", {"spec": {"paused": True}})
        image(h, "v2")
        h.api.change(DEPLOYMENTS, "web", {"spec": {"replicas": 4}})
        await h.ready_pods()
        assert sizes(h) == {"v1": 4}
        assert condition(h, "Progressing")["reason"] == "DeploymentPaused"
        h.api.change(DEPLOYMENTS, "web", {"spec": {"paused": False}})
        await h.ready_pods()
        assert sizes(h) == {"v1": 0, "v2": 4}


async def test_scales_a_rollout_in_proportion() -> None:
    async with Harness().running(*BOTH) as h:
        h.api.add(DEPLOYMENTS, deployment(10, strategy={"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}))
        await h.ready_pods()
        image(h, "v2")
        await h.settle()
        assert sizes(h) == {"v1": 8, "v2": 5}
        h.api.change(DEPLOYMENTS, "web", {"spec": {"replicas": 15}})
        await h.settle()
        assert sizes(h) == {"v1": 11, "v2": 7}


async def test_times_out_and_recovers() -> None:
    async with Harness().running(*BOTH) as h:
        h.api.add(DEPLOYMENTS, deployment(1, progressDeadlineSeconds=10))
        await h.advance(15)
        assert condition(h, "Progressing")["reason"] == "ProgressDeadlineExceeded"
        assert condition(h, "Progressing")["status"] == "False"
        await h.ready_pods()
        assert condition(h, "Progressing")["reason"] == "NewReplicaSetAvailable"


async def test_min_ready_seconds_delays_availability() -> None:
    async with Harness().running(*BOTH) as h:
        h.api.add(DEPLOYMENTS, deployment(1, minReadySeconds=20))
        await h.ready_pods()
        assert condition(h, "Available")["status"] == "False"
        await h.advance(25)
        assert condition(h, "Available")["status"] == "True"


async def test_history_limit_removes_the_oldest() -> None:
    async with Harness().running(*BOTH) as h:
        h.api.add(DEPLOYMENTS, deployment(1, revisionHistoryLimit=1))
        await h.ready_pods()
        for version in ("v2", "v3", "v4"):
            image(h, version)
            await h.ready_pods()
        assert sizes(h) == {"v3": 0, "v4": 1}


async def test_a_hash_collision_counts_and_makes_another_name() -> None:
    async with Harness().running(DeploymentController) as h:
        obj = deployment(1)
        taken = f"web-{revisions.template_hash(obj['spec']['template'], None)}"
        h.api.add(REPLICASETS, {"metadata": {"name": taken, "namespace": "default"},
                                "spec": {"replicas": 0, "template": template({"x": "y"})}})  # fmt: skip
        h.api.add(DEPLOYMENTS, obj)
        await h.advance(1)
        assert h.api.read(DEPLOYMENTS, "web")["status"]["collisionCount"] == 1
        assert len(h.api.objects(REPLICASETS)) == 2


async def test_replica_failure_shows() -> None:
    async with Harness().running(*BOTH) as h:
        def refuse(verb: str, resource: object, name: str, obj: object) -> None:
            if verb == "create" and resource is PODS:
                raise failure(403, "Forbidden", "exceeded quota")

        h.api.reactors.append(refuse)
        h.api.add(DEPLOYMENTS, deployment(2))
        await h.settle()
        assert condition(h, "ReplicaFailure")["reason"] == "FailedCreate"


async def test_an_empty_selector_is_warned_of() -> None:
    async with Harness().running(*BOTH) as h:
        h.api.add(DEPLOYMENTS, deployment(2, selector={}))
        await h.advance(60)
        assert h.event_reasons("web") == ["SelectingAll"] * len(h.event_reasons("web"))
        assert h.api.objects(REPLICASETS) == []
        assert h.api.read(DEPLOYMENTS, "web")["status"]["observedGeneration"] == 1


async def test_a_stuck_rollout_does_not_spin() -> None:
    async with Harness().running(*BOTH) as h:
        h.api.add(DEPLOYMENTS, deployment(3))
        await h.settle()
        before = h.api.total
        await h.advance(3600)
        assert h.api.total - before < 10


def test_fenceposts() -> None:
    def of(surge: object, unavailable: object, replicas: int = 10) -> tuple[int, int]:
        rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
        return arithmetic.fenceposts({"spec": {"replicas": replicas, "strategy": {"rollingUpdate": rolling}}})

    assert of("25%", "25%") == (3, 2)
    assert of(0, "5%") == (0, 1)
    assert of("1%", "1%") == (1, 0)
