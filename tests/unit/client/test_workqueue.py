from __future__ import annotations

import asyncio

import pytest
from tests.unit.client import fake_clock

from podwright.client.workqueue import WorkQueue


async def test_a_key_added_twice_is_worked_on_once() -> None:
    queue = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_a_key_added_during_work_comes_again_only_after_done() -> None:
    queue = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert await queue.get() == "a"


async def test_the_shorter_delay_counts() -> None:
    clock = fake_clock.FakeClock()
    queue = WorkQueue(clock=clock)
    queue.add_after("a", 10)
    queue.add_after("a", 2)
    queue.add_after("a", 5)
    waiting = asyncio.ensure_future(queue.get())
    await clock.advance(1.9)
    assert not waiting.done()
    await clock.advance(0.2)
    assert waiting.done() and waiting.result() == "a"
    queue.done("a")
    again = asyncio.ensure_future(queue.get())
    await clock.advance(20)
    assert not again.done(), "a superseded delay must not add the key a second time"
    again.cancel()


async def test_failures_double_the_delay_and_success_resets_it() -> None:
    clock = fake_clock.FakeClock()
    queue = WorkQueue(first=1, maximum=3, clock=clock)
    tried: list[float] = []
    fail = True

    async def reconcile(key: str) -> None:
        tried.append(clock.now())
        if fail:
            raise RuntimeError(key)

    worker = asyncio.ensure_future(queue.run(reconcile))
    start = clock.now()
    queue.add("a")
    await clock.advance(8)
    assert [t - start for t in tried] == [0, 1, 3, 6]
    fail = False
    await clock.advance(3)
    assert queue.failures("a") == 0
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker


async def test_two_workers_never_share_a_key() -> None:
    queue = WorkQueue()
    active: set[str] = set()
    done = 0

    async def reconcile(key: str) -> None:
        nonlocal done
        assert key not in active
        active.add(key)
        queue.add(key) if done < 20 else None
        await asyncio.sleep(0)
        active.discard(key)
        done += 1

    worker = asyncio.ensure_future(queue.run(reconcile, workers=4))
    for key in "abc":
        queue.add(key)
    async with asyncio.timeout(60):
        while done < 20 or len(queue) or active:
            await asyncio.sleep(0)
    worker.cancel()


async def test_work_that_never_waits_lets_others_work() -> None:
    queue = WorkQueue()

    async def reconcile(key: str) -> None:
        queue.add(key)
        raise ValueError("refused at once")

    worker = asyncio.ensure_future(queue.run(reconcile))
    queue.add("a")
    for _ in range(100):
        await asyncio.sleep(0)
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker


async def test_one_worker_is_woken_for_a_key_and_one_watches_the_time() -> None:
    clock = fake_clock.FakeClock()
    queue = WorkQueue(clock=clock)
    done: list[str] = []
    block = asyncio.Event()

    async def reconcile(key: str) -> None:
        done.append(key)
        if key == "slow":
            await block.wait()

    worker = asyncio.ensure_future(queue.run(reconcile, workers=3))
    await asyncio.sleep(0)
    queue.add_after("late", 10)
    queue.add_after("later", 20)
    await fake_clock.settle()
    # Whoever watched the time is given work that lasts: another watches on.
    queue.add("slow")
    await fake_clock.settle()
    await clock.advance(10)
    await fake_clock.settle()
    assert done == ["slow", "late"]
    queue.add_after("soon", 1)
    await clock.advance(1)
    await fake_clock.settle()
    await clock.advance(9)
    await fake_clock.settle()
    assert done == ["slow", "late", "soon", "later"]
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_a_worker_that_ends_when_its_turn_comes_passes_it_on() -> None:
    queue = WorkQueue()
    first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    async with asyncio.timeout(60):
        assert await second == "a"
    assert first.cancelled()
