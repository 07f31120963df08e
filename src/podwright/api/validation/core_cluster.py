"""Namespaces and Nodes."""

from __future__ import annotations

import re
from itertools import pairwise

from podwright.api.objects import Object
from podwright.api.status import DUPLICATE, FieldError
from podwright.api.validation import metadata, names, pod_resources
from podwright.api.validation.field_errors import duplicate, forbidden, formed, invalid, one_of, render
from podwright.api.validation.rules import Rules, spec_of
from podwright.api.validation.scheduling import EFFECTS

_NAME_LABEL = "kubernetes.io/metadata.name"
_FEATURE = r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*"
_feature = re.compile(_FEATURE).fullmatch


def _finalizer(errs: list[FieldError], finalizer: str, field: str) -> None:
    formed(errs, finalizer, field, names.qualified_name)
    if "/" not in finalizer and finalizer not in ("kubernetes", "orphan", "foregroundDeletion"):
        errs.append(invalid(field, finalizer, "name is neither a standard finalizer name nor is it fully qualified"))


def namespace(errs: list[FieldError], obj: Object) -> None:
    for finalizer in spec_of(obj).get("finalizers") or ():
        _finalizer(errs, finalizer, "spec.finalizers")


def _namespace_update(errs: list[FieldError], new: Object, old: Object) -> None:
    """Only metadata may change."""


def _namespace_status(errs: list[FieldError], new: Object, old: Object) -> None:
    phase = (new.get("status") or {}).get("phase") or ""
    deleting = bool((new.get("metadata") or {}).get("deletionTimestamp"))
    if not deleting and phase != "Active":
        errs.append(invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty"))
    elif deleting and phase != "Terminating":
        errs.append(invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty"))


def _namespace_finalize(errs: list[FieldError], new: Object, old: Object) -> None:
    for i, finalizer in enumerate(spec_of(new).get("finalizers") or ()):
        _finalizer(errs, finalizer, f"spec.finalizers[{i}]")


def _prepare_namespace(obj: Object) -> None:
    obj["status"] = {"phase": "Active"}
    spec = obj.setdefault("spec", {})
    finalizers = list(spec.get("finalizers") or ())
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    spec["finalizers"] = finalizers
    _label(obj)


def _prepare_namespace_update(new: Object, old: Object, subresource: str) -> None:
    if subresource == "":
        if "spec" in old:
            new["spec"] = old["spec"]
        else:
            new.pop("spec", None)
    elif subresource == "finalize" and "status" in old:
        new["status"] = old["status"]
    _label(new)


def _label(obj: Object) -> None:
    meta = obj.setdefault("metadata", {})
    if meta.get("name"):
        meta["labels"] = {**(meta.get("labels") or {}), _NAME_LABEL: meta["name"]}


def taints(errs: list[FieldError], listed: list[Object], path: str) -> None:
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(listed):
        where = f"{path}[{i}]"
        key, value, effect = taint.get("key") or "", taint.get("value") or "", taint.get("effect") or ""
        metadata.label_name(errs, key, f"{where}.key")
        if problems := names.label_value(value):
            errs.append(invalid(f"{where}.value", value, ";".join(problems)))
        one_of(errs, effect, f"{where}.effect", EFFECTS, needed=True)
        if (key, effect) in seen:
            said = f"Duplicate value: {render(taint)}: taints must be unique by key and effect pair"
            errs.append(FieldError(where, DUPLICATE, said))
        seen.add((key, effect))


def _declared_features(errs: list[FieldError], obj: Object) -> None:
    listed, field = (obj.get("status") or {}).get("declaredFeatures") or [], "status.declaredFeatures"
    for i, feature in enumerate(listed):
        if len(feature) > 253:
            errs.append(invalid(f"{field}[{i}]", feature, names.max_length(253)))
        if not _feature(feature):
            said = f"must be a valid feature name (regex used for validation is '{_FEATURE}')"
            errs.append(invalid(f"{field}[{i}]", feature, said))
    errs += [duplicate(f"{field}[{i + 1}]", a) for i, (a, b) in enumerate(pairwise(listed)) if a == b]
    if listed != sorted(listed):
        errs.append(invalid(field, listed, "list must be sorted alphabetically"))


def _amounts(errs: list[FieldError], obj: Object) -> None:
    status = obj.get("status") or {}
    for which in ("capacity", "allocatable"):
        for name, amount in (status.get(which) or {}).items():
            pod_resources.resource_amount(errs, name, amount, f"status.{which}.{name}")


def node(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    if listed := spec.get("taints"):
        taints(errs, listed, "metadata.taints")
    _amounts(errs, obj)
    _declared_features(errs, obj)
    swap = (((obj.get("status") or {}).get("nodeInfo") or {}).get("swap") or {}).get("capacity")
    if swap is not None and swap <= 0:
        errs.append(invalid("metadata.nodeSwapStatus.capacity", swap, "must be greater than zero"))
    ranges = spec.get("podCIDRs") or []
    for i, value in enumerate(ranges):
        formed(errs, value, f"spec.podCIDRs[{i}]", names.cidr)
    if len(ranges) > 1:
        families = {net.version for net in map(names.parse_cidr, ranges) if net is not None}
        if len(families) != len(ranges):
            errs.append(invalid("spec.podCIDRs", ranges, "may specify no more than one CIDR for each IP family"))


def node_update(errs: list[FieldError], new: Object, old: Object) -> None:
    spec, before = spec_of(new), spec_of(old)
    _amounts(errs, new)
    _declared_features(errs, new)
    seen: list[Object] = []
    for i, address in enumerate((new.get("status") or {}).get("addresses") or ()):
        if address in seen:
            errs.append(FieldError(f"status.addresses[{i}]", DUPLICATE, f"Duplicate value: {render(address)}"))
        seen.append(address)
    ranges = before.get("podCIDRs")
    if ranges and ranges != (spec.get("podCIDRs") or []):
        said = 'node updates may not change podCIDR except from "" to valid'
        errs.append(forbidden("spec.podCIDRs", said))
    if before.get("providerID") and before["providerID"] != spec.get("providerID"):
        said = 'node updates may not change providerID except from "" to valid'
        errs.append(forbidden("spec.providerID", said))
    if listed := spec.get("taints"):
        taints(errs, listed, "metadata.taints")


NAMESPACE = Rules(
    name=names.label_name,
    create=namespace,
    update=_namespace_update,
    subresources={"status": _namespace_status, "finalize": _namespace_finalize},
    prepare_create=_prepare_namespace,
    prepare_update=_prepare_namespace_update,
)
NODE = Rules(create=node, update=node_update, subresources={"status": node_update}, keeps_status=True)
