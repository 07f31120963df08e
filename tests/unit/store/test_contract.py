"""What every backend promises (podwright.store.protocol); the rules are those that etcd gives kube-apiserver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from podwright.store.protocol import (
    Change,
    Compacted,
    Entry,
    FutureRevision,
    KeyExists,
    KeyMissing,
    RevisionMismatch,
    Store,
    StoreUnavailable,
    Watch,
)

TIMEOUT = 60.0


async def read(watch: Watch, count: int) -> list[Change]:
    """The next `count` changes."""
    changes: list[Change] = []
    async with asyncio.timeout(TIMEOUT):
        async for batch in watch:
            assert batch, "a batch is never empty"
            changes += batch
            if len(changes) >= count:
                break
    assert len(changes) == count
    return changes


def keys(entries: Sequence[Entry]) -> list[str]:
    return [entry.key for entry in entries]


async def test_an_empty_store_has_a_revision_that_is_not_zero(store: Store) -> None:
    assert await store.revision() == 1
    page = await store.list("/registry/")
    assert (page.entries, page.revision, page.more) == ([], 1, False)
    assert await store.get("/registry/pods/default/a") is None


async def test_each_write_takes_the_next_revision(store: Store) -> None:
    first = await store.create("/r/a", b"1")
    assert first == Entry("/r/a", b"1", 2)
    assert await store.update("/r/a", b"2", expected=2) == Entry("/r/a", b"2", 3)
    assert await store.create("/r/b", b"\x00\xff") == Entry("/r/b", b"\x00\xff", 4)
    assert await store.delete("/r/a") == (Entry("/r/a", b"2", 3), 5)
    assert await store.revision() == 5
    assert await store.get("/r/a") is None
    assert await store.get("/r/b") == Entry("/r/b", b"\x00\xff", 4)


async def test_a_refused_write_takes_no_revision_and_says_why(store: Store) -> None:
    entry = await store.create("/r/a", b"1")
    with pytest.raises(KeyExists):
        await store.create("/r/a", b"2")
    with pytest.raises(KeyMissing):
        await store.update("/r/b", b"2", expected=entry.revision)
    with pytest.raises(KeyMissing):
        await store.delete("/r/b")
    with pytest.raises(KeyMissing):
        await store.delete("/r/b", expected=7)
    with pytest.raises(RevisionMismatch) as mismatch:
        await store.update("/r/a", b"2", expected=entry.revision + 1)
    assert mismatch.value.current == entry
    with pytest.raises(RevisionMismatch) as mismatch:
        await store.update("/r/a", b"2", expected=0)
    assert mismatch.value.current == entry
    with pytest.raises(RevisionMismatch) as mismatch:
        await store.delete("/r/a", expected=1)
    assert mismatch.value.current == entry
    assert await store.revision() == entry.revision
    assert await store.get("/r/a") == entry


async def test_a_key_can_come_back(store: Store) -> None:
    await store.create("/r/a", b"1")
    await store.delete("/r/a", expected=2)
    assert await store.create("/r/a", b"2") == Entry("/r/a", b"2", 4)


async def test_a_key_that_is_no_text_fails_alone(store: Store) -> None:
    results = await asyncio.gather(
        store.create("/r/a", b""), store.create("/r/\ud800", b""), store.create("/r/b", b""), return_exceptions=True
    )
    assert isinstance(results[1], ValueError)
    assert keys((await store.list("/r/")).entries) == ["/r/a", "/r/b"]
    with pytest.raises(ValueError):
        await store.get("/r/\ud800")


async def test_an_empty_value_is_a_value(store: Store) -> None:
    entry = await store.create("/r/a", b"")
    assert await store.get("/r/a") == entry
    watch = await store.watch("/r/", after=1)
    assert await read(watch, 1) == [Change("/r/a", b"", 2, None)]
    assert (await store.update("/r/a", b"1", expected=2)).revision == 3
    assert await read(watch, 1) == [Change("/r/a", b"1", 3, Entry("/r/a", b"", 2))]
    await watch.aclose()


async def test_a_value_of_a_megabyte(store: Store) -> None:
    value = bytes(range(256)) * 4096
    await store.create("/r/a", value)
    assert await store.get("/r/a") == Entry("/r/a", value, 2)


async def test_of_many_writers_with_the_same_expectation_one_wins(store: Store) -> None:
    entry = await store.create("/r/a", b"0")
    results = await asyncio.gather(
        *(store.update("/r/a", b"%d" % i, expected=entry.revision) for i in range(20)), return_exceptions=True
    )
    winners = [result for result in results if isinstance(result, Entry)]
    assert len(winners) == 1
    assert sum(isinstance(result, RevisionMismatch) for result in results) == 19
    assert await store.get("/r/a") == winners[0]
    assert all(r.current == winners[0] for r in results if isinstance(r, RevisionMismatch))


async def test_of_many_creators_of_one_key_one_wins(store: Store) -> None:
    results = await asyncio.gather(*(store.create("/r/a", b"%d" % i) for i in range(20)), return_exceptions=True)
    assert sum(isinstance(result, Entry) for result in results) == 1
    assert sum(isinstance(result, KeyExists) for result in results) == 19
    assert await store.revision() == 2


async def test_a_list_has_the_prefix_in_byte_order(store: Store) -> None:
    names = ["/r/pods/b", "/r/pods/a", "/r/pods/a-b", "/r/pods/a/b", "/r/podsx", "/r/pods", "/r/pods/ä"]
    names.append("/r/pods/\U0001f600")
    for name in names:
        await store.create(name, name.encode())
    page = await store.list("/r/pods/")
    assert keys(page.entries) == sorted((n for n in names if n.startswith("/r/pods/")), key=str.encode)
    assert page.revision == 1 + len(names)
    assert not page.more
    assert [e.value for e in page.entries] == [e.key.encode() for e in page.entries]
    assert keys((await store.list("")).entries) == sorted(names, key=str.encode)
    assert keys((await store.list("/r/pods/\U0001f600")).entries) == ["/r/pods/\U0001f600"]
    assert (await store.list("/r/none/")).entries == []


async def test_a_list_in_pages_is_one_picture(store: Store) -> None:
    for name in "abcdefg":
        await store.create(f"/r/{name}", b"old")
    page = await store.list("/r/", limit=3)
    assert (keys(page.entries), page.more, page.remaining) == (["/r/a", "/r/b", "/r/c"], True, 4)
    # What happens meanwhile is not seen on the later pages.
    await store.delete("/r/d")
    await store.update("/r/e", b"new", expected=6)
    await store.create("/r/dd", b"new")
    await store.delete("/r/g")
    await store.create("/r/g", b"new")
    second = await store.list("/r/", start="/r/c\0", limit=3, revision=page.revision)
    assert (keys(second.entries), second.more, second.remaining) == (["/r/d", "/r/e", "/r/f"], True, 1)
    assert second.revision == page.revision
    assert second.entries[1] == Entry("/r/e", b"old", 6)
    third = await store.list("/r/", start="/r/f\0", limit=3, revision=page.revision)
    assert (third.entries, third.more, third.remaining) == ([Entry("/r/g", b"old", 8)], False, 0)
    now = await store.list("/r/", start="/r/c\0")
    assert keys(now.entries) == ["/r/dd", "/r/e", "/r/f", "/r/g"]
    assert now.revision == await store.revision()


async def test_a_list_from_a_start_outside_the_prefix(store: Store) -> None:
    await store.create("/r/a", b"")
    await store.create("/s/a", b"")
    assert keys((await store.list("/r/", start="/a")).entries) == ["/r/a"]
    assert (await store.list("/r/", start="/s/a")).entries == []


async def test_an_exact_limit_leaves_no_more(store: Store) -> None:
    for name in "abc":
        await store.create(f"/r/{name}", b"")
    page = await store.list("/r/", limit=3)
    assert (len(page.entries), page.more, page.remaining) == (3, False, 0)


async def test_a_list_in_the_future_is_refused(store: Store) -> None:
    await store.create("/r/a", b"")
    with pytest.raises(FutureRevision) as refusal:
        await store.list("/r/", revision=100)
    assert refusal.value.current == 2


async def test_a_watch_gives_the_past_then_the_present(store: Store) -> None:
    await store.create("/r/a", b"1")
    await store.create("/s/a", b"1")
    await store.update("/r/a", b"2", expected=2)
    watch = await store.watch("/r/", after=1)
    assert await read(watch, 2) == [Change("/r/a", b"1", 2, None), Change("/r/a", b"2", 4, Entry("/r/a", b"1", 2))]
    await store.delete("/r/a")
    await store.create("/r/a", b"3")
    assert await read(watch, 2) == [Change("/r/a", None, 5, Entry("/r/a", b"2", 4)), Change("/r/a", b"3", 6, None)]
    await watch.aclose()


async def test_a_watch_from_the_middle(store: Store) -> None:
    for number in range(10):
        await store.create(f"/r/{number}", b"")
    watch = await store.watch("/r/", after=6)
    assert [change.revision for change in await read(watch, 5)] == [7, 8, 9, 10, 11]
    await watch.aclose()


async def test_a_watch_from_the_future_waits_for_it(store: Store) -> None:
    watch = await store.watch("/r/", after=4)
    for number in range(5):
        await store.create(f"/r/{number}", b"")
    assert [change.revision for change in await read(watch, 2)] == [5, 6]
    await watch.aclose()


async def test_watches_of_nested_and_odd_prefixes(store: Store) -> None:
    prefixes = ["", "/r/", "/r/a", "/r/a/x", "/r/b"]
    watches = [await store.watch(prefix, after=1) for prefix in prefixes]
    for name in ["/r/a", "/r/a/x", "/r/ab", "/r/b", "/q"]:
        await store.create(name, b"")
    counts = [5, 4, 3, 1, 1]
    seen = [[change.key for change in await read(watch, n)] for watch, n in zip(watches, counts, strict=True)]
    assert seen == [
        ["/r/a", "/r/a/x", "/r/ab", "/r/b", "/q"],
        ["/r/a", "/r/a/x", "/r/ab", "/r/b"],
        ["/r/a", "/r/a/x", "/r/ab"],
        ["/r/a/x"],
        ["/r/b"],
    ]
    for watch in watches:
        await watch.aclose()


async def test_watches_opened_amid_writes_lose_and_double_nothing(store: Store) -> None:
    total = 400

    async def write(worker: int) -> None:
        for number in range(total // 8):
            await store.create(f"/r/{worker}/{number}", b"x" * 100)

    async def follow(after: int) -> list[int]:
        watch = await store.watch("/r/", after=after)
        revisions = [change.revision for change in await read(watch, total + 1 - after)]
        await watch.aclose()
        return revisions

    async with asyncio.TaskGroup() as tasks:
        for worker in range(8):
            tasks.create_task(write(worker))
        followers = [tasks.create_task(follow(1))]
        for _ in range(5):
            at = await store.revision()
            followers.append(tasks.create_task(follow(at)))
            followers.append(tasks.create_task(follow(max(1, at - 20))))
            await (await store.watch("/r/", after=at)).aclose()
            await store.list("/r/", limit=1)
    for follower in followers:
        revisions = follower.result()
        assert revisions == list(range(revisions[0], total + 2))


async def test_a_list_and_a_watch_after_it_make_the_whole(store: Store) -> None:
    async def write() -> None:
        for number in range(200):
            await store.create(f"/r/{number:03}", b"")

    async with asyncio.TaskGroup() as tasks:
        writer = tasks.create_task(write())
        while not writer.done():
            page = await store.list("/r/")
            missing = 200 - len(page.entries)
            if not missing:
                break
            watch = await store.watch("/r/", after=page.revision)
            changes = await read(watch, missing)
            await watch.aclose()
            assert sorted(keys(page.entries) + [change.key for change in changes]) == [f"/r/{n:03}" for n in range(200)]


async def test_a_closed_watch_ends(store: Store) -> None:
    watch = await store.watch("/r/", after=1)

    async def drain() -> int:
        return len([batch async for batch in watch])

    async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(drain())
        await asyncio.sleep(0)
        await watch.aclose()
    assert reader.result() == 0
    await watch.aclose()


async def test_a_read_that_is_cancelled_loses_nothing(store: Store) -> None:
    watch = await store.watch("/r/", after=1)
    batches: AsyncIterator[Sequence[Change]] = aiter(watch)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(batches)
    await store.create("/r/a", b"")
    assert [change.key for change in await read(watch, 1)] == ["/r/a"]
    await watch.aclose()


async def test_compaction_forgets_what_is_superseded(store: Store) -> None:
    await store.create("/r/a", b"1")  # 2
    await store.create("/r/b", b"1")  # 3
    await store.update("/r/a", b"2", expected=2)  # 4
    await store.delete("/r/b")  # 5
    await store.update("/r/a", b"3", expected=4)  # 6
    await store.compact(5)
    with pytest.raises(Compacted) as refusal:
        await store.list("/r/", revision=4)
    assert refusal.value.oldest == 5
    at_five = await store.list("/r/", revision=5)
    assert at_five.entries == [Entry("/r/a", b"2", 4)]
    assert (await store.list("/r/")).entries == [Entry("/r/a", b"3", 6)]
    watch = await store.watch("/r/", after=5)
    assert await read(watch, 1) == [Change("/r/a", b"3", 6, Entry("/r/a", b"2", 4))]
    await watch.aclose()


async def test_a_watch_from_before_the_compaction_is_refused(store: Store) -> None:
    await store.create("/r/a", b"1")
    for revision in range(2, 7):
        await store.update("/r/a", b"2", expected=revision)
    await store.compact(6)
    for after in (0, 1, 4, 5):
        with pytest.raises(Compacted) as refusal:
            await read(await store.watch("/r/", after=after), 1)
        assert refusal.value.oldest == 6


async def test_an_open_watch_survives_compaction(store: Store) -> None:
    watch = await store.watch("/r/", after=1)
    await store.create("/r/a", b"1")
    assert len(await read(watch, 1)) == 1
    await store.update("/r/a", b"2", expected=2)
    await store.delete("/r/a")
    assert len(await read(watch, 2)) == 2
    await store.compact(4)
    await store.create("/r/a", b"3")
    assert await read(watch, 1) == [Change("/r/a", b"3", 5, None)]
    await watch.aclose()


async def test_compacting_all_keeps_the_revision(store: Store) -> None:
    await store.create("/r/a", b"1")
    await store.delete("/r/a")
    await store.compact(3)
    assert await store.revision() == 3
    page = await store.list("/r/")
    assert (page.entries, page.revision) == ([], 3)
    assert (await store.create("/r/a", b"2")).revision == 4


async def test_compacting_again_or_earlier_is_nothing(store: Store) -> None:
    for name in "abc":
        await store.create(f"/r/{name}", b"")
    await store.compact(3)
    await store.compact(3)
    await store.compact(2)
    with pytest.raises(Compacted) as refusal:
        await store.list("/r/", revision=2)
    assert refusal.value.oldest == 3


async def test_compacting_the_future_is_refused(store: Store) -> None:
    with pytest.raises(FutureRevision):
        await store.compact(100)
    await store.create("/r/a", b"")
    assert len((await store.list("/r/", revision=2)).entries) == 1


async def test_a_cancelled_write_disturbs_nobody(store: Store) -> None:
    async with asyncio.TaskGroup() as tasks:
        writes = [tasks.create_task(store.create(f"/r/{number}", b"")) for number in range(20)]
        await asyncio.sleep(0)
        for write in writes[::2]:
            write.cancel()
    assert all(write.result().value == b"" for write in writes[1::2])
    assert {f"/r/{number}" for number in range(1, 20, 2)} <= set(keys((await store.list("/r/")).entries))


async def test_size_grows(store: Store) -> None:
    before = await store.size()
    async with asyncio.timeout(TIMEOUT):
        while await store.size() <= before:  # etcd takes up to 100 ms to have it in the file
            await store.create(f"/r/{await store.revision()}", bytes(100_000))


async def test_a_closed_store_says_so(store: Store) -> None:
    watch = await store.watch("/r/", after=1)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.create("/r/a", b"")
    with pytest.raises(StoreUnavailable):
        await store.get("/r/a")
    with pytest.raises(StoreUnavailable):
        await store.list("/r/")
    with pytest.raises(StoreUnavailable):
        await read(watch, 1)
    await store.close()
