"""PersistentVolumes."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from podwright.api import quantity
from podwright.api.objects import Object, deepcopy
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names, ratcheting, scheduling, volume_systems
from podwright.api.validation.field_errors import IMMUTABLE, forbidden, formed, invalid, not_supported, one_of, required
from podwright.api.validation.pod_updates import diff
from podwright.api.validation.rules import Rules, spec_of
from podwright.api.validation.volumes import host_path

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_RECLAIM = ("Delete", "Recycle", "Retain")
_STABLE = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os", "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}
_INLINE = "may not be specified in the context of inline volumes"

_SOURCES: dict[str, Callable[[list[FieldError], Object, str], None]] = {
    "hostPath": host_path,
    "gcePersistentDisk": volume_systems.gce_disk,
    "awsElasticBlockStore": volume_systems.aws_disk,
    "glusterfs": volume_systems.glusterfs,
    "flocker": volume_systems.flocker,
    "nfs": volume_systems.nfs,
    "rbd": volume_systems.rbd,
    "quobyte": volume_systems.quobyte,
    "cephfs": volume_systems.cephfs,
    "iscsi": volume_systems.iscsi_persistent,
    "cinder": volume_systems.cinder_persistent,
    "fc": volume_systems.fc,
    "flexVolume": volume_systems.flex,
    "azureFile": volume_systems.azure_file,
    "vsphereVolume": volume_systems.vsphere,
    "photonPersistentDisk": volume_systems.photon,
    "portworxVolume": volume_systems.portworx,
    "azureDisk": volume_systems.azure_disk,
    "scaleIO": volume_systems.scale_io,
    "local": volume_systems.local,
    "storageos": volume_systems.storage_os_persistent,
    "csi": volume_systems.csi_persistent,
}
_FIELD = {"gcePersistentDisk": "persistentDisk"}


def access_modes(errs: list[FieldError], modes: list[str], field: str) -> None:
    for mode in modes:
        one_of(errs, mode, field, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and any(m in ACCESS_MODES and m != "ReadWriteOncePod" for m in modes):
        errs.append(forbidden(field, "may not use ReadWriteOncePod with other access modes"))


def volume_spec(errs: list[FieldError], spec: Object, name: str, path: str, *, inline: bool = False) -> None:
    """`inline`: the spec stands in a VolumeAttachment, for a volume that a Pod names itself."""
    if inline:
        for field in ("claimRef", "capacity"):
            if spec.get(field):
                errs.append(forbidden(f"{path}.{field}", _INLINE))
        if spec.get("csi") is None:
            errs.append(required(f"{path}.csi", "has to be specified in the context of inline volumes"))
    modes = spec.get("accessModes") or []
    if not modes:
        errs.append(required(f"{path}.accessModes"))
    access_modes(errs, modes, f"{path}.accessModes")
    if not inline:
        _capacity(errs, spec.get("capacity") or {}, f"{path}.capacity")
    policy = spec.get("persistentVolumeReclaimPolicy") or ""
    if policy and inline and policy != "Retain":
        said = "may only be Retain in the context of inline volumes"
        errs.append(forbidden(f"{path}.persistentVolumeReclaimPolicy", said))
    elif policy and not inline and policy not in _RECLAIM:
        errs.append(not_supported(f"{path}.persistentVolumeReclaimPolicy", policy, _RECLAIM))
    if (affinity := spec.get("nodeAffinity")) is not None:
        if inline:
            errs.append(forbidden(f"{path}.nodeAffinity", _INLINE))
        elif affinity.get("required") is None:
            errs.append(required(f"{path}.nodeAffinity.required", "must specify required node constraints"))
        else:
            scheduling.node_selector(errs, affinity["required"], f"{path}.nodeAffinity.required")
    _source(errs, spec, name, path)
    if policy == "Recycle" and posixpath.normpath((spec.get("hostPath") or {}).get("path") or ".") == "/":
        said = "may not be 'recycle' for a hostPath mount of '/'"
        errs.append(forbidden(f"{path}.persistentVolumeReclaimPolicy", said))
    if storage_class := spec.get("storageClassName"):
        field = f"{path}.storageClassName"
        if inline:
            errs.append(forbidden(field, _INLINE))
        else:
            formed(errs, storage_class, field, names.dns_subdomain)
    mode = spec.get("volumeMode")
    if mode is not None and inline and mode != "Filesystem":
        said = "may not specify volumeMode other than Filesystem in the context of inline volumes"
        errs.append(forbidden(f"{path}.volumeMode", said))
    elif mode is not None and not inline and mode not in VOLUME_MODES:
        errs.append(not_supported(f"{path}.volumeMode", mode, VOLUME_MODES))
    _attributes(errs, spec, path)


def _capacity(errs: list[FieldError], capacity: Object, field: str) -> None:
    if not capacity:
        errs.append(required(field))
    if "storage" not in capacity or len(capacity) > 1:
        errs.append(not_supported(field, capacity, ("storage",)))
    for name, amount in capacity.items():
        where = f"{field}[{name}]"
        if not quantity.is_valid(amount):
            errs.append(invalid(where, amount, quantity.FORMAT_ERROR))
            continue
        if quantity.value(amount) < 0:
            errs.append(invalid(where, quantity.value(amount), "must be a valid resource quantity"))
        if quantity.parse(amount) <= 0:
            errs.append(invalid(where, amount, "must be greater than zero"))


def _source(errs: list[FieldError], spec: Object, name: str, path: str) -> None:
    kinds = [kind for kind in _SOURCES if spec.get(kind) is not None]
    if not kinds:
        errs.append(required(path, "must specify a volume type"))
        return
    for kind in kinds[1:]:
        if kind == "flexVolume":
            volume_systems.flex(errs, spec[kind], f"{path}.{kind}")
        else:
            field = f"{path}.{'cephFS' if kind == 'cephfs' else kind}"
            errs.append(forbidden(field, "may not specify more than 1 volume type"))
    kind = kinds[0]
    source, where = spec[kind], f"{path}.{_FIELD.get(kind, kind)}"
    _SOURCES[kind](errs, source, where)
    if kind == "local" and spec.get("nodeAffinity") is None:
        errs.append(required(f"{path}.nodeAffinity", "Local volume requires node affinity"))
    if kind == "iscsi":
        portal = source.get("targetPortal") or ""
        if source.get("initiatorName") is not None and len(f"{name}:{portal}") > 64:
            errs.append(invalid(f"{where}.targetportal", portal, volume_systems.ISCSI_TOO_LONG))


def _attributes(errs: list[FieldError], spec: Object, path: str) -> None:
    if (name := spec.get("volumeAttributesClassName")) is None:
        return
    field = f"{path}.volumeAttributesClassName"
    if not name:
        errs.append(required(field, "an empty string is disallowed"))
    else:
        formed(errs, name, field, names.dns_subdomain)
    if spec.get("csi") is None:
        errs.append(required(f"{path}.csi", "has to be specified when using volumeAttributesClassName"))


def persistent_volume(errs: list[FieldError], obj: Object) -> None:
    volume_spec(errs, spec_of(obj), (obj.get("metadata") or {}).get("name") or "", "spec")


def _stable(affinity: Object) -> Object:
    """The same affinity by the labels that followed the beta ones."""
    stable = deepcopy(affinity)
    for term in (stable.get("required") or {}).get("nodeSelectorTerms") or ():
        for expression in term.get("matchExpressions") or ():
            expression["key"] = _STABLE.get(expression.get("key"), expression.get("key"))
    return stable


def _update(errs: list[FieldError], new: Object, old: Object) -> None:
    persistent_volume(errs, new)
    spec, before = spec_of(new), spec_of(old)
    source = {k: spec[k] for k in _SOURCES if spec.get(k) is not None}
    earlier = {k: before[k] for k in _SOURCES if before.get(k) is not None}
    if "csi" in source and "csi" in earlier and earlier["csi"].get("controllerExpandSecretRef") is None:
        source["csi"] = {k: v for k, v in source["csi"].items() if k != "controllerExpandSecretRef"}
    if source != earlier:
        said = f"spec.persistentvolumesource is immutable after creation\n{diff(earlier, source)}"
        errs.append(forbidden("spec.persistentvolumesource", said))
    metadata.same(errs, spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    if (node := before.get("nodeAffinity")) is not None and spec.get("nodeAffinity") not in (node, _stable(node)):
        said = f"{IMMUTABLE}, except for updating from beta label to GA"
        errs.append(invalid("nodeAffinity", spec.get("nodeAffinity"), said))
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        errs.append(forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden"))


PERSISTENT_VOLUME = Rules(
    create=persistent_volume,
    update=_update,
    initial_status={"phase": "Pending"},
    ratchet=(r"^spec\.nodeAffinity\.required\.nodeSelectorTerms\[\]" + ratcheting.SELECTOR_VALUES,),
)
