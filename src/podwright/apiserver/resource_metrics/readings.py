"""What every node's kubelet says of CPU and memory, read when somebody asks and at no other time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from podwright.api import objects
from podwright.api.resources import NODES
from podwright.api.status import ApiError
from podwright.apiserver.requests import Objects
from podwright.apiserver.streaming.kubelets import Kubelets

_log = logging.getLogger(__name__)

SHORTEST_WINDOW = 1.0
LONGEST_WINDOW = 60.0
_AT_ONCE = 64
_TIMEOUT = aiohttp.ClientTimeout(total=5.0)


@dataclass(slots=True)
class Counter:
    """CPU seconds used since `start` (seconds since the epoch), and the working set now in bytes."""

    cpu: float = 0.0
    memory: float = 0.0
    start: float = 0.0


@dataclass(slots=True)
class NodeReading:
    """`containers` by (namespace, Pod, container); `at` in seconds since the epoch."""

    at: float
    node: Counter = field(default_factory=Counter)
    containers: dict[tuple[str, str, str], Counter] = field(default_factory=dict)


def parse(text: str, at: float) -> NodeReading:
    """The kubelet's /metrics/resource page. Raises ValueError if it is none."""
    found = NodeReading(at)
    for metric in text_string_to_metric_families(text):
        for sample in metric.samples:
            labels, value = sample.labels, sample.value
            match sample.name:
                case "node_cpu_usage_seconds_total":
                    found.node.cpu = value
                case "node_memory_working_set_bytes":
                    found.node.memory = value
                case "container_cpu_usage_seconds_total" | "container_memory_working_set_bytes" \
                        | "container_start_time_seconds":
                    key = (labels["namespace"], labels["pod"], labels["container"])
                    counter = found.containers.setdefault(key, Counter())
                    what = {"cpu": "cpu", "memory": "memory"}.get(sample.name.split("_")[1], "start")
                    setattr(counter, what, value)
    return found


def rate(before: Counter | None, after: Counter, then: float, now: float) -> float | None:
    """Cores in use between two readings. A container that started in between counts from its start; None if it was
    there before and nothing is known of it."""
    if before is not None and before.start == after.start and after.cpu >= before.cpu and now > then:
        return (after.cpu - before.cpu) / (now - then)
    if after.start and then <= after.start < now:
        return after.cpu / (now - after.start)
    return None


class Readings:
    """Pairs of readings of all nodes, a second to a minute apart. The first who asks waits for a second; who asks
    again within a minute gets the time since, and who asks within a second the same answer."""

    def __init__(self, kubelets: Kubelets, found: Objects, session: Callable[[], aiohttp.ClientSession],
                 now: Callable[[], float]) -> None:
        self._kubelets, self._objects, self._session, self._now = kubelets, found, session, now
        self._lock = asyncio.Lock()
        self._pair: tuple[float, dict[str, NodeReading], dict[str, NodeReading]] | None = None

    async def pair(self) -> tuple[dict[str, NodeReading], dict[str, NodeReading]]:
        """(before, after) by node name; a node that cannot be reached is missing."""
        async with self._lock:
            at, _, before = self._pair or (float("-inf"), {}, {})
            age = self._now() - at
            if self._pair is not None and age < SHORTEST_WINDOW:
                return self._pair[1:]
            if age > LONGEST_WINDOW:
                before = await self._all()
                await asyncio.sleep(SHORTEST_WINDOW)
            after = await self._all()
            self._pair = (self._now(), before, after)
            return before, after

    async def _all(self) -> dict[str, NodeReading]:
        found: dict[str, NodeReading] = {}
        slots = asyncio.Semaphore(_AT_ONCE)

        async def read(name: str) -> None:
            async with slots:
                try:
                    found[name] = await self._read(name)
                except (aiohttp.ClientError, TimeoutError, ApiError, ValueError) as error:
                    _log.info("no usage of node %s: %s", name, error)

        async with asyncio.TaskGroup() as group:
            for node in self._objects.list(NODES):
                if objects.condition_is_true(node, "Ready"):
                    group.create_task(read(objects.name(node)))
        return found

    async def _read(self, node: str) -> NodeReading:
        url = f"https://{self._kubelets.address(node).netloc}/metrics/resource"
        async with self._session().get(url, ssl=self._kubelets.tls, timeout=_TIMEOUT) as answer:
            answer.raise_for_status()
            return parse(await answer.text(), self._now())
