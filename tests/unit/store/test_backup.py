"""Backups of the SQLite store: made under load, checked, put back."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from pathlib import Path

import pytest

from podwright.store.backup import REVISION_BUMP, backup, check, restore
from podwright.store.protocol import Change, Compacted, Entry, StoreUnavailable
from podwright.store.sqlite import SqliteStore


async def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    await store.open()
    return store


async def test_a_backup_under_load_is_one_picture(tmp_path: Path) -> None:
    store = await opened(tmp_path / "store.db")
    done = False

    async def write(name: str) -> None:
        number = 0
        while not done:
            await store.create(f"/r/{name}/{number}", b"x" * 1000)
            number += 1

    async with asyncio.TaskGroup() as tasks:
        for name in "abcd":
            tasks.create_task(write(name))
        while await store.revision() < 500:
            await asyncio.sleep(0)
        before = await store.revision()
        revision = await asyncio.to_thread(backup, store.path, tmp_path / "backup.db")
        after = await store.revision()
        done = True
    assert before <= revision <= after
    expected = (await store.list("/r/", revision=revision)).entries
    await store.close()
    assert check(tmp_path / "backup.db") == []
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600
    assert restore(tmp_path / "backup.db", tmp_path / "new" / "store.db") == revision + REVISION_BUMP
    again = await opened(tmp_path / "new" / "store.db")
    assert (await again.list("/r/")).entries == expected
    await again.close()
    assert sorted(os.listdir(tmp_path)) == ["backup.db", "new", "store.db", "store.db.lock"]


async def test_after_a_restore_nobody_meets_a_revision_again(tmp_path: Path) -> None:
    store = await opened(tmp_path / "store.db")
    await store.create("/r/a", b"1")
    await store.update("/r/a", b"2", expected=2)
    backup(store.path, tmp_path / "backup.db")
    await store.create("/r/b", b"lost")
    with pytest.raises(StoreUnavailable, match="in use"):
        restore(tmp_path / "backup.db", store.path)
    await store.close()
    newest = restore(tmp_path / "backup.db", store.path)
    assert newest == 3 + REVISION_BUMP
    again = await opened(store.path)
    assert await again.revision() == newest
    page = await again.list("/r/")
    assert (page.entries, page.revision) == ([Entry("/r/a", b"2", 3)], newest)
    for former in (3, 4):
        with pytest.raises(Compacted):
            await again.watch("/r/", after=former)
        with pytest.raises(Compacted):
            await again.list("/r/", revision=former)
    watch = await again.watch("/r/", after=newest)
    await again.update("/r/a", b"3", expected=3)
    assert await anext(aiter(watch)) == [Change("/r/a", b"3", newest + 1, Entry("/r/a", b"2", 3))]
    await again.compact(newest + 1)
    await again.close()
    with sqlite3.connect(store.path) as file:
        assert file.execute("SELECT count(*) FROM versions").fetchall() == [(1,)]
    file.close()


async def test_a_log_left_by_a_crash_is_not_applied_to_what_is_restored(tmp_path: Path) -> None:
    store = await opened(tmp_path / "store.db")
    await store.create("/r/a", b"1")
    backup(store.path, tmp_path / "backup.db")
    for number in range(100):
        await store.create(f"/r/{number}", bytes(2000))
    crashed = tmp_path / "crashed.db"
    for suffix in ("", "-wal"):
        crashed.with_name(crashed.name + suffix).write_bytes(store.path.with_name("store.db" + suffix).read_bytes())
    await store.close()
    restore(tmp_path / "backup.db", crashed)
    again = await opened(crashed)
    assert [entry.key for entry in (await again.list("/r/")).entries] == ["/r/a"]
    await again.close()
    assert check(crashed) == []


async def test_a_damaged_backup_is_refused_and_the_store_kept(tmp_path: Path) -> None:
    store = await opened(tmp_path / "store.db")
    for number in range(200):
        await store.create(f"/r/{number}", bytes(1500))
    backup(store.path, tmp_path / "backup.db")
    await store.close()
    content = bytearray((tmp_path / "backup.db").read_bytes())
    content[8 * 4096 : 40 * 4096] = random.Random(1).randbytes(32 * 4096)
    (tmp_path / "backup.db").write_bytes(content)
    with pytest.raises(StoreUnavailable, match="damaged"):
        restore(tmp_path / "backup.db", store.path)
    again = await opened(store.path)
    assert len((await again.list("/r/")).entries) == 200
    await again.close()


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no such file"):
        backup(tmp_path / "store.db", tmp_path / "backup.db")
    with pytest.raises(StoreUnavailable, match="no such file"):
        restore(tmp_path / "backup.db", tmp_path / "store.db")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t(a)")
    other.close()
    with pytest.raises(StoreUnavailable, match="no store of ours"):
        backup(tmp_path / "other.db", tmp_path / "backup.db")
    with pytest.raises(StoreUnavailable, match="no store of ours"):
        restore(tmp_path / "other.db", tmp_path / "store.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.db"]


async def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    store = await opened(tmp_path / "store.db")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        backup(store.path, tmp_path / "none" / "backup.db")
    await store.close()
