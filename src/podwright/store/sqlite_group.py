"""A group of writes that become durable together: checks each one's condition against what stood before it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import cast

import apsw

from podwright.store import sqlite_reader
from podwright.store.protocol import Change, Entry, KeyExists, KeyMissing, RevisionMismatch


class Verb(Enum):
    """What a request asks for."""

    CREATE = 1
    UPDATE = 2
    DELETE = 3
    COMPACT = 4


@dataclass(slots=True)
class Request:
    """One call that waits. `expected` is, for COMPACT, the revision to compact to. The future may only be touched on
    the event loop."""

    verb: Verb
    key: str
    value: bytes
    expected: int
    future: asyncio.Future[object]


Row = tuple[int, int, int, str, "bytes | None"]
"""revision, previous, live, key, value: a row of the table `versions`."""


class Latest:
    """What stands at every key: its revision, and, as long as they fit in `cache_bytes`, the values written last.

    Knowing all keys (some 150 bytes each) makes a condition cost no query; having the value of a key that is written
    often makes the `previous` of its next change free.
    """

    def __init__(self, connection: apsw.Connection, cache_bytes: int) -> None:
        self._connection = connection
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0
        self._cached: OrderedDict[str, Entry] = OrderedDict()
        """Those of `_entries` that have their value, the one written last at the end."""
        rows = connection.execute(
            "SELECT key, revision FROM (SELECT key, max(revision) AS revision, live FROM versions"
            " INDEXED BY versions_by_key GROUP BY key) WHERE live"
        )
        self._entries: dict[str, Entry | int] = dict(cast("list[tuple[str, int]]", rows.fetchall()))

    def revision(self, key: str) -> int:
        """0 if the key does not exist."""
        found = self._entries.get(key, 0)
        return found.revision if isinstance(found, Entry) else found

    def entry(self, key: str) -> Entry | None:
        """With the value, read from disk if need be. Raises apsw.Error."""
        found = self._entries.get(key)
        if isinstance(found, int):
            return Entry(key, sqlite_reader.value_of(self._connection, found), found)
        return found

    def replace(self, entries: Mapping[str, Entry | None]) -> None:
        """Takes over what a committed group left behind."""
        for key, entry in entries.items():
            self._drop(key)
            if entry is None:
                self._entries.pop(key, None)
                continue
            self._entries[key] = self._cached[key] = entry
            self._cached_bytes += _weight(entry)
        while self._cached_bytes > self._cache_bytes:
            oldest = next(iter(self._cached))
            self._entries[oldest] = self._cached[oldest].revision
            self._drop(oldest)

    def _drop(self, key: str) -> None:
        if (entry := self._cached.pop(key, None)) is not None:
            self._cached_bytes -= _weight(entry)


def _weight(entry: Entry) -> int:
    return len(entry.value) + 200  # the objects around it


class Group:
    """Collects the rows and the changes of the writes whose conditions hold."""

    def __init__(self, latest: Latest, revision: int) -> None:
        self._latest = latest
        self.revision = revision
        self.rows: list[Row] = []
        self.changes: list[Change] = []
        self.entries: dict[str, Entry | None] = {}

    def apply(self, request: Request) -> object:
        """What the caller gets once the group is durable: a value, or an exception instance. Raises apsw.Error."""
        key, expected = request.key, request.expected
        if request.verb is Verb.CREATE:
            return KeyExists(key) if self._revision(key) else self._write(key, request.value, None)
        before = self._revision(key)
        if not before:
            return KeyMissing(key)
        previous = self._entry(key)
        if before != expected and (expected or request.verb is Verb.UPDATE):
            return RevisionMismatch(previous)
        if request.verb is Verb.UPDATE:
            return self._write(key, request.value, previous)
        self._write(key, None, previous)
        return previous, self.revision

    def _revision(self, key: str) -> int:
        if key in self.entries:
            entry = self.entries[key]
            return entry.revision if entry is not None else 0
        return self._latest.revision(key)

    def _entry(self, key: str) -> Entry:
        entry = self.entries[key] if key in self.entries else self._latest.entry(key)
        assert entry is not None
        return entry

    def _write(self, key: str, value: bytes | None, previous: Entry | None) -> Entry | None:
        self.revision += 1
        entry = Entry(key, value, self.revision) if value is not None else None
        self.entries[key] = entry
        self.changes.append(Change(key, value, self.revision, previous))
        self.rows.append((self.revision, previous.revision if previous else 0, int(value is not None), key, value))
        return entry
