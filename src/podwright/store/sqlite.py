"""The store in one SQLite file: the default, for control planes on one machine.

Writes go to the thread of :mod:`podwright.store.sqlite_writer`, lists and logs to a few reading threads. A single `get`
is answered on the event loop: in write-ahead mode a reader waits for nobody, and a look-up takes a fraction of what it
takes to go to another thread and back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

import apsw

from podwright.store import sqlite_reader
from podwright.store.protocol import Compacted, Entry, Page, StoreUnavailable, Watch
from podwright.store.sqlite_checkpoints import Checkpoints
from podwright.store.sqlite_file import FileLock, connect, explained, prepare
from podwright.store.sqlite_group import Request, Verb
from podwright.store.sqlite_reader import LogPage
from podwright.store.sqlite_watch import SqliteWatch, Subscriptions
from podwright.store.sqlite_writer import Committed, Writer

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_LOG_PAGE = 256
_IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # None: wherever temporary files go


class SqliteStore:
    """See protocol.Store. Only one at a time can have the file open; a second one, in whatever process, is told so.

    Args:
        path: the database file; SQLite keeps two more beside it, and we a lock file. The directory is made.
        watch_backlog: changes held for a slow watch before it has to go back to the log on disk.
        cache_bytes: values written last that are kept to tell the `previous` of their next change.
        synchronous: SQLite's setting. Anything but FULL can lose acknowledged writes in a power cut.
        vfs: name of the SQLite VFS to use, for tests of power loss.
    """

    def __init__(
        self, path: str | Path, *, watch_backlog: int = 10_000, cache_bytes: int = 8 * 1024 * 1024,
        synchronous: str = "FULL", vfs: str | None = None,
    ) -> None:
        self.path = Path(path)
        self._watch_backlog = watch_backlog
        self._cache_bytes = cache_bytes
        self._synchronous = synchronous
        self._vfs = vfs
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="podwright-store-reader")
        self._idle: queue.SimpleQueue[apsw.Connection] = queue.SimpleQueue()
        self._subscriptions = Subscriptions()
        self._resources = contextlib.ExitStack()
        self._revision = 0
        self._compacted = 0
        self._is_open = False

    async def open(self) -> None:
        """Raises StoreUnavailable: the file is in use, damaged, not ours, or cannot be read or written."""
        self._loop = asyncio.get_running_loop()
        await self._loop.run_in_executor(None, self._open)
        self._is_open = True

    def _open(self) -> None:
        with contextlib.ExitStack() as resources, explained(self.path):
            resources.callback(self._readers.shutdown)
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreUnavailable(f"store {self.path}: cannot make its directory: {error}") from error
            resources.callback(FileLock(self.path).release)
            writing = self._connect(resources, writable=True)
            prepare(writing, self.path)
            checkpoints = Checkpoints(writing, self._connect(resources, writable=True))
            self._writer = Writer(
                writing, self.path, checkpoints=checkpoints, deliver=self._deliver, cache_bytes=self._cache_bytes,
            )
            self._reader = self._connect(resources, writable=False)
            for _ in range(2):
                self._idle.put(self._connect(resources, writable=False))
            self._revision = sqlite_reader.newest(self._reader)
            self._compacted = sqlite_reader.compacted(self._reader)
            checkpoints.start()
            resources.callback(checkpoints.stop)
            self._writer.start()
            resources.callback(self._writer.stop)
            self._resources = resources.pop_all()

    def _connect(self, resources: contextlib.ExitStack, *, writable: bool) -> apsw.Connection:
        connection = connect(self.path, writable=writable, synchronous=self._synchronous, vfs=self._vfs)
        resources.callback(connection.close)
        return connection

    async def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        await self._loop.run_in_executor(None, self._close)
        self._subscriptions.fail(StoreUnavailable(f"store {self.path}: closed"))

    def _close(self) -> None:
        self._readers.shutdown()
        with explained(self.path):
            self._resources.close()

    async def revision(self) -> int:
        self._check_open()
        return self._revision

    async def get(self, key: str) -> Entry | None:
        self._check_open()
        with explained(self.path):
            return sqlite_reader.get(self._reader, key)

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        return await self._read(sqlite_reader.list_page, prefix, start, limit, revision)

    async def create(self, key: str, value: bytes) -> Entry:
        return cast("Entry", await self._write(Verb.CREATE, key, value, 0))

    async def update(self, key: str, value: bytes, *, expected: int) -> Entry:
        return cast("Entry", await self._write(Verb.UPDATE, key, value, expected))

    async def delete(self, key: str, *, expected: int = 0) -> tuple[Entry, int]:
        return cast("tuple[Entry, int]", await self._write(Verb.DELETE, key, b"", expected))

    async def watch(self, prefix: str, *, after: int) -> Watch:
        self._check_open()
        if max(after, 1) < self._compacted:
            raise Compacted(self._compacted)
        return SqliteWatch(
            prefix, after, behind=after < self._revision, read_log=self._read_log, subscriptions=self._subscriptions,
            backlog=self._watch_backlog,
        )

    async def compact(self, revision: int) -> None:
        """Returns when the superseded values are deleted. Lists and watches from before `revision` are refused from the
        start of that on; free space goes back to the file system afterwards, in the background.

        Raises FutureRevision.
        """
        await self._write(Verb.COMPACT, "", b"", revision)

    async def size(self) -> int:
        """Bytes of the file and its write-ahead log."""
        self._check_open()
        paths = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable(f"store {self.path}: not open")

    async def _write(self, verb: Verb, key: str, value: bytes, expected: int) -> object:
        self._check_open()
        key.encode()  # here a key that is no Unicode text fails alone, in the transaction it would fail others
        future: asyncio.Future[object] = self._loop.create_future()
        self._writer.submit(Request(verb, key, value, expected, future))
        return await future

    def _deliver(self, committed: Committed) -> None:
        # The loop is closed when its owner did not care to close the store: then nobody waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._delivered, committed)

    def _delivered(self, committed: Committed) -> None:
        self._revision = committed.revision
        self._compacted = committed.compacted
        # Watches first: who wrote then need not wait for a cache that follows one.
        if committed.changes:
            self._subscriptions.publish(committed.changes)
        for future, result in committed.outcomes:
            if future.done():  # the caller was cancelled; the write stands
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    async def _read_log(self, prefix: str, after: int) -> LogPage:
        return await self._read(sqlite_reader.log_page, prefix, after, _LOG_PAGE)

    async def _read(
        self,
        function: Callable[Concatenate[apsw.Connection, _Arguments], _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result:
        self._check_open()

        def read() -> _Result:
            connection = self._idle.get()
            try:
                with explained(self.path):
                    return function(connection, *args, **kwargs)
            finally:
                self._idle.put(connection)

        return await self._loop.run_in_executor(self._readers, read)


class MemoryStore(SqliteStore):
    """A store for tests: the same code on files in memory, gone when it is closed."""

    def __init__(self, *, watch_backlog: int = 10_000, cache_bytes: int = 8 * 1024 * 1024) -> None:
        super().__init__("store.db", watch_backlog=watch_backlog, cache_bytes=cache_bytes, synchronous="OFF")

    async def open(self) -> None:
        directory = tempfile.mkdtemp(prefix="podwright-store-", dir=_IN_MEMORY)
        self.path = Path(directory) / "store.db"
        await super().open()

    async def close(self) -> None:
        was_open = self._is_open
        await super().close()
        if was_open:
            await self._loop.run_in_executor(None, shutil.rmtree, self.path.parent, True)
