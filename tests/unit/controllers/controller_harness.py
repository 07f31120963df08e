"""Controllers under test: over the in-memory API, with a clock that only tests move."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fake_api import FakeApi

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import EVENTS, PODS
from podwright.client.client import Client
from podwright.client.events import EventRecorder
from podwright.client.informers import InformerFactory
from podwright.controllers.config import ControllerConfig
from podwright.controllers.frame import Context, Controller


class FakeClock:
    """Wall time starts at 2025-01-01T00:00:00Z."""

    def __init__(self, start: float = 1735689600.0) -> None:
        self._elapsed = 0.0
        self._start = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self._start += seconds

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._count), future))
        await future

    def next_wake(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def move(self, to: float) -> None:
        self._elapsed = to
        while self._sleepers and self._sleepers[0][0] <= to:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)


class Harness:
    def __init__(self, config: ControllerConfig | None = None) -> None:
        self.clock = FakeClock()
        self.api = FakeApi(self.clock)
        self.client = Client(self.api)
        self.config = config or ControllerConfig()
        self.informers = InformerFactory(self.client, clock=self.clock)
        self.controllers: list[Controller] = []
        self._group: asyncio.TaskGroup | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, kind: type[Controller]) -> Controller:
        assert self._group is not None
        events = EventRecorder(self.client, kind.account, clock=self.clock)
        context = Context(self.client, self.client, self.informers, events, self.clock, self.config, random.Random(7))
        controller = kind(context)
        self.controllers.append(controller)
        self._tasks.append(self._group.create_task(events.run()))
        self._tasks.append(self._group.create_task(controller.run()))
        return controller

    async def settle(self) -> None:
        """Until nothing more happens within half a second: long enough for the first retries after a conflict."""
        await self._quiet()
        end = self.clock.monotonic() + 0.5
        while (due := self.clock.next_wake()) is not None and due <= end:
            self.clock.move(max(due, self.clock.monotonic()))
            await self._quiet()

    async def _quiet(self) -> None:
        quiet = 0
        while quiet < 25:
            before = self.api.total, self.api._revision
            for _ in range(4):
                await asyncio.sleep(0)
            quiet = quiet + 1 if before == (self.api.total, self.api._revision) else 0

    async def advance(self, seconds: float) -> None:
        """Lets time pass, stopping at every moment somebody waits for."""
        end = self.clock.monotonic() + seconds
        await self.settle()
        while (due := self.clock.next_wake()) is not None and due <= end:
            self.clock.move(max(due, self.clock.monotonic()))
            await self._quiet()
        self.clock.move(max(end, self.clock.monotonic()))
        await self._quiet()

    async def ready_pods(self) -> None:
        """Plays the kubelet: every Pod not yet running becomes ready, those being deleted go; again until quiet."""
        await self.settle()
        for _ in range(50):
            changed = False
            for pod in self.api.objects(PODS):
                if objects.is_deleting(pod):
                    if not pod["metadata"].get("finalizers"):
                        self.api.purge(PODS, objects.name(pod), objects.namespace(pod))
                        changed = True
                elif pod["status"]["phase"] == "Pending":
                    now = objects.format_time(self.clock.now())
                    ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
                    status = {"phase": "Running", "conditions": [ready], "podIP": "10.0.0.1"}
                    self.api.set_status(PODS, objects.name(pod), status, objects.namespace(pod))
                    changed = True
            await self.settle()
            if not changed:
                return

    def event_reasons(self, name: str = "") -> list[str]:
        return [e["reason"] for e in self.events(name)]

    def events(self, name: str = "") -> list[Object]:
        return [e for e in self.api.objects(EVENTS) if not name or e["involvedObject"].get("name") == name]

    @asynccontextmanager
    async def running(self, *kinds: type[Controller]) -> AsyncIterator[Harness]:
        async with asyncio.TaskGroup() as group:
            self._group = group
            for kind in kinds:
                self.start(kind)
            informers = group.create_task(self.informers.run())
            try:
                await self.settle()
                yield self
            finally:
                for task in (*self._tasks, informers):
                    task.cancel()


def make_pod(
    name: str, *, labels: dict[str, str] | None = None, node: str = "", owner: Object | None = None,
    phase: str = "Running", ready: bool = True, namespace: str = "default", since: str = "2025-01-01T00:00:00Z",
    ip: str = "", **spec: object,
) -> Object:
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}],
        },
    }
    if node:
        pod["spec"]["nodeName"] = node
    if ip:
        pod["status"]["podIP"] = ip
        pod["status"]["podIPs"] = [{"ip": ip}]
    if owner is not None:
        pod["metadata"]["ownerReferences"] = [objects.owner_reference(owner)]
    return pod


def make_node(name: str, *, ready: str = "True", labels: dict[str, str] | None = None, **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": dict(spec),
        "status": {
            "conditions": [
                {"type": "Ready", "status": ready, "reason": "KubeletReady",
                 "lastHeartbeatTime": "2025-01-01T00:00:00Z", "lastTransitionTime": "2025-01-01T00:00:00Z"}
            ],
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        },
    }  # fmt: skip


def template(labels: dict[str, str], image: str = "i", **spec: object) -> Object:
    return {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}], **spec}}
