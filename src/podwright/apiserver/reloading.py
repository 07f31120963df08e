"""Files that are taken over while the server runs, when they change: by inotify, and looked at once a minute, as
upstream does. What cannot be taken over is told and counted, and what was there stays in force."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from base64 import b32encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

from asyncinotify import Inotify, Mask
from prometheus_client import CollectorRegistry, Counter, Gauge

from podwright.api.status import ApiError
from podwright.store.protocol import StoreUnavailable

_log = logging.getLogger(__name__)

INTERVAL = 60.0
_GONE = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.IGNORED
_CHANGES = Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.CREATE | Mask.DELETE_SELF | Mask.MOVE_SELF


async def changes(files: Iterable[Path], *, interval: float = INTERVAL) -> AsyncIterator[None]:
    """At once, whenever one of the files may have changed, and at the latest after `interval` seconds."""
    names = {path.name for path in files}
    directories = {path.parent for path in files}
    while True:
        with Inotify() as inotify:
            try:
                for directory in directories:
                    inotify.add_watch(directory, _CHANGES)
            except OSError as failed:
                _log.warning("%s: %s", directory, failed)
            gone = False
            while not gone:
                yield
                gone = await _changed(inotify, names, interval)


async def _changed(inotify: Inotify, names: set[str], interval: float) -> bool:
    """When something happened to a file of these names, or a link (of a mounted ConfigMap, all files are behind one);
    whether a directory went."""
    try:
        async with asyncio.timeout(interval):
            while True:
                event = await inotify.get()
                if event.mask & _GONE:
                    return True
                is_link = event.path is not None and event.path.is_symlink()
                # A new file is complete when it is closed, a new link at once.
                if is_link or (str(event.name) in names and not event.mask & Mask.CREATE):
                    return False
    except TimeoutError:
        return True


@dataclass(slots=True)
class _Followed:
    what: str
    files: Sequence[Path]
    take: Callable[[], Awaitable[None]]
    counted: Reloads | None
    seen: list[bytes]

    async def look(self) -> None:
        try:
            found = [path.read_bytes() for path in self.files]
            if found == self.seen:
                return
            await self.take()
        except (OSError, ApiError, StoreUnavailable) as failed:
            self._failed(failed)  # it may yet come right
        except Exception as failed:
            self.seen = found
            self._failed(failed)
        else:
            self.seen = found
            _log.info("%s: taken over anew", self.what)
            if self.counted is not None:
                self.counted.succeeded(b"".join(found))

    def _failed(self, failed: Exception) -> None:
        _log.error("%s: not taken over, what was there stays: %s", self.what, failed)
        if self.counted is not None:
            self.counted.failed()


class Reloads:
    """What upstream counts about one of the configuration files (`kind`: authentication, authorization, encryption)."""

    def __init__(self, registry: CollectorRegistry, kind: str, data: bytes) -> None:
        host = hashlib.sha256(gethostname().encode()).digest()[:16]
        self._server = _hash(b"apiserver-" + b32encode(host).rstrip(b"=").lower())
        prefix, labels = f"apiserver_{kind}_config_controller", ("status", "apiserver_id_hash")
        self._total = Counter(
            f"{prefix}_automatic_reloads", "Reloads of the configuration.", labels, registry=registry
        )
        self._last = Gauge(
            f"{prefix}_automatic_reload_last_timestamp_seconds", "When it was last reloaded.", labels, registry=registry
        )
        self._info = Gauge(
            f"{prefix}_last_config_info", "What is in force, by its hash.", ("apiserver_id_hash", "hash"),
            registry=registry,
        )
        self._in_force(data)

    def _in_force(self, data: bytes) -> None:
        self._info.clear()
        self._info.labels(self._server, _hash(data)).set(1)

    def succeeded(self, data: bytes) -> None:
        self._count("success")
        self._in_force(data)

    def failed(self) -> None:
        self._count("failure")

    def _count(self, status: str) -> None:
        self._total.labels(status, self._server).inc()
        self._last.labels(status, self._server).set_to_current_time()


def _hash(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Reloader:
    """Follows files from when they were read at the start."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._followed: list[_Followed] = []

    def follow(
        self, what: str, files: Iterable[Path | None], take: Callable[[], Awaitable[None]], *, kind: str = ""
    ) -> None:
        """Calls `take` when the files have changed; it raises whatever if they are of no use. With `kind` it is counted
        as upstream counts it. Raises OSError if there is none."""
        present = [path for path in files if path is not None]
        if present:
            seen = [path.read_bytes() for path in present]
            counted = Reloads(self._registry, kind, b"".join(seen)) if kind else None
            self._followed.append(_Followed(what, present, take, counted, seen))

    async def run(self) -> None:
        """Until cancelled."""
        async for _ in changes([path for followed in self._followed for path in followed.files]):
            for followed in self._followed:
                await followed.look()
