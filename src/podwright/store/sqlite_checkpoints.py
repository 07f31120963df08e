"""Moves what is in the write-ahead log into the database file, off the writer's thread as far as can be.

SQLite starts the log over only when all of it is moved and nothing is added meanwhile. So a thread moves the bulk while
writing goes on, then what came in the meantime, until so little is left that the writer can do it between two
transactions without anybody noticing.
"""

from __future__ import annotations

import logging
import threading

import apsw

_log = logging.getLogger(__name__)

_PAGES_WORTH_MOVING = 4000
"""16 MiB: less would move pages that are soon written again, more would take longer to recover after a crash."""

_PAGES_LEFT_TO_WRITER = 200
_MOST_PASSES = 5


class Checkpoints:
    """`writer` is the writer's connection; `mover` is used by this object's thread alone."""

    def __init__(self, writer: apsw.Connection, mover: apsw.Connection) -> None:
        self._writer = writer
        self._mover = mover
        self._pages = 0
        self._wanted = threading.Event()
        self._moving = False
        self._moved = False
        self._stopped = False
        writer.set_wal_hook(self._grown)
        self._thread = threading.Thread(target=self._run, name="podwright-store-checkpoints", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread. Blocks until a move under way is done."""
        self._stopped = True
        self._wanted.set()
        self._thread.join()

    def after_commit(self) -> None:
        """Called by the writer between two transactions."""
        if self._moved:
            self._moved = self._moving = False
            self._pages = 0
            _move(self._writer)
        elif self._pages > _PAGES_WORTH_MOVING and not self._moving:
            self._moving = True
            self._wanted.set()

    def _grown(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._stopped:
                return
            for _ in range(_MOST_PASSES):
                moved = _move(self._mover)
                if self._pages - moved < _PAGES_LEFT_TO_WRITER:
                    break
            self._moved = True


def _move(connection: apsw.Connection) -> int:
    """Moves what can be moved without making anybody wait. Gives the pages of the log that are moved by now."""
    try:
        return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)[1]
    except apsw.Error as error:
        # Nothing is lost: the log stays as it is, and the next commit tries again.
        _log.warning("store: checkpoint failed: %s", error)
        return 0
