"""The mounts of a container: its volumeMounts, /etc/hosts, /etc/resolv.conf and the termination message file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from podwright.api.objects import Object
from podwright.kubelet.containers.expansion import expand, missing
from podwright.kubelet.containers.failures import ContainerFailure, config_error
from podwright.kubelet.volumes import subpath
from podwright.kubelet.volumes.mounted import MountedVolume
from podwright.runtime.protocol import Device, Mount, MountPropagation

_PROPAGATION = {
    "None": MountPropagation.PRIVATE,
    "HostToContainer": MountPropagation.HOST_TO_CONTAINER,
    "Bidirectional": MountPropagation.BIDIRECTIONAL,
}
_RUN_TIME_ERROR = "CreateContainerConfigError"


def volume_mounts(
    ctr: Object, volumes: Mapping[str, MountedVolume], env: Mapping[str, str], subpaths: Path
) -> list[Mount]:
    """One mount for each volumeMount. `subpaths` is the directory in which parts of volumes are bound.

    Raises:
        ContainerFailure: a volume is not there, or a subPath is not allowed (CreateContainerConfigError).
    """
    found = []
    for index, mount in enumerate(ctr.get("volumeMounts") or ()):
        volume = volumes.get(mount["name"])
        if volume is None:
            raise config_error(f'cannot find volume "{mount["name"]}" to mount into container "{ctr["name"]}"')
        if volume.block:
            raise config_error(f'volume "{mount["name"]}" has volumeMode Block, but is specified in volumeMounts')
        readonly = bool(mount.get("readOnly")) or volume.read_only
        sub_path = _sub_path(mount, env)
        recursive = readonly and mount.get("recursiveReadOnly") in ("Enabled", "IfPossible")
        if volume.image:
            found.append(
                Mount(
                    _absolute(mount["mountPath"]),
                    readonly=True,
                    image=volume.image,
                    image_sub_path=sub_path,
                )
            )
            continue
        path = volume.path
        if sub_path:
            path = _bind(volume, sub_path, subpaths / mount["name"] / ctr["name"] / str(index), mount["name"])
        found.append(
            Mount(
                _absolute(mount["mountPath"]),
                str(path),
                readonly=readonly,
                recursive_readonly=recursive,
                propagation=_PROPAGATION.get(mount.get("mountPropagation") or "None", MountPropagation.PRIVATE),
            )
        )
    return found


def volume_devices(ctr: Object, volumes: Mapping[str, MountedVolume]) -> list[Device]:
    """One device for each volumeDevice.

    Raises:
        ContainerFailure: the volume is not there, or is no device.
    """
    found = []
    for wanted in ctr.get("volumeDevices") or ():
        volume = volumes.get(wanted["name"])
        if volume is None or not volume.block:
            raise config_error(f'volume "{wanted["name"]}" of container "{ctr["name"]}" is no block device')
        found.append(Device(str(volume.path), wanted["devicePath"], "r" if volume.read_only else "mrw"))
    return found


def _absolute(path: str) -> str:
    return path if path.startswith("/") else "/" + path


def _sub_path(mount: Object, env: Mapping[str, str]) -> str:
    expression = mount.get("subPathExpr")
    if not expression:
        text = str(mount.get("subPath") or "")
    else:
        absent = missing(expression, env)
        if absent:
            raise config_error(f"missing value for \"{absent[0]}\"")
        text = expand(expression, env)
    if text:
        try:
            subpath.check(text)
        except subpath.BadSubPath as wrong:
            raise config_error(str(wrong)) from wrong
    return text


def _bind(volume: MountedVolume, sub_path: str, target: Path, name: str) -> Path:
    try:
        return subpath.bind(volume.path, sub_path, target)
    except (subpath.BadSubPath, OSError) as failed:
        # What exactly failed would tell the Pod's author about the host's files.
        raise ContainerFailure(
            _RUN_TIME_ERROR, f'failed to prepare subPath for volumeMount "{name}" of container "{target.parent.name}"'
        ) from failed


def own_mounts(ctr: Object, hosts: Path, resolv: Path, message: Path) -> list[Mount]:
    """What every container has unless it mounts something there itself."""
    taken = {m["mountPath"] for m in ctr.get("volumeMounts") or ()}
    found = []
    for target, source in (("/etc/hosts", hosts), ("/etc/resolv.conf", resolv)):
        if target not in taken:
            found.append(Mount(target, str(source)))
    path = ctr.get("terminationMessagePath") or "/dev/termination-log"
    if path not in taken:
        found.append(Mount(path, str(message)))
    return found
