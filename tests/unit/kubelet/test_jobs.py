"""Work on the containers of one Pod."""

from __future__ import annotations

import asyncio

from podwright.kubelet.sync.jobs import Job, Jobs


async def test_work_that_is_cancelled_before_its_first_step_is_forgotten() -> None:
    async def work(job: Job) -> None:
        raise AssertionError("it was cancelled")

    async with asyncio.TaskGroup() as group:
        jobs = Jobs(group, lambda: None)
        jobs.spawn("c", work, starting=True)
        await jobs.cancel()
        assert jobs.names() == set()
