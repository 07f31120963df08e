"""A power cut at any moment loses no acknowledged write of the SQLite store and leaves its file sound."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from tests.unit.store.power_loss import Disk

from podwright.store import sqlite_checkpoints
from podwright.store.backup import check
from podwright.store.sqlite import SqliteStore

ROUNDS = 30


async def lost_writes(directory: Path, chance: random.Random, synchronous: str) -> int:
    """Works on a disk until the power is cut, and counts what was acknowledged and is not there afterwards."""
    before, after = directory / "before", directory / "after"
    before.mkdir(parents=True)
    after.mkdir()
    disk = Disk(f"power-loss-{id(directory)}")
    store = SqliteStore(before / "store.db", vfs=disk.vfsname, synchronous=synchronous)
    await store.open()
    state: dict[str, int] = {}  # key -> revision, 0 deleted, -1 under way

    async def work(name: str) -> None:
        number = 0
        while True:
            key = f"/r/{name}/{number}"
            entry = await store.create(key, chance.randbytes(chance.choice([100, 1500, 6000])))
            state[key] = entry.revision
            if number % 3:
                state[key] = -1
                entry = await store.update(key, chance.randbytes(500), expected=entry.revision)
                state[key] = entry.revision
            if number % 5 == 1:
                state[key] = -1
                await store.delete(key)
                state[key] = 0
            number += 1

    async def compact() -> None:
        while True:
            await store.compact(await store.revision())
            await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(work(name)) for name in "abcdef"] + [asyncio.create_task(compact())]
    syncs, writes = disk.syncs + chance.randrange(1, 150), chance.randrange(20)
    while disk.syncs < syncs:
        await asyncio.sleep(0)
    writes += len(state)
    while len(state) < writes:
        await asyncio.sleep(0)
    known = dict(state)
    disk.cut_power(chance, after)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await store.close()

    assert check(after / "store.db") == []
    again = SqliteStore(after / "store.db")
    await again.open()
    page = await again.list("/r/")
    await again.close()
    found = {entry.key: entry.revision for entry in page.entries}
    lost = sum(found.get(key, -1) < revision for key, revision in known.items() if revision > 0)
    lost += sum(key in found for key, revision in known.items() if revision == 0)
    if not lost:
        assert page.revision >= max(known.values(), default=0)
    return lost


@pytest.fixture(autouse=True)
def frequent_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "_PAGES_WORTH_MOVING", 40)


async def test_a_power_cut_loses_nothing(tmp_path: Path) -> None:
    chance = random.Random(11)
    for number in range(ROUNDS):
        assert await lost_writes(tmp_path / str(number), chance, "FULL") == 0


async def test_without_the_sync_it_would(tmp_path: Path) -> None:
    """That the disk of these tests really forgets."""
    chance = random.Random(11)
    for number in range(60):
        if await lost_writes(tmp_path / str(number), chance, "NORMAL"):
            return
    raise AssertionError("it never forgot anything")
