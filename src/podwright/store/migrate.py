"""Moves everything from one store to another, of whatever kind, and compares the two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from podwright.store.protocol import Entry, Store

_PAGE = 500
_AT_A_TIME = 64


class MigrationFailed(Exception):
    """The target had keys before, or is not equal to the source afterwards. The message names the first key."""


async def migrate(
    source: Store, target: Store, *, prefix: str = "/registry/", progress: Callable[[int], None] = lambda _: None
) -> int:
    """Copies all entries under `prefix`, as they stand at one revision of `source`, to `target`, which must have none,
    and then reads both again and compares key by key. Gives the number of entries; `progress` is told how many are
    copied.

    The entries get new revisions, in the order of their keys, so clients have to list anew; nobody may write to either
    store meanwhile. After a failure the target holds a part: empty it before the next attempt.

    Raises:
        MigrationFailed, StoreUnavailable.
    """
    if (await target.list(prefix, limit=1)).entries:
        raise MigrationFailed(f"the target already has keys under {prefix}")
    gate = asyncio.Semaphore(_AT_A_TIME)

    async def copy(entry: Entry) -> None:
        async with gate:
            await target.create(entry.key, entry.value)

    revision = await source.revision()
    copied = 0
    async for page in _pages(source, prefix, revision):
        async with asyncio.TaskGroup() as tasks:
            for entry in page:
                tasks.create_task(copy(entry))
        copied += len(page)
        progress(copied)
    await _compare(source, target, prefix)
    return copied


async def _compare(source: Store, target: Store, prefix: str) -> None:
    left, right = _entries(source, prefix), _entries(target, prefix)
    while True:
        one, other = await anext(left, None), await anext(right, None)
        if one is None and other is None:
            return
        if one is None or other is None or (one.key, one.value) != (other.key, other.value):
            keys = [entry.key for entry in (one, other) if entry is not None]
            raise MigrationFailed(f"the stores differ at {min(keys)}")


async def _entries(store: Store, prefix: str) -> AsyncIterator[Entry]:
    async for page in _pages(store, prefix, await store.revision()):
        for entry in page:
            yield entry


async def _pages(store: Store, prefix: str, revision: int) -> AsyncIterator[list[Entry]]:
    start, more = "", True
    while more:
        page = await store.list(prefix, start=start, limit=_PAGE, revision=revision)
        if page.entries:
            yield list(page.entries)
            start = page.entries[-1].key + "\0"
        more = page.more
