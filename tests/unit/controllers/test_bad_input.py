"""What users and fate hand to controllers: each ends in a defined state, with an event that says so, and nothing spins.

Every test lets half an hour or more go by and bounds how many calls that took."""

from __future__ import annotations

import pytest
from controller_harness import Harness, make_node, template

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import (
    CONFIGMAPS,
    CRONJOBS,
    DEPLOYMENTS,
    JOBS,
    LEASES,
    NODES,
    PODS,
    REPLICASETS,
    STATEFULSETS,
    Resource,
)
from podwright.api.status import failure
from podwright.controllers.cronjob import CronJobController
from podwright.controllers.deployment import DeploymentController
from podwright.controllers.frame import Controller
from podwright.controllers.garbage_collector import GarbageCollector
from podwright.controllers.job import JobController
from podwright.controllers.node_lifecycle import NodeLifecycleController
from podwright.controllers.pod_gc import PodGarbageCollector
from podwright.controllers.replicaset import ReplicaSetController
from podwright.controllers.statefulset import StatefulSetController

HALF_AN_HOUR = 1800.0


class Quiet:
    """Counts the calls of a time in which nothing new happens."""

    def __init__(self, h: Harness) -> None:
        self._h = h

    async def during(self, seconds: float) -> int:
        before = self._h.api.total
        await self._h.advance(seconds)
        return self._h.api.total - before


def workload(name: str, replicas: int = 2, **spec: object) -> Object:
    labels = {"app": "same"}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template(labels), **spec},
    }


def owned(h: Harness, owner: str) -> list[str]:
    return sorted(
        objects.name(p) for p in h.api.objects(PODS)
        if (found := objects.controller_of(p)) is not None and found["name"].startswith(owner)
    )  # fmt: skip


async def test_selectors_that_overlap_take_no_pods_from_each_other() -> None:
    async with Harness().running(DeploymentController, ReplicaSetController) as h:
        for name in ("one", "two"):
            h.api.add(DEPLOYMENTS, workload(name))
        h.api.add(REPLICASETS, workload("three", 1))
        h.api.add(PODS, {"metadata": {"name": "orphan", "namespace": "default", "labels": {"app": "same"}},
                         "spec": template({})["spec"], "status": {"phase": "Running"}})  # fmt: skip
        await h.ready_pods()
        pods = {name: owned(h, name) for name in ("one", "two", "three")}
        assert sum(len(p) for p in pods.values()) == len(h.api.objects(PODS)), "the orphan was adopted by one of them"
        assert {name: len(found) for name, found in pods.items()} == {"one": 2, "two": 2, "three": 1}
        assert set(h.event_reasons()) >= {"SuccessfulCreate", "ScalingReplicaSet"}
        assert await Quiet(h).during(HALF_AN_HOUR) == 0
        assert pods == {name: owned(h, name) for name in pods}


async def test_a_deployment_that_can_never_start_says_so_and_waits() -> None:
    async with Harness().running(DeploymentController, ReplicaSetController) as h:
        h.api.add(DEPLOYMENTS, workload("stuck", progressDeadlineSeconds=60))
        await h.settle()  # its Pods stay Pending: their image does not exist
        assert await Quiet(h).during(HALF_AN_HOUR) < 10
        conditions = {c["type"]: c for c in h.api.read(DEPLOYMENTS, "stuck")["status"]["conditions"]}
        assert (conditions["Progressing"]["status"], conditions["Progressing"]["reason"]) == (
            "False", "ProgressDeadlineExceeded",
        )  # fmt: skip
        assert len(owned(h, "stuck")) == 2


@pytest.mark.parametrize(
    ("kind", "resource"), [(ReplicaSetController, REPLICASETS), (StatefulSetController, STATEFULSETS)]
)
async def test_pods_that_every_node_refuses_are_replaced_less_and_less_often(
    kind: type[Controller], resource: Resource
) -> None:
    async with Harness().running(kind) as h:
        refusing = True

        def kubelet(old: Object | None, new: Object | None) -> None:
            if refusing and new is not None and not new["status"].get("reason"):
                h.api.set_status(PODS, objects.name(new), {"phase": "Failed", "reason": "OutOfcpu"})

        h.informers.informer(PODS).add_handler(kubelet)
        h.api.add(resource, workload("full", podManagementPolicy="Parallel"))
        before = h.api.total
        await h.advance(HALF_AN_HOUR)
        # Two at a time, after 0, 1, 2, … 256, 300 s: at first each may be seen alone.
        assert 20 <= h.api.calls["create pods"] <= 50 and h.api.total - before < 250
        assert "BackOff" in h.event_reasons("full")
        refusing = False
        h.api.change(resource, "full", {"spec": {"minReadySeconds": 1}})
        await h.settle()
        assert sum(p["status"].get("phase") == "Pending" for p in h.api.objects(PODS)) == 2, "a change is tried at once"


async def test_a_job_whose_pods_always_fail_ends() -> None:
    async with Harness().running(JobController) as h:
        spec = {"backoffLimit": 3, "template": template({"job": "never"}, restartPolicy="Never")}
        h.api.add(JOBS, {"metadata": {"name": "never", "namespace": "default"}, "spec": spec})
        before = h.api.total
        for _ in range(60):
            await h.advance(60)
            for pod in h.api.objects(PODS):
                if pod["status"].get("phase") == "Pending":
                    failed = {"name": "c", "state": {"terminated": {"exitCode": 1, "reason": "StartError"}}}
                    status = {"phase": "Failed", "containerStatuses": [failed]}
                    h.api.set_status(PODS, objects.name(pod), status)
        conditions = {c["type"]: c["reason"] for c in h.api.read(JOBS, "never")["status"]["conditions"]}
        assert conditions["Failed"] == "BackoffLimitExceeded" and "BackoffLimitExceeded" in h.event_reasons("never")
        assert h.api.calls["create pods"] == 4 and h.api.total - before < 100


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_owners_in_a_loop_go_together(propagation: str) -> None:
    async with Harness().running(GarbageCollector) as h:
        loop = ["a", "b", "c"]
        made = [h.api.add(CONFIGMAPS, {"metadata": {"name": n, "namespace": "default"}}) for n in loop]
        for name, owner in zip(loop, [made[-1], *made[:-1]], strict=True):
            refs = [{**objects.owner_reference(owner), "apiVersion": "v1", "kind": "ConfigMap", "controller": False,
                     "blockOwnerDeletion": True}]  # fmt: skip
            h.api.change(CONFIGMAPS, name, {"metadata": {"ownerReferences": refs}})
        await h.settle()
        assert await Quiet(h).during(HALF_AN_HOUR) == 0
        assert [objects.name(o) for o in h.api.objects(CONFIGMAPS)] == loop, "who has an owner that lives stays"
        before = h.api.total
        h.api.remove(CONFIGMAPS, "a", propagation=propagation)
        await h.advance(60)
        assert h.api.objects(CONFIGMAPS) == [] and h.api.total - before < 40
        assert await Quiet(h).during(HALF_AN_HOUR) == 0


@pytest.mark.parametrize(("code", "reason"), [(403, "Forbidden"), (500, "InternalError")])
async def test_a_webhook_that_refuses_every_pod(code: int, reason: str) -> None:
    async with Harness().running(DeploymentController, ReplicaSetController, JobController) as h:
        message = 'admission webhook "no.example.com" denied the request: no'
        refuses = True

        def webhook(verb: str, resource: Resource, name: str, obj: Object | None) -> None:
            if refuses and verb == "create" and resource is PODS:
                raise failure(code, reason, message)

        h.api.reactors.append(webhook)
        h.api.add(DEPLOYMENTS, workload("refused", 50))
        spec = {"parallelism": 5, "template": template({"job": "refused"}, restartPolicy="Never")}
        h.api.add(JOBS, {"metadata": {"name": "refused-job", "namespace": "default"}, "spec": spec})
        await h.settle()
        assert await Quiet(h).during(HALF_AN_HOUR) < HALF_AN_HOUR / 5, "asked less and less often"
        (replica_set,) = h.api.objects(REPLICASETS)
        conditions = {c["type"]: c for c in replica_set["status"]["conditions"]}
        assert conditions["ReplicaFailure"]["reason"] == "FailedCreate" and message in str(conditions["ReplicaFailure"])
        for name in (objects.name(replica_set), "refused-job"):
            assert "FailedCreate" in h.event_reasons(name)
        assert h.api.objects(PODS) == []
        refuses = False
        await h.advance(HALF_AN_HOUR)
        assert len(owned(h, "refused")) == 55, "it works as soon as it is let"


def lease(h: Harness, name: str) -> Object:
    return {
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "renewTime": objects.format_micro_time(h.clock.now())},
    }


async def renewed(h: Harness, names: list[str], seconds: float) -> None:
    """The kubelets' heartbeats; their clocks jump as well."""
    for _ in range(int(seconds / 10)):
        await h.advance(10)
        for name in names:
            h.api.change(LEASES, name, lease(h, name), "kube-node-lease")


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
async def test_a_clock_that_jumps_an_hour_makes_no_node_sick(jump: float) -> None:
    async with Harness().running(NodeLifecycleController) as h:
        names = ["a", "b"]
        for name in names:
            h.api.add(NODES, make_node(name))
            h.api.add(LEASES, lease(h, name))
        await renewed(h, names, 60)
        h.clock.jump(jump)
        before = h.api.total
        await renewed(h, names, 300)
        for name in names:
            node = h.api.read(NODES, name)
            assert objects.condition_is_true(node, "Ready") and not node["spec"].get("taints")
        assert h.api.total - before < 100
        await h.advance(120)
        for name in names:
            node = h.api.read(NODES, name)
            assert not objects.condition_is_true(node, "Ready") and node["spec"]["taints"], "silence is still seen"


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
async def test_a_clock_that_jumps_an_hour_floods_nobody_with_jobs(jump: float) -> None:
    async with Harness().running(CronJobController) as h:
        job = {"spec": {"template": template({}, restartPolicy="Never")}}
        spec = {"schedule": "* * * * *", "jobTemplate": job, "concurrencyPolicy": "Allow"}
        h.api.add(CRONJOBS, {"metadata": {"name": "minutely", "namespace": "default"}, "spec": spec})
        await h.advance(300)
        before = len(h.api.objects(JOBS))
        assert 4 <= before <= 6
        h.clock.jump(jump)
        calls = await Quiet(h).during(300)
        after = len(h.api.objects(JOBS)) - before
        # Forwards: the newest of what was missed, then one a minute. Backwards: what ran is not run again.
        assert (5 <= after <= 7) if jump > 0 else (0 <= after <= 1), after
        assert calls < 60


async def test_a_node_object_that_is_deleted_takes_its_pods_after_a_while() -> None:
    async with Harness().running(NodeLifecycleController, PodGarbageCollector) as h:
        h.api.add(NODES, make_node("gone"))
        h.api.add(LEASES, lease(h, "gone"))
        pod = template({})
        h.api.add(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": {**pod["spec"], "nodeName": "gone"},
                         "status": {"phase": "Running"}})  # fmt: skip
        await renewed(h, ["gone"], 60)
        h.api.remove(NODES, "gone", "")
        before = h.api.total
        await renewed(h, ["gone"], 10)
        assert len(h.api.objects(PODS)) == 1, "its kubelet may register it again"
        await renewed(h, ["gone"], 120)
        assert h.api.objects(PODS) == [] and h.api.total - before < 30
        assert "RemovingNode" in h.event_reasons("gone")
        assert await Quiet(h).during(HALF_AN_HOUR) < 200, "a look now and then"
