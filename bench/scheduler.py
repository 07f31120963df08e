"""scheduler_perf's workloads through a whole API server in this process: fake Node objects, real Pods, real bindings.

    PYTHONPATH=src python bench/scheduler.py [--nodes 1000] [--pods 3000] [--workload SchedulingBasic …] [--json FILE]

A workload's rate counts from the first measured Pod's creation to the last one's binding, as seen by a watch."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from local_server import local_server

from podwright.api.objects import Object
from podwright.api.resources import NODES, PODS, PRIORITYCLASSES
from podwright.client.client import Client
from podwright.client.transport import InProcessTransport
from podwright.scheduler.scheduler import Scheduler

_ZONE = "topology.kubernetes.io/zone"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_CREATORS = 32

T = TypeVar("T")


def node(number: int) -> Object:
    room = {"cpu": "4", "memory": "32Gi", "pods": "110"}
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": f"node-{number}",
            "labels": {"kubernetes.io/hostname": f"node-{number}", _ZONE: f"zone{number % 3}"},
        },
        "spec": {},
        "status": {"capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip


def pod(number: int, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    container = {
        "name": "pause", "image": "registry.k8s.io/pause:3.10", "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}},
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"pod-{number}", "namespace": "default", "labels": labels or {}},
        "spec": {"containers": [container], **spec},
    }  # fmt: skip


def _term(key: str, colour: str) -> Object:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"color": colour}}}


def node_affinity(number: int) -> Object:
    wanted = {"key": _ZONE, "operator": "In", "values": ["zone0", "zone1"]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}
    return pod(number, affinity={"nodeAffinity": {_REQUIRED: terms}})


def pod_affinity(number: int) -> Object:
    return pod(number, {"color": "blue"}, affinity={"podAffinity": {_REQUIRED: [_term(_ZONE, "blue")]}})


def pod_anti_affinity(number: int) -> Object:
    own = {"podAntiAffinity": {_REQUIRED: [_term("kubernetes.io/hostname", "green")]}}
    return pod(number, {"color": "green"}, affinity=own)


def preferred_pod_affinity(number: int) -> Object:
    weighted = [{"weight": 1, "podAffinityTerm": _term("kubernetes.io/hostname", "red")}]
    return pod(number, {"color": "red"}, affinity={"podAffinity": {_PREFERRED: weighted}})


def topology_spreading(number: int) -> Object:
    constraint = {
        "maxSkew": 5, "topologyKey": _ZONE, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"color": "blue"}},
    }  # fmt: skip
    return pod(number, {"color": "blue"}, topologySpreadConstraints=[constraint])


def low_priority(number: int) -> Object:
    made = pod(number, priorityClassName="low", terminationGracePeriodSeconds=0)
    made["metadata"]["name"] = f"low-{number}"
    made["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "900m"
    return made


def preemption(number: int) -> Object:
    """Needs what three low-priority Pods have."""
    made = pod(number, priorityClassName="high")
    made["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "3"
    return made


def mixed(number: int) -> Object:
    made = (pod, node_affinity, pod_affinity, preferred_pod_affinity, topology_spreading)[number % 5]
    return made(number)


WORKLOADS: dict[str, Callable[[int], Object]] = {
    "SchedulingBasic": pod, "NodeAffinity": node_affinity, "PodAffinity": pod_affinity,
    "PodAntiAffinity": pod_anti_affinity, "PreferredPodAffinity": preferred_pod_affinity,
    "TopologySpreading": topology_spreading, "Preemption": preemption, "Mixed": mixed,
}


async def _add_node(client: Client, number: int) -> None:
    made = await client.create(NODES, node(number))
    await client.update(NODES, {**made, "spec": {}})


async def _all(items: Iterable[T], call: Callable[[T], Awaitable[Any]]) -> None:
    waiting = iter(items)

    async def creator() -> None:
        for item in waiting:
            await call(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(_CREATORS):
            group.create_task(creator())


async def measure(workload: str, nodes: int, pods: int, *, before: int = 0) -> Object:
    """Nodes, `before` Pods that are placed first, then `pods` Pods by the clock."""
    build = WORKLOADS[workload]
    async with local_server() as (server, client):
        for name, value in (("low", 0), ("high", 10)):
            priority = {"kind": "PriorityClass", "metadata": {"name": name}, "value": value}
            await client.create(PRIORITYCLASSES, {"apiVersion": "scheduling.k8s.io/v1", **priority})
        await _all(range(nodes), lambda number: _add_node(client, number))
        scheduler = asyncio.create_task(
            Scheduler(Client(InProcessTransport(server.local, "system:kube-scheduler"))).run()
        )
        try:
            first = low_priority if workload == "Preemption" else build
            await _run(client, [first(n) for n in range(before)])
            decided = _decisions()
            seconds, cpu = await _run(client, [build(n) for n in range(before, before + pods)])
            spent, attempts = (after - earlier for earlier, after in zip(decided, _decisions(), strict=True))
        finally:
            scheduler.cancel()
            await asyncio.gather(scheduler, return_exceptions=True)
    return {
        "workload": workload, "nodes": nodes, "before": before, "pods": pods, "pods_per_second": pods / seconds,
        "cpu_ms_per_pod": 1000 * cpu / pods, "decision_ms": 1000 * spent / attempts,
    }  # fmt: skip


def _decisions() -> tuple[float, float]:
    """Seconds spent deciding, and on how many attempts."""
    from podwright.scheduler import metrics

    found = {sample.name: sample.value for sample in next(iter(metrics.algorithm_seconds.collect())).samples}
    name = next(name for name in found if name.endswith("_sum")).removesuffix("_sum")
    return found[f"{name}_sum"], found[f"{name}_count"]


async def _run(client: Client, made: list[Object]) -> tuple[float, float]:
    """Seconds by the clock, and of this process's processor time: API server, scheduler and clients together."""
    if not made:
        return 0.0, 0.0
    revision = (await client.list(PODS, limit=1))["metadata"]["resourceVersion"]
    left = {p["metadata"]["name"] for p in made}

    async def all_bound() -> None:
        async for kind, obj in client.watch(PODS, resource_version=revision):
            if kind != "BOOKMARK" and obj["spec"].get("nodeName"):
                left.discard(obj["metadata"]["name"])
                if not left:
                    return

    start, cpu = time.perf_counter(), time.process_time()
    async with asyncio.timeout(600), asyncio.TaskGroup() as group:
        group.create_task(all_bound())
        group.create_task(_all(made, lambda obj: client.create(PODS, obj)))
    return time.perf_counter() - start, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=3000)
    parser.add_argument("--before", type=int, default=0)
    parser.add_argument("--workload", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--json", type=Path, help="also write the figures to a file")
    given = parser.parse_args()
    found = []
    for workload in given.workload:
        count, before = given.pods, given.before
        if workload == "PodAntiAffinity":  # A node takes one Pod of it.
            before = min(before, given.nodes // 2)
            count = min(count, given.nodes - before)
        elif workload == "Preemption":  # Every node is full.
            before, count = 4 * given.nodes, min(count, given.nodes)
        result = uvloop.run(measure(workload, given.nodes, count, before=before))
        found.append(result)
        size = f"{result['nodes']:6} nodes {result['before']:6} Pods before"
        print(f"{workload:22} {size} {result['pods_per_second']:8.0f} Pods/s "
              f"{result['cpu_ms_per_pod']:6.2f} ms CPU a Pod {result['decision_ms']:6.3f} ms a decision", flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
