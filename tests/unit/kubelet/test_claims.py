"""Dynamic resource allocation on the node: drivers prepare claims before their Pods start and give them back after."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.dra_driver import DraDriver

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PODS, RESOURCECLAIMS, RESOURCESLICES
from podwright.kubelet.devices import claims
from podwright.kubelet.plugins.sockets import PluginSocket

from .conftest import Cluster, make_container, make_pod


@pytest.fixture
def tmp_path() -> Any:
    """The path of a Unix socket must be short."""
    with tempfile.TemporaryDirectory(prefix="dra") as made:
        yield Path(made)


@pytest.fixture
async def driver(cluster: Cluster, tmp_path: Path) -> AsyncIterator[DraDriver]:
    made = DraDriver("dra.test", cluster.config.data_dir, tmp_path / "cdi")
    await made.start()
    yield made
    await made.stop()


async def allocated(cluster: Cluster, name: str, *users: Object, driver: str = "dra.test") -> Object:
    """A claim as the scheduler leaves it."""
    results = [{"request": "one", "driver": driver, "pool": "pool", "device": "dev-0"}]
    reserved = [{"resource": "pods", "name": objects.name(u), "uid": objects.uid(u)} for u in users]
    status = {"allocation": {"devices": {"results": results}}, "reservedFor": reserved}
    claim = {"metadata": {"name": name, "namespace": "default"}, "spec": {}, "status": status}
    return await cluster.api.client.create(RESOURCECLAIMS, claim, namespace="default")


def using(name: str, claim: str, request: str = "", **more: Any) -> Object:
    wanted = {"name": "c", **({"request": request} if request else {})}
    containers = [make_container(resources={"claims": [wanted]}), make_container("other")]
    made = make_pod(name, *containers, resourceClaims=[{"name": "c", "resourceClaimName": claim}], **more)
    made["metadata"]["uid"] = f"uid-{name}"
    return made


def cdi_of(cluster: Cluster, container: str = "main") -> list[str]:
    configs = cluster.runtime.configs
    return [i for c in configs if c in cluster.runtime.containers and configs[c].name == container
            for i in configs[c].cdi_devices]  # fmt: skip


async def test_a_claim_is_prepared_once_and_given_back_after_its_last_pod(
    cluster: Cluster, driver: DraDriver
) -> None:
    first, second = using("a", "shared", "one"), using("b", "shared")
    claim = await allocated(cluster, "shared", first, second)
    await cluster.create(first)
    await cluster.until_ready("a")
    await cluster.create(second)
    await cluster.until_ready("b")
    device = f"dra.test/claim={objects.uid(claim)}"
    assert cdi_of(cluster) == [device, device] and cdi_of(cluster, "other") == []
    asked = {"claims": [{"namespace": "default", "uid": objects.uid(claim), "name": "shared"}]}
    assert [c for c in driver.calls if c[0].startswith("Node")] == [("NodePrepareResources", asked)]
    async with PluginSocket(cluster.config.data_dir / "pod-resources" / "kubelet.sock") as socket:
        request = {"pod_name": "a", "pod_namespace": "default"}
        told = (await socket.call("v1.PodResourcesLister", "Get", request, timeout=5))["pod_resources"]
    assert told["containers"][0]["dynamic_resources"] == [{
        "claim_name": "shared", "claim_namespace": "default", "claim_resources": [
            {"cdi_devices": [{"name": device}], "driver_name": "dra.test", "pool_name": "pool", "device_name": "dev-0"}
        ],
    }]  # fmt: skip

    async def until_told(health: str) -> None:
        for name, resource in (("a", "claim:c/one"), ("b", "claim:c")):
            told = [{"name": resource, "resources": [{"resourceID": "dra.test/pool/dev-0", "health": health}]}]
            await cluster.until_pod(
                lambda p, told=told: p["status"]["containerStatuses"][0].get("allocatedResourcesStatus") == told, name
            )

    await until_told("Healthy")
    await driver.set_health(False)
    await until_told("Unhealthy")

    await cluster.restart()
    await until_told("Unhealthy")
    await cluster.api.client.delete(PODS, "a", namespace="default")
    await cluster.until_gone("a")
    assert driver.names()[-1] != "NodeUnprepareResources"
    await cluster.api.client.delete(PODS, "b", namespace="default")
    await cluster.until_gone("b")
    assert driver.calls[-1] == ("NodeUnprepareResources", asked)
    assert driver.names().count("NodePrepareResources") == 1


async def test_a_pod_waits_until_its_claim_can_be_prepared(cluster: Cluster, driver: DraDriver) -> None:
    pod = using("web", "mine", "other-request")
    await cluster.create(pod)

    async def complaint(part: str) -> None:
        said = ("FailedPrepareDynamicResources", f"Failed to prepare dynamic resources: {part}")
        await cluster.until(lambda: any(r == said[0] and m.startswith(said[1]) for r, m in cluster.api.events("web")))

    await complaint("failed to fetch ResourceClaim mine referenced by pod web: ")
    claim = await allocated(cluster, "mine")
    await complaint(f"pod web (uid-web) is not allowed to use ResourceClaim mine ({objects.uid(claim)})")
    driver.errors["mine"] = "no current"
    claim["status"]["reservedFor"] = [{"resource": "pods", "name": "web", "uid": "uid-web"}]
    await cluster.api.client.update_status(RESOURCECLAIMS, claim)
    await complaint("NodePrepareResources failed for ResourceClaim mine: no current")
    driver.errors.clear()
    await cluster.until_ready()
    assert cdi_of(cluster) == [], "the device belongs to another request of the claim"


@pytest.mark.parametrize("directory", [True, False])
async def test_what_a_pod_left_is_given_back_when_its_driver_is_here_again(
    cluster: Cluster, driver: DraDriver, caplog: pytest.LogCaptureFixture, directory: bool
) -> None:
    caplog.set_level("INFO")
    pod = using("web", "mine")
    await allocated(cluster, "mine", pod)
    await cluster.create(pod)
    await cluster.until_ready()
    await cluster.kill()
    await driver.stop()
    await cluster.api.client.delete(PODS, "web", namespace="default", grace_period_seconds=0)
    cluster.runtime.containers.clear()
    cluster.runtime.sandboxes.clear()
    if not directory:
        shutil.rmtree(cluster.config.pod_dir("uid-web"))
    await cluster.restart()
    await cluster.until(lambda: "DRA driver dra.test is not registered" in caplog.text)
    await driver.start()
    await cluster.until(lambda: "NodeUnprepareResources" in driver.names())


async def test_slices_of_drivers_that_are_gone_go(
    cluster: Cluster, driver: DraDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "GONE_GRACE", 2.0)  # Within it the driver that is there registers again.
    for name, owner in (("here", "dra.test"), ("gone", "old.test")):
        pool = {"name": "pool", "generation": 1, "resourceSliceCount": 1}
        spec = {"driver": owner, "nodeName": "node-1", "pool": pool}
        await cluster.api.client.create(RESOURCESLICES, {"metadata": {"name": name}, "spec": spec})
    await cluster.until(lambda: driver.registered)
    driver.registered = {}
    await cluster.restart()
    await cluster.until(lambda: driver.registered)
    await cluster.until(lambda: cluster.api.find(RESOURCESLICES, "gone", "") is None)
    monkeypatch.setattr(claims, "GONE_GRACE", 0.05)
    assert cluster.api.find(RESOURCESLICES, "here", "") is not None
    successor = DraDriver("dra.test", cluster.config.data_dir / "new", driver.backing)
    successor.registry = driver.registry.with_name("new-reg.sock")
    await successor.start()
    await cluster.until(lambda: successor.registered)
    await driver.stop()
    pod = using("web", "mine")
    await allocated(cluster, "mine", pod)
    await cluster.create(pod)
    await cluster.until_ready()
    assert "NodePrepareResources" in successor.names()
    await successor.stop()
    await cluster.until(lambda: cluster.api.find(RESOURCESLICES, "here", "") is None)
