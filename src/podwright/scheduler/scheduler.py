"""The scheduler as a component: watches, decides, binds. Start-up is light: what deciding needs is loaded when the
first Pod waits, or a moment after the start."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
import uuid
from collections.abc import Callable

from podwright.api.resources import NODES, PODS
from podwright.client.client import Client
from podwright.client.clock import Clock, SystemClock
from podwright.client.events import EventRecorder
from podwright.client.informers import Informer, InformerFactory
from podwright.client.leader_election import LeaderElector
from podwright.scheduler.config import SchedulerConfig

log = logging.getLogger(__name__)

_PATIENCE = 10.0
_LIVE = "status.phase!=Succeeded,status.phase!=Failed"


class Scheduler:
    """Run it as a task; it schedules until cancelled. With leader election only while it leads."""

    def __init__(self, client: Client, *, config: SchedulerConfig | None = None, clock: Clock | None = None) -> None:
        self._client = client
        self._config = config or SchedulerConfig()
        self._clock = clock or SystemClock()
        self._missing: Callable[[], list[str]] = list

    def waits_for(self) -> list[str]:
        """Resources that cannot be listed yet: nothing is scheduled before all of them are there.
        Empty while another process leads."""
        return self._missing()

    async def run(self) -> None:
        election = self._config.leader_election
        if not election.leader_elect:
            await self._schedule(self._client)
            return
        elector = LeaderElector(
            self._client,
            name=election.name,
            namespace=election.namespace,
            identity=f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4()}",
            timing=election.timing,
            clock=self._clock,
        )
        fenced = elector.fenced(self._client)
        await elector.run(lambda: self._schedule(fenced))

    async def _schedule(self, client: Client) -> None:
        pods = Informer(client, PODS, field_selector=_LIVE, clock=self._clock)
        factory = InformerFactory(client, clock=self._clock)
        nodes = factory.informer(NODES)
        recorder = EventRecorder(client, "default-scheduler", clock=self._clock)
        self._missing = lambda: [*([] if pods.has_synced() else [PODS.qualified]), *factory.missing()]
        try:
            await self._follow(client, pods, nodes, factory, recorder)
        finally:
            self._missing = list

    async def _follow(
        self, client: Client, pods: Informer, nodes: Informer, factory: InformerFactory, recorder: EventRecorder
    ) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._complain(), name="scheduler complaint")
            group.create_task(pods.run(), name="scheduler pods")
            group.create_task(factory.run(), name="scheduler informers")
            group.create_task(recorder.run(), name="scheduler events")
            await asyncio.gather(pods.synced(), nodes.synced())
            await self._until_needed(pods)
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads that we have no use for
            engine = await asyncio.to_thread(importlib.import_module, "podwright.scheduler.engine")
            work = engine.Engine(
                client, self._config, self._clock, pods=pods, informers=factory, recorder=recorder
            )
            await work.run()

    async def _complain(self) -> None:
        await self._clock.sleep(_PATIENCE)
        if missing := self.waits_for():
            log.warning("nothing is scheduled before there are lists of %s", ", ".join(missing))

    async def _until_needed(self, pods: Informer) -> None:
        """Returns when a Pod waits, or after the warm-up time."""
        needed = asyncio.Event()

        def look(old: object, new: dict[str, object] | None) -> None:
            spec = (new or {}).get("spec")
            if isinstance(spec, dict) and not spec.get("nodeName"):
                needed.set()

        pods.add_handler(look)
        try:
            async with asyncio.timeout(self._config.warm_up):
                await needed.wait()
        except TimeoutError:
            log.debug("no Pod came during the warm-up time")
