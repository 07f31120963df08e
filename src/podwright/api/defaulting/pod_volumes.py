"""Defaults of the volumes of a Pod."""

from __future__ import annotations

from podwright.api.defaulting import quantities
from podwright.api.defaulting.images import pull_policy
from podwright.api.objects import Object

_FILE_MODE = 0o644


def volumes(spec: Object) -> None:
    for volume in spec.get("volumes") or ():
        if not any(key != "name" and value is not None for key, value in volume.items()):
            volume["emptyDir"] = {}
            continue
        _volume(volume)


def _volume(volume: Object) -> None:
    for key in ("configMap", "secret"):
        if (source := volume.get(key)) is not None:
            source.setdefault("defaultMode", _FILE_MODE)
    if (empty := volume.get("emptyDir")) is not None:
        quantities.field(empty, "sizeLimit")
    if (path := volume.get("hostPath")) is not None:
        path.setdefault("type", "")
    if (downward := volume.get("downwardAPI")) is not None:
        downward.setdefault("defaultMode", _FILE_MODE)
        downward_files(downward)
    if (projected := volume.get("projected")) is not None:
        projected.setdefault("defaultMode", _FILE_MODE)
        for source in projected.get("sources") or ():
            if inner := source.get("downwardAPI"):
                downward_files(inner)
            if (token := source.get("serviceAccountToken")) is not None:
                token.setdefault("expirationSeconds", 3600)
            if (certificate := source.get("podCertificate")) is not None:
                certificate.setdefault("maxExpirationSeconds", 86400)
    if (image := volume.get("image")) is not None and not image.get("pullPolicy"):
        image["pullPolicy"] = pull_policy(image.get("reference") or "")
    if (ephemeral := volume.get("ephemeral")) is not None:
        claim_template(ephemeral.get("volumeClaimTemplate"))
    network_sources(volume)


def network_sources(volume: Object) -> None:
    """Defaults of the volume types that name a storage system; PersistentVolumes share them."""
    if (iscsi := volume.get("iscsi")) is not None:
        _default_text(iscsi, "iscsiInterface", "default")
    if (rbd := volume.get("rbd")) is not None:
        _default_text(rbd, "pool", "rbd")
        _default_text(rbd, "user", "admin")
        _default_text(rbd, "keyring", "/etc/ceph/keyring")
    if (disk := volume.get("azureDisk")) is not None:
        disk.setdefault("cachingMode", "ReadWrite")
        disk.setdefault("fsType", "ext4")
        disk.setdefault("readOnly", False)
        disk.setdefault("kind", "Shared")
    if (sio := volume.get("scaleIO")) is not None:
        _default_text(sio, "storageMode", "ThinProvisioned")
        _default_text(sio, "fsType", "xfs")


def claim_template(template: Object | None) -> None:
    if template is None:
        return
    spec = template.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    quantities.requirements(spec.get("resources"))


def downward_files(source: Object) -> None:
    for item in source.get("items") or ():
        field_selectors(item)


def field_selectors(item: Object) -> None:
    """Defaults of the fieldRef and resourceFieldRef in `item`."""
    if (ref := item.get("fieldRef")) is not None:
        _default_text(ref, "apiVersion", "v1")
    if (ref := item.get("resourceFieldRef")) is not None:
        # A quantity has no "absent" upstream: the zero reads back.
        ref["divisor"] = quantities.canonical(ref.get("divisor") or "0")


def _default_text(holder: Object, name: str, value: str) -> None:
    if not holder.get(name):
        holder[name] = value
