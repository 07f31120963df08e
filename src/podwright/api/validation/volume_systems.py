"""Rules for the volume types that name a storage system. Pods and PersistentVolumes share them."""

from __future__ import annotations

import re

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names, paths
from podwright.api.validation.field_errors import formed, in_range, invalid, not_supported, one_of, required, too_long

ISCSI_TOO_LONG = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is "
    "specified."
)
_IQN = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)$").search,
    "eui": re.compile(r"^eui.[A-Za-z0-9]{16}$").search,
    "naa": re.compile(r"^naa.[A-Za-z0-9]{32}$").search,
}
_CACHING = ("None", "ReadOnly", "ReadWrite")
_DISK_KINDS = ("Dedicated", "Managed", "Shared")
_MANAGED_URI = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB_URI = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def need(errs: list[FieldError], source: Object, path: str, *fields: str) -> None:
    """Fields that must not be empty."""
    for field in fields:
        if not source.get(field):
            errs.append(required(f"{path}.{field}"))


def git_repo(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "repository")
    paths.local_descending(errs, source.get("directory") or "", f"{path}.directory")


def iscsi(errs: list[FieldError], source: Object, path: str, starting: str = " starting with iqn, eui, or naa") -> None:
    need(errs, source, path, "targetPortal", "iqn")
    if iqn := source.get("iqn"):
        _qualified(errs, iqn, f"{path}.iqn", starting)
    _lun(errs, source.get("lun") or 0, path)
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        errs.append(required(f"{path}.secretRef"))
    if (initiator := source.get("initiatorName")) is not None:
        _qualified(errs, initiator, f"{path}.initiatorname", starting)


def iscsi_persistent(errs: list[FieldError], source: Object, path: str) -> None:
    iscsi(errs, source, path, "")
    if (secret := source.get("secretRef")) is not None:
        need(errs, secret, f"{path}.secretRef", "name")


def _lun(errs: list[FieldError], lun: int, path: str) -> None:
    if not 0 <= lun <= 255:
        errs.append(invalid(f"{path}.lun", lun, in_range(0, 255)))


def _qualified(errs: list[FieldError], name: str, field: str, starting: str) -> None:
    matches = _IQN.get(name[:3])
    if matches is None:
        errs.append(invalid(field, name, "must be valid format" + starting))
    elif not matches(name):
        errs.append(invalid(field, name, "must be valid format"))


def fc(errs: list[FieldError], source: Object, path: str) -> None:
    targets, ids = source.get("targetWWNs"), source.get("wwids")
    field = f"{path}.targetWWNs"
    if not targets and not ids:
        errs.append(required(field, "must specify either targetWWNs or wwids, but not both"))
    if targets and ids:
        errs.append(invalid(field, targets, "targetWWNs and wwids can not be specified simultaneously"))
    if targets:
        if source.get("lun") is None:
            errs.append(required(f"{path}.lun", "lun is required if targetWWNs is specified"))
        else:
            _lun(errs, source["lun"], path)


def gce_disk(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "pdName")
    _partition(errs, source, path)


def aws_disk(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "volumeID")
    _partition(errs, source, path)


def _partition(errs: list[FieldError], source: Object, path: str) -> None:
    partition = source.get("partition") or 0
    if not 0 <= partition <= 255:
        errs.append(invalid(f"{path}.partition", partition, in_range(1, 255)))


def nfs(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "server", "path")
    if not (target := source.get("path") or "").startswith("/"):
        errs.append(invalid(f"{path}.path", target, "must be an absolute path"))


def quobyte(errs: list[FieldError], source: Object, path: str) -> None:
    said = "must be a host:port pair or multiple pairs separated by commas"
    registry = source.get("registry")
    if not registry:
        errs.append(required(f"{path}.registry", said))
    elif len(source.get("tenant") or "") >= 65:
        errs.append(required(f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters"))
    else:
        for pair in registry.split(","):
            if not pair.rpartition(":")[1]:
                errs.append(invalid(f"{path}.registry", registry, said))
    need(errs, source, path, "volume")


def glusterfs(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "endpoints", "path")
    if (namespace := source.get("endpointsNamespace")) is not None:
        field = f"{path}.endpointsNamespace"
        if not namespace:
            errs.append(invalid(field, namespace, "if the endpointnamespace is set, it must be a valid namespace name"))
        else:
            formed(errs, namespace, field, names.dns_label)


def flocker(errs: list[FieldError], source: Object, path: str) -> None:
    name, uuid = source.get("datasetName"), source.get("datasetUUID")
    if not name and not uuid:
        errs.append(required(path, "one of datasetName and datasetUUID is required"))
    if name and uuid:
        errs.append(invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously"))
    if name and "/" in name:
        errs.append(invalid(f"{path}.datasetName", name, "must not contain '/'"))


def rbd(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "monitors", "image")


def cephfs(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "monitors")


def cinder(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "volumeID")
    if (secret := source.get("secretRef")) is not None:
        need(errs, secret, f"{path}.secretRef", "name")


def cinder_persistent(errs: list[FieldError], source: Object, path: str) -> None:
    cinder(errs, source, path)
    if (secret := source.get("secretRef")) is not None:
        need(errs, secret, f"{path}.secretRef", "namespace")


def flex(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "driver")
    for key in source.get("options") or ():
        domain = "." + key.partition("/")[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            errs.append(invalid(f"{path}.options[{key}]", key, "kubernetes.io and k8s.io namespaces are reserved"))


def azure_file(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "secretName", "shareName")
    if source.get("secretNamespace") == "":
        errs.append(required(f"{path}.secretNamespace"))


def azure_disk(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "diskName", "diskURI")
    caching, kind, uri = source.get("cachingMode"), source.get("kind"), source.get("diskURI") or ""
    if caching is not None and caching not in _CACHING:
        errs.append(not_supported(f"{path}.cachingMode", caching, _CACHING))
    if kind is None:
        return
    one_of(errs, kind, f"{path}.kind", _DISK_KINDS)
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        errs.append(not_supported(f"{path}.diskURI", uri, (_MANAGED_URI,)))
    if kind != "Managed" and not uri.startswith("https://"):
        errs.append(not_supported(f"{path}.diskURI", uri, (_BLOB_URI,)))


def vsphere(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "volumePath")


def photon(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "pdID")


def portworx(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "volumeID")


def scale_io(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "gateway", "system", "volumeName")


def storage_os(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "volumeName")
    for field in ("volumeName", "volumeNamespace"):
        if name := source.get(field):
            formed(errs, name, f"{path}.{field}", names.dns_label)
    if (secret := source.get("secretRef")) is not None:
        need(errs, secret, f"{path}.secretRef", "name")


def storage_os_persistent(errs: list[FieldError], source: Object, path: str) -> None:
    storage_os(errs, source, path)
    if (secret := source.get("secretRef")) is not None:
        need(errs, secret, f"{path}.secretRef", "namespace")


def local(errs: list[FieldError], source: Object, path: str) -> None:
    need(errs, source, path, "path")
    if target := source.get("path"):
        paths.no_backsteps(errs, target, f"{path}.path")


def csi_driver_name(errs: list[FieldError], name: str, field: str) -> None:
    if not name:
        errs.append(required(field))
        return
    if len(name) > 63:
        errs.append(too_long(field, 63))
    errs += [invalid(field, name, said) for said in names.dns_subdomain(name.lower())]


def csi_inline(errs: list[FieldError], source: Object, path: str) -> None:
    csi_driver_name(errs, source.get("driver") or "", f"{path}.driver")
    if (secret := source.get("nodePublishSecretRef")) is not None:
        if not (name := secret.get("name")):
            errs.append(required(f"{path}.nodePublishSecretRef.name"))
        else:
            formed(errs, name, f"{path}.name", names.dns_subdomain)


def csi_persistent(errs: list[FieldError], source: Object, path: str) -> None:
    csi_driver_name(errs, source.get("driver") or "", f"{path}.driver")
    need(errs, source, path, "volumeHandle")
    for field in (
        "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef",
    ):
        if (secret := source.get(field)) is not None:
            where = f"{path}.{field}"
            need(errs, secret, where, "name", "namespace")
            if name := secret.get("name"):
                formed(errs, name, f"{where}.name", names.dns_subdomain)
            if namespace := secret.get("namespace"):
                formed(errs, namespace, f"{where}.namespace", names.dns_label)
