"""The scheduler over the real API server: where Pods go, why they wait, and what wakes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import (
    EVENTS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SERVICEACCOUNTS,
    STORAGECLASSES,
)
from podwright.api.status import failure
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.server import ApiServer
from podwright.client.client import Client
from podwright.client.transport import Call, InProcessTransport
from podwright.cluster.pki import Pki
from podwright.scheduler.config import SchedulerConfig
from podwright.scheduler.scheduler import Scheduler

Until = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    pki = Pki(tmp_path)
    pki.ensure_ca()
    pair = pki.server("apiserver", "kube-apiserver", ["127.0.0.1"])
    config = ApiServerConfig(
        store_url="memory://", certificate=pair.certificate, key=pair.key, host="127.0.0.1", port=0,
        service_account_signing_key=pki.ensure_service_account_key(), shutdown_seconds=0.2,
    )  # fmt: skip
    server = ApiServer(config)
    await server.start()
    client = Client(InProcessTransport(server.local, "admin", ("system:masters",)))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    await client.create(SERVICEACCOUNTS, account)
    yield server
    await server.stop()


@pytest.fixture
async def admin(server: ApiServer) -> AsyncIterator[Client]:
    """An admin's client; the scheduler runs as its own user, under RBAC."""
    scheduler = asyncio.ensure_future(
        Scheduler(Client(InProcessTransport(server.local, "system:kube-scheduler"))).run()
    )
    yield Client(InProcessTransport(server.local, "admin", ("system:masters",)))
    scheduler.cancel()
    await asyncio.gather(scheduler, return_exceptions=True)
    assert scheduler.cancelled()


def node(name: str, *, cpu: str = "4", pods: str = "110", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    room = {"cpu": cpu, "memory": "8Gi", "pods": pods}
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}}, "spec": spec,
        "status": {"capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip


async def add_node(admin: Client, made: Object) -> None:
    """As a kubelet registers: admission taints a new node, and whoever finds it Ready takes the taint off."""
    created = objects.deepcopy(await admin.create(NODES, made))
    created["spec"] = dict(made["spec"])
    await admin.update(NODES, created)


def pod(name: str, *, cpu: str = "", ports: int = 0, **spec: Any) -> Object:
    container: Object = {"name": "c", "image": "busybox:1.36"}
    if cpu:
        container["resources"] = {"requests": {"cpu": cpu}}
    if ports:
        container["ports"] = [{"containerPort": 80, "hostPort": ports}]
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], **spec},
    }  # fmt: skip


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(60):
        while True:
            value = await condition()
            if value:
                return value
            await asyncio.sleep(0.005)


async def placed(admin: Client, name: str) -> str:
    async def bound() -> str:
        found = await admin.get(PODS, name, namespace="default")
        return str(found["spec"].get("nodeName") or "")

    return str(await until(bound))


async def refused(admin: Client, name: str) -> str:
    """The message of the Pod's PodScheduled=False condition."""

    async def told() -> str:
        condition = objects.condition(await admin.get(PODS, name, namespace="default"), "PodScheduled") or {}
        return str(condition.get("message") or "") if condition.get("status") == "False" else ""

    return str(await until(told))


async def test_equal_pods_spread_and_full_nodes_get_none(admin: Client) -> None:
    for name in ("a", "b"):
        await add_node(admin, node(name, cpu="1"))
    for number in range(4):
        await admin.create(PODS, pod(f"p{number}", cpu="400m"))
    where = [await placed(admin, f"p{n}") for n in range(4)]
    assert sorted(where) == ["a", "a", "b", "b"]
    await admin.create(PODS, pod("one-too-many", cpu="400m"))
    assert await refused(admin, "one-too-many") == (
        "0/2 nodes are available: 2 Insufficient cpu. "
        "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
    )


async def test_a_pod_that_waits_is_placed_when_room_appears(admin: Client) -> None:
    await add_node(admin, node("a", cpu="1"))
    await admin.create(PODS, pod("first", cpu="800m"))
    await placed(admin, "first")
    await admin.create(PODS, pod("second", cpu="800m"))
    await refused(admin, "second")
    await admin.delete(PODS, "first", namespace="default", grace_period_seconds=0)
    assert await placed(admin, "second") == "a"
    await admin.create(PODS, pod("third", cpu="800m"))
    await refused(admin, "third")
    await add_node(admin, node("b", cpu="1"))
    assert await placed(admin, "third") == "b"


async def test_every_refusal_is_counted_by_its_reason(admin: Client) -> None:
    await add_node(admin, node("small", cpu="100m"))
    await add_node(admin, node("full", pods="0"))
    await add_node(admin, node("cordoned", unschedulable=True))
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    await add_node(admin, node("tainted", taints=[taint]))
    await add_node(admin, node("elsewhere", labels={"zone": "x"}))
    await admin.create(PODS, pod("picky", cpu="1", nodeSelector={"zone": "y"}))
    message = await refused(admin, "picky")
    assert message == (
        "0/5 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, "
        "3 node(s) didn't match Pod's node affinity/selector. "
        "preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling."
    )

    async def told() -> bool:
        events = await admin.items(EVENTS, namespace="default")
        return any(e["reason"] == "FailedScheduling" and e["message"] == message for e in events)

    assert await until(told)
    tolerant = pod("tolerant", cpu="1", tolerations=[{"key": "gpu", "operator": "Exists"}])
    tolerant["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "tainted"}
    await admin.create(PODS, tolerant)
    assert await placed(admin, "tolerant") == "tainted"


async def test_host_ports_keep_pods_apart(admin: Client) -> None:
    for name in ("a", "b"):
        await add_node(admin, node(name))
    for name in ("one", "two", "three"):
        await admin.create(PODS, pod(name, ports=8080))
    assert {await placed(admin, "one"), await placed(admin, "two")} == {"a", "b"}
    assert "2 node(s) didn't have free ports for the requested pod ports" in await refused(admin, "three")


async def test_gates_and_other_schedulers_names_are_respected(admin: Client) -> None:
    await add_node(admin, node("a"))
    await admin.create(PODS, pod("gated", schedulingGates=[{"name": "example.com/wait"}]))
    await admin.create(PODS, pod("foreign", schedulerName="other"))
    await admin.create(PODS, pod("plain"))
    await placed(admin, "plain")
    for name in ("gated", "foreign"):
        assert "nodeName" not in (await admin.get(PODS, name, namespace="default"))["spec"]
    await admin.patch(PODS, "gated", {"spec": {"schedulingGates": None}}, namespace="default")
    assert await placed(admin, "gated") == "a"


async def test_a_claim_that_waits_for_its_consumer_learns_the_node(admin: Client) -> None:
    await add_node(admin, node("a"))
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "late",
        },
    }  # fmt: skip
    late = {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "late"},
        "provisioner": "example.com/disks", "volumeBindingMode": "WaitForFirstConsumer",
    }  # fmt: skip
    await admin.create(STORAGECLASSES, late)
    await admin.create(PERSISTENTVOLUMECLAIMS, claim)
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    await admin.create(PODS, pod("user", volumes=[volume]))

    async def noted() -> Object:
        found = await admin.get(PERSISTENTVOLUMECLAIMS, "data", namespace="default")
        return found if "volume.kubernetes.io/selected-node" in objects.annotations(found) else {}

    provisioned = objects.deepcopy(await until(noted))
    assert objects.annotations(provisioned)["volume.kubernetes.io/selected-node"] == "a"
    assert "nodeName" not in (await admin.get(PODS, "user", namespace="default"))["spec"]
    provisioned["status"] = {"phase": "Bound"}
    await admin.update_status(PERSISTENTVOLUMECLAIMS, provisioned)
    assert await placed(admin, "user") == "a"


async def test_a_claim_for_one_pod_has_one_pod_in_the_whole_cluster(admin: Client) -> None:
    await add_node(admin, node("a"))
    await add_node(admin, node("b"))
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "data",
            "storageClassName": "",
        },
    }  # fmt: skip
    await admin.create(PERSISTENTVOLUMES, {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOncePod"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}},
    })  # fmt: skip
    await admin.create(PERSISTENTVOLUMECLAIMS, claim)
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    await admin.create(PODS, pod("first", volumes=[volume]))
    await placed(admin, "first")
    await admin.create(PODS, pod("second", volumes=[volume]))

    async def refused() -> str:
        found = await admin.get(PODS, "second", namespace="default")
        return str((objects.condition(found, "PodScheduled") or {}).get("message", ""))

    message = await until(refused)
    assert "2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode" in message
    await admin.delete(PODS, "first", namespace="default", grace_period_seconds=0)
    await placed(admin, "second")


async def test_no_node_is_ever_booked_twice_under_a_burst(admin: Client) -> None:
    for number in range(5):
        await add_node(admin, node(f"n{number}", cpu="1"))
    await asyncio.gather(*(admin.create(PODS, pod(f"p{i}", cpu="300m")) for i in range(20)))

    async def settled() -> bool:
        found = await admin.items(PODS, namespace="default")
        decided = [p for p in found if p["spec"].get("nodeName") or objects.condition(p, "PodScheduled")]
        return len(decided) == 20

    await until(settled)
    counts: dict[str, int] = {}
    for found in await admin.items(PODS, namespace="default"):
        name = found["spec"].get("nodeName")
        if name:
            counts[name] = counts.get(name, 0) + 1
    assert counts == {f"n{i}": 3 for i in range(5)}


class Refused(InProcessTransport):
    """Somebody took a right from the scheduler's role."""

    refused = "deviceclasses"

    async def call(self, call: Call) -> Object:
        if self.refused and call.path.endswith(self.refused):
            raise failure(403, "Forbidden", f"{self.refused} is forbidden")
        return await super().call(call)


async def test_a_list_that_is_refused_stops_scheduling_and_is_named(server: ApiServer) -> None:
    transport = Refused(server.local, "system:kube-scheduler")
    scheduler = Scheduler(Client(transport), config=SchedulerConfig(warm_up=0.0))
    assert scheduler.waits_for() == [], "before it leads it waits for nothing"
    user = Client(InProcessTransport(server.local, "admin", ("system:masters",)))
    running = asyncio.ensure_future(scheduler.run())
    try:
        await add_node(user, node("a"))
        await user.create(PODS, pod("p"))

        async def named() -> bool:
            return scheduler.waits_for() == ["deviceclasses.resource.k8s.io"]

        await until(named)
        transport.refused = ""
        assert await placed(user, "p") == "a"
        assert scheduler.waits_for() == []
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
