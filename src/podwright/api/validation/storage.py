"""The storage.k8s.io group."""

from __future__ import annotations

from podwright.api import quantity
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names, ratcheting
from podwright.api.validation.field_errors import (
    NEGATIVE,
    duplicate,
    forbidden,
    formed,
    in_range,
    invalid,
    items,
    named,
    non_negative,
    one_of,
    required,
    too_long,
)
from podwright.api.validation.label_selectors import label_selector
from podwright.api.validation.persistent_volumes import volume_spec
from podwright.api.validation.rules import Kinds, Rules, spec_of
from podwright.api.validation.volume_systems import csi_driver_name

GROUP = "storage.k8s.io"
_RECLAIM = ("Delete", "Retain")
_BINDING = ("Immediate", "WaitForFirstConsumer")
_FS_GROUP = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLE = ("Persistent", "Ephemeral")
_NEEDED = ("attachRequired", "podInfoOnMount", "storageCapacity", "seLinuxMount")
_SAID_AS = {"attachRequired": "attachedRequired"}
"""Upstream names this field differently in its errors."""
_MAX_PARAMETERS = 512
_MAX_PARAMETER_BYTES = 256 * 1024
_MAX_ATTACHMENT_BYTES = 256 * 1024
_MAX_ERROR_BYTES = 1024
_MAX_NODE_ID = 256
_MIN_TOKEN_SECONDS = 600
_MAX_TOKEN_SECONDS = 1 << 32


def storage_class(errs: list[FieldError], obj: Object) -> None:
    _provisioner(errs, obj.get("provisioner") or "", "provisioner")
    _parameters(errs, obj.get("parameters") or {}, "parameters")
    if policy := obj.get("reclaimPolicy"):
        one_of(errs, policy, "reclaimPolicy", _RECLAIM)
    mode = obj.get("volumeBindingMode")
    one_of(errs, mode, "volumeBindingMode", _BINDING, needed=mode is None)
    before: list[dict[str, set[str]]] = []
    for i, term in enumerate(obj.get("allowedTopologies") or ()):
        seen: dict[str, set[str]] = {}
        for j, requirement in enumerate(term.get("matchLabelExpressions") or ()):
            where = f"allowedTopologies[{i}].matchLabelExpressions[{j}]"
            key, values = requirement.get("key") or "", requirement.get("values") or []
            if not values:
                errs.append(required(f"{where}.values"))
            items(errs, values, f"{where}.values", None, key=str)
            metadata.label_name(errs, key, f"{where}.key")
            if key in seen:
                errs.append(duplicate(f"{where}.key", key))
            seen[key] = set(values)
        errs += [duplicate(f"allowedTopologies[{i}].matchLabelExpressions", "") for terms in before if terms == seen]
        before.append(seen)


def _provisioner(errs: list[FieldError], name: str, field: str) -> None:
    named(errs, name.lower(), field, names.qualified_name)


def _parameters(errs: list[FieldError], parameters: dict[str, str], field: str, *, needed: bool = False) -> None:
    if len(parameters) > _MAX_PARAMETERS:
        errs.append(too_long(field, _MAX_PARAMETERS))
        return
    size = 0
    for key, value in parameters.items():
        if not key:
            errs.append(invalid(field, key, "field can not be empty."))
        size += len(key) + len(value)
    if size > _MAX_PARAMETER_BYTES:
        errs.append(too_long(field, _MAX_PARAMETER_BYTES))
    if needed and not parameters:
        errs.append(required(field, "must contain at least one key/value pair"))


def _class_update(errs: list[FieldError], new: Object, old: Object) -> None:
    for field in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
        metadata.same(errs, new.get(field), old.get(field), field)


def attachment(errs: list[FieldError], obj: Object) -> None:
    spec, path = spec_of(obj), "spec.source"
    csi_driver_name(errs, spec.get("attacher") or "", "spec.attacher")
    source = spec.get("source") or {}
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    said = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if name is not None:
        if inline is not None:
            errs.append(forbidden(path, said))
        field = f"{path}.persistentVolumeName"
        named(errs, name, field, names.dns_subdomain, "must specify non empty persistentVolumeName")
    elif inline is not None:
        volume_spec(errs, inline, "", f"{path}.inlineVolumeSpec", inline=True)
    else:
        errs.append(required(path, said))
    formed(errs, spec.get("nodeName") or "", "spec.nodeName", names.dns_subdomain)
    _attachment_status(errs, obj.get("status") or {})


def _attachment_status(errs: list[FieldError], status: Object) -> None:
    size = sum(len(k) + len(v) for k, v in (status.get("attachmentMetadata") or {}).items())
    if size > _MAX_ATTACHMENT_BYTES:
        errs.append(too_long("status.attachmentMetadata", _MAX_ATTACHMENT_BYTES))
    for field in ("attachError", "detachError"):
        error = status.get(field) or {}
        if len((error.get("message") or "").encode()) > _MAX_ERROR_BYTES:
            errs.append(too_long(f"status.{field}.message", _MAX_ATTACHMENT_BYTES))  # upstream names this limit
        if (code := error.get("errorCode") or 0) < 0:
            errs.append(invalid(f"status.{field}.errorCode", code, in_range(0, 2**31 - 1)))


def _attachment_update(errs: list[FieldError], new: Object, old: Object) -> None:
    attachment(errs, new)
    metadata.same(errs, spec_of(new), spec_of(old), "spec")


def csi_node(errs: list[FieldError], obj: Object) -> None:
    drivers = spec_of(obj).get("drivers") or []
    for i, driver in enumerate(drivers):
        where = f"spec.drivers[{i}]"
        name, node_id = driver.get("name") or "", driver.get("nodeID") or ""
        csi_driver_name(errs, name, f"{where}.name")
        if not node_id:
            errs.append(required(f"{where}.nodeID", node_id))
        if len(node_id) > _MAX_NODE_ID:
            errs.append(invalid(f"{where}.nodeID", node_id, f"must be {_MAX_NODE_ID} characters or less"))
        non_negative(errs, (driver.get("allocatable") or {}).get("count"), f"{where}.allocatable.count")
        if any(name == (other.get("name") or "") for other in drivers[:i]):
            errs.append(duplicate(f"{where}.name", name))
        keys = driver.get("topologyKeys") or []
        for j, key in enumerate(keys):
            if not key:
                errs.append(required(where, key))
            if key in keys[:j]:
                errs.append(duplicate(where, key))
            formed(errs, key, where, names.qualified_name)


def _csi_node_update(errs: list[FieldError], new: Object, old: Object) -> None:
    csi_node(errs, new)
    before = {d.get("name"): d for d in spec_of(old).get("drivers") or ()}
    for driver in spec_of(new).get("drivers") or ():
        if (earlier := before.get(driver.get("name"))) is not None:
            now, then = ({k: v for k, v in d.items() if k != "allocatable"} for d in (driver, earlier))
            metadata.same(errs, now, then, "spec.drivers")


def csi_driver(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    for field in _NEEDED:
        if spec.get(field) is None:
            errs.append(required(f"spec.{_SAID_AS.get(field, field)}"))
    if (policy := spec.get("fsGroupPolicy")) is not None:
        one_of(errs, policy, "spec.fsGroupPolicy", _FS_GROUP)
    audiences: set[str] = set()
    for i, request in enumerate(spec.get("tokenRequests") or ()):
        audience, seconds = request.get("audience") or "", request.get("expirationSeconds")
        field = f"spec.tokenRequests[{i}].expirationSeconds"
        if audience in audiences:
            errs.append(duplicate(f"spec.tokenRequests[{i}].audience", audience))
        elif seconds is not None and seconds < _MIN_TOKEN_SECONDS:
            errs.append(invalid(field, seconds, "may not specify a duration less than 10 minutes"))
        elif seconds is not None and seconds > _MAX_TOKEN_SECONDS:
            errs.append(invalid(field, seconds, "may not specify a duration larger than 2^32 seconds"))
        audiences.add(audience)
    for mode in spec.get("volumeLifecycleModes") or ():
        one_of(errs, mode, "spec.volumeLifecycleModes", _LIFECYCLE)
    seconds = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if seconds is not None and seconds < 10:
        said = "must be greater than or equal to 10 seconds"
        errs.append(invalid("spec.nodeAllocatableUpdatePeriodSeconds", seconds, said))
    if spec.get("serviceAccountTokenInSecrets") is not None and not spec.get("tokenRequests"):
        said = "serviceAccountTokenInSecrets is only valid when tokenRequests is set"
        errs.append(forbidden("spec.serviceAccountTokenInSecrets", said))


def _csi_driver_update(errs: list[FieldError], new: Object, old: Object) -> None:
    csi_driver(errs, new)
    for field in ("attachRequired", "volumeLifecycleModes"):
        metadata.same(errs, spec_of(new).get(field), spec_of(old).get(field), f"spec.{_SAID_AS.get(field, field)}")


def csi_storage_capacity(errs: list[FieldError], obj: Object) -> None:
    label_selector(errs, obj.get("nodeTopology"), "nodeTopology")
    formed(errs, obj.get("storageClassName") or "", "storageClassName", names.dns_subdomain)
    for field in ("capacity", "maximumVolumeSize"):
        amount = obj.get(field)
        if amount is not None and not quantity.is_valid(amount):
            errs.append(invalid(field, amount, quantity.FORMAT_ERROR))
        elif field == "capacity" and amount is not None and quantity.parse(amount) < 0:
            errs.append(invalid(field, amount, NEGATIVE))


def _capacity_update(errs: list[FieldError], new: Object, old: Object) -> None:
    for field in ("nodeTopology", "storageClassName"):
        metadata.same(errs, new.get(field), old.get(field), field)


def attributes_class(errs: list[FieldError], obj: Object) -> None:
    _provisioner(errs, obj.get("driverName") or "", "driverName")
    _parameters(errs, obj.get("parameters") or {}, "parameters", needed=True)


def _attributes_update(errs: list[FieldError], new: Object, old: Object) -> None:
    if new.get("driverName") != old.get("driverName"):
        errs.append(forbidden("driverName", "updates to driverName are forbidden."))
    if (new.get("parameters") or {}) != (old.get("parameters") or {}):
        errs.append(forbidden("parameters", "updates to parameters are forbidden."))
    attributes_class(errs, new)


KINDS: Kinds = {
    (GROUP, "CSIDriver"): Rules(create=csi_driver, update=_csi_driver_update, generation=True),
    (GROUP, "CSINode"): Rules(create=csi_node, update=_csi_node_update),
    (GROUP, "CSIStorageCapacity"): Rules(create=csi_storage_capacity, update=_capacity_update),
    (GROUP, "StorageClass"): Rules(create=storage_class, update=_class_update),
    (GROUP, "VolumeAttachment"): Rules(
        create=attachment,
        update=_attachment_update,
        initial_status={"attached": False},
        ratchet=(ratcheting.unchanged(r"spec\.attacher"),),
    ),
    (GROUP, "VolumeAttributesClass"): Rules(create=attributes_class, update=_attributes_update),
}
