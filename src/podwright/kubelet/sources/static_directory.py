"""Static Pods from a directory, watched by inotify: a manifest that appears, changes or goes is seen at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from asyncinotify import Inotify, Mask

from podwright.api import objects
from podwright.api.objects import Object
from podwright.client.clock import Clock
from podwright.kubelet.sources.static_pods import BadManifest, parse

log = logging.getLogger(__name__)

_MASK = (
    Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE | Mask.CREATE | Mask.DELETE_SELF | Mask.MOVE_SELF
)
_MISSING_RETRY = 1.0
_LARGEST = 10 << 20


class StaticPodDirectory:
    """`changed` gets all Pods of the directory whenever they may have changed; `broken` the path and the complaint of a
    manifest that is no Pod. What a broken file said before it broke goes on."""

    def __init__(
        self,
        directory: Path,
        node_name: str,
        clock: Clock,
        changed: Callable[[Sequence[Object]], None],
        broken: Callable[[Path, str], None],
    ) -> None:
        self._directory = directory
        self._node_name = node_name
        self._clock = clock
        self._changed = changed
        self._broken = broken
        self._known: dict[Path, tuple[bytes, Object | None]] = {}

    async def run(self) -> None:
        """Watches until cancelled; a directory that is not there yet is waited for."""
        while True:
            try:
                await self._watch()
            except OSError as failed:
                log.warning("static Pod directory %s: %s", self._directory, failed)
                self.read()
            await self._clock.sleep(_MISSING_RETRY)

    async def _watch(self) -> None:
        with Inotify() as inotify:
            inotify.add_watch(self._directory, _MASK)
            self.read()
            async for event in inotify:
                if event.mask & (Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.IGNORED):
                    self.read()
                    return
                if event.mask & Mask.CREATE and not event.mask & Mask.ISDIR and not self._is_link(event.path):
                    # A new file is complete when it is closed, a new link at once.
                    continue
                self.read()

    @staticmethod
    def _is_link(path: Path | None) -> bool:
        return path is not None and path.is_symlink()

    def read(self) -> None:
        """Reads the directory anew and tells what it has."""
        found: dict[Path, tuple[bytes, Object | None]] = {}
        for path in self._manifests():
            known = self._known.get(path)
            try:
                if path.stat().st_size > _LARGEST:
                    raise BadManifest("file is too large")
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            except (OSError, BadManifest) as wrong:
                self._complain(path, str(wrong))
                if known is not None:
                    found[path] = known
                continue
            if known is not None and known[0] == data:
                found[path] = known
                continue
            found[path] = data, self._parsed(path, data, known[1] if known is not None else None)
        self._known = found
        self._changed([pod for pod in self._unique(found) if pod is not None])

    def _manifests(self) -> list[Path]:
        try:
            entries = sorted(self._directory.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [p for p in entries if not p.name.startswith(".") and p.is_file()]

    def _parsed(self, path: Path, data: bytes, before: Object | None) -> Object | None:
        seen = objects.format_time(self._clock.now())
        try:
            return parse(data, node_name=self._node_name, source="file", origin=str(path), seen=seen)
        except BadManifest as wrong:
            self._complain(path, str(wrong))
            return before

    def _complain(self, path: Path, complaint: str) -> None:
        log.error("static Pod manifest %s: %s", path, complaint)
        self._broken(path, complaint)

    def _unique(self, found: Mapping[Path, tuple[bytes, Object | None]]) -> list[Object]:
        by_name: dict[str, Object] = {}
        for path, (_, pod) in found.items():
            if pod is None:
                continue
            key = objects.key(pod)
            if key in by_name:
                log.error("static Pod manifest %s: %s is defined by another file too", path, key)
            else:
                by_name[key] = pod
        return list(by_name.values())
