"""The storage.k8s.io group."""

from __future__ import annotations

from podwright.api import quantity
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names
from podwright.api.validation.field_errors import (
    NEGATIVE,
    duplicate,
    forbidden,
    immutable,
    invalid,
    not_supported,
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
_LIFECYCLE = ("Ephemeral", "Persistent")
_MAX_PARAMETERS = 512
_MAX_PARAMETER_BYTES = 256 * 1024
_MAX_ATTACHMENT_BYTES = 256 * 1024
_MAX_ERROR_BYTES = 1024
_MAX_NODE_ID = 192
_MIN_TOKEN_SECONDS = 600
_MAX_TOKEN_SECONDS = 1 << 32


def storage_class(errs: list[FieldError], obj: Object) -> None:
    _provisioner(errs, obj.get("provisioner") or "", "provisioner")
    _parameters(errs, obj.get("parameters") or {}, "parameters")
    policy = obj.get("reclaimPolicy")
    if policy and policy not in _RECLAIM:
        errs.append(not_supported("reclaimPolicy", policy, _RECLAIM))
    mode = obj.get("volumeBindingMode")
    if mode is None:
        errs.append(required("volumeBindingMode"))
    elif mode not in _BINDING:
        errs.append(not_supported("volumeBindingMode", mode, _BINDING))
    for i, term in enumerate(obj.get("allowedTopologies") or ()):
        seen: set[str] = set()
        for j, requirement in enumerate(term.get("matchLabelExpressions") or ()):
            where = f"allowedTopologies[{i}].matchLabelExpressions[{j}]"
            key, values = requirement.get("key") or "", requirement.get("values") or []
            if not values:
                errs.append(required(f"{where}.values"))
            errs += [duplicate(f"{where}.values[{k}]", v) for k, v in enumerate(values) if v in values[:k]]
            metadata.label_name(errs, key, f"{where}.key")
            if key in seen:
                errs.append(duplicate(f"{where}.key", key))
            seen.add(key)


def _provisioner(errs: list[FieldError], name: str, field: str) -> None:
    if not name:
        errs.append(required(field, name))
    else:
        errs += [invalid(field, name, said) for said in names.qualified_name(name.lower())]


def _parameters(errs: list[FieldError], parameters: dict[str, str], field: str, *, needed: bool = False) -> None:
    if needed and not parameters:
        errs.append(required(field, "must contain at least one key/value pair"))
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


def _class_update(errs: list[FieldError], new: Object, old: Object) -> None:
    said = "updates to {} are forbidden."
    if (new.get("parameters") or {}) != (old.get("parameters") or {}):
        errs.append(forbidden("parameters", said.format("parameters")))
    if new.get("provisioner") != old.get("provisioner"):
        errs.append(forbidden("provisioner", said.format("provisioner")))
    if new.get("reclaimPolicy") != old.get("reclaimPolicy"):
        errs.append(forbidden("reclaimPolicy", said.format("reclaimPolicy")))
    if new.get("volumeBindingMode") != old.get("volumeBindingMode"):
        errs.append(immutable("volumeBindingMode", new.get("volumeBindingMode")))


def attachment(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    csi_driver_name(errs, spec.get("attacher") or "", "spec.attacher")
    source = spec.get("source") or {}
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if inline is None and name is None:
        errs.append(required("spec.source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName"))
    if inline is not None and name is not None:
        said = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        errs.append(forbidden("spec.source", said))
    if name is not None:
        if not name:
            errs.append(required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName"))
        else:
            field = "spec.source.persistentVolumeName"
            errs += [invalid(field, name, said) for said in names.dns_subdomain(name)]
    if inline is not None:
        volume_spec(errs, inline, "", "spec.source.inlineVolumeSpec", inline=True)
    node = spec.get("nodeName") or ""
    errs += [invalid("spec.nodeName", node, said) for said in names.dns_subdomain(node)]
    _attachment_status(errs, obj.get("status") or {})


def _attachment_status(errs: list[FieldError], status: Object) -> None:
    size = sum(len(k) + len(v) for k, v in (status.get("attachmentMetadata") or {}).items())
    if size > _MAX_ATTACHMENT_BYTES:
        errs.append(too_long("status.attachmentMetadata", _MAX_ATTACHMENT_BYTES))
    for field in ("attachError", "detachError"):
        if len((status.get(field) or {}).get("message") or "") > _MAX_ERROR_BYTES:
            errs.append(too_long(f"status.{field}.message", _MAX_ERROR_BYTES))


def _attachment_update(errs: list[FieldError], new: Object, old: Object) -> None:
    attachment(errs, new)
    if spec_of(new) != spec_of(old):
        errs.append(invalid("spec", spec_of(new), "field is immutable"))


def csi_node(errs: list[FieldError], obj: Object) -> None:
    seen: set[str] = set()
    for i, driver in enumerate(spec_of(obj).get("drivers") or ()):
        where = f"spec.drivers[{i}]"
        name, node_id = driver.get("name") or "", driver.get("nodeID") or ""
        csi_driver_name(errs, name, f"{where}.name")
        if not node_id:
            errs.append(required(f"{where}.nodeID", node_id))
        if len(node_id) > _MAX_NODE_ID:
            said = f"must be {_MAX_NODE_ID} characters or less"
            errs.append(invalid(f"{where}.nodeID", node_id, said))
        count = (driver.get("allocatable") or {}).get("count")
        if count is not None and count < 0:
            errs.append(invalid(f"{where}.allocatable.count", count, NEGATIVE))
        keys = driver.get("topologyKeys") or []
        for j, key in enumerate(keys):
            if not key:
                errs.append(required(f"{where}.topologyKeys", key))
            if key in keys[:j]:
                errs.append(duplicate(f"{where}.topologyKeys", key))
            errs += [invalid(f"{where}.topologyKeys", key, said) for said in names.qualified_name(key)]
        if name in seen:
            errs.append(duplicate(f"{where}.name", name))
        seen.add(name)


def _csi_node_update(errs: list[FieldError], new: Object, old: Object) -> None:
    csi_node(errs, new)
    before = {d.get("name"): d for d in spec_of(old).get("drivers") or ()}
    for driver in spec_of(new).get("drivers") or ():
        earlier = before.get(driver.get("name"))
        if earlier is not None:
            now, then = ({k: v for k, v in d.items() if k != "allocatable"} for d in (driver, earlier))
            if now != then:
                errs.append(invalid("CSINodeDriver", driver, "field is immutable"))


def csi_driver(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    for field in ("attachRequired", "podInfoOnMount", "storageCapacity"):
        if spec.get(field) is None:
            errs.append(required(f"spec.{field}"))
    policy = spec.get("fsGroupPolicy")
    if policy is not None and policy not in _FS_GROUP:
        errs.append(not_supported("spec.fsGroupPolicy", policy, _FS_GROUP))
    audiences: set[str] = set()
    for i, request in enumerate(spec.get("tokenRequests") or ()):
        audience, seconds = request.get("audience") or "", request.get("expirationSeconds")
        if audience in audiences:
            errs.append(duplicate(f"spec.tokenRequests[{i}].audience", audience))
        audiences.add(audience)
        if seconds is None:
            continue
        field = f"spec.tokenRequests[{i}].expirationSeconds"
        if seconds < _MIN_TOKEN_SECONDS:
            errs.append(invalid(field, seconds, "may not specify a duration less than 10 minutes"))
        if seconds > _MAX_TOKEN_SECONDS:
            errs.append(invalid(field, seconds, "may not specify a duration larger than 2^32 seconds"))
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in _LIFECYCLE:
            errs.append(not_supported("spec.volumeLifecycleModes", mode, _LIFECYCLE))
    if spec.get("seLinuxMount") is None:
        errs.append(required("spec.seLinuxMount"))
    seconds = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if seconds is not None and seconds < 10:
        said = "must be greater than or equal to 10 seconds"
        errs.append(invalid("spec.nodeAllocatableUpdatePeriodSeconds", seconds, said))


def _driver_name(name: str, prefix: bool) -> names.Problems:
    problems = names.dns_subdomain(name.lower())
    return (names.max_length(63), *problems) if len(name) > 63 else problems


def _csi_driver_update(errs: list[FieldError], new: Object, old: Object) -> None:
    csi_driver(errs, new)
    for field in ("attachRequired", "volumeLifecycleModes"):
        if spec_of(new).get(field) != spec_of(old).get(field):
            errs.append(immutable(f"spec.{field}", spec_of(new).get(field)))


def csi_storage_capacity(errs: list[FieldError], obj: Object) -> None:
    label_selector(errs, obj.get("nodeTopology"), "nodeTopology")
    name = obj.get("storageClassName") or ""
    errs += [invalid("storageClassName", name, said) for said in names.dns_subdomain(name)]
    for field in ("capacity", "maximumVolumeSize"):
        amount = obj.get(field)
        if amount is not None and (not quantity.is_valid(amount) or quantity.parse(amount) < 0):
            errs.append(invalid(field, amount, NEGATIVE))


def _capacity_update(errs: list[FieldError], new: Object, old: Object) -> None:
    csi_storage_capacity(errs, new)
    for field in ("nodeTopology", "storageClassName"):
        if new.get(field) != old.get(field):
            errs.append(immutable(field, new.get(field)))


def attributes_class(errs: list[FieldError], obj: Object) -> None:
    _provisioner(errs, obj.get("driverName") or "", "driverName")
    _parameters(errs, obj.get("parameters") or {}, "parameters", needed=True)


def _attributes_update(errs: list[FieldError], new: Object, old: Object) -> None:
    if new.get("driverName") != old.get("driverName"):
        errs.append(forbidden("driverName", "updates to driverName are forbidden."))
    if (new.get("parameters") or {}) != (old.get("parameters") or {}):
        errs.append(forbidden("parameters", "updates to parameters are forbidden."))


KINDS: Kinds = {
    (GROUP, "CSIDriver"): Rules(name=_driver_name, create=csi_driver, update=_csi_driver_update, generation=True),
    (GROUP, "CSINode"): Rules(create=csi_node, update=_csi_node_update),
    (GROUP, "CSIStorageCapacity"): Rules(create=csi_storage_capacity, update=_capacity_update),
    (GROUP, "StorageClass"): Rules(create=storage_class, update=_class_update),
    (GROUP, "VolumeAttachment"): Rules(
        create=attachment, update=_attachment_update, initial_status={"attached": False}
    ),
    (GROUP, "VolumeAttributesClass"): Rules(create=attributes_class, update=_attributes_update),
}
