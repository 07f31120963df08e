"""persistentVolumeClaim and generic ephemeral volumes on PersistentVolumes: hostPath, local and nfs, which this node
can reach by itself, and those of CSI drivers."""

from __future__ import annotations

import asyncio
import stat
import subprocess
from pathlib import Path

from podwright.api import node_affinity, objects
from podwright.api.objects import Object
from podwright.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from podwright.api.status import ApiError
from podwright.client.transport import ServerUnreachable
from podwright.kubelet.volumes import host_path
from podwright.kubelet.volumes.csi.requests import of_persistent_volume
from podwright.kubelet.volumes.csi.volumes import CsiVolumes
from podwright.kubelet.volumes.mount_points import MS_BIND, MS_REC, is_mount_point, mount
from podwright.kubelet.volumes.mounted import MountedVolume, VolumeContext, VolumeFailure
from podwright.kubelet.volumes.ownership import give_to_group

_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_NFS_TIMEOUT = 130.0
"""Seconds: a little more than mount.nfs itself tries."""
_LOCAL_PATH = "podwright.io/local-path"


async def setup(context: VolumeContext, volume: Object, csi: CsiVolumes) -> MountedVolume:
    """The volume behind the claim.

    Raises:
        VolumeFailure: the claim is not bound, or its volume cannot be had here.
    """
    name = volume["name"]
    if "ephemeral" in volume:
        claim_name, read_only = f"{objects.name(context.pod)}-{name}", False
    else:
        source = volume["persistentVolumeClaim"]
        claim_name, read_only = source["claimName"], bool(source.get("readOnly"))
    claim = await _claim(context, claim_name)
    if "ephemeral" in volume and (objects.controller_of(claim) or {}).get("uid") != objects.uid(context.pod):
        raise VolumeFailure(f'PVC "{claim_name}" was not created for pod "{objects.name(context.pod)}"')
    pv = await _volume(context, str((claim.get("spec") or {}).get("volumeName") or ""), claim)
    spec = pv["spec"]
    if "csi" in spec:
        return await csi.mount(context, name, of_persistent_volume(pv, read_only=read_only), claim)
    if spec.get("volumeMode") == "Block":
        return MountedVolume(name, await asyncio.to_thread(_device, spec), read_only, block=True)
    provisioned = objects.annotations(pv).get(_PROVISIONED_BY) == _LOCAL_PATH
    if provisioned:
        await asyncio.to_thread(_ensure_directory, Path(spec["hostPath"]["path"]))
    path = await asyncio.to_thread(_mounted, context, spec)
    # A path of the host is its administrator's, an export its server's; one that was made for this claim is the Pod's.
    if context.fs_group is not None and not read_only and ("local" in spec or provisioned):
        policy = (context.pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy")
        await asyncio.to_thread(
            give_to_group, path, context.fs_group, on_root_mismatch=policy == "OnRootMismatch"
        )
    return MountedVolume(name, path, read_only or bool((spec.get("nfs") or {}).get("readOnly")))


async def _claim(context: VolumeContext, name: str) -> Object:
    """As it is now: a node may get a claim, not watch it, so one that is not bound yet is looked at again and again."""
    namespace = objects.namespace(context.pod)
    try:
        claim = await context.objects.find(PERSISTENTVOLUMECLAIMS, namespace, name)
    except (ApiError, ServerUnreachable) as refused:
        raise VolumeFailure(f"error processing PVC {namespace}/{name}: {refused}") from refused
    if claim is None:
        raise VolumeFailure(f'error processing PVC {namespace}/{name}: persistentvolumeclaim "{name}" not found')
    if (claim.get("status") or {}).get("phase") != "Bound" or not (claim.get("spec") or {}).get("volumeName"):
        raise VolumeFailure(f"error processing PVC {namespace}/{name}: PVC is not bound")
    return claim


async def _volume(context: VolumeContext, name: str, claim: Object) -> Object:
    try:
        pv = await context.objects.get(PERSISTENTVOLUMES, "", name)
    except (ApiError, ServerUnreachable) as refused:
        raise VolumeFailure(f"failed to fetch PV {name} from API server: {refused}") from refused
    ref = pv["spec"].get("claimRef") or {}
    if ref.get("uid") != objects.uid(claim):
        raise VolumeFailure(f"PV {name} is not bound to PVC {objects.key(claim)}")
    if not _reachable(pv, context):
        raise VolumeFailure(f'no matching NodeSelectorTerms: PV "{name}" is not reachable from this node')
    return pv


def _reachable(pv: Object, context: VolumeContext) -> bool:
    required = (pv["spec"].get("nodeAffinity") or {}).get("required")
    if not required or not context.host_node_labels:
        return True
    selector = node_affinity.compile(required)
    return selector.matches_labels(context.host_node_labels, context.facts.node_name)


def _ensure_directory(path: Path) -> None:
    """The directory of a volume of the built-in provisioner, which whoever the Pod runs as may write."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)


def _device(spec: Object) -> Path:
    """The block device behind a volume of mode Block."""
    source = Path((spec.get("local") or spec.get("hostPath") or {}).get("path") or "/dev/null")
    try:
        real = source.resolve(strict=True)
        found = stat.S_ISBLK(real.stat().st_mode)
    except OSError as absent:
        raise VolumeFailure(f"{source}: {absent.strerror}") from absent
    if not found:
        raise VolumeFailure(f"{source} is not a block device")
    return real


def _mounted(context: VolumeContext, spec: Object) -> Path:
    if "hostPath" in spec:
        return host_path.setup(spec["hostPath"])
    if "local" in spec:
        source = Path(spec["local"]["path"])
        if not source.is_dir():
            raise VolumeFailure(f'path "{source}" does not exist')
        return _bound(context.directory, source)
    if "nfs" in spec:
        return mount_nfs(context.directory, spec)
    kinds = [k for k in spec if isinstance(spec[k], dict) and k not in ("capacity", "claimRef", "nodeAffinity")]
    raise VolumeFailure(f"no volume plugin matched: {', '.join(kinds) or 'unknown source'}")


def _bound(target: Path, source: Path) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    if not is_mount_point(target):
        mount(str(source), target, "", MS_BIND | MS_REC)
    return target


def mount_nfs(target: Path, spec: Object) -> Path:
    """By the host's mount program: it finds out addresses, versions and ports, with mount.nfs if the host has it."""
    target.mkdir(parents=True, exist_ok=True)
    if is_mount_point(target):
        return target
    nfs = spec["nfs"]
    options = list(spec.get("mountOptions") or ()) + (["ro"] if nfs.get("readOnly") else [])
    asked = ["-t", "nfs", *(["-o", ",".join(options)] if options else []), f"{nfs['server']}:{nfs['path']}"]
    command = ["mount", *asked, str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NFS_TIMEOUT, check=False)
        status, output = f"exit status {done.returncode}", done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        status, output = f"no answer within {_NFS_TIMEOUT:g} s", ""
    except OSError as failed:
        status, output = str(failed), ""
    if status != "exit status 0":
        raise VolumeFailure(
            f"mount failed: {status}\nMounting command: mount\nMounting arguments: {' '.join(command[1:])}\n"
            f"Output: {output}"
        )
    return target
