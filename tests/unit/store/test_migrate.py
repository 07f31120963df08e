"""Moving a store's content to a store of another kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.unit.store.etcd_server import etcd_cluster

from podwright.cli import data
from podwright.store.migrate import MigrationFailed, migrate
from podwright.store.protocol import Entry, Store
from podwright.store.sqlite import MemoryStore, SqliteStore


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


async def test_the_command_moves_a_file_to_etcd_and_back(fast_directory: Path) -> None:
    source, back = SqliteStore(fast_directory / "source.db"), fast_directory / "back.db"
    await source.open()
    for number in range(700):
        await source.create(f"/registry/configmaps/default/{number}", b"%d" % number * 100)
    expected = [(e.key, e.value) for e in (await source.list("/registry/")).entries]
    await source.close()
    async with etcd_cluster(fast_directory, 1) as (member,):
        etcd = f"etcd://127.0.0.1:{member.port}"
        file = f"sqlite://{fast_directory}/source.db"

        def migrate(one: str, other: str) -> Result:
            return CliRunner().invoke(data.migrate, ["--from", one, "--to", other])

        there = await asyncio.to_thread(migrate, file, etcd)
        assert (there.exit_code, "700" in there.output) == (0, True), there.output
        again = await asyncio.to_thread(migrate, file, etcd)
        assert again.exit_code == 1 and "already has keys" in again.output
        assert (await asyncio.to_thread(migrate, etcd, f"sqlite://{back}")).exit_code == 0
    copy = SqliteStore(back)
    await copy.open()
    assert [(e.key, e.value) for e in (await copy.list("/registry/")).entries] == expected
    await copy.close()
