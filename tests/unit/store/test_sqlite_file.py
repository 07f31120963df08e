"""What the SQLite store does with its file: locks, crashes, damage, a full disk, growth."""

from __future__ import annotations

import asyncio
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podwright.store.protocol import Change, Compacted, StoreUnavailable
from podwright.store.sqlite import SqliteStore

CRASH_ROUNDS = 20

# Eight writers that create, update and delete keys of their own; each acknowledged write is one line "key revision",
# revision 0 for a delete.
WRITER = """
import asyncio, os, sys
from podwright.store.sqlite import SqliteStore

async def work(store, name):
    number = 0
    while True:
        key = f"/r/{name}/{number}"
        entry = await store.create(key, os.urandom(300))
        os.write(1, f"{key} {entry.revision}\\n".encode())
        if number % 3:
            os.write(1, f"{key} ?\\n".encode())
            entry = await store.update(key, os.urandom(300), expected=entry.revision)
            os.write(1, f"{key} {entry.revision}\\n".encode())
        if number % 5 == 1:
            os.write(1, f"{key} ?\\n".encode())
            await store.delete(key)
            os.write(1, f"{key} 0\\n".encode())
        number += 1

async def compact(store):
    while True:
        await store.compact(await store.revision())
        await asyncio.sleep(0.002)

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    async with asyncio.TaskGroup() as tasks:
        for worker in range(8):
            tasks.create_task(work(store, f"{sys.argv[2]}-{worker}"))
        tasks.create_task(compact(store))

asyncio.run(main())
"""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    yield store
    await store.close()


async def reopen(store: SqliteStore) -> SqliteStore:
    await store.close()
    again = SqliteStore(store.path)
    await again.open()
    return again


async def test_everything_is_there_after_a_reopen(store: SqliteStore) -> None:
    await store.create("/r/a", b"1")
    await store.create("/r/b", b"1")
    await store.update("/r/a", b"2", expected=2)
    await store.delete("/r/b")
    again = await reopen(store)
    assert await again.revision() == 5
    watch = await again.watch("/r/", after=1)
    assert [change.revision for change in await anext(aiter(watch))] == [2, 3, 4, 5]
    entry = await again.get("/r/a")
    assert entry is not None
    assert (await again.update("/r/a", b"3", expected=entry.revision)).revision == 6
    await again.create("/r/b", b"3")
    await again.close()


async def test_a_second_store_on_the_file_is_refused(store: SqliteStore) -> None:
    with pytest.raises(StoreUnavailable, match="in use by process"):
        await SqliteStore(store.path).open()
    await store.create("/r/a", b"")


async def test_a_second_process_on_the_file_is_refused(store: SqliteStore) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(store.path), "x", stderr=subprocess.PIPE
    )
    _, stderr = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"in use by process" in stderr


async def test_a_failed_open_leaves_the_file_free(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"no database, but long enough to look at" * 100)
    with pytest.raises(StoreUnavailable, match="not a store of ours"):
        await SqliteStore(path).open()
    path.unlink()
    store = SqliteStore(path)
    await store.open()
    await store.close()


async def test_another_applications_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t(a)")
    other.close()
    with pytest.raises(StoreUnavailable, match="no store of ours"):
        await SqliteStore(path).open()


async def test_a_later_schema_is_refused(store: SqliteStore) -> None:
    await store.close()
    with sqlite3.connect(store.path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(StoreUnavailable, match="another version"):
        await SqliteStore(store.path).open()


async def test_a_damaged_file_is_refused(store: SqliteStore) -> None:
    for number in range(200):
        await store.create(f"/r/{number}", bytes(1500))
    await store.close()
    content = bytearray(store.path.read_bytes())
    content[8 * 4096 : 40 * 4096] = random.Random(1).randbytes(32 * 4096)
    store.path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match="damaged; restore it from a backup"):
        await SqliteStore(store.path).open()


async def test_a_full_disk_is_said_and_survived(store: SqliteStore) -> None:
    await store.create("/r/a", b"1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # A write past the limit fails as one on a full disk does.
        resource.setrlimit(resource.RLIMIT_FSIZE, (await store.size(), hard))
        results = await asyncio.gather(
            *(store.create(f"/r/big/{number}", bytes(100_000)) for number in range(5)), return_exceptions=True
        )
        assert all(isinstance(result, StoreUnavailable) for result in results)
        assert "disk" in str(results[0])
        entry = await store.get("/r/a")
        assert entry is not None and entry.value == b"1"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert (await store.create("/r/big/0", b"2")).revision == 3
    assert len((await store.list("/r/")).entries) == 2


async def test_a_slow_watch_goes_back_to_the_log(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", watch_backlog=10)
    await store.open()
    watch = await store.watch("/r/", after=1)
    for number in range(1000):
        await store.create(f"/r/{number}", b"")
    assert len(watch._live) <= 10  # type: ignore[attr-defined]
    changes: list[Change] = []
    async for batch in watch:
        changes += batch
        if len(changes) == 1000:
            break
    assert [change.revision for change in changes] == list(range(2, 1002))
    await store.create("/r/last", b"")
    assert [change.key for change in await anext(aiter(watch))] == ["/r/last"]
    await store.close()


async def test_a_slow_watch_that_compaction_overtakes_is_ended(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", watch_backlog=10)
    await store.open()
    watch = await store.watch("/r/", after=1)
    for number in range(20):
        await store.create(f"/r/{number}", b"")
    await store.compact(10)
    with pytest.raises(Compacted):
        await anext(aiter(watch))
    await store.close()


async def test_values_out_of_the_cache_still_give_the_previous(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", cache_bytes=100)
    await store.open()
    entries = [await store.create(f"/r/{number}", b"%d" % number * 50) for number in range(10)]
    watch = await store.watch("/r/", after=await store.revision())
    for entry in entries:
        await store.update(entry.key, b"", expected=entry.revision)
        assert (await anext(aiter(watch)))[0].previous == entry
    await store.close()


async def test_compaction_gives_space_back_while_writers_go_on(store: SqliteStore) -> None:
    entry = await store.create("/r/hot", bytes(20_000))
    for _ in range(1000):
        entry = await store.update("/r/hot", bytes(20_000), expected=entry.revision)
    for number in range(300):
        await store.create(f"/r/{number}", bytes(100))
    large = store.path.stat().st_size + store.path.with_name("store.db-wal").stat().st_size
    assert large > 20_000_000

    async def write() -> int:
        count = 0
        while not compaction.done():
            await store.create(f"/r/during/{count}", bytes(100))
            count += 1
        return count

    async with asyncio.TaskGroup() as tasks:
        compaction = tasks.create_task(store.compact(await store.revision()))
        writer = tasks.create_task(write())
    assert writer.result() > 0
    async with asyncio.timeout(60):
        while store._writer._upkeep.pending:
            await store.create(f"/r/after/{await store.revision()}", b"")
    again = await reopen(store)
    assert again.path.stat().st_size < 3_000_000
    assert len((await again.list("/r/")).entries) == await again.revision() - 1001
    await again.close()


async def test_a_compaction_cut_short_goes_on_after_the_open(store: SqliteStore) -> None:
    entry = await store.create("/r/hot", b"")
    for _ in range(3000):
        entry = await store.update("/r/hot", b"", expected=entry.revision)
    async with asyncio.TaskGroup() as tasks:
        compaction = tasks.create_task(asyncio.wait({asyncio.ensure_future(store.compact(entry.revision))}))
        closing = tasks.create_task(store.close())
    assert closing.done() and compaction.done()
    again = SqliteStore(store.path)
    await again.open()
    with pytest.raises(Compacted):
        await again.list("/r/", revision=entry.revision - 1)
    await again.compact(entry.revision)
    await again.close()
    with sqlite3.connect(store.path) as file:
        assert file.execute("SELECT count(*) FROM versions").fetchall() == [(1,)]
    file.close()


async def test_kill_at_any_moment_loses_no_acknowledged_write(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    chance = random.Random(7)
    state: dict[str, int] = {}  # key -> revision; 0 deleted, -1 a write was under way
    for round_number in range(CRASH_ROUNDS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(path), str(round_number), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        lines = [await asyncio.wait_for(process.stdout.readline(), 60)]
        rest = asyncio.ensure_future(process.stdout.read())
        await asyncio.sleep(chance.uniform(0, 0.08))
        process.send_signal(signal.SIGKILL)
        lines += (await rest).splitlines(keepends=True)
        await process.wait()
        newest = max(state.values(), default=0)
        for line in lines:
            key, _, number = line.decode().strip().partition(" ")
            state[key] = -1 if number == "?" else int(number)
            assert number in "?0" or state[key] > newest, "a revision was given twice"
        store = SqliteStore(path)
        await store.open()
        page = await store.list("/r/")
        found = {entry.key: entry.revision for entry in page.entries}
        await store.close()
        for key, revision in state.items():
            if revision > 0:
                assert found.get(key, -1) >= revision
            elif revision == 0:
                assert key not in found
        assert page.revision >= max(state.values())
        assert page.revision >= max(found.values())
        state.update(found)
