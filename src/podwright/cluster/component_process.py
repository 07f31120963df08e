"""Scheduler and controllers as a process of their own, against any conforming API server that a kubeconfig names."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from podwright.api.calls import agent
from podwright.client import kubeconfig
from podwright.client.backoff import Backoff
from podwright.client.client import Client
from podwright.client.leader_election import Timing
from podwright.client.service_account import ServiceAccountTransport
from podwright.client.transport import ServerUnreachable
from podwright.cluster import component_pages, components, loop
from podwright.cluster.processes import ReadyPipe, notify_systemd
from podwright.controllers.config import ControllerConfig
from podwright.scheduler.config import SchedulerConfig

log = logging.getLogger(__name__)

_SERVICE_ACCOUNT = "system:serviceaccount:"


class Clients:
    """Clients of one kubeconfig. Every component is the kubeconfig's user; with `service_accounts` a controller is its
    own ServiceAccount, whose tokens the kubeconfig's user asks for."""

    def __init__(self, config: kubeconfig.Kubeconfig, *, service_accounts: bool) -> None:
        self._config = config
        self._service_accounts = service_accounts
        self._known: dict[str, Client] = {}

    def __call__(self, user: str, groups: Sequence[str] = ()) -> Client:
        known = self._known.get(user)
        if known is None:
            known = self._known[user] = self._make(user)
        return known

    def _make(self, user: str) -> Client:
        binary = agent(user) or "podwright"
        if not self._service_accounts or not user.startswith(_SERVICE_ACCOUNT):
            return Client(self._config.transport(binary))
        namespace, _, name = user.removeprefix(_SERVICE_ACCOUNT).partition(":")
        inner = self._config.transport(binary, token="")
        return Client(ServiceAccountTransport(self(""), inner, namespace=namespace, name=name))

    async def aclose(self) -> None:
        for client in self._known.values():
            await client.aclose()


def run_components(
    wanted: Sequence[str],
    path: Path,
    *,
    scheduler: SchedulerConfig | None,
    controllers: ControllerConfig,
    election: Timing | None,
    service_accounts: bool,
    ready_fd: int | None,
    secure_port: int | None = None,
) -> None:
    """Runs "scheduler" and "controllers", those that are `wanted`, until SIGTERM. Ready as soon as the API server
    answers: who does not lead is ready too. /healthz and /metrics are at `secure_port`: 0 leaves them out; None is
    upstream's port, unless somebody else has it.

    Raises:
        BadKubeconfig.
    """
    pipe = ReadyPipe(ready_fd)

    async def main(stop: asyncio.Event) -> None:
        clients = Clients(kubeconfig.load(path), service_accounts=service_accounts)
        try:
            async with contextlib.AsyncExitStack() as pages, asyncio.TaskGroup() as group:
                end = group.create_task(loop.until(stop), name="stop")
                await _answers(clients(""))
                ready: dict[str, component_pages.Check] = {}
                if "scheduler" in wanted:
                    made = components.scheduler(clients, scheduler, election=election)
                    ready["sched-handler-sync"] = lambda: not made.waits_for()
                    group.create_task(made.run(), name="scheduler")
                if secure_port != 0:
                    await _serve_pages(pages, clients(""), ready, wanted, secure_port)
                if "controllers" in wanted:
                    managed = components.run_controllers(clients, controllers, election=election)
                    group.create_task(managed, name="controllers")
                pipe.ready()
                await end
        except* loop.Stopped:
            log.info("asked to end")
        finally:
            await clients.aclose()
        notify_systemd("STOPPING=1")

    try:
        loop.run(main)
    except BaseException as failed:
        pipe.failed(failed)
        raise


async def _serve_pages(
    pages: contextlib.AsyncExitStack,
    client: Client,
    ready: Mapping[str, component_pages.Check],
    wanted: Sequence[str],
    port: int | None,
) -> None:
    default = component_pages.SCHEDULER_PORT if "scheduler" in wanted else component_pages.CONTROLLERS_PORT
    try:
        await pages.enter_async_context(component_pages.serving(client, port or default, ready))
    except OSError as taken:
        if port is not None:
            raise
        log.warning("/healthz and /metrics are not served: %s; another port is --secure-port", taken)


async def _answers(client: Client) -> None:
    """Returns when the API server takes calls; a refusal of this user is raised."""
    backoff = Backoff(first=0.1, maximum=5.0)
    while True:
        try:
            await client.raw("GET", "/version")
            return
        except ServerUnreachable as lost:
            log.info("waiting for the API server: %s", lost)
            await asyncio.sleep(backoff.next())
