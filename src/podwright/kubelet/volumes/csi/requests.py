"""What a CSI driver is told of a volume: capability, context, secrets, as upstream's kubelet fills them in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from podwright.api import objects
from podwright.api.objects import Object
from podwright.kubelet.volumes.csi.drivers import SINGLE_NODE_MULTI_WRITER

_POD = "csi.storage.k8s.io/pod."
_ACCOUNT = "csi.storage.k8s.io/serviceAccount."
_MODES = {"ReadWriteOnce": 1, "ReadOnlyMany": 3, "ReadWriteMany": 5, "ReadWriteOncePod": 1}
_FINER_MODES = {**_MODES, "ReadWriteOnce": 7, "ReadWriteOncePod": 6}


@dataclass(frozen=True, slots=True)
class CsiVolume:
    """A volume as a Pod uses it. `name` is the PersistentVolume's, or, for an inline one, the Pod's own for it.
    `capacity` is a quantity."""

    name: str
    driver: str
    handle: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    fs_type: str = ""
    access_modes: Sequence[str] = ("ReadWriteOnce",)
    mount_options: Sequence[str] = ()
    read_only: bool = False
    block: bool = False
    ephemeral: bool = False
    capacity: str = "0"
    secret_refs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """(namespace, name) by field, "nodeStageSecretRef" and so on."""


def of_persistent_volume(pv: Object, *, read_only: bool) -> CsiVolume:
    spec = pv["spec"]
    source = spec["csi"]
    refs = {
        name: (source[name]["namespace"], source[name]["name"])
        for name in ("nodeStageSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef")
        if source.get(name)
    }
    return CsiVolume(
        name=objects.name(pv),
        driver=source["driver"],
        handle=source["volumeHandle"],
        attributes=source.get("volumeAttributes") or {},
        fs_type=source.get("fsType") or "",
        access_modes=spec.get("accessModes") or ("ReadWriteOnce",),
        mount_options=spec.get("mountOptions") or (),
        read_only=read_only or bool(source.get("readOnly")),
        block=spec.get("volumeMode") == "Block",
        capacity=(spec.get("capacity") or {}).get("storage", "0"),
        secret_refs=refs,
    )


def of_inline(pod: Object, volume: Object) -> CsiVolume:
    source = volume["csi"]
    reference = source.get("nodePublishSecretRef")
    named = hashlib.sha256(f"{objects.uid(pod)}{volume['name']}".encode()).hexdigest()
    return CsiVolume(
        name=volume["name"],
        driver=source["driver"],
        handle=f"csi-{named}",
        attributes=source.get("volumeAttributes") or {},
        fs_type=source.get("fsType") or "",
        read_only=bool(source.get("readOnly")),
        ephemeral=True,
        secret_refs={"nodePublishSecretRef": (objects.namespace(pod), reference["name"])} if reference else {},
    )


def capability(volume: CsiVolume, capabilities: frozenset[int], mount_group: int | None) -> Object:
    """The VolumeCapability message. `mount_group` is the fsGroup that the driver is to apply."""
    modes = _FINER_MODES if SINGLE_NODE_MULTI_WRITER in capabilities else _MODES
    found: Object = {"access_mode": {"mode": modes.get(volume.access_modes[0], 1)}}
    if volume.block:
        return {**found, "block": {}}
    mount: Object = {"fs_type": volume.fs_type, "mount_flags": list(volume.mount_options)}
    if mount_group is not None:
        mount["volume_mount_group"] = str(mount_group)
    return {**found, "mount": mount}


def pod_info(pod: Object, *, ephemeral: bool) -> dict[str, str]:
    """For drivers whose CSIDriver says podInfoOnMount."""
    return {
        _POD + "name": objects.name(pod),
        _POD + "namespace": objects.namespace(pod),
        _POD + "uid": objects.uid(pod),
        _ACCOUNT + "name": str(pod["spec"].get("serviceAccountName") or "default"),
        "csi.storage.k8s.io/ephemeral": "true" if ephemeral else "false",
    }


def token_entry(tokens: Mapping[str, tuple[str, float]]) -> dict[str, str]:
    """Tokens (value, end in seconds since the epoch) by audience, under the one key that they have."""
    listed: dict[str, Any] = {
        audience: {"token": value, "expirationTimestamp": objects.format_time(expires)}
        for audience, (value, expires) in tokens.items()
    }
    return {_ACCOUNT + "tokens": orjson.dumps(listed).decode()}


def attachment_name(driver: str, handle: str, node: str) -> str:
    """The name of the VolumeAttachment that the attach-detach controller makes."""
    return "csi-" + hashlib.sha256(f"{handle}{driver}{node}".encode()).hexdigest()


def unique_name(driver: str, handle: str) -> str:
    """How the volume is named in a Node's status."""
    return f"kubernetes.io/csi/{driver}^{handle}"
