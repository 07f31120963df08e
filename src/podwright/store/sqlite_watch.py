"""Watches on the SQLite store: first from the log on disk, then live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from podwright.store.protocol import Change, StoreUnavailable
from podwright.store.sqlite_reader import LogPage

ReadLog = Callable[[str, int], Awaitable[LogPage]]
"""Reads a stretch of the log under a prefix after a revision. Raises Compacted, StoreUnavailable."""


class Subscriptions:
    """Who watches what. Finds the watches of a change by one look-up for each length of prefix that is watched."""

    def __init__(self) -> None:
        self._watches: dict[str, list[SqliteWatch]] = {}
        self._lengths: tuple[int, ...] = ()

    def add(self, watch: SqliteWatch) -> None:
        self._watches.setdefault(watch.prefix, []).append(watch)
        self._count_lengths()

    def remove(self, watch: SqliteWatch) -> None:
        watches = self._watches.get(watch.prefix, [])
        if watch in watches:
            watches.remove(watch)
            if not watches:
                del self._watches[watch.prefix]
                self._count_lengths()

    def _count_lengths(self) -> None:
        self._lengths = tuple(sorted({len(prefix) for prefix in self._watches}))

    def publish(self, changes: Sequence[Change]) -> None:
        """Hands durable changes, in revision order, to whom they concern."""
        batches: dict[SqliteWatch, list[Change]] = {}
        for change in changes:
            key = change.key
            for length in self._lengths:
                if length > len(key):
                    break
                for watch in self._watches.get(key[:length], ()):
                    batches.setdefault(watch, []).append(change)
        for watch, batch in batches.items():
            watch.push(batch)

    def fail(self, error: StoreUnavailable) -> None:
        """Ends every watch with that error."""
        for watch in [watch for watches in self._watches.values() for watch in watches]:
            watch.fail(error)
        self._watches.clear()
        self._lengths = ()


class SqliteWatch:
    """See protocol.Watch. Holds at most `backlog` changes for a reader that is slow; when there are more it lets go of
    them all and reads them from the log once the reader comes for them."""

    def __init__(
        self, prefix: str, after: int, *, behind: bool, read_log: ReadLog, subscriptions: Subscriptions, backlog: int,
    ) -> None:
        self.prefix = prefix
        self._given = after  # everything up to this revision was given, or is no concern of ours
        self._read_log = read_log
        self._subscriptions = subscriptions
        self._backlog = backlog
        self._behind = behind  # the log on disk has what we need next; live changes are not kept
        self._live: list[Change] = []
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._error: StoreUnavailable | None = None
        subscriptions.add(self)

    def push(self, changes: Sequence[Change]) -> None:
        """Takes live changes."""
        if self._behind:
            return
        self._live += changes
        if len(self._live) > self._backlog:
            self._behind = True
            self._live = []
        self._wake()

    def fail(self, error: StoreUnavailable) -> None:
        """Ends the watch with an error, after what is held already."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> AsyncIterator[Sequence[Change]]:
        return self

    async def __anext__(self) -> Sequence[Change]:
        while not self._closed:
            if self._behind and self._error is None:
                changes = await self._catch_up()
            else:
                changes, self._live = self._live, []
                if changes and changes[0].revision <= self._given:
                    changes = [change for change in changes if change.revision > self._given]
            if changes:
                self._given = changes[-1].revision
                return changes
            if self._error is not None:
                raise self._error
            if not self._behind and not self._live and not self._closed:
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
        raise StopAsyncIteration

    async def _catch_up(self) -> list[Change]:
        # Live changes are kept from before the log is read, so that none falls between the two; what both have is
        # told apart by its revision.
        self._behind, self._live = False, []
        try:
            page = await self._read_log(self.prefix, self._given)
        except BaseException:
            self._behind = True
            raise
        if page.more:
            self._behind, self._live = True, []
        return list(page.changes)

    async def aclose(self) -> None:
        self._closed = True
        self._subscriptions.remove(self)
        self._wake()
