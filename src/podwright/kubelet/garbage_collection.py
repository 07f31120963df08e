"""Clearing away what no Pod needs any more: images when the disk fills, log directories of Pods that are gone
(documentation page "Garbage collection of unused containers and images")."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil

from podwright.client.clock import Clock
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.images import ImageManager
from podwright.kubelet.runtime_cache import RuntimeCache
from podwright.runtime.protocol import ContainerRuntime, Image, ImageService, RuntimeFailure

log = logging.getLogger(__name__)


class GarbageCollector:
    """Dead containers are cleared away by their Pod's worker as new ones start; this is for the rest. Run :meth:`run`
    as a task."""

    def __init__(
        self,
        config: KubeletConfig,
        runtime: ContainerRuntime,
        images: ImageService,
        used: ImageManager,
        cache: RuntimeCache,
        clock: Clock,
    ) -> None:
        self._config = config
        self._runtime = runtime
        self._images = images
        self._used = used
        self._cache = cache
        self._clock = clock
        self._first_seen: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            await self._clock.sleep(self._config.image_gc_period)
            try:
                await self.collect_images()
            except (RuntimeFailure, OSError) as failed:
                log.warning("image garbage collection: %s", failed)
            await asyncio.to_thread(self.collect_logs)

    async def collect_images(self) -> int:
        """If the images' disk is fuller than the high threshold, removes unused images, the longest unused first, until
        it is below the low one. Gives the bytes freed."""
        usage = await self._images.filesystem_usage()
        disk = os.statvfs(usage.mountpoint)
        total, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
        used_percent = 100 - free * 100 // total if total else 0
        if used_percent < self._config.image_gc_high_threshold:
            return 0
        wanted = total * (100 - self._config.image_gc_low_threshold) // 100 - free
        log.info("disk of images is %d %% full: freeing %d bytes", used_percent, wanted)
        return await self.free(wanted)

    async def free(self, wanted: int) -> int:
        """Removes unused images until `wanted` bytes are freed; gives how many were."""
        freed = 0
        for image in await self._unused():
            if freed >= wanted:
                break
            try:
                await self._images.remove_image(image.id)
            except RuntimeFailure as failed:
                log.info("image %s cannot be removed: %s", image.id, failed)
                continue
            freed += image.size
        if freed:
            self._used.access.retain([image.id for image in await self._images.list_images()])
        return freed

    async def _unused(self) -> list[Image]:
        now = self._clock.now()
        in_use: set[str] = set()
        for uid in self._cache.uids():
            for container in self._cache.pod(uid).containers:
                in_use |= {container.image, container.image_ref}
                in_use |= {m.image for m in container.mounts if m.image}
        found = []
        for image in await self._images.list_images():
            first = self._first_seen.setdefault(image.id, now)
            names = {image.id, *image.repo_tags, *image.repo_digests}
            if image.pinned or names & in_use:
                continue
            last = max(self._used.last_used(image.id), first)
            if now - last >= self._config.image_minimum_age:
                found.append((last, image))
        return [image for _, image in sorted(found, key=lambda pair: pair[0])]

    def collect_logs(self) -> None:
        """Removes log directories of Pods of which the runtime has nothing."""
        known = self._cache.uids()
        try:
            directories = list(self._config.logs_dir.iterdir())
        except FileNotFoundError:
            return
        for directory in directories:
            uid = directory.name.rpartition("_")[2]
            if uid not in known and self._clock.now() - directory.stat().st_mtime > self._config.image_minimum_age:
                shutil.rmtree(directory, ignore_errors=True)
