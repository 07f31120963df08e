"""PersistentVolumeClaims, and the claim templates of ephemeral volumes."""

from __future__ import annotations

from podwright.api import quantity
from podwright.api.objects import Object, deepcopy
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names, ratcheting
from podwright.api.validation.field_errors import forbidden, formed, invalid, not_supported, one_of, required
from podwright.api.validation.label_selectors import label_selector
from podwright.api.validation.persistent_volumes import VOLUME_MODES, access_modes
from podwright.api.validation.pod_resources import is_native
from podwright.api.validation.pod_updates import diff
from podwright.api.validation.rules import Rules, spec_of

_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_RESIZE_STATES = (
    "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible",
    "NodeResizePending",
)


def claim_template(errs: list[FieldError], template: Object, path: str) -> None:
    metadata.of_template(errs, template.get("metadata") or {}, f"{path}.metadata")
    claim_spec(errs, spec_of(template), f"{path}.spec")


def claim_spec(errs: list[FieldError], spec: Object, path: str) -> None:
    modes = spec.get("accessModes") or []
    if not modes:
        errs.append(required(f"{path}.accessModes", "at least 1 access mode is required"))
    label_selector(errs, spec.get("selector"), f"{path}.selector")
    access_modes(errs, modes, f"{path}.accessModes")
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    field = f"{path}.resources[storage]"
    if amount is None:
        errs.append(required(field))
    elif not quantity.is_valid(amount):
        errs.append(invalid(field, amount, quantity.FORMAT_ERROR))
    elif quantity.parse(amount) <= 0:
        errs.append(invalid(field, amount, "must be greater than zero"))
    if name := spec.get("storageClassName"):
        formed(errs, name, f"{path}.storageClassName", names.dns_subdomain)
    if (mode := spec.get("volumeMode")) is not None:
        one_of(errs, mode, f"{path}.volumeMode", VOLUME_MODES)
    source, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None:
        _data_source(errs, source, f"{path}.dataSource")
    if ref is not None:
        _data_source(errs, ref, f"{path}.dataSourceRef")
        if namespace := ref.get("namespace"):
            field = f"{path}.dataSourceRef.namespace"
            formed(errs, namespace, field, names.dns_label)
    if source is not None and ref is not None:
        if ref.get("namespace"):
            said = "may not be specified when dataSourceRef.namespace is specified"
            errs.append(invalid(path, f"{path}.dataSource", said))
        elif any(source.get(f) != ref.get(f) for f in ("apiGroup", "kind", "name")):
            errs.append(invalid(path, f"{path}.dataSource", "must match dataSourceRef"))
    if name := spec.get("volumeAttributesClassName"):
        field = f"{path}.volumeAttributesClassName"
        formed(errs, name, field, names.dns_subdomain)


def _data_source(errs: list[FieldError], source: Object, path: str) -> None:
    for field in ("name", "kind"):
        if not source.get(field):
            errs.append(required(f"{path}.{field}"))
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        errs.append(invalid(path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup"))
    if group:
        formed(errs, group, f"{path}.apiGroup", names.dns_subdomain)


def claim(errs: list[FieldError], obj: Object) -> None:
    claim_spec(errs, spec_of(obj), "spec")


def _storage(spec: Object) -> str:
    return str(((spec.get("resources") or {}).get("requests") or {}).get("storage") or "0")


def _update(errs: list[FieldError], new: Object, old: Object) -> None:
    claim(errs, new)
    spec, before = deepcopy(spec_of(new)), deepcopy(spec_of(old))
    annotations = (new.get("metadata") or {}).get("annotations") or {}
    old_annotations = (old.get("metadata") or {}).get("annotations") or {}
    if not before.get("volumeName") and spec.get("volumeName"):
        before["volumeName"] = spec["volumeName"]
    new_class, annotated = spec.get("storageClassName"), old_annotations.get(_BETA_CLASS)
    first = before.get("storageClassName") is None and new_class is not None
    if first and new_class == annotated == annotations.get(_BETA_CLASS, annotated):
        spec.pop("storageClassName")
    else:
        path = f"metadata.annotations.{_BETA_CLASS}"
        metadata.same(errs, annotations.get(_BETA_CLASS) or "", annotated or "", path)
        if first and not annotated:
            spec.pop("storageClassName")
    size, old_size = _storage(spec), _storage(before)
    bound = (new.get("status") or {}).get("phase") == "Bound"
    if bound:
        for holder in (spec, before):
            ((holder.get("resources") or {}).get("requests") or {}).pop("storage", None)
            holder.pop("volumeAttributesClassName", None)
    if spec != before:
        said = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
            f"claims\n{diff(before, spec)}"
        )
        errs.append(forbidden("spec", said))
    if quantity.is_valid(size) and quantity.compare(size, old_size) < 0:
        current = ((old.get("status") or {}).get("capacity") or {}).get("storage") or "0"
        if quantity.compare(size, current) <= 0:
            errs.append(forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
    metadata.same(errs, spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    if (old.get("status") or {}).get("currentVolumeAttributesClassName") is not None:
        attributes = spec_of(new).get("volumeAttributesClassName")
        if not attributes and attributes != spec_of(old).get("volumeAttributesClassName"):
            what = "nil" if attributes is None else "empty string"
            said = f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
            errs.append(forbidden("spec.volumeAttributesClassName", said))


def _status(errs: list[FieldError], new: Object, old: Object) -> None:
    if not spec_of(new).get("accessModes"):
        errs.append(required("Spec.accessModes"))
    status = new.get("status") or {}
    for name, amount in (status.get("capacity") or {}).items():
        _amount(errs, amount, f"status.capacity[{name}]")
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        _key(errs, name, "status.allocatedResourceStatuses")
        if state not in _RESIZE_STATES:
            errs.append(not_supported("status.allocatedResourceStatuses", name, sorted(_RESIZE_STATES)))
    for name, amount in (status.get("allocatedResources") or {}).items():
        if _key(errs, name, "status.allocatedResources"):
            _amount(errs, amount, f"status.allocatedResources[{name}]")


def _key(errs: list[FieldError], name: str, field: str) -> bool:
    if problems := names.qualified_name(name):
        errs += [invalid(field, name, said) for said in problems]
        return False
    if is_native(name) and name != "storage":
        errs.append(not_supported(field, name, ("storage",)))
        return False
    return True


def _amount(errs: list[FieldError], amount: str, field: str) -> None:
    if not quantity.is_valid(amount):
        errs.append(invalid(field, amount, quantity.FORMAT_ERROR))
    elif quantity.value(amount) < 0:
        errs.append(invalid(field, quantity.value(amount), "must be a valid resource quantity"))


CLAIM = Rules(
    create=claim,
    update=_update,
    subresources={"status": _status},
    initial_status={"phase": "Pending"},
    ratchet=(r"^spec\.selector" + ratcheting.SELECTOR_VALUES, r"^spec\.dataSource(?:Ref)?\.apiGroup"),
)
