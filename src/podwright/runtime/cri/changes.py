"""What happens to containers, as events.

CRI's own event stream is younger than many installations, and containerd has another one beside it. Either only says
that it is time to look: events are the difference between two lists, so that none is lost when the runtime restarts.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from podwright.api.protobuf import messages
from podwright.runtime.cri.answers import STATES
from podwright.runtime.cri.calls import RUNTIME, Calls, Unimplemented
from podwright.runtime.protocol import ContainerEvent, ContainerState, EventType, NoSuchThing, RuntimeFailure

log = logging.getLogger(__name__)

_RETRY = 1.0
_RELIST = 10.0
"""A stream's first moments may be missed, and nothing says so. Upstream's kubelet looks every second."""
_STREAMS = (
    (RUNTIME, "GetContainerEvents", "runtime.v1.GetEventsRequest", "runtime.v1.ContainerEventResponse"),
    (
        "containerd.services.events.v1.Events", "Subscribe", "containerd.services.events.v1.SubscribeRequest",
        "containerd.services.events.v1.Envelope",
    ),
)  # fmt: skip
_ENDED, _NAMESPACE = "/tasks/delete", "k8s.io"
"""Of containerd's events: a container's last one. What else happens to ours, we did."""
_SETTLING = (0.0, 0.005, 0.02, 0.05, 0.1, 0.3)
_EVENTS = {
    ContainerState.CREATED: EventType.CREATED, ContainerState.RUNNING: EventType.STARTED,
    ContainerState.EXITED: EventType.STOPPED,
}


@dataclass(frozen=True, slots=True)
class _Known:
    state: ContainerState
    sandbox: str


class Changes:
    """The containers with these labels."""

    def __init__(self, call: Calls, labels: dict[str, str]) -> None:
        self._call = call
        self._labels = labels
        self._known: dict[str, _Known] = {}
        self._uids: dict[str, str] = {}
        """Sandbox → uid of its Pod."""
        self._queue: asyncio.Queue[ContainerEvent] = asyncio.Queue()
        self._looking = asyncio.Lock()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Learns what is there, without events, and starts to follow. Raises RuntimeFailure."""
        await self.look()
        self._queue = asyncio.Queue()
        self._task = asyncio.create_task(self._follow(), name="cri events")

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def events(self) -> AsyncIterator[ContainerEvent]:
        while True:
            yield await self._queue.get()

    async def exited(self, container_id: str) -> None:
        """Returns when the container has ended or is gone."""
        while True:
            known = self._known.get(container_id)
            if known is None or known.state == ContainerState.EXITED:
                return
            self._moved.clear()
            await self._moved.wait()

    async def sandbox_of(self, container_id: str) -> str:
        """Raises NoSuchThing."""
        known = self._known.get(container_id)
        if known is None:
            await self.look()
            known = self._known.get(container_id)
        if known is None:
            raise NoSuchThing(f'container "{container_id}" not found')
        return known.sandbox

    async def _look_until_ended(self, container_id: str) -> None:
        """containerd tells of an exit before its CRI part has taken note of it."""
        for delay in _SETTLING:
            known = self._known.get(container_id)
            if known is None or known.state == ContainerState.EXITED:
                return
            await asyncio.sleep(delay)
            await self.look()

    async def look(self) -> list[str]:
        """Puts what has changed into the queue; gives the ids of the containers there are. Raises RuntimeFailure."""
        async with self._looking:
            try:
                answer = await self._call("ListContainers", {"filter": {"label_selector": self._labels}})
                found = {
                    item["id"]: _Known(STATES[item.get("state", 0)], item["pod_sandbox_id"])
                    for item in answer.get("containers") or ()
                }
                if any(known.sandbox not in self._uids for known in found.values()):
                    await self._learn_sandboxes()
            except TimeoutError as late:
                raise RuntimeFailure(str(late)) from late
            for container_id, known in found.items():
                before = self._known.get(container_id)
                if (before is None or before.state != known.state) and known.state in _EVENTS:
                    self._happened(_EVENTS[known.state], container_id, known.sandbox)
            for container_id in self._known.keys() - found.keys():
                self._happened(EventType.DELETED, container_id, self._known[container_id].sandbox)
            self._known = found
            self._moved.set()
            return list(found)

    async def _learn_sandboxes(self) -> None:
        answer = await self._call("ListPodSandbox", {"filter": {"label_selector": self._labels}})
        self._uids = {
            item["id"]: (item.get("metadata") or {}).get("uid", "") for item in answer.get("items") or ()
        }

    def _happened(self, kind: EventType, container_id: str, sandbox: str) -> None:
        self._queue.put_nowait(ContainerEvent(kind, container_id, sandbox, self._uids.get(sandbox, ""), time.time()))

    async def _follow(self) -> None:
        streams = list(_STREAMS)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._relist())
            while True:
                try:
                    async for event in self._call.stream(*streams[0]):
                        topic = event.get("topic")
                        if topic is None:
                            await self.look()
                        elif topic == _ENDED and event.get("namespace") == _NAMESPACE:
                            ended = messages.decode("containerd.TaskDelete", base64.b64decode(event["event"]["value"]))
                            await self._look_until_ended(ended["container_id"])
                except Unimplemented as refused:
                    if len(streams) == 1:
                        log.warning("%s tells no events (%s): it is asked every second", self._call.socket, refused)
                        await self._relist(1.0)
                    del streams[0]
                    continue
                except RuntimeFailure as lost:
                    log.warning("events of the runtime: %s", lost)
                await asyncio.sleep(_RETRY)

    async def _relist(self, period: float = _RELIST) -> None:
        while True:
            await asyncio.sleep(period)
            try:
                await self.look()
            except RuntimeFailure as lost:
                log.info("runtime: %s", lost)
