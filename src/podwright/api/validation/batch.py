"""Jobs and CronJobs."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import ratcheting, schedules
from podwright.api.validation.field_errors import invalid, non_negative, not_supported, one_of, required
from podwright.api.validation.jobs import JOB, job_spec
from podwright.api.validation.names import max_length
from podwright.api.validation.pod_warnings import of_job_template
from podwright.api.validation.rules import Kinds, Rules, spec_of

_CONCURRENCY = ("Allow", "Forbid", "Replace")
_NAME = 52
"""A Job's name is at most 63 long, and the controller appends 11 characters."""


def _cron_job(errs: list[FieldError], obj: Object, old: Object | None) -> None:
    spec, before = spec_of(obj), spec_of(old or {})
    schedule, zone = spec.get("schedule") or "", spec.get("timeZone")
    if not schedule:
        errs.append(required("spec.schedule"))
    else:
        if said := schedules.problem(schedule):
            errs.append(invalid("spec.schedule", schedule, said))
        if "TZ" in schedule:
            if "TZ" not in (before.get("schedule") or ""):
                said = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
                errs.append(invalid("spec.schedule", schedule, said))
            elif zone is not None:
                said = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
                errs.append(invalid("spec.schedule", schedule, said))
    non_negative(errs, spec.get("startingDeadlineSeconds"), "spec.startingDeadlineSeconds")
    if zone is not None and zone != before.get("timeZone") and (said := schedules.zone_problem(zone)):
        errs.append(invalid("spec.timeZone", zone, said))
    one_of(errs, spec.get("concurrencyPolicy"), "spec.concurrencyPolicy", _CONCURRENCY, needed=True)
    job = spec_of(spec.get("jobTemplate") or {})
    path = "spec.jobTemplate.spec"
    job_spec(errs, job, path)
    if job.get("selector") is not None:
        errs.append(invalid(f"{path}.selector", job["selector"], "`selector` will be auto-generated"))
    if job.get("manualSelector"):
        errs.append(not_supported(f"{path}.manualSelector", True, ("nil", "false")))
    for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        non_negative(errs, spec.get(field), f"spec.{field}")


def _create(errs: list[FieldError], obj: Object) -> None:
    _cron_job(errs, obj, None)
    name = (obj.get("metadata") or {}).get("name") or ""
    if len(name) > _NAME:
        errs.append(invalid("metadata.name", name, max_length(_NAME)))


def _update(errs: list[FieldError], new: Object, old: Object) -> None:
    _cron_job(errs, new, old)


KINDS: Kinds = {
    ("batch", "CronJob"): Rules(
        create=_create,
        update=_update,
        warnings=of_job_template,
        generation=True,
        ratchet=(*ratcheting.OF_PODS, ratcheting.unchanged(r"spec\.schedule: Required")),
    ),
    ("batch", "Job"): JOB,
}
