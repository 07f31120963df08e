"""Container logs kept within bounds: rotated by size, a number of files each, the older ones compressed."""

from __future__ import annotations

import asyncio
import gzip
import logging
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from podwright.client.clock import Clock
from podwright.kubelet.runtime_cache import RuntimeCache
from podwright.runtime.protocol import Container, ContainerRuntime, RuntimeFailure

log = logging.getLogger(__name__)

_PERIOD = 1.0
_SHORTEST = 0.1
_FLOOD = 10.0
"""A log that is full again within this many seconds is not compressed: that would cost more than it saves."""


class LogRotation:
    """A log larger than `max_size` bytes is renamed with a stamp and the runtime opens a new one; `max_files` counts
    the one that is written too. Run :meth:`run` as a task."""

    def __init__(
        self, runtime: ContainerRuntime, cache: RuntimeCache, clock: Clock, *, max_size: int, max_files: int
    ) -> None:
        self._runtime = runtime
        self._cache = cache
        self._clock = clock
        self._max_size = max_size
        self._max_files = max(2, max_files)
        self._sizes: dict[str, tuple[float, int]] = {}
        self._looked: dict[str, float] = {}
        self._rotated: dict[str, float] = {}

    async def run(self) -> None:
        """Looks every second (upstream: ten), and sooner where a log fills faster than that."""
        while True:
            await self._clock.sleep(self._due())
            for container in self._running():
                try:
                    await self.look(container)
                except (OSError, RuntimeFailure) as failed:
                    log.warning("log of container %s not rotated: %s", container.id, failed)

    def _running(self) -> Iterable[Container]:
        running = [c for uid in self._cache.uids() for c in self._cache.pod(uid).running()]
        known = {c.id for c in running}
        for gone in [i for i in self._sizes if i not in known]:
            del self._sizes[gone]
            self._looked.pop(gone, None)
            self._rotated.pop(gone, None)
        return running

    def _due(self) -> float:
        """Seconds until the fastest log is full at its rate so far."""
        fullest = min((left for left, _ in self._sizes.values()), default=_PERIOD)
        return min(_PERIOD, max(_SHORTEST, fullest))

    async def look(self, container: Container) -> None:
        """Rotates the container's log if it is too large.

        Raises:
            OSError, RuntimeFailure
        """
        try:
            size = container.log_path.stat().st_size
        except FileNotFoundError:
            return
        before = self._sizes.get(container.id, (_PERIOD, 0))[1]
        now = self._clock.monotonic()
        elapsed = max(now - self._looked.get(container.id, now - _PERIOD), 0.001)
        self._looked[container.id] = now
        grown = max(0, size - before)
        left = (self._max_size - size) / grown * elapsed if grown else _PERIOD
        self._sizes[container.id] = (left, size)
        if size > self._max_size:
            flood = now - self._rotated.get(container.id, float("-inf")) < _FLOOD
            self._rotated[container.id] = now
            await self._rotate(container, compress=not flood)
            self._sizes[container.id] = (self._max_size / max(1, grown) * elapsed, 0)

    async def _rotate(self, container: Container, *, compress: bool) -> None:
        path = container.log_path
        await asyncio.to_thread(self._tidy, path, compress)
        stamp = self._stamp()
        rotated = path.with_name(f"{path.name}.{stamp}")
        path.rename(rotated)
        try:
            await self._runtime.reopen_container_log(container.id)
        except RuntimeFailure:
            # Whoever writes goes on writing into the renamed file: give it its name back.
            rotated.rename(path)
            raise

    def _stamp(self) -> str:
        now = self._clock.now()
        return time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"{int(now * 1000) % 1000:03d}"

    def _tidy(self, path: Path, compress: bool) -> None:
        """Drops the oldest rotated logs and compresses the others."""
        rotated = sorted(p for p in path.parent.glob(path.name + ".*") if not p.name.endswith(".tmp"))
        for old in rotated[: max(0, len(rotated) - (self._max_files - 2))]:
            old.unlink(missing_ok=True)
        for old in rotated[max(0, len(rotated) - (self._max_files - 2)) :] if compress else ():
            if old.suffix != ".gz" and old.exists():
                packed = old.with_name(old.name + ".gz.tmp")
                with old.open("rb") as source, gzip.open(packed, "wb") as target:
                    shutil.copyfileobj(source, target)
                packed.rename(old.with_name(old.name + ".gz"))
                old.unlink()
