"""``podwright backup``, ``restore`` and ``migrate``: a cluster's data as a file, and from one store to another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from podwright.cluster import processes
from podwright.cluster.down import find_cluster
from podwright.cluster.layout import Layout
from podwright.cluster.spec import ClusterSpec
from podwright.store import backup as copies
from podwright.store import migrate as migration
from podwright.store.protocol import Store, StoreUnavailable
from podwright.store.urls import open_store


class DataRefused(Exception):
    """The message says why it cannot be done now, or not with this store."""


def backup(name: str, destination: Path) -> int:
    """Writes the store of the cluster, running or not, to a file and gives the copy's revision.

    Raises:
        NoSuchCluster, DataRefused, StoreUnavailable.
    """
    spec, layout, _ = find_cluster(name)
    store = _store_file(spec, layout)
    if destination.exists() and store.exists() and destination.samefile(store):
        raise DataRefused(f"{destination} is the store itself: name another file")
    return copies.backup(store, destination)


def restore(name: str, backup_file: Path) -> int:
    """Puts a backup in the place of the store of a cluster that is down; gives the newest revision after it.

    Raises:
        NoSuchCluster, DataRefused, StoreUnavailable.
    """
    spec, layout, _ = find_cluster(name)
    store = _store_file(spec, layout)
    running = processes.find(layout, "server")
    if running is not None:
        raise DataRefused(
            f"the server of cluster {name} runs (pid {running.pid}): podwright down --name {name}, then restore"
        )
    return copies.restore(backup_file, store)


def migrate(source: str, target: str, progress: Callable[[int], None] = lambda _: None) -> int:
    """Copies everything from one store URL to another, compares, and gives the number of entries.

    Raises:
        DataRefused: a URL names no store, or the source's file is not there. MigrationFailed, StoreUnavailable.
    """
    try:
        one, other = open_store(source), open_store(target)
    except ValueError as wrong:
        raise DataRefused(str(wrong)) from wrong
    if source == target:
        raise DataRefused(f"--from and --to are the same store: {source}")
    parts = urlsplit(source)
    # Opening would make an empty store there, and report that nothing was copied.
    if parts.scheme == "sqlite" and not Path(unquote(parts.path)).is_file():
        raise DataRefused(f"store {source}: there is no such file")
    try:
        return asyncio.run(_migrate(one, other, progress))
    except ExceptionGroup as failed:
        refused = failed.subgroup(StoreUnavailable)
        if refused is None:
            raise
        raise DataRefused(str(processes.innermost(refused))) from failed


async def _migrate(source: Store, target: Store, progress: Callable[[int], None]) -> int:
    async with contextlib.AsyncExitStack() as stack:
        for store in (source, target):
            await store.open()
            stack.push_async_callback(store.close)
        return await migration.migrate(source, target, progress=progress)


def _store_file(spec: ClusterSpec, layout: Layout) -> Path:
    if not spec.store:
        return layout.store_file
    parts = urlsplit(spec.store)
    if parts.scheme != "sqlite":
        raise DataRefused(
            f"cluster {spec.name} keeps its data in {spec.store}: use etcdctl snapshot, or podwright migrate to a file"
        )
    return Path(unquote(parts.path))
