"""Reading the SQLite store: one entry, a list as of a revision, a stretch of the log. Plain blocking functions on a
connection; each is one read transaction, so that what it gives is a true picture of one moment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import apsw

from podwright.store.protocol import Change, Compacted, Entry, FutureRevision, Page

_GET = """
SELECT revision, live, value FROM versions INDEXED BY versions_by_key WHERE key = ? ORDER BY revision DESC LIMIT 1"""

# The subquery walks the index only; SQLite takes `live` from the row that max() chose.
_KEYS = """
SELECT key, max(revision) AS revision, live FROM versions INDEXED BY versions_by_key
WHERE key >= ?1 AND key < ?2 AND revision <= ?3 GROUP BY key"""
_LIST = f"""
SELECT k.key, v.value, v.revision FROM ({_KEYS}) AS k CROSS JOIN versions AS v ON v.revision = k.revision
WHERE k.live LIMIT ?4"""
_COUNT = f"SELECT count(*) FROM ({_KEYS}) AS k WHERE k.live"

_LOG = """
SELECT v.key, iif(v.live, v.value, NULL), v.revision, v.previous, p.value
FROM versions AS v LEFT JOIN versions AS p ON p.revision = v.previous
WHERE v.revision > ?1 AND v.key >= ?2 AND v.key < ?3 ORDER BY v.revision LIMIT ?4"""

# Greater than any key: a byte that UTF-8 never has. SQLite sorts every BLOB after every TEXT.
_END_OF_KEYS = b"\xff"


@dataclass(frozen=True, slots=True)
class LogPage:
    """A stretch of the log: changes in revision order, and whether the log had more than that."""

    changes: Sequence[Change]
    more: bool


@contextlib.contextmanager
def snapshot(connection: apsw.Connection) -> Iterator[None]:
    """All reads within see the same moment."""
    with connection:
        yield


def end_of_prefix(prefix: str) -> str | bytes:
    """The smallest value that sorts after every key that begins with `prefix`."""
    for at in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[at])
        if code < 0x10FFFF:
            # The code points from 0xD800 to 0xDFFF are no characters.
            return prefix[:at] + chr(0xE000 if code == 0xD7FF else code + 1)
    return _END_OF_KEYS


def compacted(connection: apsw.Connection) -> int:
    """The revision up to which superseded values are gone (1 in a fresh store)."""
    return _number(connection, "SELECT number FROM meta WHERE name = 'compacted'")


def swept(connection: apsw.Connection) -> int:
    """The revision up to which compaction has really removed them; behind `compacted` while it is at work."""
    return _number(connection, "SELECT number FROM meta WHERE name = 'swept'")


def newest(connection: apsw.Connection) -> int:
    """The revision of the last write; 1 in a fresh store, so that no list is ever as of revision 0."""
    # Compaction may remove the last write itself, if that was a delete.
    return max(_number(connection, "SELECT max(revision) FROM versions"), compacted(connection))


def _number(connection: apsw.Connection, sql: str) -> int:
    ((number,),) = connection.execute(sql).fetchall()
    return cast("int", number or 0)


def get(connection: apsw.Connection, key: str) -> Entry | None:
    """What stands at `key` now."""
    # fetchall: a statement that was not stepped to its end would keep its read transaction open.
    rows = connection.execute(_GET, (key,)).fetchall()
    if not rows or not rows[0][1]:
        return None
    revision, _, value = rows[0]
    return Entry(key, cast("bytes", value), cast("int", revision))


def value_of(connection: apsw.Connection, revision: int) -> bytes:
    """The value that the write with that revision left. It must not be compacted."""
    ((value,),) = connection.execute("SELECT value FROM versions WHERE revision = ?", (revision,)).fetchall()
    return cast("bytes", value)


def list_page(connection: apsw.Connection, prefix: str, start: str, limit: int, revision: int) -> Page:
    """See Store.list. Raises Compacted, FutureRevision, apsw.Error."""
    with snapshot(connection):
        current, oldest = newest(connection), compacted(connection)
        at = revision or current
        if at < oldest:
            raise Compacted(oldest)
        if at > current:
            raise FutureRevision(at, current)
        end = end_of_prefix(prefix)
        bounds = (max(prefix, start), end, at)
        rows = connection.execute(_LIST, (*bounds, limit + 1 if limit else -1)).fetchall()
        entries = [Entry(*cast("tuple[str, bytes, int]", row)) for row in rows]
        if not limit or len(entries) <= limit:
            return Page(entries, at)
        ((remaining,),) = connection.execute(_COUNT, (entries[limit].key, end, at)).fetchall()
        return Page(entries[:limit], at, more=True, remaining=cast("int", remaining))


def log_page(connection: apsw.Connection, prefix: str, after: int, limit: int) -> LogPage:
    """At most `limit` changes under `prefix` after revision `after`. Raises Compacted, apsw.Error."""
    with snapshot(connection):
        oldest = compacted(connection)
        if max(after, 1) < oldest:  # revision 1 is the empty store: there is no write to miss
            raise Compacted(oldest)
        rows = connection.execute(_LOG, (after, prefix, end_of_prefix(prefix), limit)).fetchall()
    changes = [
        Change(key, value, number, Entry(key, before, previous) if before is not None else None)
        for key, value, number, previous, before in cast("list[tuple[str, bytes | None, int, int, bytes | None]]", rows)
    ]
    return LogPage(changes, more=len(changes) == limit)
