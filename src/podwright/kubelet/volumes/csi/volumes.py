"""Staging and publishing of CSI volumes for Pods, and taking them down in whatever state they are.

Every call of CSI is idempotent by its specification: after any failure, ours or the driver's, the same call is made
again. A record is written before the first call and goes after the last one, so nothing is ever forgotten.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from podwright.api import objects, quantity
from podwright.api.objects import Object
from podwright.api.resources import CSIDRIVERS, PERSISTENTVOLUMECLAIMS, SECRETS, VOLUMEATTACHMENTS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.transport import STRATEGIC_MERGE_PATCH, ServerUnreachable
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.plugins.sockets import PluginFailure
from podwright.kubelet.volumes.csi import records, requests
from podwright.kubelet.volumes.csi.drivers import (
    EXPAND_VOLUME,
    GET_VOLUME_STATS,
    STAGE_UNSTAGE,
    VOLUME_MOUNT_GROUP,
    CsiDrivers,
    refused,
)
from podwright.kubelet.volumes.csi.records import VolumeRecord
from podwright.kubelet.volumes.csi.requests import CsiVolume
from podwright.kubelet.volumes.mount_points import is_mount_point, unmount
from podwright.kubelet.volumes.mounted import MountedVolume, VolumeContext, VolumeFailure, VolumePending
from podwright.kubelet.volumes.ownership import give_to_group

_DEFAULT_EXPIRATION = 3600


class CsiVolumes:
    """One call at a time for each volume. `changed` is told that :meth:`in_use` may give something else."""

    def __init__(
        self, config: KubeletConfig, client: Client, drivers: CsiDrivers, changed: Callable[[], None]
    ) -> None:
        self._config = config
        self._client = client
        self.drivers = drivers
        self._changed = changed
        self._root = config.data_dir / "plugins" / "kubernetes.io" / "csi"
        self._used: dict[tuple[str, str], tuple[CsiVolume, bool]] = {}
        """(Pod's uid, volume's name there) → the volume, and whether its driver wants it published again and again."""
        self._up: set[tuple[str, str]] = set()
        """Those that are published, as far as this process knows."""
        self._adopted: dict[str, set[str]] | None = None
        """By Pod, what a kubelet before this one had set up; None until it is looked for."""
        self._attached_names: frozenset[str] = frozenset()
        self._waiting: set[str] = set()

    def in_use(self) -> list[str]:
        """Names for the node's status: none of these may be detached."""
        if self._adopted is None:
            self._adopted = {
                pod_dir.name: {
                    requests.unique_name(record.driver, record.handle)
                    for _, record in records.of_pod(pod_dir) if not record.ephemeral
                }
                for pod_dir in _children(self._config.pods_dir)
            }  # fmt: skip
        found = {requests.unique_name(v.driver, v.handle) for v, _ in self._used.values() if not v.ephemeral}
        return sorted(found.union(*self._adopted.values()))

    def node_changed(self, node: Object) -> set[str]:
        """The node's object changed. Gives the Pods that wait for what was attached meanwhile."""
        names = frozenset(a["name"] for a in (node.get("status") or {}).get("volumesAttached") or ())
        fresh, self._attached_names = names - self._attached_names, names
        woken = self._waiting if fresh else set()
        self._waiting = self._waiting - woken
        return woken

    # Up.

    async def mount(self, context: VolumeContext, name: str, volume: CsiVolume, claim: Object | None) -> MountedVolume:
        """Attached, staged and published for the Pod; `name` is the Pod's for it. Called again, it grows the volume to
        what the PersistentVolume says now, and publishes it again if the driver asks for that.

        Raises:
            VolumeFailure
            OSError
        """
        uid = objects.uid(context.pod)
        about = await self._driver_object(context, volume)
        self._used[uid, name] = volume, bool(about.get("requiresRepublish"))
        self._changed()
        try:
            publish_context = await self._attached(uid, volume, about)
            async with self.drivers.lock(volume.driver, volume.handle):
                if (uid, name) in self._up and not about.get("requiresRepublish"):
                    target = self._target(uid, volume)
                else:
                    target = await self._set_up(context, volume, about, publish_context)
                    self._up.add((uid, name))
                if claim is not None:
                    await self._grow(context, volume, claim, target)
        except PluginFailure as failed:
            raise refused(failed) from failed
        return MountedVolume(name, target, volume.read_only, block=volume.block)

    async def _driver_object(self, context: VolumeContext, volume: CsiVolume) -> Object:
        try:
            found = await context.objects.find(CSIDRIVERS, "", volume.driver)
        except (ApiError, ServerUnreachable) as failed:
            raise VolumeFailure(f"cannot read CSIDriver {volume.driver}: {failed}") from failed
        spec: Object = (found or {}).get("spec") or {}
        modes = spec.get("volumeLifecycleModes") or ("Persistent",)
        mode = "Ephemeral" if volume.ephemeral else "Persistent"
        if mode not in modes:
            raise VolumeFailure(
                f'volume mode "{mode}" not supported by driver {volume.driver}'
                + ("" if found else " (no CSIDriver object)")
            )
        return spec

    async def _attached(self, uid: str, volume: CsiVolume, about: Object) -> Mapping[str, str]:
        """The publish context, once the attach-detach controller has said in the node's status that it is there."""
        if volume.ephemeral or about.get("attachRequired") is False:
            return {}
        wanted = requests.unique_name(volume.driver, volume.handle)
        if wanted not in self._attached_names:
            self._waiting.add(uid)
            raise VolumePending(f'volume "{volume.name}" is not attached to this node yet')
        name = requests.attachment_name(volume.driver, volume.handle, self._config.node_name)
        try:
            attachment = await self._client.get(VOLUMEATTACHMENTS, name)
        except (ApiError, ServerUnreachable) as failed:
            raise VolumeFailure(f"cannot read volume attachment {name}: {failed}") from failed
        if not (attachment.get("status") or {}).get("attached"):
            raise VolumeFailure(f"volume attachment {name} is not attached")
        return (attachment["status"].get("attachmentMetadata")) or {}

    async def _set_up(
        self, context: VolumeContext, volume: CsiVolume, about: Object, publish_context: Mapping[str, str]
    ) -> Path:
        capabilities = await self.drivers.capabilities(volume.driver)
        pod_dir = self._config.pod_dir(objects.uid(context.pod))
        directory = records.directory_of(pod_dir, volume.name, block=volume.block)
        target = self._target(objects.uid(context.pod), volume)
        staging: Path | None = None
        if STAGE_UNSTAGE in capabilities and not volume.ephemeral:
            staging = records.staging_of(self._root, volume.driver, volume.handle, volume.name, block=volume.block)
        record = VolumeRecord(
            volume.driver, volume.handle, volume.name, str(target), str(staging or ""), volume.ephemeral
        )
        await asyncio.to_thread(record.write, directory)
        by_driver = context.fs_group is not None and VOLUME_MOUNT_GROUP in capabilities
        capability = requests.capability(volume, capabilities, context.fs_group if by_driver else None)
        common: Object = {
            "volume_id": volume.handle, "publish_context": dict(publish_context), "volume_capability": capability,
            "staging_target_path": str(staging or ""),
        }  # fmt: skip
        if staging is not None:
            await asyncio.to_thread(staging.mkdir, parents=True, exist_ok=True, mode=0o750)
            secrets = await self._secrets(context, volume, "nodeStageSecretRef")
            stage = {**common, "secrets": secrets, "volume_context": dict(volume.attributes)}
            await self.drivers.call(volume.driver, "NodeStageVolume", stage)
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True, mode=0o750)
        await self._publish(context, volume, about, common, target)
        if not by_driver and not volume.block and _owned_by_group(context, volume, about):
            policy = (context.pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy")
            assert context.fs_group is not None
            await asyncio.to_thread(
                give_to_group, target, context.fs_group, on_root_mismatch=policy == "OnRootMismatch"
            )
        return target

    def _target(self, uid: str, volume: CsiVolume) -> Path:
        return records.target_of(self._config.pod_dir(uid), self._root, volume.name, block=volume.block)

    async def _publish(
        self, context: VolumeContext, volume: CsiVolume, about: Object, common: Object, target: Path
    ) -> None:
        attributes = dict(volume.attributes)
        if about.get("podInfoOnMount"):
            attributes |= requests.pod_info(context.pod, ephemeral=volume.ephemeral)
        secrets = await self._secrets(context, volume, "nodePublishSecretRef")
        tokens = requests.token_entry(await _tokens(context, about)) if about.get("tokenRequests") else {}
        if about.get("serviceAccountTokenInSecrets"):
            secrets |= tokens
        else:
            attributes |= tokens
        publish = {
            **common, "target_path": str(target), "readonly": volume.read_only, "secrets": secrets,
            "volume_context": attributes,
        }  # fmt: skip
        await self.drivers.call(volume.driver, "NodePublishVolume", publish)

    async def _secrets(self, context: VolumeContext, volume: CsiVolume, field: str) -> dict[str, str]:
        reference = volume.secret_refs.get(field)
        if reference is None:
            return {}
        try:
            secret = await context.objects.get(SECRETS, *reference)
        except (ApiError, ServerUnreachable) as failed:
            raise VolumeFailure(f"fetching {field} {'/'.join(reference)} failed: {failed}") from failed
        return {k: base64.b64decode(v).decode() for k, v in (secret.get("data") or {}).items()}

    # Growing.

    async def _grow(self, context: VolumeContext, volume: CsiVolume, claim: Object, target: Path) -> None:
        """The node's part of an expansion, when the volume has become larger than the claim was told."""
        status = claim.get("status") or {}
        has = (status.get("capacity") or {}).get("storage")
        capabilities = await self.drivers.capabilities(volume.driver)
        larger = has is not None and quantity.value(volume.capacity) > quantity.value(has)
        if not larger or volume.read_only or EXPAND_VOLUME not in capabilities:
            return
        staging = records.staging_of(self._root, volume.driver, volume.handle, volume.name, block=volume.block)
        request: Object = {
            "volume_id": volume.handle, "volume_path": str(target),
            "staging_target_path": str(staging) if STAGE_UNSTAGE in capabilities else "",
            "capacity_range": {"required_bytes": quantity.value(volume.capacity)},
            "volume_capability": requests.capability(volume, capabilities, None),
            "secrets": await self._secrets(context, volume, "nodeExpandSecretRef"),
        }  # fmt: skip
        try:
            await self.drivers.call(volume.driver, "NodeExpandVolume", request)
        except PluginFailure as failed:
            raise VolumeFailure(f'NodeExpandVolume failed for volume "{volume.name}": {failed}') from failed
        changes: Object = {
            "capacity": {"storage": volume.capacity},
            "conditions": [{"type": "FileSystemResizePending", "$patch": "delete"}],
            "allocatedResourceStatuses": None,
        }
        try:
            await self._client.patch(
                PERSISTENTVOLUMECLAIMS, objects.name(claim), {"status": changes},
                namespace=objects.namespace(claim), subresource="status", content_type=STRATEGIC_MERGE_PATCH,
            )  # fmt: skip
        except (ApiError, ServerUnreachable) as failed:
            raise VolumeFailure(f"cannot tell the new size of claim {objects.key(claim)}: {failed}") from failed

    # While it is there.

    def looks_after(self, uid: str) -> bool:
        """Whether something is to be done for a volume of the Pod while it runs."""
        return any(self._again(key) for key in self._used if key[0] == uid)

    def knows(self, uid: str, name: str) -> bool:
        """Whether :meth:`mount` is to be called again, now and then, for a volume of the Pod."""
        return self._again((uid, name))

    def _again(self, key: tuple[str, str]) -> bool:
        """Its driver asks for it (requiresRepublish), or the volume may have grown."""
        volume, republish = self._used.get(key, (None, False))
        return volume is not None and (republish or not volume.ephemeral)

    async def usage(self, uid: str) -> dict[str, Sequence[Object]]:
        """NodeGetVolumeStats of the Pod's volumes that can tell, by their names in the Pod."""
        found: dict[str, Sequence[Object]] = {}
        for (of, name), (volume, _) in list(self._used.items()):
            if of != uid or volume.block:
                continue
            with contextlib.suppress(PluginFailure, VolumeFailure):
                if GET_VOLUME_STATS in await self.drivers.capabilities(volume.driver):
                    asked = {"volume_id": volume.handle, "volume_path": str(self._target(uid, volume))}
                    answer = await self.drivers.call(volume.driver, "NodeGetVolumeStats", asked)
                    found[name] = answer.get("usage") or ()
        return found

    # Down.

    async def unmount(self, uid: str) -> None:
        """Unpublishes the Pod's volumes, and unstages those that no other Pod here has. Idempotent.

        Raises:
            VolumeFailure: a driver is not there, or failed; try again later.
        """
        failure: VolumeFailure | None = None
        for directory, record in await asyncio.to_thread(lambda: list(records.of_pod(self._config.pod_dir(uid)))):
            try:
                async with self.drivers.lock(record.driver, record.handle):
                    await self._take_down(uid, directory, record)
            except (VolumeFailure, PluginFailure, OSError) as failed:
                # The others go all the same.
                failure = VolumeFailure(f'UnmountVolume.TearDown failed for volume "{record.name}": {failed}')
        if failure is not None:
            raise failure
        self._waiting.discard(uid)
        used = [key for key in self._used if key[0] == uid]
        for key in used:
            del self._used[key]
            self._up.discard(key)
        adopted = self._adopted.pop(uid, None) if self._adopted is not None else None
        if used or adopted:
            self._changed()

    async def _take_down(self, uid: str, directory: Path, record: VolumeRecord) -> None:
        target = Path(record.target)
        unpublish = {"volume_id": record.handle, "target_path": record.target}
        await self.drivers.call(record.driver, "NodeUnpublishVolume", unpublish)
        await asyncio.to_thread(_remove_target, target)
        used = await asyncio.to_thread(
            records.others_use, self._config.pods_dir, uid, record.driver, record.handle
        )
        if record.staging and not used:
            unstage = {"volume_id": record.handle, "staging_target_path": record.staging}
            await self.drivers.call(record.driver, "NodeUnstageVolume", unstage)
            await asyncio.to_thread(_remove_target, Path(record.staging))
        await asyncio.to_thread(records.forget, directory)


def _owned_by_group(context: VolumeContext, volume: CsiVolume, about: Object) -> bool:
    """CSIDriver's fsGroupPolicy (documentation page "Volumes"; KEP-1682)."""
    if context.fs_group is None or volume.read_only:
        return False
    policy = about.get("fsGroupPolicy") or "ReadWriteOnceWithFSType"
    if policy == "ReadWriteOnceWithFSType":
        return bool(volume.fs_type) and bool({"ReadWriteOnce", "ReadWriteOncePod"} & set(volume.access_modes))
    return policy == "File"


async def _tokens(context: VolumeContext, about: Object) -> dict[str, tuple[str, float]]:
    found = {}
    for wanted in about["tokenRequests"]:
        audience = wanted.get("audience") or ""
        seconds = int(wanted.get("expirationSeconds") or _DEFAULT_EXPIRATION)
        try:
            token = await context.tokens.get(context.pod, audience, seconds)
        except (ApiError, ServerUnreachable) as failed:
            raise VolumeFailure(f"failed to fetch token for the CSI driver: {failed}") from failed
        found[audience] = token.value, token.expires_at
    return found


def _children(directory: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(directory)]
    except FileNotFoundError:
        return []


def _remove_target(target: Path) -> None:
    """The driver has taken it down; one that left its mount is helped, what is no mount is only removed if empty."""
    while is_mount_point(target):
        unmount(target)
    if target.is_dir():
        with contextlib.suppress(OSError):
            target.rmdir()
        if target.exists() and not any(target.iterdir()):
            shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        target.parent.rmdir()
