"""Moving a store's content to a store of another kind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from podwright.store.migrate import MigrationFailed, migrate
from podwright.store.protocol import Entry, Store
from podwright.store.sqlite import MemoryStore


@pytest.fixture
async def other() -> AsyncIterator[Store]:
    store = MemoryStore()
    await store.open()
    yield store
    await store.close()


async def test_there_and_back(store: Store, other: Store) -> None:
    for number in range(1200):
        entry = await other.create(f"/registry/pods/{number}", b"%d" % number)
        if number % 7 == 0:
            await other.delete(entry.key)
    await other.create("/registry/empty", b"")
    await other.create("/elsewhere", b"")
    told: list[int] = []
    count = await migrate(other, store, progress=told.append)
    assert count == told[-1] == 1200 - 172 + 1
    back = MemoryStore()
    await back.open()
    assert await migrate(store, back) == count
    expected = [(e.key, e.value) for e in (await other.list("/registry/")).entries]
    assert [(e.key, e.value) for e in (await back.list("/registry/")).entries] == expected
    assert await back.get("/elsewhere") is None
    await back.close()


async def test_a_target_with_content_is_refused(store: Store, other: Store) -> None:
    await other.create("/registry/a", b"")
    await store.create("/registry/b", b"")
    with pytest.raises(MigrationFailed, match="already has keys"):
        await migrate(other, store)
    assert await store.get("/registry/a") is None


class Forgetful(MemoryStore):
    """Changes one value."""

    async def create(self, key: str, value: bytes) -> Entry:
        return await super().create(key, b"?" if key.endswith("/b") else value)


async def test_a_difference_is_found(other: Store) -> None:
    for name in "abc":
        await other.create(f"/registry/{name}", b"1")
    target = Forgetful()
    await target.open()
    with pytest.raises(MigrationFailed, match="differ at /registry/b"):
        await migrate(other, target)
    await target.close()
