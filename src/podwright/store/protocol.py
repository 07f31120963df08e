"""The port between the API server and whatever keeps the cluster's objects.

A store is an ordered map from keys to bytes with one revision counter for all keys. Every successful write takes the
next revision (a group of writes committed together still gets one revision each). A write is acknowledged only once it
is durable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value and the revision of the write that put it there."""

    key: str
    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class Page:
    """What :meth:`Store.list` gives: entries in key order, the revision at which the page is a true picture of the
    store, whether more entries follow the last one, and how many there are in all after it (0 if not known)."""

    entries: Sequence[Entry]
    revision: int
    more: bool = False
    remaining: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One write, as a watch sees it. ``value`` is None for a delete; ``previous`` is the entry before the write, None
    if the key did not exist."""

    key: str
    value: bytes | None
    revision: int
    previous: Entry | None


class KeyExists(Exception):
    """create: the key is there already."""


class KeyMissing(Exception):
    """update or delete: no such key."""


class RevisionMismatch(Exception):
    """update or delete: the key was written since the expected revision. ``current`` is what stands there now."""

    def __init__(self, current: Entry) -> None:
        super().__init__(f"{current.key}: revision is {current.revision}")
        self.current = current


class Compacted(Exception):
    """list or watch: the revision asked for is no longer kept. ``oldest`` is the first that is."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"revisions before {oldest} are compacted")
        self.oldest = oldest


class StoreUnavailable(Exception):
    """The backend cannot be reached, or refused a write for a reason that is not the caller's (disk full, no
    quorum). It is not known whether the write took effect."""


class FutureRevision(StoreUnavailable):
    """list or compact: the revision asked for is not reached yet. ``current`` is the newest there is. The caller may
    have it from another server that is ahead, or from before a restore."""

    def __init__(self, revision: int, current: int) -> None:
        super().__init__(f"revision {revision} is not reached yet, the newest is {current}")
        self.revision = revision
        self.current = current


class ValueTooLarge(StoreUnavailable):
    """create or update: the backend takes no value of that size (etcd: 1.5 MiB by default). Nothing was written."""


class Watch(Protocol):
    """An open watch. Iterating gives batches of changes in revision order, none lost, none doubled; the batch's
    writes were durable before it was given.

    Raises:
        Compacted: on iteration, if the watch fell behind the compacted revision.
        StoreUnavailable: the backend is lost; open a new watch after the last revision seen.
    """

    def __aiter__(self) -> AsyncIterator[Sequence[Change]]: ...

    async def aclose(self) -> None: ...


class Store(Protocol):
    """See the module's docstring. All calls may raise StoreUnavailable."""

    async def open(self) -> None:
        """Opens or creates the data. Must be called once, on the event loop that will use the store."""

    async def close(self) -> None:
        """Waits for writes under way and releases everything."""

    async def revision(self) -> int:
        """The revision of the last write, linearizable."""

    async def get(self, key: str) -> Entry | None: ...

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        """Entries whose key begins with `prefix`, from key `start` on (inclusive; "" for the first), at most
        `limit` (0: all), as they stood at `revision` (0: now).

        Raises:
            Compacted: `revision` is no longer kept.
        """

    async def create(self, key: str, value: bytes) -> Entry:
        """Raises KeyExists."""

    async def update(self, key: str, value: bytes, *, expected: int) -> Entry:
        """Replaces the value if the key's revision is `expected`. Raises KeyMissing, RevisionMismatch."""

    async def delete(self, key: str, *, expected: int = 0) -> tuple[Entry, int]:
        """Removes the key (if its revision is `expected`, unless that is 0); gives what was there, and the revision
        of the delete. Raises KeyMissing, RevisionMismatch."""

    async def watch(self, prefix: str, *, after: int) -> Watch:
        """Every change under `prefix` with a revision greater than `after`. Raises Compacted."""

    async def compact(self, revision: int) -> None:
        """Forgets every superseded value older than `revision`. Lists and watches from before it raise Compacted."""

    async def size(self) -> int:
        """Bytes that the data takes on disk."""
