"""A Job's Pods, counted: which run, which end, which have succeeded and failed, and which must still be noted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from podwright.api import objects
from podwright.api.objects import Object
from podwright.controllers import pods
from podwright.controllers.job import failure_policy, indexes

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
INDEX_IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"


def is_tracked(pod: Object) -> bool:
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def replaces_only_failed(job: Object) -> bool:
    spec = job["spec"]
    if spec.get("podReplacementPolicy"):
        return bool(spec["podReplacementPolicy"] == "Failed")
    return bool(spec.get("podFailurePolicy"))


def has_failed(pod: Object, job: Object) -> bool:
    """A Pod being deleted counts at once as failed, unless only failed Pods are replaced."""
    if pods.phase(pod) == "Failed":
        return True
    return not replaces_only_failed(job) and objects.is_deleting(pod) and pods.phase(pod) != "Succeeded"


def per_index_limit(job: Object) -> int | None:
    return job["spec"].get("backoffLimitPerIndex") if indexes.is_indexed(job) else None


@dataclass(slots=True)
class Tally:
    """`new_*` are Pods with the finalizer whose end is not in the status yet. For an Indexed Job `succeeded` counts
    completed indexes."""

    active: list[Object] = field(default_factory=list)
    terminating: list[Object] = field(default_factory=list)
    new_succeeded: list[Object] = field(default_factory=list)
    new_failed: list[Object] = field(default_factory=list)
    ignored: list[Object] = field(default_factory=list)
    succeeded: int = 0
    failed: int = 0
    completed: set[int] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)
    fail_job: str = ""


def count(job: Object, children: Sequence[Object], removing: set[str]) -> Tally:
    """`removing` are uids of Pods whose finalizer is gone though the cache does not show it."""
    status = job.get("status") or {}
    uncounted = status.get("uncountedTerminatedPods") or {}
    known_succeeded, known_failed = set(uncounted.get("succeeded") or ()), set(uncounted.get("failed") or ())
    policy = job["spec"].get("podFailurePolicy")
    indexed = indexes.is_indexed(job)
    completions = int(job["spec"].get("completions") or 0)
    limit = per_index_limit(job)
    tally = Tally()
    if indexed:
        tally.completed = indexes.parse(status.get("completedIndexes") or "", completions)
        tally.failed_indexes = indexes.parse(status.get("failedIndexes") or "", completions)
    for pod in children:
        uid = objects.uid(pod)
        if pods.is_active(pod):
            tally.active.append(pod)
        if objects.is_deleting(pod) and not pods.is_finished(pod):
            tally.terminating.append(pod)
        if not is_tracked(pod) or uid in removing:
            continue
        if pods.phase(pod) == "Succeeded":
            index = indexes.of(pod)
            if indexed:
                if index is not None and index < completions:
                    tally.completed.add(index)
                    tally.new_succeeded.append(pod)
                else:
                    tally.ignored.append(pod)
            elif uid not in known_succeeded:
                tally.new_succeeded.append(pod)
        elif has_failed(pod, job):
            if uid in known_failed:
                continue
            verdict = failure_policy.judge(policy, pod)
            if verdict.action == failure_policy.FAIL_JOB and not tally.fail_job:
                tally.fail_job = verdict.message
            if verdict.action == failure_policy.IGNORE:
                tally.ignored.append(pod)
                continue
            tally.new_failed.append(pod)
            index = indexes.of(pod)
            if limit is not None and index is not None and index < completions:
                failures = annotated(pod, INDEX_FAILURES)
                if verdict.action == failure_policy.FAIL_INDEX or failures >= limit:
                    tally.failed_indexes.add(index)
    tally.failed_indexes -= tally.completed
    if indexed:
        tally.succeeded = len(tally.completed)
    else:
        tally.succeeded = int(status.get("succeeded") or 0) + len(known_succeeded) + len(tally.new_succeeded)
    tally.failed = int(status.get("failed") or 0) + len(known_failed) + len(tally.new_failed)
    return tally


def annotated(pod: Object, annotation: str) -> int:
    """How often this index failed before this Pod."""
    text = objects.annotations(pod).get(annotation, "")
    return int(text) if text.isdigit() else 0
