"""Is a Job done? Which condition says so, and by which rule."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.controllers.job import indexes, tally
from podwright.controllers.job.tally import Tally

COMPLETE, FAILED = "Complete", "Failed"
_UNLIMITED = 2**31 - 1
SUCCESS_CRITERIA, FAILURE_TARGET = "SuccessCriteriaMet", "FailureTarget"


def condition(kind: str, reason: str, message: str, now: float, status: str = "True") -> Object:
    stamp = objects.format_time(now)
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastProbeTime": stamp,
            "lastTransitionTime": stamp}  # fmt: skip


def is_finished(job: Object) -> bool:
    return objects.condition_is_true(job, COMPLETE) or objects.condition_is_true(job, FAILED)


def interim(job: Object) -> Object | None:
    """The condition that says how the Job will end once its last Pod is gone."""
    for kind in (FAILURE_TARGET, SUCCESS_CRITERIA):
        found = objects.condition(job, kind)
        if found is not None and found.get("status") == "True":
            return found
    return None


def judge(job: Object, counted: Tally, now: float) -> Object | None:
    """A new interim condition, or None while the Job goes on."""
    spec = job["spec"]
    failure = _failure(job, counted, now)
    if failure is not None:
        return condition(FAILURE_TARGET, *failure, now)
    matched = _success_policy(job, counted)
    if matched is not None:
        return condition(SUCCESS_CRITERIA, "SuccessPolicy", f"Matched rules at index {matched}", now)
    completions = spec.get("completions")
    if completions is None:
        done = counted.succeeded > 0 and not counted.active
    else:
        done = counted.succeeded >= completions
        if tally.per_index_limit(job) is not None and not done:
            if len(counted.completed) + len(counted.failed_indexes) >= completions:
                return condition(FAILURE_TARGET, "FailedIndexes", "Job has failed indexes", now)
    if done:
        return condition(SUCCESS_CRITERIA, "CompletionsReached", "Reached expected number of succeeded pods", now)
    return None


def _failure(job: Object, counted: Tally, now: float) -> tuple[str, str] | None:
    spec, status = job["spec"], job.get("status") or {}
    if counted.fail_job:
        return "PodFailurePolicy", counted.fail_job
    limit = int(spec.get("backoffLimit", _UNLIMITED if tally.per_index_limit(job) is not None else 6))
    if counted.failed > limit or _restarted_too_often(job, counted, limit):
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    deadline, started = spec.get("activeDeadlineSeconds"), status.get("startTime")
    if deadline is not None and started and not spec.get("suspend"):
        if now - objects.parse_time(started) >= deadline:
            return "DeadlineExceeded", "Job was active longer than specified deadline"
    most = spec.get("maxFailedIndexes")
    if tally.per_index_limit(job) is not None and most is not None and len(counted.failed_indexes) > most:
        return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
    return None


def _restarted_too_often(job: Object, counted: Tally, limit: int) -> bool:
    """Under restartPolicy OnFailure containers restart in place: those restarts are the failures."""
    if (job["spec"]["template"].get("spec") or {}).get("restartPolicy") != "OnFailure":
        return False
    total = 0
    for pod in counted.active:
        status = pod.get("status") or {}
        if status.get("phase") in ("Running", "Pending"):
            for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
                total += int(container.get("restartCount") or 0)
    return total > 0 if limit == 0 else total >= limit


def _success_policy(job: Object, counted: Tally) -> int | None:
    policy = job["spec"].get("successPolicy")
    if not policy or not indexes.is_indexed(job):
        return None
    completions = int(job["spec"].get("completions") or 0)
    for number, rule in enumerate(policy.get("rules") or ()):
        wanted = rule.get("succeededIndexes")
        hits = counted.completed & indexes.parse(wanted, completions) if wanted else counted.completed
        need = rule.get("succeededCount")
        if need is None:
            need = len(indexes.parse(wanted or "", completions))
        if len(hits) >= need:
            return number
    return None
