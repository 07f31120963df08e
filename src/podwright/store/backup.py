"""Copies of an SQLite store's file: made while it is in use, checked, and put back.

These are blocking functions on paths; a server may have the file open (for `restore` it must not).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw

from podwright.store import sqlite_reader
from podwright.store.protocol import StoreUnavailable
from podwright.store.sqlite_file import FileLock, check_is_ours, connect, damage, explained

REVISION_BUMP = 1_000_000_000
"""By how much a restore raises the newest revision. Clients may have seen revisions that the backup does not know; they
must neither meet them again with other content nor wait for them (etcd's documentation of disaster recovery advises the
same for Kubernetes)."""


def backup(store: Path, destination: Path) -> int:
    """Writes the store as it is at this moment to `destination`, a compact file in itself, replacing what is there.
    Gives the revision of the copy. Writers do not wait.

    Raises:
        StoreUnavailable: the store or the destination cannot be read or written, or is full.
    """
    if not store.is_file():
        raise StoreUnavailable(f"store {store}: there is no such file")
    with _replacement(destination) as copy:
        with explained(store), contextlib.closing(connect(store, writable=False)) as source:
            check_is_ours(source, store)
        with explained(destination), contextlib.closing(apsw.Connection(str(store))) as source:
            source.set_busy_timeout(5000)
            source.execute("VACUUM INTO ?", (str(copy),))
        with explained(destination), contextlib.closing(connect(copy, writable=False)) as written:
            return sqlite_reader.newest(written)


def restore(backup_file: Path, store: Path) -> int:
    """Puts a backup in the place of the store's file, which nobody may have open. Gives the newest revision after it,
    which is higher than any before: watches and lists of former revisions are answered with Compacted, so that every
    client lists anew.

    Raises:
        StoreUnavailable: the store is in use, or the backup is damaged or none of ours.
    """
    problems = check(backup_file)
    if problems:
        raise StoreUnavailable(f"backup {backup_file}: damaged: {problems[0]}")
    store.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(store)
    try:
        with _replacement(store) as copy:
            shutil.copyfile(backup_file, copy)
            with explained(copy), contextlib.closing(connect(copy, writable=True)) as connection:
                revision = sqlite_reader.newest(connection) + REVISION_BUMP
                connection.execute("UPDATE meta SET number = ? WHERE name = 'compacted'", (revision,))
                connection.pragma("journal_mode", "DELETE")  # all of it in the one file, which is renamed
            # What the log of the replaced file holds must not be applied to the new one.
            for suffix in ("-wal", "-shm"):
                store.with_name(store.name + suffix).unlink(missing_ok=True)
            return revision
    except OSError as error:
        raise StoreUnavailable(f"store {store}: cannot restore: {error}") from error
    finally:
        lock.release()


def check(store: Path, *, full: bool = True) -> list[str]:
    """What is wrong with the file, in SQLite's words, at most 20 lines; empty if it is sound. The full check also
    compares the index with the table: some seconds a gigabyte.

    Raises:
        StoreUnavailable: it is no store of ours, or cannot be read at all.
    """
    if not store.is_file():
        raise StoreUnavailable(f"store {store}: there is no such file")
    with explained(store), contextlib.closing(connect(store, writable=False)) as connection:
        check_is_ours(connection, store)
        return damage(connection, full=full)


@contextlib.contextmanager
def _replacement(path: Path) -> Iterator[Path]:
    """A new empty file that only its owner can read, which takes the place of `path`, durably, if all goes well."""
    try:
        fd, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        raise StoreUnavailable(f"{path}: cannot be written: {error}") from error
    os.close(fd)
    try:
        yield Path(name)
        _sync(Path(name))
        os.replace(name, path)
        _sync(path.parent)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
