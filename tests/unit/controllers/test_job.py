"""Jobs: counting, failing, indexes, policies, suspension."""

from __future__ import annotations

import pytest
from controller_harness import Harness, template

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import JOBS, PODS
from podwright.controllers.job import JobController, failure_policy, indexes
from podwright.controllers.job.tally import FINALIZER


def job(**spec: object) -> Object:
    return {
        "metadata": {"name": "j", "namespace": "default"},
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": template({}, restartPolicy="Never"),
                 **spec},
    }  # fmt: skip


def live(h: Harness) -> list[Object]:
    return [p for p in h.api.objects(PODS) if p["status"]["phase"] in ("Pending", "Running")
            and not objects.is_deleting(p)]  # fmt: skip


async def end(h: Harness, phase: str, count: int = 1, code: int = 1, index: int | None = None) -> None:
    chosen = [p for p in live(h) if index is None or indexes.of(p) == index][:count]
    for pod in chosen:
        exit_code = 0 if phase == "Succeeded" else code
        now = objects.format_time(h.clock.now())
        state = {"terminated": {"exitCode": exit_code, "finishedAt": now}}
        status = {"phase": phase, "containerStatuses": [{"name": "c", "state": state}]}
        h.api.set_status(PODS, objects.name(pod), status)
    await h.advance(0.2)


def status(h: Harness) -> Object:
    found = h.api.read(JOBS, "j")["status"]
    assert isinstance(found, dict)
    return found


def condition(h: Harness, kind: str) -> Object | None:
    return objects.condition(h.api.read(JOBS, "j"), kind)


async def test_runs_to_completion_and_frees_its_pods() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job(completions=3, parallelism=2))
        await h.advance(0.2)
        assert len(live(h)) == 2
        assert all(FINALIZER in p["metadata"]["finalizers"] for p in live(h))
        assert status(h)["active"] == 2
        await end(h, "Succeeded")
        assert len(live(h)) == 2
        await end(h, "Succeeded")
        assert len(live(h)) == 1
        await end(h, "Succeeded")
        assert status(h)["succeeded"] == 3
        complete = condition(h, "Complete")
        assert complete is not None and complete["reason"] == "CompletionsReached"
        assert condition(h, "SuccessCriteriaMet") is not None
        assert status(h)["completionTime"] and status(h)["uncountedTerminatedPods"] == {}
        assert not any(p["metadata"].get("finalizers") for p in h.api.objects(PODS))
        assert "Completed" in h.event_reasons("j")


async def test_work_queue_jobs_end_when_one_succeeded_and_none_runs() -> None:
    async with Harness().running(JobController) as h:
        spec = job(parallelism=3)
        del spec["spec"]["completions"]
        h.api.add(JOBS, spec)
        await h.advance(0.2)
        await end(h, "Succeeded")
        assert len(live(h)) == 2
        assert condition(h, "Complete") is None
        await end(h, "Succeeded", 2)
        assert condition(h, "Complete") is not None


async def test_failures_are_retried_with_growing_delay_up_to_the_limit() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job(backoffLimit=2))
        await h.advance(0.2)
        await end(h, "Failed")
        assert live(h) == []
        await h.advance(9)
        assert live(h) == []
        await h.advance(2)
        assert len(live(h)) == 1
        await end(h, "Failed")
        await h.advance(15)
        assert live(h) == []
        await h.advance(6)
        await end(h, "Failed")
        failed = condition(h, "Failed")
        assert failed is not None and failed["reason"] == "BackoffLimitExceeded"
        assert status(h)["failed"] == 3
        await h.advance(2000)
        assert live(h) == []


async def test_on_failure_counts_restarts_in_place() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job(backoffLimit=2, template=template({}, restartPolicy="OnFailure")))
        await h.advance(0.2)
        name = objects.name(live(h)[0])
        h.api.set_status(PODS, name, {"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 2}]})
        await h.advance(0.2)
        assert condition(h, "FailureTarget") is not None
        h.api.finish_deletions(PODS)
        await h.advance(1)
        failed = condition(h, "Failed")
        assert failed is not None and failed["reason"] == "BackoffLimitExceeded"


async def test_active_deadline_ends_the_job() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job(activeDeadlineSeconds=30))
        await h.advance(29)
        assert len(live(h)) == 1
        await h.advance(2)
        failed = condition(h, "Failed")
        assert failed is not None and failed["reason"] == "DeadlineExceeded"
        assert live(h) == []


async def test_indexed_pods_have_index_hostname_and_environment() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job(completions=4, parallelism=2, completionMode="Indexed"))
        await h.advance(0.2)
        assert sorted(indexes.of(p) or 0 for p in live(h)) == [0, 1]
        pod = next(p for p in live(h) if indexes.of(p) == 1)
        assert pod["spec"]["hostname"] == "j-1"
        assert pod["metadata"]["labels"][indexes.ANNOTATION] == "1"
        assert pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
        await end(h, "Succeeded", index=1)
        assert status(h)["completedIndexes"] == "1"
        assert sorted(indexes.of(p) or 0 for p in live(h)) == [0, 2]
        for index in (0, 2, 3):
            await end(h, "Succeeded", index=index)
        assert status(h)["completedIndexes"] == "0-3"
        assert condition(h, "Complete") is not None


async def test_backoff_limit_per_index_fails_indexes_alone() -> None:
    async with Harness().running(JobController) as h:
        spec = job(completions=2, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=1)
        del spec["spec"]["backoffLimit"]
        h.api.add(JOBS, spec)
        await h.advance(0.2)
        await end(h, "Succeeded", index=0)
        await end(h, "Failed", index=1)
        assert condition(h, "Failed") is None
        await h.advance(12)
        assert [indexes.of(p) for p in live(h)] == [1]
        assert live(h)[0]["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] == "1"
        await end(h, "Failed", index=1)
        await h.advance(1)
        assert status(h)["failedIndexes"] == "1"
        failed = condition(h, "Failed")
        assert failed is not None and failed["reason"] == "FailedIndexes"
        assert status(h)["failed"] == 2


async def test_max_failed_indexes_ends_all() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job(completions=3, parallelism=3, completionMode="Indexed", backoffLimitPerIndex=0,
                            maxFailedIndexes=0))  # fmt: skip
        await h.advance(0.2)
        await end(h, "Failed", index=2)
        await h.advance(1)
        failed = condition(h, "Failed")
        assert failed is not None and failed["reason"] == "MaxFailedIndexesExceeded"
        assert live(h) == []


async def test_pod_failure_policy_fails_the_job_or_ignores() -> None:
    rules = [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job(completions=2, parallelism=2, backoffLimit=0, podFailurePolicy={"rules": rules}))
        await h.advance(0.2)
        name = objects.name(live(h)[0])
        conditions = [{"type": "DisruptionTarget", "status": "True"}]
        h.api.set_status(PODS, name, {"phase": "Failed", "conditions": conditions})
        await h.advance(0.5)
        assert status(h).get("failed", 0) == 0
        assert len(live(h)) == 2
        assert not h.api.read(PODS, name)["metadata"].get("finalizers")
        await end(h, "Failed", code=42)
        for pod in h.api.objects(PODS):
            if objects.is_deleting(pod):
                h.api.set_status(PODS, objects.name(pod), {"phase": "Failed"})
        await h.advance(1)
        failed = condition(h, "Failed")
        assert failed is not None and failed["reason"] == "PodFailurePolicy"
        assert "failed with exit code 42 matching FailJob rule at index 0" in failed["message"]


async def test_success_policy_ends_early() -> None:
    async with Harness().running(JobController) as h:
        policy = {"rules": [{"succeededIndexes": "0,2-3", "succeededCount": 1}]}
        h.api.add(JOBS, job(completions=4, parallelism=4, completionMode="Indexed", successPolicy=policy))
        await h.advance(0.2)
        await end(h, "Succeeded", index=1)
        assert condition(h, "SuccessCriteriaMet") is None
        await end(h, "Succeeded", index=2)
        met = condition(h, "SuccessCriteriaMet")
        assert met is not None and met["reason"] == "SuccessPolicy"
        await h.advance(1)
        complete = condition(h, "Complete")
        assert complete is not None and complete["reason"] == "SuccessPolicy"
        assert live(h) == [] and status(h).get("failed", 0) == 0


async def test_suspend_and_resume() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job(suspend=True))
        await h.advance(0.2)
        assert live(h) == [] and "startTime" not in status(h)
        suspended = condition(h, "Suspended")
        assert suspended is not None and suspended["status"] == "True"
        h.api.change(JOBS, "j", {"spec": {"suspend": False}})
        await h.advance(0.2)
        assert len(live(h)) == 1 and status(h)["startTime"]
        resumed = condition(h, "Suspended")
        assert resumed is not None and resumed["reason"] == "JobResumed"
        h.api.change(JOBS, "j", {"spec": {"suspend": True}})
        await h.advance(0.5)
        assert live(h) == []


async def test_pod_replacement_policy_failed_waits_for_the_end() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job(podReplacementPolicy="Failed"))
        await h.advance(0.2)
        name = objects.name(live(h)[0])
        h.api.change(PODS, name, {"spec": {"nodeName": "n"}, "status": {"phase": "Running"}})
        h.api.remove(PODS, name)
        await h.advance(30)
        assert live(h) == [] and status(h)["terminating"] == 1
        h.api.set_status(PODS, name, {"phase": "Failed"})
        await h.advance(30)
        assert len(live(h)) == 1


async def test_another_manager_is_left_alone() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job(managedBy="acme.com/queue"))
        await h.advance(1)
        assert h.api.objects(PODS) == [] and "status" not in h.api.read(JOBS, "j")


async def test_pods_of_a_job_that_is_gone_are_freed() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job())
        await h.advance(0.2)
        h.api.remove(JOBS, "j")
        await h.advance(3)
        (pod,) = h.api.objects(PODS)
        assert not pod["metadata"].get("finalizers")


async def test_scaling_parallelism_down_removes_pods() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job(completions=10, parallelism=5))
        await h.advance(0.2)
        h.api.change(JOBS, "j", {"spec": {"parallelism": 2}})
        await h.advance(0.5)
        assert len(live(h)) == 2


async def test_idle_makes_no_calls() -> None:
    async with Harness().running(JobController) as h:
        h.api.add(JOBS, job())
        await h.advance(1)
        before = h.api.total
        await h.advance(3600)
        assert h.api.total == before
        await end(h, "Succeeded")
        before = h.api.total
        await h.advance(3600)
        assert h.api.total == before


@pytest.mark.parametrize(("text", "found"), [("", set()), ("0,2-4", {0, 2, 3, 4}), ("1-9", {1, 2, 3, 4}), ("x", set())])
def test_indexes_are_read(text: str, found: set[int]) -> None:
    assert indexes.parse(text, 5) == found


def test_indexes_are_written() -> None:
    assert indexes.compress({5, 0, 1, 3, 4, 7}) == "0,1,3-5,7"
    assert indexes.compress([]) == ""


def test_exit_code_rules() -> None:
    pod = {"metadata": {"name": "p", "namespace": "n"}, "status": {"containerStatuses": [
        {"name": "a", "state": {"terminated": {"exitCode": 3}}}]}}  # fmt: skip

    def of(operator: str, values: list[int], container: str = "") -> str:
        codes = {"operator": operator, "values": values, **({"containerName": container} if container else {})}
        return failure_policy.judge({"rules": [{"action": "FailJob", "onExitCodes": codes}]}, pod).action

    assert of("In", [3]) == "FailJob"
    assert of("NotIn", [1, 2]) == "FailJob"
    assert of("NotIn", [3]) == "Count"
    assert of("In", [3], "b") == "Count"
