"""When a Pod that was refused is tried again."""

from __future__ import annotations

from tests.unit.client.fake_clock import FakeClock
from tests.unit.scheduler.test_scheduler import pod

from podwright.scheduler.framework.events import ASSIGNED_POD, Action, ClusterEvent
from podwright.scheduler.queue import SchedulingQueue
from podwright.scheduler.state.pods import PodClasses, PodInfo

FREED = ClusterEvent(ASSIGNED_POD, Action.DELETE)


def waiting(name: str) -> PodInfo:
    made = pod(name)
    made["metadata"]["uid"] = name
    return PodInfo(made, PodClasses().of(made))


async def test_nobody_backs_off_while_nobody_else_is_to_be_tried() -> None:
    queue = SchedulingQueue(FakeClock(), sort_key=lambda p: p.key, helps=lambda p, e: True)
    first, second = waiting("a"), waiting("b")
    queue.add(first)
    assert queue.pop() is first
    queue.refused(first, frozenset({"NodeResourcesFit"}))
    assert queue.pop() is None
    queue.happened(FREED)
    queue.add(second)
    assert queue.sizes()["backoff"] == 1
    assert [queue.pop(), queue.pop(), queue.pop()] == [second, first, None]


async def test_an_error_is_backed_off_from_whatever_happens() -> None:
    clock = FakeClock()
    queue = SchedulingQueue(clock, sort_key=lambda p: p.key, helps=lambda p, e: True)
    failed = waiting("a")
    queue.add(failed)
    assert queue.pop() is failed
    queue.refused(failed, frozenset(), failed=True)
    queue.happened(FREED)
    assert queue.pop() is None
    await clock.advance(1.0)
    assert queue.pop() is failed
