"""The rows of the apps, batch and policy groups."""

from __future__ import annotations

from podwright.api.objects import Object, controller_of, parse_time
from podwright.api.printing.durations import human, since
from podwright.api.printing.tables import (
    AGE,
    NAME,
    Cells,
    Printer,
    Printers,
    age,
    boolean,
    containers,
    integer,
    labels,
    meta,
    name,
    selector,
    spec,
    status,
    text,
    wide,
)


def _deployment(obj: Object, now: float) -> Cells:
    now_status = status(obj)
    return [
        name(obj),
        f"{now_status.get('readyReplicas') or 0}/{spec(obj).get('replicas') or 0}",
        now_status.get("updatedReplicas") or 0,
        now_status.get("availableReplicas") or 0,
        age(obj, now),
        *containers(spec(obj).get("template")),
        selector(spec(obj).get("selector")),
    ]


def _replica_set(obj: Object, now: float) -> Cells:
    now_status = status(obj)
    return [
        name(obj), spec(obj).get("replicas") or 0, now_status.get("replicas") or 0,
        now_status.get("readyReplicas") or 0, age(obj, now), *containers(spec(obj).get("template")),
        selector(spec(obj).get("selector")) or "<none>",
    ]


def _stateful_set(obj: Object, now: float) -> Cells:
    ready = f"{status(obj).get('readyReplicas') or 0}/{spec(obj).get('replicas') or 0}"
    return [name(obj), ready, age(obj, now), *containers(spec(obj).get("template"))]


def _daemon_set(obj: Object, now: float) -> Cells:
    now_status, template = status(obj), spec(obj).get("template") or {}
    return [
        name(obj), now_status.get("desiredNumberScheduled") or 0, now_status.get("currentNumberScheduled") or 0,
        now_status.get("numberReady") or 0, now_status.get("updatedNumberScheduled") or 0,
        now_status.get("numberAvailable") or 0, labels(spec(template).get("nodeSelector")), age(obj, now),
        *containers(template), selector(spec(obj).get("selector")) or "<none>",
    ]


def _revision(obj: Object, now: float) -> Cells:
    owner = controller_of(obj)
    said = "<none>"
    if owner is not None:
        group = (owner.get("apiVersion") or "").rpartition("/")[0]
        kind = f"{owner.get('kind')}.{group}" if group else str(owner.get("kind"))
        said = f"{kind.lower()}/{owner.get('name')}"
    return [name(obj), said, obj.get("revision") or 0, age(obj, now)]


def _job_status(obj: Object) -> str:
    true = {c.get("type") for c in status(obj).get("conditions") or () if c.get("status") == "True"}
    if "Complete" in true:
        return "Complete"
    if "Failed" in true:
        return "Failed"
    if meta(obj).get("deletionTimestamp"):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if kind in true:
            return kind
    return "Running"


def _job(obj: Object, now: float) -> Cells:
    job, now_status = spec(obj), status(obj)
    done, parallel = now_status.get("succeeded") or 0, job.get("parallelism") or 0
    if job.get("completions") is not None:
        completions = f"{done}/{job['completions']}"
    else:
        completions = f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
    started, ended = now_status.get("startTime"), now_status.get("completionTime")
    took = human((parse_time(ended) if ended else now) - parse_time(started)) if started else ""
    return [
        name(obj), _job_status(obj), completions, took, age(obj, now), *containers(job.get("template")),
        selector(job.get("selector")) or "<none>",
    ]


def _cron_job(obj: Object, now: float) -> Cells:
    cron, template = spec(obj), spec(spec(obj).get("jobTemplate") or {})
    last = status(obj).get("lastScheduleTime")
    suspend = cron.get("suspend")
    return [
        name(obj), cron.get("schedule") or "", cron.get("timeZone") or "<none>",
        "<unset>" if suspend is None else str(bool(suspend)), len(status(obj).get("active") or ()),
        since(last, now) if last else "<none>", age(obj, now), *containers(template.get("template")),
        selector(template.get("selector")) or "<none>",
    ]


def _budget(obj: Object, now: float) -> Cells:
    low, high = spec(obj).get("minAvailable"), spec(obj).get("maxUnavailable")
    return [
        name(obj), "N/A" if low is None else str(low), "N/A" if high is None else str(high),
        status(obj).get("disruptionsAllowed") or 0, age(obj, now),
    ]


_TEMPLATE = wide("Containers", "Images", "Selector")

PRINTERS: Printers = {
    ("apps", "ControllerRevision"): Printer((NAME, *text("Controller", "Revision"), AGE), _revision),
    ("apps", "DaemonSet"): Printer(
        (
            NAME, integer("Desired"), integer("Current"), integer("Ready"), integer("Up-to-date"), integer("Available"),
            *text("Node Selector"), AGE, *_TEMPLATE,
        ),
        _daemon_set,
    ),
    ("apps", "Deployment"): Printer((NAME, *text("Ready", "Up-to-date", "Available"), AGE, *_TEMPLATE), _deployment),
    ("apps", "ReplicaSet"): Printer(
        (NAME, integer("Desired"), integer("Current"), integer("Ready"), AGE, *_TEMPLATE), _replica_set
    ),
    ("apps", "StatefulSet"): Printer((NAME, *text("Ready"), AGE, *wide("Containers", "Images")), _stateful_set),
    ("batch", "CronJob"): Printer(
        (
            NAME, *text("Schedule", "Timezone"), boolean("Suspend"), integer("Active"), *text("Last Schedule"), AGE,
            *_TEMPLATE,
        ),
        _cron_job,
    ),
    ("batch", "Job"): Printer((NAME, *text("Status", "Completions", "Duration"), AGE, *_TEMPLATE), _job),
    ("policy", "PodDisruptionBudget"): Printer(
        (NAME, *text("Min Available", "Max Unavailable"), integer("Allowed Disruptions"), AGE), _budget
    ),
}
