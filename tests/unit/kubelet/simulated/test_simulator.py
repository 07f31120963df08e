"""Simulated nodes over the real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import LEASES, NODES, PODS, SERVICEACCOUNTS
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.server import ApiServer
from podwright.client.client import Client
from podwright.client.transport import InProcessTransport
from podwright.cluster import roles
from podwright.cluster.pki import Pki
from podwright.controllers.config import ControllerConfig
from podwright.controllers.manager import ControllerManager
from podwright.controllers.node_lifecycle import NodeLifecycleController
from podwright.kubelet.simulated.simulator import Simulator

_NODES = 5
_GRACE = 3.0


@pytest.fixture
async def admin(tmp_path: Path) -> AsyncIterator[Client]:
    """With five simulated nodes, and the controller that wants their one heartbeat every `_GRACE` seconds."""
    pki = Pki(tmp_path)
    pki.ensure_ca()
    pair = pki.server("apiserver", "kube-apiserver", ["127.0.0.1"])
    config = ApiServerConfig(
        store_url="memory://", certificate=pair.certificate, key=pair.key, host="127.0.0.1", port=0,
        service_account_signing_key=pki.ensure_service_account_key(), shutdown_seconds=0.2,
    )  # fmt: skip
    server = ApiServer(config)
    await server.start()
    await roles.ensure(server, roles.SIMULATOR_USER)
    client = Client(InProcessTransport(server.local, "admin", ("system:masters",)))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    await client.create(SERVICEACCOUNTS, account)
    manager = ControllerManager(
        lambda user: Client(InProcessTransport(server.local, user, ("system:masters",))),
        config=ControllerConfig(node_monitor_grace_period=_GRACE), controllers=[NodeLifecycleController],
    )  # fmt: skip
    simulator = Simulator(
        Client(InProcessTransport(server.local, roles.SIMULATOR_USER)), _NODES, lease_period=0.1
    )
    tasks = [asyncio.ensure_future(manager.run()), asyncio.ensure_future(simulator.run())]
    async with asyncio.timeout(60):
        await simulator.ready()
    yield client
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)
    await server.stop()


async def _until(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(60):
        while True:
            value = await condition()
            if value:
                return value
            await asyncio.sleep(0.01)


def _pod(name: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations or {}},
        "spec": {"nodeName": "simulated-2", "containers": [{"name": "c", "image": "busybox:1.36"}], **spec},
    }  # fmt: skip


async def _in_phase(admin: Client, name: str, phase: str) -> Object:
    async def reached() -> Object | None:
        pod = await admin.get(PODS, name, namespace="default")
        return pod if pod["status"].get("phase") == phase else None

    found: Object = await _until(reached)
    return found


async def _gone(admin: Client, name: str) -> None:
    async def gone() -> bool:
        return name not in {objects.name(p) for p in await admin.items(PODS)}

    await _until(gone)


async def test_nodes_say_what_they_are_and_one_lease_keeps_them_all_ready(admin: Client) -> None:
    nodes = await admin.items(NODES)
    assert len(nodes) == _NODES
    for node in nodes:
        assert objects.labels(node)["podwright.io/simulated"] == "true"
        assert [t["key"] for t in node["spec"]["taints"]] == ["podwright.io/simulated"]
        assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("simulated://")
    assert len({n["spec"]["podCIDR"] for n in nodes}) == _NODES
    assert [objects.name(x) for x in await admin.items(LEASES, namespace="kube-node-lease")] == ["simulated-nodes"]
    versions = {objects.name(n): n["metadata"]["resourceVersion"] for n in nodes}
    await asyncio.sleep(_GRACE + 0.5)
    after = {objects.name(n): n["metadata"]["resourceVersion"] for n in await admin.items(NODES)}
    assert after == versions, "a heartbeat writes no Node, and none is found silent"


async def test_a_node_that_was_marked_silent_says_that_it_is_not(admin: Client) -> None:
    node = await admin.get(NODES, "simulated-1")
    conditions = [{**c, "status": "Unknown"} for c in node["status"]["conditions"]]
    await admin.update_status(NODES, {**node, "status": {**node["status"], "conditions": conditions}})

    async def ready() -> bool:
        return objects.condition_is_true(await admin.get(NODES, "simulated-1"), "Ready")

    await _until(ready)


async def test_pods_run_with_addresses_of_their_node_and_go_when_deleted(admin: Client) -> None:
    network = (await admin.get(NODES, "simulated-2"))["spec"]["podCIDR"]
    addresses = set()
    for name in ("a", "b"):
        await admin.create(PODS, _pod(name, initContainers=[{"name": "i", "image": "busybox:1.36"}]))
        pod = await _in_phase(admin, name, "Running")
        assert objects.condition_is_true(pod, "Ready")
        assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
        addresses.add(pod["status"]["podIP"])
    assert len(addresses) == 2
    assert all(a.startswith(network.rpartition(".")[0]) for a in addresses)
    await admin.delete(PODS, "a", namespace="default")
    await _gone(admin, "a")
    await admin.create(PODS, _pod("c", hostNetwork=True))
    pod = await _in_phase(admin, "c", "Running")
    assert pod["status"]["podIP"] == pod["status"]["hostIP"]


async def test_annotated_pods_end_unless_they_would_be_restarted(admin: Client) -> None:
    def short(code: int = 0) -> dict[str, str]:
        return {"podwright.io/simulated-run-seconds": "0.1", "podwright.io/simulated-exit-code": str(code)}

    await admin.create(PODS, _pod("good", annotations=short(), restartPolicy="Never"))
    await admin.create(PODS, _pod("bad", annotations=short(3), restartPolicy="Never"))
    await admin.create(PODS, _pod("again", annotations=short(3), restartPolicy="OnFailure"))
    good, bad = await _in_phase(admin, "good", "Succeeded"), await _in_phase(admin, "bad", "Failed")
    codes = [p["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] for p in (good, bad)]
    assert codes == [0, 3]
    assert (await _in_phase(admin, "again", "Running"))["status"]["containerStatuses"][0]["ready"]


async def test_a_deleted_pod_that_is_held_back_has_ended(admin: Client) -> None:
    pod = _pod("held")
    pod["metadata"]["finalizers"] = ["example.com/count"]
    await admin.create(PODS, pod)
    await _in_phase(admin, "held", "Running")
    await admin.delete(PODS, "held", namespace="default")
    await _in_phase(admin, "held", "Failed")
    await admin.patch(PODS, "held", {"metadata": {"finalizers": None}}, namespace="default")
    await _gone(admin, "held")


async def test_readiness_gates_are_waited_for(admin: Client) -> None:
    await admin.create(PODS, _pod("gated", readinessGates=[{"conditionType": "example.com/open"}]))
    assert not objects.condition_is_true(await _in_phase(admin, "gated", "Running"), "Ready")
    opened = {"status": {"conditions": [{"type": "example.com/open", "status": "True"}]}}
    await admin.patch(
        PODS, "gated", opened, namespace="default", subresource="status",
        content_type="application/strategic-merge-patch+json",
    )  # fmt: skip

    async def ready() -> bool:
        return objects.condition_is_true(await admin.get(PODS, "gated", namespace="default"), "Ready")

    await _until(ready)
