"""ReplicaSets and ReplicationControllers: counting, adopting, ranking, failing."""

from __future__ import annotations

import pytest
from controller_harness import Harness, make_pod, template

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PODS, REPLICASETS, REPLICATIONCONTROLLERS
from podwright.api.status import failure
from podwright.controllers.replicaset import ReplicaSetController, ReplicationController, ranking
from podwright.controllers.replicaset.status import REPLICA_FAILURE


def replica_set(replicas: int = 3, name: str = "rs", **spec: object) -> Object:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "a"}}, "template": template({"app": "a"}), **spec,
        },
    }


async def test_creates_pods_from_the_template_with_owner_and_generated_names() -> None:
    async with Harness().running(ReplicaSetController) as h:
        owner = h.api.add(REPLICASETS, replica_set(3))
        await h.settle()
        made = h.api.objects(PODS)
        assert len(made) == 3
        assert all(objects.name(p).startswith("rs-") for p in made)
        assert all(p["metadata"]["ownerReferences"] == [objects.owner_reference(owner)] for p in made)
        assert h.event_reasons("rs").count("SuccessfulCreate") == 3
        assert h.api.read(REPLICASETS, "rs")["status"]["replicas"] == 3


async def test_replaces_a_deleted_pod_and_a_failed_one() -> None:
    async with Harness().running(ReplicaSetController) as h:
        h.api.add(REPLICASETS, replica_set(2))
        await h.settle()
        first, second = h.api.objects(PODS)
        h.api.remove(PODS, objects.name(first))
        h.api.set_status(PODS, objects.name(second), {"phase": "Failed"})
        await h.settle()
        active = [p for p in h.api.objects(PODS) if p["status"]["phase"] != "Failed"]
        assert len(active) == 2
        assert objects.name(first) not in map(objects.name, active)


async def test_scales_down_and_counts_ready_and_available() -> None:
    async with Harness().running(ReplicaSetController) as h:
        h.api.add(REPLICASETS, replica_set(3, minReadySeconds=10))
        await h.settle()
        ready = {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": objects.format_time(h.clock.now())}]}  # fmt: skip
        for pod in h.api.objects(PODS):
            h.api.set_status(PODS, objects.name(pod), ready)
        await h.settle()
        assert h.api.read(REPLICASETS, "rs")["status"]["readyReplicas"] == 3
        assert "availableReplicas" not in h.api.read(REPLICASETS, "rs")["status"]
        await h.advance(12)
        assert h.api.read(REPLICASETS, "rs")["status"]["availableReplicas"] == 3
        h.api.change(REPLICASETS, "rs", {"spec": {"replicas": 1}})
        await h.settle()
        assert len(h.api.objects(PODS)) == 1
        assert h.api.read(REPLICASETS, "rs")["status"]["availableReplicas"] == 1


async def test_adopts_matching_orphans_and_releases_what_no_longer_matches() -> None:
    async with Harness().running(ReplicaSetController) as h:
        h.api.add(PODS, make_pod("orphan", labels={"app": "a"}, node="n"))
        owner = h.api.add(REPLICASETS, replica_set(2))
        await h.settle()
        assert len(h.api.objects(PODS)) == 2
        assert objects.controller_of(h.api.read(PODS, "orphan"))["uid"] == objects.uid(owner)
        h.api.change(PODS, "orphan", {"metadata": {"labels": {"app": "b"}}})
        await h.settle()
        assert objects.controller_of(h.api.read(PODS, "orphan")) is None
        assert len(h.api.objects(PODS)) == 3


async def test_does_not_adopt_for_an_owner_that_was_recreated() -> None:
    h = Harness()
    async with h.running():
        h.api.add(REPLICASETS, replica_set(1))
        stale = h.api.read(REPLICASETS, "rs")
        h.api.remove(REPLICASETS, "rs")
        h.api.add(REPLICASETS, replica_set(1))
        h.api.add(PODS, make_pod("orphan", labels={"app": "a"}))
        controller = h.start(ReplicaSetController)
        await h.settle()
        controller.sets._objects["default/rs"] = stale  # type: ignore[attr-defined]
        orphan = h.api.add(PODS, make_pod("orphan2", labels={"app": "a"}))
        await h.settle()
        assert objects.controller_of(h.api.read(PODS, objects.name(orphan))) is None


async def test_overlapping_selectors_do_not_fight() -> None:
    async with Harness().running(ReplicaSetController) as h:
        h.api.add(REPLICASETS, replica_set(2, name="one"))
        h.api.add(REPLICASETS, replica_set(2, name="two"))
        await h.settle()
        assert len(h.api.objects(PODS)) == 4
        before = h.api.total
        await h.advance(60)
        assert h.api.total == before


async def test_a_refused_create_is_asked_once_and_ends_in_a_condition() -> None:
    async with Harness().running(ReplicaSetController) as h:
        def quota(verb: str, resource: object, name: str, obj: object) -> None:
            if verb == "create" and resource is PODS:
                raise failure(403, "Forbidden", "exceeded quota")

        h.api.reactors.append(quota)
        h.api.add(REPLICASETS, replica_set(50))
        await h.settle()
        condition = objects.condition(h.api.read(REPLICASETS, "rs"), REPLICA_FAILURE)
        assert condition is not None and condition["reason"] == "FailedCreate"
        assert h.api.calls["create pods"] <= 8
        await h.advance(60)
        assert h.api.calls["create pods"] < 30
        h.api.reactors.clear()
        await h.advance(600)
        assert len(h.api.objects(PODS)) == 50
        assert objects.condition(h.api.read(REPLICASETS, "rs"), REPLICA_FAILURE) is None


async def test_a_terminating_namespace_is_no_failure() -> None:
    async with Harness().running(ReplicaSetController) as h:
        from podwright.api.resources import NAMESPACES

        h.api.add(NAMESPACES, {"metadata": {"name": "default"}})
        h.api.remove(NAMESPACES, "default")
        h.api.add(REPLICASETS, replica_set(3))
        await h.advance(30)
        assert h.api.calls["create pods"] <= 2
        assert h.event_reasons("rs") == []


async def test_a_deleted_set_makes_nothing_more() -> None:
    async with Harness().running(ReplicaSetController) as h:
        obj = replica_set(2)
        obj["metadata"]["finalizers"] = ["test/hold"]
        h.api.add(REPLICASETS, obj)
        await h.settle()
        h.api.remove(REPLICASETS, "rs")
        h.api.remove(PODS, objects.name(h.api.objects(PODS)[0]))
        await h.settle()
        assert len(h.api.objects(PODS)) == 1


async def test_counts_terminating_pods() -> None:
    async with Harness().running(ReplicaSetController) as h:
        h.api.add(REPLICASETS, replica_set(1))
        await h.settle()
        name = objects.name(h.api.objects(PODS)[0])
        h.api.change(PODS, name, {"spec": {"nodeName": "n"}})
        h.api.remove(PODS, name)
        await h.settle()
        assert h.api.read(REPLICASETS, "rs")["status"]["terminatingReplicas"] == 1
        h.api.finish_deletions(PODS)
        await h.settle()
        assert h.api.read(REPLICASETS, "rs")["status"]["terminatingReplicas"] == 0
        assert len(h.api.objects(PODS)) == 1


async def test_a_hundred_pods_take_few_writes_of_the_status() -> None:
    async with Harness().running(ReplicaSetController) as h:
        h.api.add(REPLICASETS, replica_set(100))
        await h.settle()
        assert len(h.api.objects(PODS)) == 100
        assert h.api.calls["update replicasets/status"] <= 3


async def test_idle_makes_no_calls() -> None:
    async with Harness().running(ReplicaSetController) as h:
        h.api.add(REPLICASETS, replica_set(3))
        await h.settle()
        before = h.api.total
        await h.advance(600)
        assert h.api.total == before


async def test_replication_controller_selects_by_map_and_defaults_to_template_labels() -> None:
    async with Harness().running(ReplicationController) as h:
        h.api.add(
            REPLICATIONCONTROLLERS,
            {"metadata": {"name": "rc"}, "spec": {"replicas": 2, "template": template({"a": "b"})}},
        )
        await h.settle()
        assert len(h.api.objects(PODS)) == 2
        status = h.api.read(REPLICATIONCONTROLLERS, "rc")["status"]
        assert status["fullyLabeledReplicas"] == 2
        assert "terminatingReplicas" not in status


NOW = objects.parse_time("2025-01-02T00:00:00Z")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (make_pod("a"), make_pod("b", node="n")),
        (make_pod("a", node="n", phase="Pending"), make_pod("b", node="n")),
        (make_pod("a", node="n", ready=False), make_pod("b", node="n")),
        (make_pod("a", node="n", since="2025-01-01T23:59:00Z"), make_pod("b", node="n")),
    ],
)
def test_ranking_prefers_what_matters_least(first: Object, second: Object) -> None:
    assert ranking.victims([second, first], [], 1, NOW) == [first]


def test_ranking_by_deletion_cost_and_crowding() -> None:
    cheap, dear = make_pod("a", node="n"), make_pod("b", node="n", ready=True)
    dear["metadata"]["annotations"] = {ranking.DELETION_COST: "10"}
    assert ranking.victims([dear, cheap], [], 1, NOW) == [cheap]
    alone, crowded = make_pod("c", node="m"), make_pod("d", node="n")
    assert ranking.victims([alone, crowded], [alone, crowded, make_pod("e", node="n")], 1, NOW) == [crowded]
