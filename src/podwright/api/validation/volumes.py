"""Rules for the volumes of a Pod."""

from __future__ import annotations

from collections.abc import Callable

from podwright.api import quantity
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names, paths, volume_projections, volume_systems
from podwright.api.validation.field_errors import (
    duplicate,
    forbidden,
    formed,
    invalid,
    named,
    not_supported,
    one_of,
    required,
)

FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")

Volumes = dict[str, Object]


def volumes(errs: list[FieldError], spec: Object, pod_name: str, path: str, *, is_pod: bool) -> Volumes:
    """Check spec.volumes and answer the valid ones by name. `pod_name` is "" in a template."""
    found: Volumes = {}
    listed = spec.get("volumes") or ()
    made = {f"{pod_name}-{v.get('name')}" for v in listed if v.get("ephemeral") is not None} if pod_name else set()
    for i, volume in enumerate(listed):
        where = f"{path}[{i}]"
        before = len(errs)
        name = volume.get("name") or ""
        _source(errs, volume, name, pod_name, where, is_pod)
        named(errs, name, f"{where}.name", names.dns_label)
        if name in found:
            errs.append(duplicate(f"{where}.name", name))
        if len(errs) == before:
            found[name] = volume
        claim = volume.get("persistentVolumeClaim")
        if claim and claim.get("claimName") in made:
            errs.append(
                invalid(
                    f"{where}.persistentVolumeClaim.claimName",
                    claim["claimName"],
                    "must not reference a PVC that gets created for an ephemeral volume",
                )
            )
    return found


def _source(errs: list[FieldError], volume: Object, name: str, pod_name: str, path: str, is_pod: bool) -> None:
    kinds = [kind for kind in volume if kind in _ORDER and volume[kind] is not None]
    if len(kinds) > 1:
        kinds.sort(key=_ORDER.__getitem__)
    if not kinds:
        errs.append(required(path, "must specify a volume type"))
        return
    for kind in kinds[1:]:
        errs.append(forbidden(f"{path}.{_FORBIDDEN_AS.get(kind, kind)}", "may not specify more than 1 volume type"))
    kind = kinds[0]
    source = volume[kind]
    field = f"{path}.{_FIELD.get(kind, kind)}"
    if kind == "image":
        if is_pod and not source.get("reference"):
            errs.append(required(f"{field}.reference"))
        pull_policy(errs, source.get("pullPolicy") or "", f"{field}.pullPolicy")
        return
    _RULES[kind](errs, source, field)
    if (disk := volume.get("iscsi")) is not None and disk.get("initiatorName") is not None:
        if len(f"{name}:{disk.get('targetPortal') or ''}") > 64:
            errs.append(invalid(f"{path}.name", name, volume_systems.ISCSI_TOO_LONG))
    if kind == "ephemeral" and pod_name and name:
        claim = f"{pod_name}-{name}"
        for said in names.dns_subdomain(claim):
            errs.append(invalid(f"{path}.name", name, f'PVC name "{claim}": {said}'))


def pull_policy(errs: list[FieldError], policy: str, path: str) -> None:
    if policy not in ("Always", "IfNotPresent", "Never"):
        if policy:
            errs.append(not_supported(path, policy, ("Always", "IfNotPresent", "Never")))
        else:
            errs.append(required(path))


def _empty_dir(errs: list[FieldError], source: Object, path: str) -> None:
    limit = source.get("sizeLimit")
    if limit is not None and (not quantity.is_valid(limit) or quantity.parse(limit) < 0):
        errs.append(forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity"))
    mode = source.get("mode")
    if mode is not None and not 0 <= mode <= 0o1777:
        errs.append(invalid(f"{path}.mode", mode, "must be a number between 0 and 01777 (octal), both inclusive"))


def host_path(errs: list[FieldError], source: Object, path: str) -> None:
    target = source.get("path")
    if not target:
        errs.append(required(f"{path}.path"))
        return
    paths.no_backsteps(errs, target, f"{path}.path")
    one_of(errs, source.get("type"), f"{path}.type", _HOST_PATH_TYPES)


def mode(errs: list[FieldError], value: int | None, path: str) -> None:
    if value is not None and not 0 <= value <= 0o777:
        errs.append(invalid(path, value, FILE_MODE))


def _owner(errs: list[FieldError], source: Object, field: str, path: str) -> None:
    user = source.get(field)
    if user is not None:
        formed(errs, user, f"{path}.{field}", names.user_or_group_id)


def key_to_path(errs: list[FieldError], item: Object, path: str) -> None:
    if not item.get("key"):
        errs.append(required(f"{path}.key"))
    target = item.get("path") or ""
    if not target:
        errs.append(required(f"{path}.path"))
    paths.local_non_reserved(errs, target, f"{path}.path")
    mode(errs, item.get("mode"), f"{path}.mode")
    _owner(errs, item, "user", path)


def _keyed(errs: list[FieldError], source: Object, name_field: str, path: str) -> None:
    if not source.get(name_field):
        errs.append(required(f"{path}.{name_field}"))
    mode(errs, source.get("defaultMode"), f"{path}.defaultMode")
    _owner(errs, source, "defaultUser", path)
    for i, item in enumerate(source.get("items") or ()):
        key_to_path(errs, item, f"{path}.items[{i}]")


def _secret(errs: list[FieldError], source: Object, path: str) -> None:
    _keyed(errs, source, "secretName", path)


def _config_map(errs: list[FieldError], source: Object, path: str) -> None:
    _keyed(errs, source, "name", path)


def _downward(errs: list[FieldError], source: Object, path: str) -> None:
    mode(errs, source.get("defaultMode"), f"{path}.defaultMode")
    _owner(errs, source, "defaultUser", path)
    for item in source.get("items") or ():
        volume_projections.downward_file(errs, item, path)


def _projected(errs: list[FieldError], source: Object, path: str) -> None:
    mode(errs, source.get("defaultMode"), f"{path}.defaultMode")
    _owner(errs, source, "defaultUser", path)
    volume_projections.sources(errs, source, path)


def _claim(errs: list[FieldError], source: Object, path: str) -> None:
    if not source.get("claimName"):
        errs.append(required(f"{path}.claimName"))


def _ephemeral(errs: list[FieldError], source: Object, path: str) -> None:
    from podwright.api.validation.persistent_volume_claims import claim_template

    if (template := source.get("volumeClaimTemplate")) is None:
        errs.append(required(f"{path}.volumeClaimTemplate"))
    else:
        claim_template(errs, template, f"{path}.volumeClaimTemplate")


_RULES: dict[str, Callable[[list[FieldError], Object, str], None]] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "gitRepo": volume_systems.git_repo,
    "gcePersistentDisk": volume_systems.gce_disk,
    "awsElasticBlockStore": volume_systems.aws_disk,
    "secret": _secret,
    "nfs": volume_systems.nfs,
    "iscsi": volume_systems.iscsi,
    "glusterfs": volume_systems.glusterfs,
    "flocker": volume_systems.flocker,
    "persistentVolumeClaim": _claim,
    "rbd": volume_systems.rbd,
    "cinder": volume_systems.cinder,
    "cephfs": volume_systems.cephfs,
    "quobyte": volume_systems.quobyte,
    "downwardAPI": _downward,
    "fc": volume_systems.fc,
    "flexVolume": volume_systems.flex,
    "configMap": _config_map,
    "azureFile": volume_systems.azure_file,
    "vsphereVolume": volume_systems.vsphere,
    "photonPersistentDisk": volume_systems.photon,
    "portworxVolume": volume_systems.portworx,
    "azureDisk": volume_systems.azure_disk,
    "storageos": volume_systems.storage_os,
    "projected": _projected,
    "scaleIO": volume_systems.scale_io,
    "csi": volume_systems.csi_inline,
    "ephemeral": _ephemeral,
    "image": _claim,
}
_ORDER = {kind: i for i, kind in enumerate(_RULES)}
_FIELD = {"gcePersistentDisk": "persistentDisk"}
_FORBIDDEN_AS = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
"""Upstream names these fields differently in its errors."""
