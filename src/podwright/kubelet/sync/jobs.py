"""Containers of one Pod that are being started or ended right now, each by a task of its own, so that one that takes
long holds up no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

_LONGEST_SETTLING = 5.0


@dataclass(slots=True)
class Job:
    """`slow`: it has said that it takes long, so nobody waits for it before telling how the Pod is."""

    name: str
    task: asyncio.Task[None] | None = None
    slow: bool = False
    starting: bool = True


class Jobs:
    """`woken` is called when a slow job ends (the quick ones are waited for by :meth:`settled`)."""

    def __init__(self, group: asyncio.TaskGroup, woken: Callable[[], None]) -> None:
        self._group = group
        self._woken = woken
        self._jobs: dict[str, Job] = {}
        self._changed = asyncio.Event()

    def names(self) -> set[str]:
        return set(self._jobs)

    def starting(self) -> Iterable[str]:
        """Containers that are being started."""
        return [j.name for j in self._jobs.values() if j.starting]

    def spawn(self, name: str, work: Callable[[Job], Coroutine[Any, Any, None]], *, starting: bool) -> None:
        """Runs work for the container; there must be none for it yet."""
        job = self._jobs[name] = Job(name, starting=starting, slow=not starting)
        job.task = self._group.create_task(self._run(job, work), name=f"container {name}")
        # Not at the end of the task's own code: one that is cancelled before its first step runs none of it.
        job.task.add_done_callback(lambda _: self._ended(job))

    async def _run(self, job: Job, work: Callable[[Job], Coroutine[Any, Any, None]]) -> None:
        try:
            await work(job)
        except Exception:
            # Whatever a bug does to one container, the Pod's worker must live to end it.
            log.exception("work on container %s", job.name)

    def _ended(self, job: Job) -> None:
        del self._jobs[job.name]
        self._changed.set()
        if job.slow:
            self._woken()

    def takes_long(self, job: Job) -> None:
        job.slow = True
        self._changed.set()

    async def settled(self) -> None:
        """Returns when no job is quick any more: each has ended or said that it takes long."""
        try:
            async with asyncio.timeout(_LONGEST_SETTLING):
                while any(not job.slow for job in self._jobs.values()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            for job in self._jobs.values():
                job.slow = True

    async def cancel(self) -> None:
        """Stops all work and returns when it has stopped."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
