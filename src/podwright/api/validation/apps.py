"""Deployments, ReplicaSets, StatefulSets, DaemonSets and ControllerRevisions."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names, ratcheting
from podwright.api.validation.field_errors import (
    forbidden,
    formed,
    invalid,
    non_negative,
    not_supported,
    one_of,
    required,
)
from podwright.api.validation.label_selectors import is_empty, label_selector, matches
from podwright.api.validation.persistent_volume_claims import claim_spec
from podwright.api.validation.pod_spec import pod_template
from podwright.api.validation.pod_warnings import of_template
from podwright.api.validation.replication import NO_MATCH, always_running, replicas_status, template_labels
from podwright.api.validation.rollouts import at_most_whole, is_zero, positive_int_or_percent
from podwright.api.validation.rules import Kinds, Rules, spec_of

_STATEFUL_MUTABLE = frozenset(
    (
        "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
    )
)
_STATEFUL_SAID = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_RATCHET = (*ratcheting.OF_PODS, r"^spec\.selector" + ratcheting.SELECTOR_VALUES)
_MORE = "cannot be greater than status.replicas"


def _template(errs: list[FieldError], spec: Object, kind: str, *, of: str = "ReplicaSet") -> None:
    """spec.selector and spec.template, and that the one selects the other; `of`: who makes the Pods."""
    selector, template = spec.get("selector"), spec.get("template") or {}
    labels, before = template_labels(template), len(errs)
    if selector is None:
        errs.append(required("spec.selector"))
    label_selector(errs, selector, "spec.selector")
    wrong = selector is not None and len(errs) > before
    if selector is not None and is_empty(selector):
        errs.append(invalid("spec.selector", selector, f"empty selector is invalid for {kind}"))
    if wrong:
        errs.append(invalid("spec.selector", selector, "" if of == "StatefulSet" else "invalid label selector"))
    elif selector is None or not matches(selector, labels):
        errs.append(invalid("spec.template.metadata.labels", labels or None, NO_MATCH))
    if not wrong:
        pod_template(errs, _with_claims(template, spec.get("volumeClaimTemplates") or []), "spec.template")
    if of == "StatefulSet" or not wrong:
        always_running(errs, spec_of(template), of, "spec.template.spec")


def _with_claims(template: Object, claims: list[Object]) -> Object:
    """The template of a StatefulSet with the volumes that its claim templates become: containers mount them."""
    names = dict.fromkeys((claim.get("metadata") or {}).get("name") or "" for claim in claims)
    if not names:
        return template
    made = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]
    own = [volume for volume in spec_of(template).get("volumes") or () if volume.get("name") not in names]
    return {**template, "spec": {**spec_of(template), "volumes": made + own}}


def deployment(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    non_negative(errs, spec.get("replicas"), "spec.replicas")
    _template(errs, spec, "deployment")
    _deployment_strategy(errs, spec.get("strategy") or {})
    non_negative(errs, spec.get("minReadySeconds"), "spec.minReadySeconds")
    non_negative(errs, spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")
    if (deadline := spec.get("progressDeadlineSeconds")) is not None:
        non_negative(errs, deadline, "spec.progressDeadlineSeconds")
        if deadline <= (spec.get("minReadySeconds") or 0):
            errs.append(invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))


def _deployment_strategy(errs: list[FieldError], strategy: Object) -> None:
    kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
    path = "spec.strategy.rollingUpdate"
    if kind == "Recreate":
        if rolling is not None:
            errs.append(forbidden(path, "may not be specified when strategy `type` is 'Recreate'"))
    elif kind != "RollingUpdate":
        errs.append(not_supported("spec.strategy", strategy, ("Recreate", "RollingUpdate")))
    elif rolling is None:
        errs.append(required(path, "this should be defaulted and never be nil"))
    else:
        unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
        positive_int_or_percent(errs, unavailable, f"{path}.maxUnavailable")
        positive_int_or_percent(errs, surge, f"{path}.maxSurge")
        if is_zero(unavailable) and is_zero(surge):
            errs.append(invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
        at_most_whole(errs, unavailable, f"{path}.maxUnavailable")


def _kept_selector(errs: list[FieldError], new: Object, old: Object) -> None:
    metadata.same(errs, spec_of(new).get("selector"), spec_of(old).get("selector"), "spec.selector")


def _deployment_update(errs: list[FieldError], new: Object, old: Object) -> None:
    deployment(errs, new)
    _kept_selector(errs, new, old)


def _not_decremented(errs: list[FieldError], new: Object, old: Object) -> None:
    count = (new.get("status") or {}).get("collisionCount")
    before = (old.get("status") or {}).get("collisionCount")
    if before is not None and (count is None or count < before):
        errs.append(invalid("status.collisionCount", count or 0, "cannot be decremented"))


def _deployment_status(errs: list[FieldError], new: Object, old: Object) -> None:
    status = new.get("status") or {}
    fields = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")
    for field in ("observedGeneration", *fields, "terminatingReplicas", "collisionCount"):
        non_negative(errs, status.get(field), f"status.{field}")
    total = status.get("replicas") or 0
    for field in ("updatedReplicas", "readyReplicas", "availableReplicas"):
        if (status.get(field) or 0) > total:
            errs.append(invalid(f"status.{field}", status.get(field) or 0, _MORE))
    available = status.get("availableReplicas") or 0
    if available > (status.get("readyReplicas") or 0):
        errs.append(invalid("status.availableReplicas", available, "cannot be greater than readyReplicas"))
    _not_decremented(errs, new, old)


def _prepare_deployment_update(new: Object, old: Object, subresource: str) -> None:
    """Changed annotations count as a change: rollout tools write what they want there."""
    meta, old_meta = new["metadata"], old.get("metadata") or {}
    if subresource == "":
        spec_changed = new.get("spec") != old.get("spec")
        if not spec_changed and (meta.get("annotations") or {}) != (old_meta.get("annotations") or {}):
            meta["generation"] = (old_meta.get("generation") or 0) + 1
    elif subresource == "status":
        if "labels" in old_meta:
            meta["labels"] = old_meta["labels"]
        else:
            meta.pop("labels", None)


def replica_set(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    non_negative(errs, spec.get("replicas"), "spec.replicas")
    non_negative(errs, spec.get("minReadySeconds"), "spec.minReadySeconds")
    _template(errs, spec, "deployment")


def _replica_set_update(errs: list[FieldError], new: Object, old: Object) -> None:
    replica_set(errs, new)
    _kept_selector(errs, new, old)


def daemon_set(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    selector = spec.get("selector")
    before = len(errs)
    label_selector(errs, selector, "spec.selector")
    template = spec.get("template") or {}
    labels = template_labels(template)
    if len(errs) == before and (selector is None or not matches(selector, labels)):
        errs.append(invalid("spec.template.metadata.labels", labels or None, NO_MATCH))
    if selector is not None and is_empty(selector):
        errs.append(invalid("spec.selector", selector, "empty selector is invalid for daemonset"))
    pod_template(errs, template, "spec.template")
    always_running(errs, spec_of(template), "DaemonSet", "spec.template.spec")
    non_negative(errs, spec.get("minReadySeconds"), "spec.minReadySeconds")
    _daemon_strategy(errs, spec.get("updateStrategy") or {})
    non_negative(errs, spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")


def _daemon_strategy(errs: list[FieldError], strategy: Object) -> None:
    kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return
    if kind != "RollingUpdate":
        errs.append(not_supported("spec.updateStrategy", strategy, ("RollingUpdate", "OnDelete")))
        return
    path = "spec.updateStrategy.rollingUpdate"
    if rolling is None:
        errs.append(required(path))
        return
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    positive_int_or_percent(errs, unavailable, f"{path}.maxUnavailable")
    positive_int_or_percent(errs, surge, f"{path}.maxSurge")
    at_most_whole(errs, unavailable, f"{path}.maxUnavailable")
    at_most_whole(errs, surge, f"{path}.maxSurge")
    if not is_zero(unavailable) and not is_zero(surge):
        errs.append(invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
    elif is_zero(unavailable) and is_zero(surge):
        errs.append(required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0"))


def _daemon_set_update(errs: list[FieldError], new: Object, old: Object) -> None:
    daemon_set(errs, new)
    _kept_selector(errs, new, old)


def _daemon_status(errs: list[FieldError], new: Object, old: Object) -> None:
    status = new.get("status") or {}
    for field in (
        "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
        "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount",
    ):
        non_negative(errs, status.get(field), f"status.{field}")
    _not_decremented(errs, new, old)


def stateful_set(errs: list[FieldError], obj: Object, *, is_new: bool = True) -> None:
    """What cannot be changed is only checked if the object `is_new`."""
    spec = spec_of(obj)
    policy = spec.get("podManagementPolicy") or ""
    if not policy:
        errs.append(required("spec.podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        errs.append(invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    _stateful_strategy(errs, spec.get("updateStrategy") or {})
    for field in ("whenDeleted", "whenScaled"):
        if (retention := spec.get("persistentVolumeClaimRetentionPolicy")) is not None:
            where = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
            one_of(errs, retention.get(field), where, ("Retain", "Delete"))
    for i, claim in enumerate(spec.get("volumeClaimTemplates") or () if is_new else ()):
        claim_spec(errs, spec_of(claim), f"spec.volumeClaimTemplates[{i}].spec")
    non_negative(errs, spec.get("replicas"), "spec.replicas")
    non_negative(errs, spec.get("minReadySeconds"), "spec.minReadySeconds")
    non_negative(errs, spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")
    non_negative(errs, (spec.get("ordinals") or {}).get("start"), "spec.ordinals.start")
    if is_new and (service := spec.get("serviceName")):
        formed(errs, service, "spec.serviceName", names.dns_label)
    _template(errs, spec, "statefulset", of="StatefulSet")


def _stateful_strategy(errs: list[FieldError], strategy: Object) -> None:
    kind, rolling = strategy.get("type") or "", strategy.get("rollingUpdate")
    path = "spec.updateStrategy"
    if not kind:
        errs.append(required(path))
    elif kind == "OnDelete":
        if rolling is not None:
            errs.append(invalid(f"{path}.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'"))
    elif kind != "RollingUpdate":
        errs.append(invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'"))
    elif rolling is not None:
        non_negative(errs, rolling.get("partition"), f"{path}.rollingUpdate.partition")
        if (unavailable := rolling.get("maxUnavailable")) is not None:
            field = f"{path}.rollingUpdate.maxUnavailable"
            positive_int_or_percent(errs, unavailable, field)
            if is_zero(unavailable):
                errs.append(invalid(field, unavailable, "cannot be 0"))
            at_most_whole(errs, unavailable, field)


def _stateful_set_update(errs: list[FieldError], new: Object, old: Object) -> None:
    stateful_set(errs, new, is_new=False)
    spec, before = spec_of(new), spec_of(old)
    if any((spec.get(f) or None) != (before.get(f) or None) for f in (spec | before).keys() - _STATEFUL_MUTABLE):
        errs.append(forbidden("spec", _STATEFUL_SAID))


def _stateful_status(errs: list[FieldError], new: Object, old: Object) -> None:
    status = new.get("status") or {}
    counts = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    for field in ("replicas", *counts, "observedGeneration", "collisionCount"):
        non_negative(errs, status.get(field), f"status.{field}")
    for field in counts:
        if (status.get(field) or 0) > (status.get("replicas") or 0):
            errs.append(invalid(f"status.{field}", status.get(field) or 0, _MORE))
    available = status.get("availableReplicas") or 0
    if available > (status.get("readyReplicas") or 0):
        errs.append(invalid("status.availableReplicas", available, "cannot be greater than status.readyReplicas"))
    _not_decremented(errs, new, old)


def revision(errs: list[FieldError], obj: Object) -> None:
    if obj.get("data") is None:
        errs.append(required("data", "data is mandatory"))
    non_negative(errs, obj.get("revision"), "revision")


def _revision_update(errs: list[FieldError], new: Object, old: Object) -> None:
    revision(errs, new)
    metadata.same(errs, new.get("data"), old.get("data"), "data")


_DAEMON_STATUS = {"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}

KINDS: Kinds = {
    ("apps", "ControllerRevision"): Rules(create=revision, update=_revision_update),
    ("apps", "DaemonSet"): Rules(
        warnings=of_template,
        create=daemon_set,
        ratchet=_RATCHET,
        update=_daemon_set_update,
        subresources={"status": _daemon_status},
        generation=True,
        initial_status=_DAEMON_STATUS,
    ),
    ("apps", "Deployment"): Rules(
        warnings=of_template,
        create=deployment,
        ratchet=_RATCHET,
        update=_deployment_update,
        subresources={"status": _deployment_status},
        prepare_update=_prepare_deployment_update,
        generation=True,
    ),
    ("apps", "ReplicaSet"): Rules(
        warnings=of_template,
        create=replica_set,
        ratchet=_RATCHET,
        update=_replica_set_update,
        subresources={"status": replicas_status},
        generation=True,
        initial_status={"replicas": 0},
    ),
    ("apps", "StatefulSet"): Rules(
        name=names.label_name,
        warnings=of_template,
        create=stateful_set,
        ratchet=(*_RATCHET, r"^spec\.template\."),
        update=_stateful_set_update,
        subresources={"status": _stateful_status},
        generation=True,
        initial_status={"availableReplicas": 0, "replicas": 0},
    ),
}
