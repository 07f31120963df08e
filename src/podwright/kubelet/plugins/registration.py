"""The plugin watcher: every socket in the registry directory is asked what it is, and its plugin registered
(KEP-595)."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asyncinotify import Inotify, Mask

from podwright.client.backoff import Backoff
from podwright.client.clock import Clock
from podwright.kubelet.plugins.sockets import PluginFailure, PluginSocket

log = logging.getLogger(__name__)

_SERVICE = "pluginregistration.Registration"
_MASK = Mask.CREATE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE | Mask.DELETE_SELF | Mask.MOVE_SELF
_TIMEOUT = 10.0
_RETRY = 5.0


class BadPlugin(Exception):
    """The plugin cannot be registered; the message is told to it."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """What a registration socket said of its plugin."""

    name: str
    endpoint: Path
    versions: Sequence[str]


@dataclass(frozen=True, slots=True)
class PluginKind:
    """What is done with plugins of one type. `register` raises BadPlugin or PluginFailure."""

    register: Callable[[Plugin], Awaitable[None]]
    deregister: Callable[[Plugin], Awaitable[None]]


class PluginWatcher:
    """`kinds` are the handlers by a plugin's type ("CSIPlugin"). Run :meth:`run` as a task."""

    def __init__(self, directory: Path, kinds: Mapping[str, PluginKind], clock: Clock) -> None:
        self._directory = directory
        self._kinds = kinds
        self._clock = clock
        self._plugins: dict[Path, tuple[int, asyncio.Task[None]]] = {}
        """Socket → its inode and the task that stands for it."""

    async def run(self) -> None:
        """Watches until cancelled; sockets that are there already count as new."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self._watch(group)
                except OSError as failed:
                    # The machine is out of watches, or the directory went: plugins wait, nothing else does.
                    log.warning("plugin directory %s: %s", self._directory, failed)
                    await self._clock.sleep(_RETRY)

    async def _watch(self, group: asyncio.TaskGroup) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        with Inotify() as inotify:
            inotify.add_watch(self._directory, _MASK)
            self._look(group)
            async for event in inotify:
                self._look(group)
                if event.mask & (Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.IGNORED):
                    return

    def _look(self, group: asyncio.TaskGroup) -> None:
        found = {path: inode for path in self._directory.glob("*") if (inode := _socket_inode(path))}
        for path, (inode, task) in list(self._plugins.items()):
            if found.get(path) != inode:
                del self._plugins[path]
                task.cancel()
        for path, inode in found.items():
            if path not in self._plugins:
                self._plugins[path] = inode, group.create_task(self._stand_for(path), name=f"plugin {path.name}")

    async def _stand_for(self, path: Path) -> None:
        """Registers it, trying again until that is done, and takes it out again when cancelled."""
        backoff = Backoff(first=0.1, maximum=30.0)
        while True:
            try:
                kind, plugin = await self._register(path)
                break
            except (PluginFailure, BadPlugin, OSError) as failed:
                log.warning("plugin at %s is not registered: %s", path, failed)
                await self._clock.sleep(backoff.next())
        try:
            await asyncio.Event().wait()
        finally:
            # The node itself may be ending: then its plugins stay what they are in the API.
            if path not in self._plugins:
                await kind.deregister(plugin)

    async def _register(self, path: Path) -> tuple[PluginKind, Plugin]:
        async with PluginSocket(path) as socket:
            info = await socket.call(_SERVICE, "GetInfo", {}, timeout=_TIMEOUT)
            name = str(info.get("name") or "")
            plugin = Plugin(name, Path(info.get("endpoint") or path), info.get("supported_versions") or ())
            kind = self._kinds.get(str(info.get("type")))
            complaint = ""
            try:
                if kind is None:
                    raise BadPlugin(f"no handler registered for plugin type: {info.get('type')} at socket {path}")
                await kind.register(plugin)
            except (BadPlugin, PluginFailure) as failed:
                complaint = str(failed)
            answer = {"plugin_registered": not complaint, "error": complaint}
            await socket.call(_SERVICE, "NotifyRegistrationStatus", answer, timeout=_TIMEOUT)
        if kind is None or complaint:
            raise BadPlugin(complaint)
        return kind, plugin


def _socket_inode(path: Path) -> int:
    """0 if it is none (any more)."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    return found.st_ino if stat.S_ISSOCK(found.st_mode) and not path.name.startswith(".") else 0
