"""ReplicationControllers and PodTemplates, and what all replicated workloads share."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import ratcheting
from podwright.api.validation.field_errors import forbidden, invalid, non_negative, not_supported, required
from podwright.api.validation.pod_spec import pod_template
from podwright.api.validation.pod_warnings import of_template
from podwright.api.validation.rules import Rules, spec_of

NO_MATCH = "`selector` does not match template `labels`"


def template_labels(template: Object) -> dict[str, str]:
    return (template.get("metadata") or {}).get("labels") or {}


def always_running(errs: list[FieldError], spec: Object, kind: str, path: str) -> None:
    """Pods of a replicated workload run for ever; `spec` is the template's."""
    policy = spec.get("restartPolicy") or ""
    if policy != "Always":
        errs.append(not_supported(f"{path}.restartPolicy", policy, ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        errs.append(forbidden(f"{path}.activeDeadlineSeconds", f"activeDeadlineSeconds in {kind} is not Supported"))


def controller(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    non_negative(errs, spec.get("minReadySeconds"), "spec.minReadySeconds")
    selector = spec.get("selector") or {}
    if not selector:
        errs.append(required("spec.selector"))
    if spec.get("replicas") is None:
        errs.append(required("spec.replicas"))
    non_negative(errs, spec.get("replicas"), "spec.replicas")
    if (template := spec.get("template")) is None:
        errs.append(required("spec.template"))
        return
    labels = template_labels(template)
    if any(labels.get(k) != v for k, v in selector.items()):
        errs.append(invalid("spec.template.metadata.labels", labels or None, NO_MATCH))
    pod_template(errs, template, "spec.template")
    always_running(errs, spec_of(template), "ReplicationController", "spec.template.spec")


def replicas_status(errs: list[FieldError], new: Object, old: Object) -> None:
    """The status of ReplicationControllers and ReplicaSets."""
    status = new.get("status") or {}
    total = status.get("replicas") or 0
    counts = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")
    for field in ("replicas", *counts, "observedGeneration", "terminatingReplicas"):
        non_negative(errs, status.get(field), f"status.{field}")
    for field in counts:
        if (status.get(field) or 0) > total:
            errs.append(invalid(f"status.{field}", status.get(field) or 0, "cannot be greater than status.replicas"))
    available = status.get("availableReplicas") or 0
    if available > (status.get("readyReplicas") or 0):
        errs.append(invalid("status.availableReplicas", available, "cannot be greater than readyReplicas"))


def _pod_template(errs: list[FieldError], obj: Object) -> None:
    pod_template(errs, obj.get("template") or {}, "template")


REPLICATION_CONTROLLER = Rules(
    create=controller,
    ratchet=(*ratcheting.OF_PODS, ratcheting.unchanged(r"spec\.replicas: Inv", r"spec\.minReadySeconds")),
    warnings=of_template,
    subresources={"status": replicas_status},
    generation=True,
    initial_status={"replicas": 0},
)
POD_TEMPLATE = Rules(create=_pod_template, generation=True, ratchet=ratcheting.OF_PODS)
