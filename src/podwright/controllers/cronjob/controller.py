"""Starts a Job at each scheduled time, as concurrencyPolicy and startingDeadlineSeconds allow, and keeps a short
history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import CRONJOBS, JOBS
from podwright.api.status import ApiError
from podwright.client.events import NORMAL, WARNING
from podwright.client.informers import latest
from podwright.controllers import pods, refs
from podwright.controllers.cronjob import schedule as schedules
from podwright.controllers.frame import Context, Controller, is_terminating_namespace
from podwright.controllers.freshness import RETRY, Freshness

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_SLACK = 0.1


class CronJobController(Controller):
    name = "cronjob-controller"
    account = "cronjob-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.cronjobs = self.informer(CRONJOBS, self._changed)
        self.jobs = self.informer(JOBS, self._job_changed, controller=refs.by_controller_or_orphan)
        self._fresh = Freshness(self.cronjobs, self.clock)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        self.enqueue(old, new)

    def _job_changed(self, old: Object | None, new: Object | None) -> None:
        job = latest(old, new)
        found = refs.controller_key(job, "CronJob", "batch")
        if found is not None:
            self.queue.add(found[0])

    async def reconcile(self, key: str) -> None:
        cached = self.cronjobs.get(key)
        if cached is None:
            return
        if self._fresh.is_stale(key):
            self.queue.add_after(key, RETRY)
            return
        cronjob = deepcopy(cached)
        status: Object = dict(cronjob.get("status") or {})
        jobs = refs.owned(self.jobs, cronjob)
        await self._clean_history(cronjob, jobs)
        self._follow_jobs(cronjob, status, jobs)
        try:
            if not objects.is_deleting(cronjob) and not cronjob["spec"].get("suspend"):
                await self._start_due(key, cronjob, status)
        finally:
            if status != (cronjob.get("status") or {}):
                written = await self.client.update_status(CRONJOBS, {**cronjob, "status": status})
                self._fresh.wrote(written)

    # -- what runs --------------------------------------------------------------------------------------------------

    def _follow_jobs(self, cronjob: Object, status: Object, jobs: Sequence[Object]) -> None:
        active = list(status.get("active") or ())
        known = {r["uid"] for r in active}
        by_uid = {objects.uid(j): j for j in jobs}
        for job in jobs:
            uid, finished = objects.uid(job), _finished(job)
            if uid in known and finished:
                active = [r for r in active if r["uid"] != uid]
                self.events.event(
                    cronjob, NORMAL, "SawCompletedJob",
                    f"Saw completed job: {objects.name(job)}, condition: {finished}",
                )  # fmt: skip
            elif uid not in known and not finished:
                self.events.event(
                    cronjob, WARNING, "UnexpectedJob",
                    f"Saw a job that the controller did not create or forgot: {objects.name(job)}",
                )  # fmt: skip
            done = (job.get("status") or {}).get("completionTime")
            if finished == "Complete" and done and done > (status.get("lastSuccessfulTime") or ""):
                status["lastSuccessfulTime"] = done
        for reference in active:
            if reference["uid"] not in by_uid:
                self.events.event(cronjob, NORMAL, "MissingJob", f"Active job went missing: {reference.get('name')}")
        active = [r for r in active if r["uid"] in by_uid]
        if active:
            status["active"] = active
        else:
            status.pop("active", None)

    async def _clean_history(self, cronjob: Object, jobs: Sequence[Object]) -> None:
        spec = cronjob["spec"]
        for kind, limit in (
            ("Complete", spec.get("successfulJobsHistoryLimit", 3)),
            ("Failed", spec.get("failedJobsHistoryLimit", 1)),
        ):
            if limit is None:
                continue
            done = [j for j in jobs if _finished(j) == kind and not objects.is_deleting(j)]
            done.sort(key=lambda j: ((j.get("status") or {}).get("startTime") or "", objects.name(j)))
            for job in done[: max(0, len(done) - int(limit))]:
                await self._delete(cronjob, job)

    async def _delete(self, cronjob: Object, job: Object) -> None:
        try:
            await self.client.delete(
                JOBS, objects.name(job), namespace=objects.namespace(job), propagation="Background",
                uid=objects.uid(job),
            )  # fmt: skip
        except ApiError as refused:
            if refused.code != 404:
                self.events.event(cronjob, WARNING, "FailedDelete", f"Deleted job: {refused}")
                raise
        self.events.event(cronjob, NORMAL, "SuccessfulDelete", f"Deleted job {objects.name(job)}")

    # -- what is due ------------------------------------------------------------------------------------------------

    async def _start_due(self, key: str, cronjob: Object, status: Object) -> None:
        spec, now = cronjob["spec"], self.clock.now()
        try:
            schedule = schedules.parse(spec["schedule"], spec.get("timeZone"))
        except schedules.ScheduleError as error:
            reason = "UnknownTimeZone" if "time zone" in str(error) else "UnparseableSchedule"
            text = f'invalid timeZone: "{spec.get("timeZone")}": {error}' if reason == "UnknownTimeZone" else (
                f'unparseable schedule: "{spec["schedule"]}" : {error}'
            )
            self.events.event(cronjob, WARNING, reason, text)
            return
        last = status.get("lastScheduleTime")
        earliest = objects.parse_time(last) if last else pods.creation_time(cronjob)
        deadline = spec.get("startingDeadlineSeconds")
        if deadline is not None:
            earliest = max(earliest, now - float(deadline))
        due, missed = schedules.most_recent(schedule, earliest, now)
        if missed > 100:
            self.events.event(
                cronjob, WARNING, "TooManyMissedTimes",
                f"too many missed start times: {missed}. Set or decrease .spec.startingDeadlineSeconds or check clock "
                "skew",
            )  # fmt: skip
        following = schedule.next(now)
        if following is None and due is None:  # "59 23 31 2 *"
            self.events.event(
                cronjob, WARNING, "InvalidSchedule",
                f"invalid schedule: {spec['schedule']} : time difference between two schedules is less than 1 second",
            )  # fmt: skip
        if following is not None:
            self.queue.add_after(key, following - now + _SLACK)
        if due is None:
            return
        if deadline is not None and due + float(deadline) < now:
            self.events.event(
                cronjob, WARNING, "MissSchedule", f"Missed scheduled time to start a job: {objects.format_time(due)}"
            )
            return
        active = status.get("active") or []
        policy = spec.get("concurrencyPolicy") or "Allow"
        if any(self._scheduled_at(r) == due for r in active):
            return
        if policy == "Forbid" and active:
            self.events.event(
                cronjob, NORMAL, "JobAlreadyActive",
                "Not starting job because prior execution is running and concurrency policy is Forbid",
            )  # fmt: skip
            return
        if policy == "Replace":
            for reference in active:
                job = self.jobs.get(f"{objects.namespace(cronjob)}/{reference['name']}")
                if job is not None:
                    await self._delete(cronjob, job)
            status.pop("active", None)
        await self._create(cronjob, status, schedule, due)

    def _scheduled_at(self, reference: Object) -> float:
        text = str(reference.get("name", "")).rpartition("-")[2]
        return float(text) * 60 if text.isdigit() else 0.0

    async def _create(self, cronjob: Object, status: Object, schedule: schedules.Schedule, due: float) -> None:
        job = make_job(cronjob, schedule, due)
        name, namespace = objects.name(job), objects.namespace(job)
        try:
            made = await self.client.create(JOBS, job)
            self.events.event(cronjob, NORMAL, "SuccessfulCreate", f"Created job {name}")
        except ApiError as refused:
            if is_terminating_namespace(refused):
                return
            if refused.reason != "AlreadyExists":
                self.events.event(cronjob, WARNING, "FailedCreate", f"Error creating job: {refused}")
                raise
            made = await self.client.get(JOBS, name, namespace=namespace)
            owner = objects.controller_of(made)
            if owner is None or owner["uid"] != objects.uid(cronjob):
                raise
            if _finished(made):
                status["lastScheduleTime"] = objects.format_time(due)
                return
        reference = {
            "apiVersion": JOBS.api_version, "kind": JOBS.kind, "name": name, "namespace": namespace,
            "uid": objects.uid(made), "resourceVersion": made["metadata"].get("resourceVersion", ""),
        }  # fmt: skip
        others = [r for r in status.get("active") or () if r["uid"] != reference["uid"]]
        status["active"] = [*others, reference]
        status["lastScheduleTime"] = objects.format_time(due)


def make_job(cronjob: Object, schedule: schedules.Schedule, due: float) -> Object:
    """The Job for one scheduled time: its name holds the minute, so that it cannot be made twice."""
    template = cronjob["spec"].get("jobTemplate") or {}
    source = template.get("metadata") or {}
    local = datetime.fromtimestamp(due, schedule.zone).isoformat().replace("+00:00", "Z")
    metadata: Object = {
        "name": f"{objects.name(cronjob)}-{int(due) // 60}",
        "namespace": objects.namespace(cronjob),
        "annotations": {**(source.get("annotations") or {}), SCHEDULED: local},
        "ownerReferences": [objects.owner_reference(cronjob)],
    }
    if source.get("labels"):
        metadata["labels"] = dict(source["labels"])
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": deepcopy(template.get("spec") or {})}


def _finished(job: Object) -> str:
    for kind in ("Complete", "Failed"):
        if objects.condition_is_true(job, kind):
            return kind
    return ""
