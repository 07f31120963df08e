"""Runs the controllers: one identity each, one shared set of informers, and no controller's fault ends another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from podwright.client.backoff import Backoff
from podwright.client.client import Client
from podwright.client.clock import Clock, SystemClock
from podwright.client.events import EventRecorder
from podwright.client.informers import InformerFactory
from podwright.controllers.config import ControllerConfig
from podwright.controllers.frame import Context, Controller

log = logging.getLogger(__name__)

INFORMER_USER = "system:kube-controller-manager"
_ACCOUNT = "system:serviceaccount:kube-system:"


class ControllerManager:
    """`client_for` gives a client by user name: the informers' is "system:kube-controller-manager", a controller's is
    its service account in kube-system, such as "system:serviceaccount:kube-system:deployment-controller"."""

    def __init__(
        self, client_for: Callable[[str], Client], *, config: ControllerConfig | None = None,
        clock: Clock | None = None, controllers: Sequence[type[Controller]] | None = None,
    ) -> None:
        self._client_for = client_for
        self._config = config or ControllerConfig()
        self._clock = clock or SystemClock()
        self._types = controllers

    async def run(self) -> None:
        """Runs every enabled controller until cancelled. Each call starts from nothing, so that it can be what a
        leader runs."""
        types = self._types
        if types is None:
            from podwright.controllers.registry import CONTROLLERS

            types = CONTROLLERS
        reader = self._client_for(INFORMER_USER)
        informers = InformerFactory(reader, clock=self._clock)
        async with asyncio.TaskGroup() as group:
            for kind in types:
                if self._config.enabled(kind.name):
                    group.create_task(self._keep(kind, reader, informers), name=kind.name)
            group.create_task(informers.run(), name="informers")

    async def _keep(self, kind: type[Controller], reader: Client, informers: InformerFactory) -> None:
        client = self._client_for(_ACCOUNT + kind.account)
        events = EventRecorder(client, kind.account, clock=self._clock)
        try:
            controller = kind(Context(client, reader, informers, events, self._clock, self._config))
        except Exception:
            log.exception("controller %s cannot be set up; the others run without it", kind.name)
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(events.run(), name=f"{kind.name} events")
            backoff = Backoff(first=1.0, maximum=60.0)
            while True:
                try:
                    await controller.run()
                except Exception:
                    log.exception("controller %s failed; it starts again", kind.name)
                await self._clock.sleep(backoff.next())
