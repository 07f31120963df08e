"""Nothing is booked twice, whatever happens at once: creators, deletions, nodes that come and go, two schedulers, a
restart in the middle. Over the real API server and its SQLite store."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NODES, PODS, PRIORITYCLASSES, SERVICEACCOUNTS
from podwright.api.status import ApiError
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.server import ApiServer
from podwright.client.client import Client
from podwright.client.transport import InProcessTransport
from podwright.cluster.pki import Pki
from podwright.kubelet.admission import NodeView, admit
from podwright.scheduler.config import ProfileConfig, SchedulerConfig
from podwright.scheduler.scheduler import Scheduler

_NODES, _CPUS, _CREATORS, _EACH = 12, 4, 8, 12
_ROOM = {"cpu": str(_CPUS), "memory": "8Gi", "pods": "110"}
_HOSTNAME = "kubernetes.io/hostname"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    pki = Pki(tmp_path)
    pki.ensure_ca()
    pair = pki.server("apiserver", "kube-apiserver", ["127.0.0.1"])
    config = ApiServerConfig(
        store_url=f"sqlite://{tmp_path}/store.db", certificate=pair.certificate, key=pair.key, host="127.0.0.1",
        port=0, service_account_signing_key=pki.ensure_service_account_key(), shutdown_seconds=0.2,
    )  # fmt: skip
    made = ApiServer(config)
    await made.start()
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    await _admin(made).create(SERVICEACCOUNTS, account)
    yield made
    await made.stop()


def _admin(server: ApiServer) -> Client:
    return Client(InProcessTransport(server.local, "admin", ("system:masters",)))


def _start(server: ApiServer, name: str = "default-scheduler") -> asyncio.Task[None]:
    client = Client(InProcessTransport(server.local, "system:kube-scheduler"))
    return asyncio.create_task(Scheduler(client, config=SchedulerConfig((ProfileConfig(name),))).run())


async def _stop(*schedulers: asyncio.Task[None]) -> None:
    for scheduler in schedulers:
        scheduler.cancel()
    await asyncio.gather(*schedulers, return_exceptions=True)
    assert all(s.cancelled() for s in schedulers)


async def _add_node(admin: Client, name: str) -> None:
    made = await admin.create(
        NODES,
        {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {_HOSTNAME: name}},
            "status": {"capacity": _ROOM, "allocatable": _ROOM, "conditions": [{"type": "Ready", "status": "True"}]},
        },
    )  # fmt: skip
    await admin.update(NODES, {**made, "spec": {}})


def _pod(name: str, *, alone: bool = False, cpu: str = "900m", **spec: Any) -> Object:
    made: Object = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"alone": "yes"} if alone else {}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "busybox:1.36", "resources": {"requests": {"cpu": cpu}}}], **spec,
        },
    }  # fmt: skip
    if alone:
        term = {"topologyKey": _HOSTNAME, "labelSelector": {"matchLabels": {"alone": "yes"}}}
        made["spec"]["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return made


class _Watcher:
    """Judges every state that the API ever shows, not only the last one."""

    def __init__(self, admin: Client) -> None:
        self._admin = admin
        self._pods: dict[str, Object] = {}
        self.bound: set[str] = set()
        self.broken: list[str] = []

    async def run(self, revision: str) -> None:
        nodes: dict[str, str] = {}
        async for kind, pod in self._admin.watch(PODS, resource_version=revision):
            if kind == "BOOKMARK":
                continue
            uid, node = objects.uid(pod), pod["spec"].get("nodeName") or ""
            if kind == "DELETED":
                self._pods.pop(uid, None)
                continue
            if not node:
                continue
            if nodes.setdefault(uid, node) != node:
                self.broken.append(f"{objects.name(pod)} moved from {nodes[uid]} to {node}")
            self.bound.add(uid)
            self._pods[uid] = pod
            there = [p for p in self._pods.values() if p["spec"]["nodeName"] == node]
            if len(there) * 900 > _CPUS * 1000:
                self.broken.append(f"{node} has {len(there)} Pods of 900m")
            if sum("alone" in objects.labels(p) for p in there) > 1:
                self.broken.append(f"{node} has two Pods that want to be alone")


async def _until(condition: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    async with asyncio.timeout(seconds):
        while True:
            value = await condition()
            if value:
                return value
            await asyncio.sleep(0.01)


async def _settled(admin: Client) -> bool:
    """Every Pod has its node, or has been told why not."""
    return all(
        p["spec"].get("nodeName") or objects.condition(p, "PodScheduled") for p in await admin.items(PODS)
    )


@pytest.mark.parametrize("disturbance", ["none", "second scheduler", "restarts"])
async def test_no_node_is_overbooked_and_no_required_rule_broken(server: ApiServer, disturbance: str) -> None:
    admin, chance = _admin(server), random.Random(7)
    for number in range(_NODES):
        await _add_node(admin, f"n{number}")
    watcher = _Watcher(admin)
    watching = asyncio.create_task(watcher.run((await admin.list(PODS))["metadata"]["resourceVersion"]))
    schedulers = [_start(server)]
    if disturbance == "second scheduler":
        # Two that do not know of each other, as when an old leader has not noticed yet: the API takes one Binding.
        schedulers.append(_start(server))

    async def create(creator: int) -> None:
        made = []
        for number in range(_EACH):
            made.append(f"p-{creator}-{number}")
            await admin.create(PODS, _pod(made[-1], alone=number % 4 == 0))
            if chance.random() < 0.4:
                gone = made.pop(chance.randrange(len(made)))
                with contextlib.suppress(ApiError):  # Its node went, and it with the node.
                    await admin.delete(PODS, gone, namespace="default")

    async def flap() -> None:
        names = [f"n{n}" for n in range(_NODES)]
        for number in range(_NODES, _NODES + 6):
            gone = names.pop(chance.randrange(len(names)))
            await admin.delete(NODES, gone)
            for pod in await admin.items(PODS, field_selector=f"spec.nodeName={gone}"):
                with contextlib.suppress(ApiError):  # Its creator was faster.
                    await admin.delete(PODS, objects.name(pod), namespace="default", grace_period_seconds=0)
            names.append(f"n{number}")
            await _add_node(admin, names[-1])
            await asyncio.sleep(0.02)

    async def restart() -> None:
        for _ in range(3):
            await asyncio.sleep(0.1)
            await _stop(schedulers.pop())
            schedulers.append(_start(server))

    async with asyncio.TaskGroup() as group:
        for creator in range(_CREATORS):
            group.create_task(create(creator))
        group.create_task(flap())
        if disturbance == "restarts":
            group.create_task(restart())
    await _until(lambda: _settled(admin))
    await _stop(*schedulers)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert len(watcher.bound) >= _NODES * 2
    if disturbance != "second scheduler":
        assert not watcher.broken
    else:
        # Each is right by what it saw; that a Pod never moves is what the API holds against both.
        assert not [b for b in watcher.broken if "moved" in b]


@pytest.mark.parametrize("other", ["default-scheduler", "other-scheduler"])
async def test_nodes_refuse_what_two_schedulers_bind_too_much(server: ApiServer, other: str) -> None:
    """Two that do not know of each other may each be right by what they saw. As upstream, the node has the last word,
    and a controller puts another Pod in the refused one's place: in the end every place is taken once."""
    admin, nodes, places = _admin(server), [f"n{n}" for n in range(3)], 3 * (_CPUS * 1000 // 900)
    for name in nodes:
        await _add_node(admin, name)
    views = {name: NodeView(name, {}, (), _ROOM) for name in nodes}
    running: dict[str, list[Object]] = {name: [] for name in nodes}
    seen: set[str] = set()
    refused: list[str] = []

    async def kubelets(revision: str) -> None:
        async for kind, pod in admin.watch(PODS, resource_version=revision):
            node = kind != "BOOKMARK" and pod["spec"].get("nodeName")
            if not node or objects.uid(pod) in seen:
                continue
            seen.add(objects.uid(pod))
            refusal = admit(pod, running[node], views[node])
            if refusal is None:
                running[node].append(pod)
                if len(seen) - len(refused) == places:
                    return
                continue
            refused.append(refusal.reason)
            name, scheduler = f"again-{len(refused)}", pod["spec"]["schedulerName"]
            await admin.delete(PODS, objects.name(pod), namespace="default", grace_period_seconds=0)
            await admin.create(PODS, _pod(name, schedulerName=scheduler))

    watching = asyncio.create_task(kubelets((await admin.list(PODS))["metadata"]["resourceVersion"]))
    for number in range(places):
        await admin.create(PODS, _pod(f"p-{number}", schedulerName=("default-scheduler", other)[number % 2]))
    schedulers = [_start(server), _start(server, other)]
    async with asyncio.timeout(60):
        await watching
    await _stop(*schedulers)
    assert all(len(there) * 900 <= _CPUS * 1000 for there in running.values())
    assert set(refused) <= {"OutOfcpu"}


async def test_preemptors_make_room_on_nodes_of_their_own(server: ApiServer) -> None:
    admin = _admin(server)
    for name, value in (("low", 0), ("high", 10)):
        priority = {"kind": "PriorityClass", "metadata": {"name": name}, "value": value}
        await admin.create(PRIORITYCLASSES, {"apiVersion": "scheduling.k8s.io/v1", **priority})
    for number in range(3):
        await _add_node(admin, f"n{number}")
    scheduler = _start(server)
    for number in range(12):
        await admin.create(PODS, _pod(f"low-{number}", priorityClassName="low"))
    await _until(lambda: _settled(admin))
    for number in range(3):
        await admin.create(PODS, _pod(f"high-{number}", cpu="3", priorityClassName="high"))

    async def placed() -> set[str] | None:
        found = [await admin.get(PODS, f"high-{n}", namespace="default") for n in range(3)]
        nodes = {p["spec"].get("nodeName") for p in found}
        return nodes if None not in nodes else None

    assert await _until(placed) == {"n0", "n1", "n2"}
    await _stop(scheduler)
    left = [objects.name(p) for p in await admin.items(PODS) if objects.name(p).startswith("low")]
    assert len(left) == 3, "of the four on each node three had to go, and no more"
