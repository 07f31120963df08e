"""metrics.k8s.io: rates from pairs of readings, and what clients get."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from podwright.api.resources import NODES
from podwright.apiserver.resource_metrics import readings
from podwright.apiserver.resource_metrics.readings import Counter, NodeReading, Readings, parse, rate

PAGE = """# HELP container_cpu_usage_seconds_total CPU
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="main",namespace="default",pod="web"} 2.5
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="main",namespace="default",pod="web"} 2097152.0
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="main",namespace="default",pod="web"} 91.0
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 100.0
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 4096.0
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="default",pod="web"} 2.5
"""


def test_the_kubelets_page_is_read() -> None:
    found = parse(PAGE, 7.0)
    assert found.node == Counter(100.0, 4096.0, 0.0)
    assert found.containers == {("default", "web", "main"): Counter(2.5, 2097152.0, 91.0)}


@pytest.mark.parametrize(
    ("before", "after", "cores"),
    [
        (Counter(1.0), Counter(2.0), 0.1),
        (Counter(1.0, 0, 5.0), Counter(0.5, 0, 95.0), 0.1),  # started anew in between
        (None, Counter(3.0, 0, 98.0), 1.5),
        (None, Counter(3.0, 0, 50.0), None),  # was there before, and nothing is known of it
        (Counter(2.0), Counter(1.0), None),
    ],
)
def test_rate(before: Counter | None, after: Counter, cores: float | None) -> None:
    assert rate(before, after, 90.0, 100.0) == (None if cores is None else pytest.approx(cores))


class Nodes:
    def list(self, resource: Any, namespace: str = "") -> list[dict[str, Any]]:
        assert resource is NODES
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        return [{"metadata": {"name": "a"}, "status": ready}, {"metadata": {"name": "gone"}, "status": {}}]


async def test_one_reading_serves_all_who_ask_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now, read = [1000.0], []
    found = Readings(None, Nodes(), None, lambda: now[0])  # type: ignore[arg-type]

    async def one(node: str) -> NodeReading:
        read.append((node, now[0]))
        return NodeReading(now[0])

    async def pause(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(found, "_read", one)
    monkeypatch.setattr(readings.asyncio, "sleep", pause)
    first, second = await asyncio.gather(found.pair(), found.pair())
    assert first == second and read == [("a", 1000.0), ("a", 1001.0)], "unready nodes are not asked"
    now[0] += 15.0
    before, after = await found.pair()
    assert (before["a"].at, after["a"].at) == (1001.0, 1016.0), "the last reading serves again"
    now[0] += 300.0
    before, after = await found.pair()
    assert (before["a"].at, after["a"].at) == (1316.0, 1317.0), "an old one does not"
