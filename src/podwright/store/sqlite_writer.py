"""The one thread that writes the SQLite file.

Everything that was asked for while the disk was busy becomes one transaction with one sync (group commit). A condition
in it sees the writes before it in the same transaction. The event loop hears of a transaction once, after the sync. A
write that finds the disk idle goes at once.

All rows of a transaction are inserted by few statements, as each statement lets go of the interpreter lock and may have
to wait for the event loop to get it back.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw

from podwright.store import sqlite_reader
from podwright.store.protocol import Change, FutureRevision, StoreUnavailable
from podwright.store.sqlite_checkpoints import Checkpoints
from podwright.store.sqlite_file import unavailable
from podwright.store.sqlite_group import Group, Latest, Request, Row, Verb
from podwright.store.sqlite_upkeep import Upkeep

_log = logging.getLogger(__name__)

Outcome = tuple["asyncio.Future[object]", object]
"""A future and its result; an exception instance is for raising."""


@dataclass(slots=True)
class Committed:
    """What one transaction did: what each caller gets, the changes in revision order, and the newest revision and the
    compacted one after it."""

    outcomes: Sequence[Outcome]
    changes: Sequence[Change]
    revision: int
    compacted: int


_LARGEST_BATCH = 512
_LARGEST_INSERT = 64


class Writer:
    """Runs the thread. `deliver` is called in the thread, after each transaction, in order."""

    def __init__(
        self, connection: apsw.Connection, path: Path, *, checkpoints: Checkpoints,
        deliver: Callable[[Committed], None], cache_bytes: int,
    ) -> None:
        """Raises apsw.Error."""
        self._connection = connection
        self._path = path
        self._checkpoints = checkpoints
        self._deliver = deliver
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._latest = Latest(connection, cache_bytes)
        self._upkeep = Upkeep(connection)
        self._revision = sqlite_reader.newest(connection)
        self._broken: StoreUnavailable | None = None
        self._thread = threading.Thread(target=self._run, name="podwright-store-writer", daemon=True)

    def start(self) -> None:
        """Starts the thread. From here on the connection belongs to it."""
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Queues a request; never waits."""
        self._requests.put(request)

    def stop(self) -> None:
        """Waits until everything that was queued is done and the thread has ended. Blocks."""
        self._requests.put(None)
        self._thread.join()

    def _run(self) -> None:
        running = True
        while running:
            batch, running = self._take(wait=not self._upkeep.pending)
            self._commit(batch)
            self._checkpoints.after_commit()
        abandoned = self._upkeep.rolled_back()  # the rest of a compaction goes on after the next open
        if abandoned:
            self._refuse(abandoned, StoreUnavailable(f"store {self._path}: closed"))

    def _take(self, *, wait: bool) -> tuple[list[Request], bool]:
        """Everything that is queued, and whether more may come."""
        batch: list[Request] = []
        try:
            request = self._requests.get(block=wait)
            while request is not None:
                batch.append(request)
                if len(batch) == _LARGEST_BATCH:
                    return batch, True
                request = self._requests.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _commit(self, batch: Sequence[Request]) -> None:
        group = Group(self._latest, self._revision)
        outcomes: list[Outcome] = []
        try:
            if self._broken is not None:
                raise self._broken
            for request in batch:
                if request.verb is not Verb.COMPACT:
                    outcomes.append((request.future, group.apply(request)))
                elif request.expected > self._revision:
                    outcomes.append((request.future, FutureRevision(request.expected, self._revision)))
                else:
                    self._upkeep.request(request.expected, request.future)
            if group.rows or self._upkeep.pending:
                self._connection.execute("BEGIN IMMEDIATE")
                _insert(self._connection, group.rows)
                self._upkeep.step()
                self._connection.execute("COMMIT")
        except Exception as error:
            if not isinstance(error, apsw.Error | StoreUnavailable):
                _log.exception("store %s: the writer failed", self._path)
            self._fail(batch, error)
            return
        self._revision = group.revision
        self._latest.replace(group.entries)
        outcomes += [(future, None) for future in self._upkeep.committed()]
        self._deliver(Committed(outcomes, group.changes, self._revision, self._upkeep.compacted))

    def _fail(self, batch: Sequence[Request], error: Exception) -> None:
        if isinstance(error, apsw.Error):
            refusal = unavailable(self._path, error)
        else:
            refusal = StoreUnavailable(str(error))
        if isinstance(error, apsw.CorruptError | apsw.NotADBError):
            self._broken = refusal  # nothing that is written from here on could be trusted
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as rollback_error:
            self._broken = unavailable(self._path, rollback_error)
        writes = [request.future for request in batch if request.verb is not Verb.COMPACT]
        self._refuse(writes + self._upkeep.rolled_back(), refusal)

    def _refuse(self, futures: Sequence[asyncio.Future[object]], refusal: StoreUnavailable) -> None:
        outcomes = [(future, StoreUnavailable(str(refusal))) for future in futures]
        self._deliver(Committed(outcomes, (), self._revision, self._upkeep.compacted))


def _insert(connection: apsw.Connection, rows: Sequence[Row]) -> None:
    """Statements of 64, 32, 16, … rows: few enough different ones to stay prepared."""
    at, size = 0, _LARGEST_INSERT
    while at < len(rows):
        if size > len(rows) - at:
            size //= 2
            continue
        sql = "INSERT INTO versions VALUES (?,?,?,?,?)" + ",(?,?,?,?,?)" * (size - 1)
        connection.execute(sql, [column for row in rows[at : at + size] for column in row])
        at += size
