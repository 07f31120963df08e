"""Pods: what is checked and prepared when they are created and changed."""

from __future__ import annotations

from podwright.api.objects import Object, deepcopy
from podwright.api.pods import compute_qos_class
from podwright.api.status import FieldError
from podwright.api.validation import (
    containers,
    names,
    pod_annotations,
    pod_status,
    pod_updates,
    pod_warnings,
    ratcheting,
)
from podwright.api.validation.field_errors import forbidden, not_supported, required
from podwright.api.validation.pod_spec import pod_spec
from podwright.api.validation.rules import Rules, spec_of

_GATED = "Scheduling is blocked due to non-empty scheduling gates"


def metadata_and_spec(errs: list[FieldError], pod: Object) -> None:
    """What holds for a Pod at any time. The general rules of its metadata are checked by the caller."""
    meta, spec = pod.get("metadata") or {}, spec_of(pod)
    if annotations := meta.get("annotations"):
        pod_annotations.annotations_of_pod(errs, annotations, spec, "metadata.annotations")
    pod_spec(errs, spec, meta, "spec")
    if spec.get("volumes") and not spec.get("serviceAccountName"):
        _no_tokens(errs, spec)
    for group in ("containers", "initContainers"):
        for i, ctr in enumerate(spec.get(group) or ()):
            containers.image_spaces(errs, ctr, f"spec.{group}[{i}]")


def _no_tokens(errs: list[FieldError], spec: Object) -> None:
    for i, volume in enumerate(spec["volumes"]):
        for j, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            if source.get("serviceAccountToken") is not None:
                field = f"spec.volumes[{i}].projected.sources[{j}].serviceAccountToken"
                errs.append(forbidden(field, "must not be specified when serviceAccountName is not set"))


def create(errs: list[FieldError], pod: Object) -> None:
    metadata_and_spec(errs, pod)
    spec = spec_of(pod)
    if spec.get("ephemeralContainers"):
        errs.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        errs.append(forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
    if annotations := (pod.get("metadata") or {}).get("annotations"):
        pod_annotations.match_fields(errs, annotations, spec, "spec")


def _changed(errs: list[FieldError], new: Object, old: Object) -> None:
    meta, old_meta = new.get("metadata") or {}, old.get("metadata") or {}
    metadata_and_spec(errs, new)
    pod_annotations.changes(
        errs, meta.get("annotations") or {}, old_meta.get("annotations") or {}, "metadata.annotations"
    )


def update(errs: list[FieldError], new: Object, old: Object) -> None:
    _changed(errs, new, old)
    pod_updates.spec_change(errs, new, old)


def ephemeral_containers(errs: list[FieldError], new: Object, old: Object) -> None:
    if pod_annotations.MIRROR in ((old.get("metadata") or {}).get("annotations") or ()):
        errs[:] = [forbidden("[]", "static pods do not support ephemeral containers")]
        return
    _changed(errs, new, old)
    pod_updates.ephemeral_change(errs, new, old)


def resize(errs: list[FieldError], new: Object, old: Object) -> None:
    if pod_annotations.MIRROR in ((old.get("metadata") or {}).get("annotations") or ()):
        errs[:] = [forbidden("[]", "static pods cannot be resized")]
        return
    if (spec_of(old).get("os") or {}).get("name") == "windows":
        errs[:] = [forbidden("[]", "windows pods cannot be resized")]
        return
    metadata_and_spec(errs, new)
    pod_updates.resize_change(errs, new, old)


def binding(errs: list[FieldError], obj: Object) -> None:
    target = obj.get("target") or {}
    kind = target.get("kind") or ""
    if kind not in ("", "Node"):
        errs.append(not_supported("target.kind", kind, ("Node", "<empty>")))
    if not target.get("name"):
        errs.append(required("target.name"))


def prepare_create(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    pod_annotations.app_armor_fields((pod.get("metadata") or {}).get("annotations") or {}, spec)
    status: Object = {"phase": "Pending", "qosClass": compute_qos_class(pod)}
    if spec.get("schedulingGates"):
        condition = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": _GATED}
        status["conditions"] = [condition]
    pod["status"] = status
    labels = (pod.get("metadata") or {}).get("labels") or {}
    if affinity := spec.get("affinity"):
        for kind in ("podAffinity", "podAntiAffinity"):
            for weighted in (affinity.get(kind) or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or ():
                _join_label_keys(weighted.get("podAffinityTerm") or {}, labels)
            for term in (affinity.get(kind) or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ():
                _join_label_keys(term, labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        _join_label_keys(constraint, labels)


def _join_label_keys(term: Object, labels: dict[str, str]) -> None:
    """matchLabelKeys (KEP-3633): the Pod's own values of these labels join the selector, once, at creation."""
    if (selector := term.get("labelSelector")) is None:
        return
    for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for key in term.get(field) or ():
            if key in labels:
                expression = {"key": key, "operator": operator, "values": [labels[key]]}
                selector.setdefault("matchExpressions", []).append(expression)


def prepare_update(new: Object, old: Object, subresource: str) -> None:
    old_meta = old.get("metadata") or {}
    if subresource == "":
        spec = new.get("spec") or {}
        if "ephemeralContainers" in spec_of(old):
            spec["ephemeralContainers"] = spec_of(old)["ephemeralContainers"]
        else:
            spec.pop("ephemeralContainers", None)
        return
    if subresource == "status":
        status = new.setdefault("status", {})
        if not status.get("qosClass") and "qosClass" in (old.get("status") or {}):
            status["qosClass"] = old["status"]["qosClass"]
        if "ownerReferences" in old_meta:
            new["metadata"]["ownerReferences"] = old_meta["ownerReferences"]
        else:
            new["metadata"].pop("ownerReferences", None)
    elif subresource == "ephemeralcontainers":
        given = spec_of(new).get("ephemeralContainers")
        _keep(new, old)
        if given is not None:
            new["spec"]["ephemeralContainers"] = given
        else:
            new["spec"].pop("ephemeralContainers", None)
    elif subresource == "resize":
        _only_resources(new, old)


def _keep(new: Object, old: Object) -> None:
    """The old Pod, but for what concurrency and field ownership need of the new one."""
    given = new.get("metadata") or {}
    kept = deepcopy(old)
    for field in ("resourceVersion", "managedFields"):
        if field in given:
            kept["metadata"][field] = given[field]
    new.clear()
    new.update(kept)


def _only_resources(new: Object, old: Object) -> None:
    given = spec_of(new)
    sizes = {
        group: [(c.get("resources"), c.get("resizePolicy")) for c in given.get(group) or ()]
        for group in ("containers", "initContainers")
    }
    if any(len(sizes[group]) != len(spec_of(old).get(group) or ()) for group in sizes):
        return  # Validation says what is wrong.
    names_kept = all(
        [c.get("name") for c in given.get(group) or ()] == [c.get("name") for c in spec_of(old).get(group) or ()]
        for group in sizes
    )
    if not names_kept:
        return
    of_pod = given.get("resources")
    _keep(new, old)
    spec = new["spec"]
    for group, listed in sizes.items():
        for ctr, (resources, policy) in zip(spec.get(group) or (), listed, strict=True):
            _put(ctr, "resources", resources)
            _put(ctr, "resizePolicy", policy)
    _put(spec, "resources", of_pod)


def _put(holder: Object, field: str, value: object) -> None:
    if value is None:
        holder.pop(field, None)
    else:
        holder[field] = value


POD = Rules(
    create=create,
    update=update,
    subresources={"status": pod_status.status_change, "ephemeralcontainers": ephemeral_containers, "resize": resize},
    prepare_create=prepare_create,
    prepare_update=prepare_update,
    warnings=pod_warnings.of_pod,
    generation=True,
    ratchet=ratcheting.OF_PODS,
)
BINDING = Rules(name=names.subdomain_name, create=binding)
