"""Housekeeping in the SQLite file: compaction and giving free pages back, in steps of a few milliseconds.

A step rides along in the transaction of whatever is written at the moment, so that it costs no sync of its own and
writers never stop; when nothing is written, it is a transaction of its own. How far the steps have come is in the file:
after a crash they go on where they were.
"""

from __future__ import annotations

import asyncio
from typing import cast

import apsw

from podwright.store import sqlite_reader

_ROWS_A_STEP = 256
_PAGES_A_STEP = 64
_FREE_PAGES_KEPT = 256
"""Free pages (1 MiB) worth no work: the next writes will use them."""

_ROWS = "SELECT revision FROM versions WHERE revision > ? AND revision <= ? ORDER BY revision LIMIT ?"
_DELETE_SUPERSEDED = """
DELETE FROM versions WHERE revision IN (
    SELECT previous FROM versions WHERE revision > ?1 AND revision <= ?2 AND previous > 0)"""
_DELETE_DELETES = "DELETE FROM versions WHERE revision > ?1 AND revision <= ?2 AND NOT live"


class Upkeep:
    """Used by the writer's thread alone. `compacted` is what is committed; a step may be ahead of it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.compacted = sqlite_reader.compacted(connection)
        self._target = self.compacted
        self._waiting: list[tuple[int, asyncio.Future[object]]] = []
        self._swept = self._swept_durably = sqlite_reader.swept(connection)
        self._vacuuming = False
        self._paused = False

    @property
    def pending(self) -> bool:
        """Whether there is a step to do."""
        return not self._paused and (self._swept < self._target or self._vacuuming)

    def request(self, revision: int, future: asyncio.Future[object]) -> None:
        """Compacts to `revision`, which must be reached; the future is given by `committed` when all is deleted."""
        self._paused = False
        self._target = max(self._target, revision)
        self._waiting.append((revision, future))

    def step(self) -> None:
        """Does a little of what is to do, within the transaction that is open. Raises apsw.Error."""
        if self._paused:
            return
        if self._target > self.compacted:
            self._remember("compacted", self._target)
        if self._swept < self._target:
            upto = self._end_of_step()
            self._connection.execute(_DELETE_SUPERSEDED, (self._swept, upto))
            self._connection.execute(_DELETE_DELETES, (self._swept, upto))
            self._remember("swept", upto)
            self._swept = upto
            self._vacuuming = upto == self._target
        elif self._vacuuming:
            self._connection.execute(f"PRAGMA incremental_vacuum({_PAGES_A_STEP})").fetchall()
            self._vacuuming = self._connection.pragma("freelist_count") > _FREE_PAGES_KEPT

    def _end_of_step(self) -> int:
        # Counted in rows: after a restore there are gaps in the revisions.
        rows = self._connection.execute(_ROWS, (self._swept, self._target, _ROWS_A_STEP)).fetchall()
        return cast("int", rows[-1][0]) if len(rows) == _ROWS_A_STEP else self._target

    def _remember(self, name: str, revision: int) -> None:
        self._connection.execute("UPDATE meta SET number = ? WHERE name = ?", (revision, name))

    def committed(self) -> list[asyncio.Future[object]]:
        """The transaction is durable: gives the futures of those whose compaction is done."""
        self.compacted, self._swept_durably = self._target, self._swept
        done = [future for revision, future in self._waiting if revision <= self._swept]
        self._waiting = [waiter for waiter in self._waiting if waiter[0] > self._swept]
        return done

    def rolled_back(self) -> list[asyncio.Future[object]]:
        """The transaction failed: gives everybody who waits, and rests until the next request, as trying again at once
        would fail the same way."""
        self._target = self.compacted
        self._swept = self._swept_durably
        self._paused = True
        waiting = [future for _, future in self._waiting]
        self._waiting = []
        return waiting
