"""All volumes of all Pods of the node: set up before containers start, kept up to date, torn down at the end."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.client.clock import Clock
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.containers.downward import DownwardFacts
from podwright.kubelet.referenced_objects import ReferencedObjects
from podwright.kubelet.volumes import atomic_writer, empty_dir, host_path, payloads, persistent
from podwright.kubelet.volumes.certificates import PodCertificates
from podwright.kubelet.volumes.csi import requests as csi_requests
from podwright.kubelet.volumes.csi.volumes import CsiVolumes
from podwright.kubelet.volumes.mount_points import is_mount_point, mount, remove_tree, unmount_below
from podwright.kubelet.volumes.mounted import MountedVolume, PullImage, VolumeContext, VolumeFailure, VolumePending
from podwright.kubelet.volumes.tokens import ServiceAccountTokens
from podwright.runtime.protocol import ImageService

log = logging.getLogger(__name__)

_PLUGINS = {
    "emptyDir": "kubernetes.io~empty-dir",
    "configMap": "kubernetes.io~configmap",
    "secret": "kubernetes.io~secret",
    "downwardAPI": "kubernetes.io~downward-api",
    "projected": "kubernetes.io~projected",
    "persistentVolumeClaim": "kubernetes.io~local-volume",
    "ephemeral": "kubernetes.io~local-volume",
    "nfs": "kubernetes.io~nfs",
}
_IN_MEMORY = ("secret", "downwardAPI", "projected")
_LOOK_AGAIN = 60.0
"""Seconds after which a CSI volume in use is published again if its driver asks for it, and looked at for growth."""


class VolumeManager:
    """Every method is about one Pod at a time and is called by its worker alone."""

    def __init__(
        self,
        config: KubeletConfig,
        referenced: ReferencedObjects,
        tokens: ServiceAccountTokens,
        images: ImageService,
        clock: Clock,
        csi: CsiVolumes,
        certificates: PodCertificates,
    ) -> None:
        self._config = config
        self._objects = referenced
        self._tokens = tokens
        self._images = images
        self._clock = clock
        self.csi = csi
        self.certificates = certificates
        self._looked_after: dict[str, float] = {}
        self._mounted: dict[str, dict[str, MountedVolume]] = {}
        self.node_labels: Mapping[str, str] = {}

    def mounted(self, uid: str) -> Mapping[str, MountedVolume]:
        return self._mounted.get(uid, {})

    def volume_dir(self, uid: str, volume: Object) -> Path:
        """Where the volume of a Pod lies."""
        plugin = _PLUGINS.get(kind_of(volume), "kubernetes.io~" + kind_of(volume).lower())
        return self._config.pod_dir(uid) / "volumes" / plugin / str(volume["name"])

    def is_mounted(self, pod: Object) -> bool:
        known = self._mounted.get(objects.uid(pod), {})
        return all(v["name"] in known for v in pod["spec"].get("volumes") or ())

    async def mount(self, pod: Object, facts: DownwardFacts, pull_image: PullImage) -> Mapping[str, MountedVolume]:
        """Sets up what is not yet, all at the same time.

        Raises:
            VolumeFailure: one of them cannot be now; "MountVolume.SetUp failed for volume …".
        """
        uid = objects.uid(pod)
        known = self._mounted.setdefault(uid, {})
        missing = [v for v in pod["spec"].get("volumes") or () if v["name"] not in known]
        failures: list[VolumeFailure] = []

        async def one(volume: Object) -> None:
            try:
                known[volume["name"]] = await self._set_up(pod, volume, facts, pull_image)
            except VolumePending as pending:
                failures.append(pending)
            except (VolumeFailure, OSError, atomic_writer.BadPayload) as failed:
                failures.append(
                    VolumeFailure(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {failed}')
                )

        async with asyncio.TaskGroup() as group:
            for volume in missing:
                group.create_task(one(volume))
        if failures:
            # What is merely waited for is said only if nothing is wrong.
            raise min(failures, key=lambda failure: isinstance(failure, VolumePending))
        return known

    def _context(self, pod: Object, volume: Object, facts: DownwardFacts, pull: PullImage | None) -> VolumeContext:
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        return VolumeContext(
            pod=pod,
            volume=volume["name"],
            directory=self.volume_dir(objects.uid(pod), volume),
            objects=self._objects,
            tokens=self._tokens,
            images=self._images,
            facts=facts,
            fs_group=None if group is None else int(group),
            host_node_labels=self.node_labels,
            pull_image=pull,
            certificates=self.certificates,
        )

    async def _set_up(self, pod: Object, volume: Object, facts: DownwardFacts, pull: PullImage) -> MountedVolume:
        context = self._context(pod, volume, facts, pull)
        kind, name = kind_of(volume), volume["name"]
        if kind in _WRITTEN:
            payload = await _WRITTEN[kind](context, volume[kind])
            await asyncio.to_thread(self._write, context, payload, kind in _IN_MEMORY)
            return MountedVolume(name, context.directory, read_only=True)
        if kind == "emptyDir":
            return MountedVolume(name, await asyncio.to_thread(empty_dir.setup, context, volume[kind] or {}))
        if kind == "hostPath":
            return MountedVolume(name, await asyncio.to_thread(host_path.setup, volume[kind]))
        if kind in ("persistentVolumeClaim", "ephemeral"):
            return await persistent.setup(context, volume, self.csi)
        if kind == "csi":
            return await self.csi.mount(context, name, csi_requests.of_inline(pod, volume), None)
        if kind == "image":
            return await _image(context, volume)
        if kind == "nfs":
            path = await asyncio.to_thread(persistent.mount_nfs, context.directory, {"nfs": volume["nfs"]})
            return MountedVolume(name, path, bool(volume["nfs"].get("readOnly")))
        raise VolumeFailure(f"no volume plugin matched for {kind or 'a volume without a source'}")

    def _write(self, context: VolumeContext, payload: atomic_writer.Payload, in_memory: bool) -> bool:
        directory = context.directory
        fresh = not directory.is_dir()
        directory.mkdir(parents=True, exist_ok=True)
        if in_memory and (fresh or not is_mount_point(directory)):
            # Secrets never reach a disk.
            mount("tmpfs", directory, "tmpfs", 0, "size=64m,mode=0755" if payload else "size=1m,mode=0755")
        changed = atomic_writer.write(directory, payload, group=context.fs_group)
        directory.chmod(0o777)
        if context.fs_group is not None:
            os.chown(directory, -1, context.fs_group)
            directory.chmod(0o2777)
        return changed

    async def refresh(self, pod: Object, facts: DownwardFacts) -> None:
        """Writes anew what changed in configMap, secret, downwardAPI and projected volumes.

        Raises:
            VolumeFailure
        """
        known = self._mounted.get(objects.uid(pod), {})
        look = self._clock.now() - self._looked_after.get(objects.uid(pod), 0.0) >= _LOOK_AGAIN
        if look:
            self._looked_after[objects.uid(pod)] = self._clock.now()
        for volume in pod["spec"].get("volumes") or ():
            kind = kind_of(volume)
            if volume["name"] not in known:
                continue
            context = self._context(pod, volume, facts, None)
            if look and self.csi.knows(objects.uid(pod), volume["name"]):
                await (persistent.setup(context, volume, self.csi) if kind != "csi" else
                       self.csi.mount(context, volume["name"], csi_requests.of_inline(pod, volume), None))  # fmt: skip
            if kind not in _WRITTEN:
                continue
            try:
                payload = await _WRITTEN[kind](context, volume[kind])
                if await asyncio.to_thread(self._write, context, payload, kind in _IN_MEMORY):
                    log.debug("volume %s of %s changed", volume["name"], pods.describe(pod))
            except (OSError, atomic_writer.BadPayload) as failed:
                raise VolumeFailure(f'volume "{volume["name"]}": {failed}') from failed

    def next_refresh(self, uid: str) -> float | None:
        """Seconds until something of the Pod has to be renewed or looked at, None if nothing has."""
        dues = (self._tokens.next_renewal(uid), self.certificates.next_renewal(uid))
        left = [due - self._clock.now() for due in dues if due is not None]
        if self.csi.looks_after(uid):
            left.append(self._looked_after.setdefault(uid, self._clock.now()) + _LOOK_AGAIN - self._clock.now())
        return max(0.0, min(left)) if left else None

    async def unmount(self, uid: str) -> None:
        """Unmounts and removes everything of the Pod that is on disk, whatever state it is in. Idempotent.

        Raises:
            VolumeFailure: something is still in use; try again later.
        """
        self._objects.release(uid)
        self._tokens.forget(uid)
        self.certificates.forget(uid)
        self._looked_after.pop(uid, None)
        await self.csi.unmount(uid)
        try:
            await asyncio.to_thread(_remove_pod_dir, self._config.pod_dir(uid))
        except OSError as failed:
            raise VolumeFailure(f"cannot remove {failed.filename}: {failed.strerror}") from failed
        self._mounted.pop(uid, None)

    def uids_on_disk(self) -> set[str]:
        try:
            return {entry.name for entry in self._config.pods_dir.iterdir() if entry.is_dir()}
        except FileNotFoundError:
            return set()


def _remove_pod_dir(directory: Path) -> None:
    if directory.exists():
        unmount_below(directory)
        remove_tree(directory)


async def _image(context: VolumeContext, volume: Object) -> MountedVolume:
    assert context.pull_image is not None
    source = volume["image"]
    reference = source.get("reference") or ""
    image_id = await context.pull_image(context.pod, reference, source.get("pullPolicy") or "IfNotPresent")
    found = await context.images.image_status(image_id)
    digests = found.repo_digests if found is not None else ()
    return MountedVolume(volume["name"], Path(), True, image_id, digests[0] if digests else image_id)


_WRITTEN: Mapping[str, Callable[[VolumeContext, Object], Any]] = {
    "configMap": payloads.config_map,
    "secret": payloads.secret,
    "downwardAPI": payloads.downward_api,
    "projected": payloads.projected,
}


def kind_of(volume: Object) -> str:
    """The name of the volume's source field."""
    return next((k for k in volume if k != "name"), "")
