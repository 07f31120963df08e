"""The controllers' numbers on simulated nodes, in one process with API server and scheduler: a Deployment 0 → 100, 500
Deployments of 10 Pods, idle cost with their 5,000 Pods there; and what the garbage collector's graph of 50,000 objects
takes beside the API server.

    PYTHONPATH=src python bench/controllers.py [--nodes 100] [--deployments 500] [--idle 20] [--objects 50000]
        [--json FILE]"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from local_server import local_server

from podwright.api.calls import Call
from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, DEPLOYMENTS, PODS
from podwright.client.client import Client
from podwright.client.transport import InProcessTransport
from podwright.cluster import roles
from podwright.controllers.config import ControllerConfig
from podwright.controllers.garbage_collector import GarbageCollector
from podwright.controllers.manager import ControllerManager
from podwright.kubelet.simulated.simulator import Simulator
from podwright.scheduler.scheduler import Scheduler

_GROUPS = ("system:serviceaccounts", "system:serviceaccounts:kube-system")


class _Counted(InProcessTransport):
    """Counts calls, by verb and path."""

    calls: Counter[str] = Counter()

    async def call(self, call: Call) -> Object:
        self.calls[f"{call.method} {call.path.split('?')[0]}"] += 1
        return await super().call(call)


def deployment(name: str, replicas: int) -> Object:
    container = {
        "name": "c", "image": "registry.k8s.io/pause:3.10", "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}},
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [container],
                    "tolerations": [{"key": "podwright.io/simulated", "operator": "Exists"}],
                },
            },
        },
    }  # fmt: skip


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float = 300.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.1)


def _resident() -> float:
    """MiB, without what only waits to be given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


async def graph(objects: int) -> dict[str, Any]:
    """One object in ten owns the other nine."""
    async with local_server() as (server, admin):
        numbers = iter(range(objects // 10))

        async def create() -> None:
            for number in numbers:
                named = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"n": str(number)}}
                owner = await admin.create(
                    CONFIGMAPS, {**named, "metadata": {"name": f"o{number}", "namespace": "default"}}
                )
                reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": f"o{number}",
                             "uid": owner["metadata"]["uid"]}
                for dependent in range(9):
                    meta = {"name": f"o{number}-{dependent}", "namespace": "default", "ownerReferences": [reference]}
                    await admin.create(CONFIGMAPS, {**named, "metadata": meta})

        def client(user: str) -> Client:
            return Client(InProcessTransport(server.local, user, _GROUPS if "serviceaccount" in user else ()))

        async with asyncio.TaskGroup() as group:
            for _ in range(32):
                group.create_task(create())
        before = _resident()
        manager = ControllerManager(client, config=ControllerConfig(), controllers=[GarbageCollector])
        collecting = asyncio.create_task(manager.run())
        known: dict[str, GarbageCollector] = {}
        try:
            await _until(_sees(objects, known))
            after = _resident()
        finally:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)
    return {"collector_objects": objects, "apiserver_mib": before, "collector_mib": after - before}


def _sees(objects: int, known: dict[str, GarbageCollector]) -> Callable[[], Awaitable[bool]]:
    async def seen() -> bool:
        if not known:
            known.update((c.name, c) for c in gc.get_objects() if isinstance(c, GarbageCollector))
        return any(len(c.graph) >= objects for c in known.values())

    return seen


async def measure(nodes: int, deployments: int, idle: float) -> dict[str, Any]:
    async with local_server() as (server, admin):
        await roles.ensure(server, roles.SIMULATOR_USER)

        def client(user: str) -> Client:
            return Client(_Counted(server.local, user, _GROUPS if user.startswith("system:serviceaccount:") else ()))

        simulator = Simulator(client(roles.SIMULATOR_USER), nodes)
        async with asyncio.TaskGroup() as group:
            work = [
                group.create_task(ControllerManager(client, config=ControllerConfig()).run()),
                group.create_task(simulator.run()),
                group.create_task(Scheduler(client("system:kube-scheduler")).run()),
            ]
            await simulator.ready()
            found = await _measure(admin, deployments, idle)
            for task in work:
                task.cancel()
    return found


async def _measure(admin: Client, deployments: int, idle: float) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def pods(count: int) -> bool:
        return len((await admin.list(PODS, namespace="default"))["items"]) >= count

    await admin.create(DEPLOYMENTS, deployment("scaled", 0))
    await asyncio.sleep(1.0)
    start = time.perf_counter()
    await admin.patch(DEPLOYMENTS, "scaled", {"spec": {"replicas": 100}}, namespace="default")
    await _until(lambda: pods(100))
    found["scale_0_to_100_created_s"] = time.perf_counter() - start

    async def available(count: int, replicas: int) -> bool:
        made = await admin.items(DEPLOYMENTS, namespace="default")
        return sum((d["status"].get("availableReplicas") or 0) >= replicas for d in made) >= count

    await _until(lambda: available(1, 100))
    found["scale_0_to_100_available_s"] = time.perf_counter() - start
    start = time.perf_counter()
    for number in range(deployments):
        await admin.create(DEPLOYMENTS, deployment(f"d{number}", 10))
    await _until(lambda: available(deployments + 1, 10))
    found[f"{deployments}_deployments_of_10_s"] = time.perf_counter() - start
    await asyncio.sleep(5.0)
    _Counted.calls.clear()
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.sleep(idle)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found["idle_core_percent_whole_process"] = 100 * cpu / idle
    found["idle_calls"] = {call: n for call, n in _Counted.calls.items() if "/leases" not in call}
    found["maximum_rss_mib"] = after.ru_maxrss / 1024
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--deployments", type=int, default=500)
    parser.add_argument("--idle", type=float, default=20.0, help="Seconds without work.")
    parser.add_argument("--objects", type=int, default=50_000, help="For the garbage collector.")
    parser.add_argument("--json", type=Path, help="also write the figures to a file")
    given = parser.parse_args()
    found = uvloop.run(measure(given.nodes, given.deployments, given.idle)) if given.deployments else {}
    if given.objects:
        found |= uvloop.run(graph(given.objects))
    for name, value in found.items():
        print(f"{name:36} {value:.2f}" if isinstance(value, float) else f"{name:36} {value}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
