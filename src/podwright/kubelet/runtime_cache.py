"""What the runtime has of each Pod: read once at the start, then kept by its events, so that looking at a Pod asks
nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from podwright.client.backoff import Backoff
from podwright.client.clock import Clock
from podwright.kubelet.labels import POD_UID
from podwright.runtime.protocol import (
    Container,
    ContainerEvent,
    ContainerRuntime,
    ContainerState,
    EventType,
    NoSuchThing,
    RuntimeFailure,
    Sandbox,
    SandboxState,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PodRuntime:
    """The sandboxes and containers of one Pod, the newest first."""

    sandboxes: Sequence[Sandbox] = ()
    containers: Sequence[Container] = ()

    @property
    def sandbox(self) -> Sandbox | None:
        """The newest sandbox."""
        return self.sandboxes[0] if self.sandboxes else None

    def latest(self, name: str, sandbox_id: str = "") -> Container | None:
        """The newest container of that name (of that sandbox)."""
        for container in self.containers:
            if container.name == name and (not sandbox_id or container.sandbox_id == sandbox_id):
                return container
        return None

    def of_name(self, name: str) -> Sequence[Container]:
        return [c for c in self.containers if c.name == name]

    def running(self) -> Sequence[Container]:
        return [c for c in self.containers if c.state is ContainerState.RUNNING]

    def alive(self) -> Sequence[Container]:
        """What may have processes: everything not known to have exited."""
        return [c for c in self.containers if c.state is not ContainerState.EXITED]

    def without(self, ids: set[str]) -> PodRuntime:
        """As if the containers with these ids were not there."""
        return replace(self, containers=[c for c in self.containers if c.id not in ids])


_NOTHING = PodRuntime()


class RuntimeCache:
    """Keep it with :meth:`follow`; `changed` is told the uid of each Pod to which something happened."""

    def __init__(self, runtime: ContainerRuntime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._sandboxes: dict[str, dict[str, Sandbox]] = {}
        self._containers: dict[str, dict[str, Container]] = {}
        self._views: dict[str, PodRuntime] = {}
        self._watchers: dict[str, set[asyncio.Event]] = {}

    def pod(self, uid: str) -> PodRuntime:
        view = self._views.get(uid)
        if view is None:
            if not self._sandboxes.get(uid) and not self._containers.get(uid):
                return _NOTHING  # and nothing is kept of a Pod that is gone
            sandboxes = sorted(
                self._sandboxes.get(uid, {}).values(),
                key=lambda s: (s.metadata.attempt, s.created_at),
                reverse=True,
            )
            containers = sorted(
                self._containers.get(uid, {}).values(), key=lambda c: (c.created_at, c.attempt), reverse=True
            )
            view = self._views[uid] = PodRuntime(tuple(sandboxes), tuple(containers))
        return view

    def uids(self) -> set[str]:
        """Pods of which the runtime has anything."""
        return {u for kept in (self._sandboxes, self._containers) for u, found in kept.items() if found}

    async def relist(self) -> set[str]:
        """Reads everything anew; gives the uids of Pods that look different from before."""
        sandboxes: dict[str, dict[str, Sandbox]] = {}
        owner: dict[str, str] = {}
        for sandbox in await self._runtime.list_pod_sandboxes():
            sandboxes.setdefault(sandbox.metadata.uid, {})[sandbox.id] = sandbox
            owner[sandbox.id] = sandbox.metadata.uid
        containers: dict[str, dict[str, Container]] = {}
        for container in await self._runtime.list_containers():
            uid = container.labels.get(POD_UID) or owner.get(container.sandbox_id, "")
            containers.setdefault(uid, {})[container.id] = container
        changed = {
            uid
            for uid in {*sandboxes, *containers, *self.uids()}
            if sandboxes.get(uid, {}) != self._sandboxes.get(uid, {})
            or containers.get(uid, {}) != self._containers.get(uid, {})
        }
        self._sandboxes, self._containers = sandboxes, containers
        self._views.clear()
        for uid in changed:
            self._changed(uid)
        return changed

    def _changed(self, uid: str) -> None:
        self._views.pop(uid, None)
        for event in self._watchers.get(uid, ()):
            event.set()

    async def ended(self, uid: str, container_id: str) -> None:
        """Returns as soon as the container is known not to run."""
        watchers = self._watchers.setdefault(uid, set())
        changed = asyncio.Event()
        watchers.add(changed)
        try:
            while any(c.id == container_id for c in self.pod(uid).running()):
                changed.clear()
                await changed.wait()
        finally:
            watchers.discard(changed)
            if not watchers and self._watchers.get(uid) is watchers:
                del self._watchers[uid]

    def put_sandbox(self, sandbox: Sandbox) -> None:
        self._sandboxes.setdefault(sandbox.metadata.uid, {})[sandbox.id] = sandbox
        self._changed(sandbox.metadata.uid)

    async def refresh_sandbox(self, uid: str, sandbox_id: str) -> None:
        try:
            self.put_sandbox(await self._runtime.pod_sandbox_status(sandbox_id))
        except NoSuchThing:
            self._sandboxes.get(uid, {}).pop(sandbox_id, None)
            self._forget_if_gone(uid)
            self._changed(uid)

    async def refresh_container(self, uid: str, container_id: str) -> Container | None:
        """Reads one container; None if it is gone."""
        try:
            container = await self._runtime.container_status(container_id)
        except NoSuchThing:
            self.drop_container(uid, container_id)
            return None
        known = self._containers.setdefault(uid, {})
        before = known.get(container_id)
        # An answer that was on its way when the container exited must not bring it back to life.
        if before is None or before.state is not ContainerState.EXITED or container.state is ContainerState.EXITED:
            known[container_id] = container
            self._changed(uid)
        return known[container_id]

    def drop_container(self, uid: str, container_id: str) -> None:
        self._containers.get(uid, {}).pop(container_id, None)
        self._forget_if_gone(uid)
        self._changed(uid)

    def drop_sandbox(self, uid: str, sandbox_id: str) -> None:
        """The sandbox was removed, and its containers with it."""
        self._sandboxes.get(uid, {}).pop(sandbox_id, None)
        kept = self._containers.get(uid, {})
        for container in [c for c in kept.values() if c.sandbox_id == sandbox_id]:
            del kept[container.id]
        self._forget_if_gone(uid)
        self._changed(uid)

    def _forget_if_gone(self, uid: str) -> None:
        if not self._sandboxes.get(uid) and not self._containers.get(uid):
            self._sandboxes.pop(uid, None)
            self._containers.pop(uid, None)

    def sandbox_stopped(self, uid: str, sandbox_id: str) -> None:
        sandbox = self._sandboxes.get(uid, {}).get(sandbox_id)
        if sandbox is not None:
            self.put_sandbox(replace(sandbox, state=SandboxState.NOTREADY))

    async def follow(self, changed: Callable[[str], None]) -> None:
        """Applies the runtime's events until cancelled. If their stream breaks, reads everything and goes on."""
        backoff = Backoff(first=0.1, maximum=5.0)
        while True:
            try:
                async with aclosing(self._runtime.events()) as events:  # type: ignore[type-var]
                    async for event in events:
                        await self._apply(event)
                        backoff.reset()
                        changed(event.pod_uid)
            except RuntimeFailure as broken:
                log.warning("the runtime's events broke off: %s", broken)
            await self._clock.sleep(backoff.next())
            try:
                for uid in await self.relist():
                    changed(uid)
            except RuntimeFailure as broken:
                log.warning("cannot list containers: %s", broken)

    async def _apply(self, event: ContainerEvent) -> None:
        uid = event.pod_uid
        try:
            if event.container_id:
                if event.type is EventType.DELETED:
                    self.drop_container(uid, event.container_id)
                else:
                    await self.refresh_container(uid, event.container_id)
            elif event.type is EventType.DELETED:
                self.drop_sandbox(uid, event.sandbox_id)
            else:
                await self.refresh_sandbox(uid, event.sandbox_id)
        except RuntimeFailure as failed:
            log.warning("cannot read what event %s is about: %s", event, failed)
