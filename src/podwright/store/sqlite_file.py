"""The SQLite file of a store: its lock, its schema, how a connection to it is set up, and its errors in our words."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import apsw

from podwright.store.protocol import StoreUnavailable

APPLICATION_ID = 0x50445752  # "PDWR", so that file(1) and we can tell the file from any other SQLite file
SCHEMA_VERSION = 1

# One row a write. `previous` is the revision of the write to the same key that this one supersedes (0: none), which
# makes compaction a walk over the revisions alone. `live` is 0 for a delete. The index answers "what stood at `key` at
# revision R" and, having `live`, whole lists of keys, without touching the values.
_SCHEMA = f"""
CREATE TABLE versions(
    revision INTEGER PRIMARY KEY, previous INTEGER NOT NULL, live INTEGER NOT NULL, key TEXT NOT NULL, value BLOB);
CREATE UNIQUE INDEX versions_by_key ON versions(key, revision, live);
CREATE TABLE meta(name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('compacted', 1), ('swept', 1);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

QUICK_CHECK_LIMIT = 64 * 1024 * 1024
"""Bytes up to which the file is checked whenever it is opened (some 100 ms); a larger one only on request."""

_WAL_SIZE_LIMIT = 64 * 1024 * 1024
_REASONS: tuple[tuple[type[apsw.Error], str], ...] = (
    (apsw.FullError, "the disk is full"),
    (apsw.CorruptError, "the file is damaged; restore it from a backup"),
    (apsw.NotADBError, "this is not a store of ours, or the file is damaged"),
    (apsw.CantOpenError, "the file cannot be opened"),
    (apsw.ReadOnlyError, "the file cannot be written"),
    (apsw.PermissionsError, "the file cannot be accessed"),
    (apsw.IOError, "the disk reports an error"),
    (apsw.BusyError, "another process holds the file"),
)


def unavailable(path: Path, error: apsw.Error) -> StoreUnavailable:
    """What went wrong with the file at `path`, in words for whoever runs it."""
    reason = next((text for kind, text in _REASONS if isinstance(error, kind)), "SQLite refuses")
    return StoreUnavailable(f"store {path}: {reason} ({error})")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into StoreUnavailable."""
    try:
        yield
    except apsw.Error as error:
        raise unavailable(path, error) from error


class FileLock:
    """Keeps a second store off the same file, be it of this or of another process, for as long as it is held.

    SQLite's own locks would let two processes take turns, each with a stale idea of the newest revision.
    """

    def __init__(self, path: Path) -> None:
        """Raises StoreUnavailable if somebody else holds the lock."""
        lock_path = path.with_name(path.name + ".lock")
        try:
            self._fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"store {path}: cannot make the lock file: {error}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreUnavailable(f"store {path}: in use by process {holder}") from error
        with contextlib.suppress(OSError):  # the pid is only there for the message above: a full disk is no obstacle
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Lets go of the file. The lock file stays: to remove it would race with the next holder."""
        os.close(self._fd)


def connect(path: Path, *, writable: bool, synchronous: str = "FULL", vfs: str | None = None) -> apsw.Connection:
    """A connection with our settings. Raises apsw.Error."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if writable else 0)
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
    # Only the moments in which a log is recovered or reset can make a connection wait: there is one writer.
    connection.set_busy_timeout(5000)
    connection.pragma("cache_size", -8000 if writable else -2000)
    if writable:
        if connection.pragma("page_count") == 0:
            connection.pragma("auto_vacuum", "INCREMENTAL")  # can only be set before the first table
        connection.pragma("journal_mode", "WAL")
        connection.pragma("journal_size_limit", _WAL_SIZE_LIMIT)
        connection.pragma("synchronous", synchronous)
        connection.wal_autocheckpoint(0)  # the writer decides when, see sqlite_writer
    else:
        connection.pragma("query_only", True)
    return connection


def prepare(connection: apsw.Connection, path: Path) -> None:
    """Makes the schema in an empty file, or checks that it is one we know and, if small, sound.

    Raises:
        StoreUnavailable: the file is somebody else's, of a later version, or damaged.
        apsw.Error: SQLite cannot read it.
    """
    if connection.pragma("user_version") == 0 and not connection.execute("SELECT 1 FROM sqlite_schema").fetchall():
        with connection:
            connection.execute(_SCHEMA)
        return
    check_is_ours(connection, path)
    if path.stat().st_size <= QUICK_CHECK_LIMIT:
        problems = damage(connection, full=False)
        if problems:
            raise StoreUnavailable(f"store {path}: the file is damaged; restore it from a backup ({problems[0]})")


def check_is_ours(connection: apsw.Connection, path: Path) -> None:
    """Raises StoreUnavailable if the file is somebody else's or of another version."""
    if connection.pragma("application_id") != APPLICATION_ID:
        raise StoreUnavailable(f"store {path}: this is an SQLite file, but no store of ours")
    version = connection.pragma("user_version")
    if version != SCHEMA_VERSION:
        raise StoreUnavailable(f"store {path}: made by another version of Podwright (schema {version})")


def damage(connection: apsw.Connection, *, full: bool) -> list[str]:
    """What SQLite finds wrong with the file, at most 20 lines. `full` also compares the index with the table, which
    takes several times as long."""
    rows = connection.execute("PRAGMA integrity_check(20)" if full else "PRAGMA quick_check(20)").fetchall()
    return [str(text) for (text,) in rows if text != "ok"]
