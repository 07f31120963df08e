"""What every controller is: informers that put keys on a queue, and a reconcile that works on one key."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.events import EventRecorder
from podwright.client.informers import EventHandler, IndexFunction, Informer, InformerFactory, latest
from podwright.client.transport import ServerUnreachable
from podwright.client.workqueue import WorkQueue
from podwright.controllers.config import ControllerConfig

log = logging.getLogger(__name__)

NAMESPACE_TERMINATING = "NamespaceTerminating"


@dataclass(slots=True)
class Context:
    """What a controller is given: a client of its own identity to write with, shared informers to read from."""

    client: Client
    informers_client: Client
    informers: InformerFactory
    events: EventRecorder
    clock: Clock
    config: ControllerConfig
    random: random.Random = field(default_factory=random.Random)


class Controller:
    """Subclasses ask for informers in ``__init__`` and implement :meth:`reconcile`.

    `name` is the controller's name on the command line, `account` the service account it writes as, `workers` how many
    keys it works on at a time. A reconcile that raises is retried with a growing delay.
    """

    name: ClassVar[str]
    account: ClassVar[str]
    workers: ClassVar[int] = 5
    first_delay: ClassVar[float] = 0.005
    max_delay: ClassVar[float] = 1000.0

    def __init__(self, context: Context) -> None:
        self.context = context
        self.client = context.client
        self.events = context.events
        self.clock = context.clock
        self.config = context.config
        self.queue = WorkQueue(first=self.first_delay, maximum=self.max_delay, clock=context.clock)
        self._informers: list[Informer] = []
        self._own_informers: list[Informer] = []

    def informer(self, resource: Resource, handler: EventHandler | None = None, **indexes: IndexFunction) -> Informer:
        """The shared informer of the resource, with the indexes; its first list is waited for before work starts. An
        index name must mean the same function in every controller."""
        informer = self.context.informers.informer(resource)
        for name, function in indexes.items():
            informer.add_index(name, function)
        if handler is not None:
            informer.add_handler(handler)
        if informer not in self._informers:
            self._informers.append(informer)
        return informer

    def own_informer(
        self, resource: Resource, handler: EventHandler | None = None, *, namespace: str = "", field_selector: str = "",
        label_selector: str = "",
    ) -> Informer:  # fmt: skip
        """An informer of this controller alone, over a part of a resource that is too large to keep whole."""
        informer = Informer(
            self.context.informers_client, resource, namespace=namespace, field_selector=field_selector,
            label_selector=label_selector, clock=self.clock,
        )  # fmt: skip
        if handler is not None:
            informer.add_handler(handler)
        self._own_informers.append(informer)
        return informer

    def enqueue(self, old: Object | None, new: Object | None) -> None:
        """An event handler: the object's own key."""
        self.queue.add(objects.key(latest(old, new)))

    async def reconcile(self, key: str) -> None:
        raise NotImplementedError

    async def background(self) -> None:
        """Work of a controller that is no answer to a change. Runs beside the queue."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for own in self._own_informers:
                group.create_task(own.run(), name=f"{self.name} informer {own.resource.qualified}")
            for informer in (*self._informers, *self._own_informers):
                await informer.synced()
            group.create_task(self.background(), name=f"{self.name} background")
            workers = self.config.workers.get(self.name, self.workers)
            await self.queue.run(self.reconcile, workers=workers, failed=self.failed)

    def failed(self, key: str, error: Exception) -> None:
        if isinstance(error, ApiError) and error.code == 409:
            log.debug("%s: %s: %s", self.name, key, error)
        elif isinstance(error, ApiError | ServerUnreachable):
            log.info("%s: %s: %s", self.name, key, error)
        else:
            log.error("%s: %s failed", self.name, key, exc_info=error)


def is_terminating_namespace(error: ApiError) -> bool:
    """True for a refusal to create in a namespace that is being deleted: retrying is of no use."""
    causes = (error.status.get("details") or {}).get("causes") or ()
    return error.code == 403 and any(c.get("reason") == NAMESPACE_TERMINATING for c in causes)


async def ignore_not_found(call: Awaitable[Object]) -> Object | None:
    """The answer, or None if the object is gone."""
    try:
        return await call
    except ApiError as refused:
        if refused.code == 404:
            return None
        raise


async def slow_start(count: int, call: Callable[[int], Awaitable[Any]], *, initial: int = 1) -> int:
    """Makes `count` calls in batches of 1, 2, 4, … at a time, and stops after a batch in which one failed, so that a
    quota or webhook that refuses everything is asked once. Gives how many succeeded.

    Raises:
        SlowStartFailed: a call was refused or found no server; what succeeded before it stands.
    """
    succeeded, start, size = 0, 0, min(count, initial)
    while size > 0:
        results = await asyncio.gather(*(call(start + i) for i in range(size)), return_exceptions=True)
        succeeded += sum(not isinstance(r, BaseException) for r in results)
        for result in results:
            if isinstance(result, ApiError | ServerUnreachable):
                raise SlowStartFailed(succeeded, result) from result
            if isinstance(result, BaseException):
                raise result
        start += size
        size = min(2 * size, count - start)
    return succeeded


class SlowStartFailed(Exception):
    """A batch of :func:`slow_start` failed: `succeeded` calls had succeeded by then, `cause` is the first failure."""

    def __init__(self, succeeded: int, cause: ApiError | ServerUnreachable) -> None:
        super().__init__(str(cause))
        self.succeeded = succeeded
        self.cause = cause
