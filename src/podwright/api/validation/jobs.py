"""Jobs: their spec, and the selector and labels that the server gives them."""

from __future__ import annotations

from podwright.api.objects import Object, deepcopy
from podwright.api.status import INVALID, FieldError
from podwright.api.validation import metadata, names, ratcheting
from podwright.api.validation.field_errors import (
    duplicate,
    formed,
    immutable,
    invalid,
    non_negative,
    not_supported,
    one_of,
    required,
    too_long,
    too_many,
)
from podwright.api.validation.job_indexes import IndexesError, count_indexes, first_overlap, indexes
from podwright.api.validation.label_selectors import label_selector, matches
from podwright.api.validation.pod_spec import pod_template
from podwright.api.validation.pod_warnings import of_template
from podwright.api.validation.replication import NO_MATCH, template_labels
from podwright.api.validation.rules import Rules, spec_of

UID_LABEL = "batch.kubernetes.io/controller-uid"
NAME_LABEL = "batch.kubernetes.io/job-name"
_OLD_UID_LABEL = "controller-uid"
_OLD_NAME_LABEL = "job-name"
_MODES = ("NonIndexed", "Indexed")
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_COUNTS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
_MANY = 100_000
_FEW = 10_000
_IMMUTABLE = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")


def _omitted(field: str, detail: str) -> FieldError:
    """An invalid value that is not shown."""
    return FieldError(field, INVALID, f"Invalid value: {detail}")


def job_spec(errs: list[FieldError], spec: Object, path: str) -> None:
    """What holds for a Job's spec, in a Job or in a CronJob."""
    for field in (*_COUNTS, "backoffLimitPerIndex", "maxFailedIndexes"):
        non_negative(errs, spec.get(field), f"{path}.{field}")
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errs.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if (manager := spec.get("managedBy")) is not None:
        domain_path(errs, manager, f"{path}.managedBy")
        if len(manager) > 63:
            errs.append(too_long(f"{path}.managedBy", 63))
    _completion(errs, spec, path)
    if (policy := spec.get("podFailurePolicy")) is not None:
        _failure_policy(errs, spec, policy, f"{path}.podFailurePolicy")
    if (policy := spec.get("successPolicy")) is not None:
        if spec.get("completionMode") != "Indexed":
            errs.append(invalid(f"{path}.successPolicy", policy, "requires indexed completion mode"))
        else:
            _success_policy(errs, spec, policy, f"{path}.successPolicy")
    if (replacement := spec.get("podReplacementPolicy")) is not None:
        allowed = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
        one_of(errs, replacement, f"{path}.podReplacementPolicy", allowed)
    template = spec.get("template") or {}
    pod_template(errs, template, f"{path}.template")
    restart = spec_of(template).get("restartPolicy") or ""
    field = f"{path}.template.spec.restartPolicy"
    if restart in ("", "Always"):
        errs.append(required(field, 'valid values: "OnFailure", "Never"'))
    elif restart not in ("OnFailure", "Never"):
        errs.append(not_supported(field, restart, ("OnFailure", "Never")))
    elif spec.get("podFailurePolicy") is not None and restart != "Never":
        errs.append(invalid(field, restart, 'only "Never" is supported when podFailurePolicy is specified'))


def domain_path(errs: list[FieldError], value: str, field: str) -> None:
    """ "domain/path", as controllers name themselves."""
    if not value:
        errs.append(required(field))
        return
    domain, slash, rest = value.partition("/")
    if not slash or not domain or not rest:
        errs.append(invalid(field, value, 'must be a domain-prefixed path (such as "acme.io/foo")'))
        return
    formed(errs, domain, field, names.dns_subdomain)
    formed(errs, rest, field, names.http_path)


def _completion(errs: list[FieldError], spec: Object, path: str) -> None:
    mode = spec.get("completionMode")
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    per_index, most_failed = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    if mode is not None and mode not in _MODES:
        errs.append(not_supported(f"{path}.completionMode", mode, _MODES))
    if mode != "Indexed":
        if mode in (None, "NonIndexed"):
            for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
                if spec.get(field) is not None:
                    errs.append(invalid(f"{path}.{field}", spec[field], "requires indexed completion mode"))
        return
    if completions is None:
        errs.append(required(f"{path}.completions", "when completion mode is Indexed"))
    if parallelism > _MANY:
        said = f"must be less than or equal to {_MANY} when completion mode is Indexed"
        errs.append(invalid(f"{path}.parallelism", parallelism, said))
    if completions is not None and most_failed is not None and most_failed > completions:
        errs.append(invalid(f"{path}.maxFailedIndexes", most_failed, "must be less than or equal to completions"))
    if most_failed is not None and most_failed > _MANY:
        errs.append(invalid(f"{path}.maxFailedIndexes", most_failed, f"must be less than or equal to {_MANY}"))
    if completions is not None and completions > _MANY and per_index is not None:
        said = (
            f"must be less than or equal to {_FEW} when completions are above {_MANY} and used with backoff limit per "
            "index"
        )
        if most_failed is None:
            errs.append(required(f"{path}.maxFailedIndexes", f"must be specified when completions is above {_MANY}"))
        if parallelism > _FEW:
            errs.append(invalid(f"{path}.parallelism", parallelism, said))
        if most_failed is not None and most_failed > _FEW:
            errs.append(invalid(f"{path}.maxFailedIndexes", most_failed, said))


def _failure_policy(errs: list[FieldError], spec: Object, policy: Object, path: str) -> None:
    rules = policy.get("rules") or []
    if len(rules) > 20:
        errs.append(too_many(f"{path}.rules", len(rules), 20))
    pod = spec_of(spec.get("template") or {})
    known = {c.get("name") for group in ("containers", "initContainers") for c in pod.get(group) or ()}
    for i, rule in enumerate(rules):
        where = f"{path}.rules[{i}]"
        action = rule.get("action") or ""
        if not action:
            errs.append(required(f"{where}.action", _valid_values(_ACTIONS)))
        elif action == "FailIndex":
            if spec.get("backoffLimitPerIndex") is None:
                errs.append(invalid(f"{where}.action", action, "requires the backoffLimitPerIndex to be set"))
        elif action not in _ACTIONS:
            errs.append(not_supported(f"{where}.action", action, _ACTIONS))
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if codes is not None:
            _exit_codes(errs, codes, known, f"{where}.onExitCodes")
        _conditions(errs, conditions, f"{where}.onPodConditions")
        if codes is not None and conditions:
            errs.append(_omitted(where, "specifying both OnExitCodes and OnPodConditions is not supported"))
        if codes is None and not conditions:
            errs.append(_omitted(where, "specifying one of OnExitCodes and OnPodConditions is required"))


def _valid_values(values: tuple[str, ...]) -> str:
    return "valid values: [" + " ".join(f'"{value}"' for value in values) + "]"


def _conditions(errs: list[FieldError], conditions: list[Object], path: str) -> None:
    if len(conditions) > 20:
        errs.append(too_many(path, len(conditions), 20))
    for i, pattern in enumerate(conditions):
        kind, status = pattern.get("type") or "", pattern.get("status") or ""
        formed(errs, kind, f"{path}[{i}].type", names.qualified_name)
        if not status:
            errs.append(required(f"{path}[{i}].status", _valid_values(("False", "True", "Unknown"))))
        elif status not in ("False", "True", "Unknown"):
            errs.append(not_supported(f"{path}[{i}].status", status, ("False", "True", "Unknown")))


def _exit_codes(errs: list[FieldError], codes: Object, known: set[str | None], path: str) -> None:
    operator, values = codes.get("operator") or "", codes.get("values") or []
    if not operator:
        errs.append(required(f"{path}.operator", _valid_values(("In", "NotIn"))))
    elif operator not in ("In", "NotIn"):
        errs.append(not_supported(f"{path}.operator", operator, ("In", "NotIn")))
    name = codes.get("containerName")
    if name is not None and name not in known:
        said = "must be one of the container or initContainer names in the pod template"
        errs.append(invalid(f"{path}.containerName", name, said))
    if not values:
        errs.append(invalid(f"{path}.values", values, "at least one value is required"))
    elif len(values) > 255:
        errs.append(too_many(f"{path}.values", len(values), 255))
    for i, value in enumerate(values):
        if operator == "In" and value == 0:
            errs.append(invalid(f"{path}.values[{i}]", value, "must not be 0 for the In operator"))
        if value in values[:i]:
            errs.append(duplicate(f"{path}.values[{i}]", value))
    if any(values[i] > values[i + 1] for i in range(len(values) - 1)):
        errs.append(invalid(f"{path}.values", values, "must be ordered"))


def _success_policy(errs: list[FieldError], spec: Object, policy: Object, path: str) -> None:
    rules, completions = policy.get("rules") or [], spec.get("completions") or 0
    if not rules:
        said = "at least one rules must be specified when the successPolicy is specified"
        errs.append(required(f"{path}.rules", said))
    if len(rules) > 20:
        errs.append(too_many(f"{path}.rules", len(rules), 20))
    for i, rule in enumerate(rules):
        where = f"{path}.rules[{i}]"
        count, listed = rule.get("succeededCount"), rule.get("succeededIndexes")
        if count is None and listed is None:
            errs.append(required(where, "at least one of succeededCount or succeededIndexes must be specified"))
        total = 0
        if listed is not None:
            if len(listed) > 64 * 1024:
                errs.append(too_long(f"{where}.succeededIndexes", 64 * 1024))
            try:
                total = count_indexes(listed, completions)
            except IndexesError as error:
                errs.append(invalid(f"{where}.succeededIndexes", listed, f"error parsing succeededIndexes: {error}"))
        if count is not None:
            field = f"{where}.succeededCount"
            non_negative(errs, count, field)
            if count > completions:
                said = f"must be less than or equal to {completions} (the number of specified completions)"
                errs.append(invalid(field, count, said))
            if listed is not None and count > total:
                said = (
                    f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes "
                    "field)"
                )
                errs.append(invalid(field, count, said))


def job(errs: list[FieldError], obj: Object) -> None:
    spec, meta = spec_of(obj), obj.get("metadata") or {}
    _generated(errs, obj)
    _spec_and_selector(errs, spec)
    if spec.get("completionMode") == "Indexed" and spec.get("completions"):
        name = meta.get("name") or ""
        hostname = f"{name}-{spec['completions'] - 1}"
        if names.dns_label(hostname):
            said = f"will not able to create pod with invalid DNS label: {hostname}"
            errs.append(invalid("metadata.name", name, said))


def _spec_and_selector(errs: list[FieldError], spec: Object) -> None:
    job_spec(errs, spec, "spec")
    if (selector := spec.get("selector")) is None:
        errs.append(required("spec.selector"))
        return
    before = len(errs)
    label_selector(errs, selector, "spec.selector")
    labels = template_labels(spec.get("template") or {})
    if len(errs) == before and not matches(selector, labels):
        errs.append(invalid("spec.template.metadata.labels", labels or None, NO_MATCH))


def _generated(errs: list[FieldError], obj: Object) -> None:
    spec, meta = spec_of(obj), obj.get("metadata") or {}
    if spec.get("manualSelector") or spec.get("selector") is None:
        return
    uid, name = meta.get("uid") or "", meta.get("name") or ""
    if not uid:
        errs.append(required("metadata.uid"))
    labels = template_labels(spec.get("template") or {})
    expected = {_OLD_UID_LABEL: uid, _OLD_NAME_LABEL: name, UID_LABEL: uid, NAME_LABEL: name}
    for key, value in expected.items():
        field = f"spec.template.metadata.labels[{key}]"
        if key not in labels:
            errs.append(required(field, f"must be '{value}'"))
        elif labels[key] != value:
            errs.append(invalid(field, labels, f"must be '{value}'"))
    if not matches(spec["selector"], expected):
        errs.append(invalid("spec.selector", spec["selector"], "`selector` not auto-generated"))


def job_update(errs: list[FieldError], new: Object, old: Object) -> None:
    spec, before = spec_of(new), spec_of(old)
    _spec_and_selector(errs, spec)
    completions, old_completions = spec.get("completions"), before.get("completions")
    if spec.get("completionMode") != "Indexed":
        metadata.same(errs, completions, old_completions, "spec.completions")
    elif completions not in (None, old_completions) and completions != spec.get("parallelism"):
        # Elastic indexed Jobs (KEP-3715): completions may follow parallelism.
        errs.append(invalid("spec.completions", completions, "can only be modified in tandem with spec.parallelism"))
    metadata.same(errs, spec.get("selector"), before.get("selector"), "spec.selector")
    template, old_template = spec.get("template") or {}, before.get("template") or {}
    if template != old_template and not _may_change(template, old_template, before, old):
        errs.append(immutable("spec.template", template))
    for field in _IMMUTABLE:
        metadata.same(errs, spec.get(field), before.get(field), f"spec.{field}")


def _may_change(template: Object, old_template: Object, before: Object, old: Object) -> bool:
    """Before a suspended Job first starts, where its Pods go and how large they are may be changed."""
    started = (old.get("status") or {}).get("startTime")
    if not before.get("suspend") or started:
        return False
    new, masked = deepcopy(template), deepcopy(old_template)
    for part in (new, masked):
        for field in ("labels", "annotations"):
            (part.get("metadata") or {}).pop(field, None)
        pod = spec_of(part)
        for field in ("nodeSelector", "tolerations", "schedulingGates"):
            pod.pop(field, None)
        affinity = pod.get("affinity") or {}
        affinity.pop("nodeAffinity", None)
        if not affinity:
            pod.pop("affinity", None)
        for group in ("containers", "initContainers"):
            for ctr in pod.get(group) or ():
                ctr.pop("resources", None)
    return new == masked


def job_status(errs: list[FieldError], new: Object, old: Object) -> None:
    status, before, spec = new.get("status") or {}, old.get("status") or {}, spec_of(new)
    for field in ("active", "succeeded", "failed", "ready", "terminating"):
        non_negative(errs, status.get(field), f"status.{field}")
    seen: set[str] = set()
    for kind in ("succeeded", "failed"):
        for i, uid in enumerate((status.get("uncountedTerminatedPods") or {}).get(kind) or ()):
            field = f"status.uncountedTerminatedPods.{kind}[{i}]"
            if not uid:
                errs.append(invalid(field, uid, "must not be empty"))
            elif uid in seen:
                errs.append(duplicate(field, uid))
            seen.add(uid)
    _status_conditions(errs, status, before, spec)
    spans: dict[str, list[tuple[int, int]]] = {}
    for kind in ("completedIndexes", "failedIndexes"):
        listed = status.get(kind)
        if listed and spec.get("completions") is not None:
            try:
                spans[kind] = list(indexes(listed, spec["completions"]))
            except IndexesError as error:
                errs.append(invalid(f"status.{kind}", listed, f"error parsing {kind}: {error}"))
    if len(spans) == 2 and (both := first_overlap(*spans.values())) is not None:
        said = f"failedIndexes and completedIndexes overlap at index: {both}"
        errs.append(invalid("status.failedIndexes", status["failedIndexes"], said))
    if status.get("completedIndexes") and spec.get("completionMode") != "Indexed":
        said = "cannot set non-empty completedIndexes when non-indexed completion mode"
        errs.append(invalid("status.completedIndexes", status["completedIndexes"], said))
    if status.get("failedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        said = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        errs.append(invalid("status.failedIndexes", status["failedIndexes"], said))
    if (status.get("ready") or 0) > (status.get("active") or 0):
        errs.append(invalid("status.ready", status.get("ready") or 0, "cannot set more ready pods than active"))
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for field in ("failed",) if elastic else ("failed", "succeeded"):
        if (status.get(field) or 0) < (before.get(field) or 0):
            errs.append(invalid(f"status.{field}", status.get(field) or 0, f"cannot decrease the {field} counter"))


def _true(status: Object) -> set[str]:
    return {c.get("type") or "" for c in status.get("conditions") or () if c.get("status") == "True"}


def _status_conditions(errs: list[FieldError], status: Object, before: Object, spec: Object) -> None:
    true, was = _true(status), _true(before)
    field = "status.conditions"
    for first, second, said in (
        ("Complete", "Failed", "cannot set Complete=True and Failed=true conditions"),
        ("Complete", "FailureTarget", "cannot set Complete=True and FailureTarget=true conditions"),
        ("SuccessCriteriaMet", "Failed", "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        ("SuccessCriteriaMet", "FailureTarget", "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
    ):
        if {first, second} <= true:
            errs.append(_omitted(field, said))
    if "Failed" in true and "FailureTarget" not in true:
        errs.append(_omitted(field, "cannot set Failed=True condition without the FailureTarget=true condition"))
    if "Complete" in true and "SuccessCriteriaMet" not in true:
        errs.append(_omitted(field, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"))
    completed, started = status.get("completionTime"), status.get("startTime")
    finished = bool(true & {"Complete", "Failed"})
    if completed and "Complete" not in true:
        said = "cannot set completionTime when there is no Complete=True condition"
        errs.append(invalid("status.completionTime", completed, said))
    if not completed and "Complete" in true:
        errs.append(required("status.completionTime", "completionTime is required for Complete jobs"))
    if completed and started and completed < started:
        errs.append(invalid("status.completionTime", completed, "completionTime cannot be set before startTime"))
    if finished:
        for count in ("active", "terminating"):
            if status.get(count):
                errs.append(invalid(f"status.{count}", status[count], f"{count}>0 is invalid for finished job"))
        if not started:
            errs.append(required("status.startTime", "startTime is required for finished job"))
        uncounted = status.get("uncountedTerminatedPods") or {}
        if uncounted.get("failed") or uncounted.get("succeeded"):
            said = "uncountedTerminatedPods needs to be empty for finished job"
            errs.append(invalid("status.uncountedTerminatedPods", uncounted, said))
    for kind in ("Failed", "Complete", "FailureTarget"):
        if kind in was and kind not in true:
            errs.append(_omitted(field, f"cannot disable the terminal {kind}=True condition"))
    if "SuccessCriteriaMet" in was and "SuccessCriteriaMet" not in true:
        errs.append(_omitted(field, "cannot disable the SuccessCriteriaMet=True condition"))
    if "Complete" in was and "SuccessCriteriaMet" in true - was:
        errs.append(_omitted(field, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"))
    if spec.get("successPolicy") is not None and "Complete" in true and "SuccessCriteriaMet" not in true:
        said = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        errs.append(_omitted(field, said))
    if completed and before.get("completionTime") and completed != before["completionTime"]:
        errs.append(invalid("status.completionTime", completed, "completionTime cannot be mutated"))
    if before.get("startTime") and started != before["startTime"] and not spec.get("suspend"):
        errs.append(required("status.startTime", "startTime cannot be removed for unsuspended job"))


def _prepare(obj: Object) -> None:
    """Give the Job a selector of its own uid, unless it brings one on purpose. The server has set name and uid."""
    spec, meta = obj.setdefault("spec", {}), obj.get("metadata") or {}
    uid, name = meta.get("uid") or "", meta.get("name") or ""
    if spec.get("manualSelector") or not uid:
        return
    labels = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
    if NAME_LABEL not in labels:
        labels[NAME_LABEL] = labels[_OLD_NAME_LABEL] = name
    if UID_LABEL not in labels:
        labels[UID_LABEL] = labels[_OLD_UID_LABEL] = uid
    selector = spec.setdefault("selector", {})
    selector.setdefault("matchLabels", {}).setdefault(UID_LABEL, uid)


JOB = Rules(
    create=job,
    warnings=of_template,
    update=job_update,
    subresources={"status": job_status},
    prepare_create=_prepare,
    generation=True,
    ratchet=(*ratcheting.OF_PODS, r"^spec\.selector" + ratcheting.SELECTOR_VALUES, ratcheting.unchanged(r"status\.")),
)
