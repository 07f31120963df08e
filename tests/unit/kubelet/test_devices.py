"""Device plugins over their sockets: what the node has, who gets which device, and what outlives the kubelet."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.device_plugin import HOST_DEVICE, DevicePlugin

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NODES, PODS
from podwright.kubelet.devices.ledger import Ledger
from podwright.kubelet.plugins.registration import BadPlugin, Plugin
from podwright.kubelet.plugins.sockets import PluginFailure, PluginSocket

from .conftest import Cluster, make_container, make_pod

RESOURCE = "test.example/thing"


@pytest.fixture
def tmp_path() -> Any:
    """The path of a Unix socket must be short."""
    with tempfile.TemporaryDirectory(prefix="dp") as made:
        yield Path(made)


@pytest.fixture
async def plugin(cluster: Cluster) -> AsyncIterator[DevicePlugin]:
    made = DevicePlugin(cluster.config.data_dir / "device-plugins", RESOURCE, 3)
    await cluster.until((made.directory / "kubelet.sock").exists)
    await made.start()
    await until_node(cluster, "3", "3")
    yield made
    await made.stop()


async def until_node(cluster: Cluster, capacity: str | None, allocatable: str | None) -> None:
    def told() -> bool:
        status = (cluster.api.find(NODES, "node-1") or {}).get("status") or {}
        found = [(status.get(w) or {}).get(RESOURCE) for w in ("capacity", "allocatable")]
        return found == [capacity, allocatable]

    await cluster.until(told)


def wanting(count: int, name: str = "main", **more: Any) -> Object:
    amounts = {RESOURCE: str(count)}
    return make_container(name, resources={"requests": amounts, "limits": amounts}, **more)


def config_of(cluster: Cluster, name: str) -> Any:
    return next(c for i, c in cluster.runtime.configs.items() if c.name == name and i in cluster.runtime.containers)


async def ask(cluster: Cluster, method: str, request: Object) -> Object:
    async with PluginSocket(cluster.config.data_dir / "pod-resources" / "kubelet.sock") as socket:
        return await socket.call("v1.PodResourcesLister", method, request, timeout=5)


async def test_a_container_gets_what_its_devices_need(cluster: Cluster, plugin: DevicePlugin) -> None:
    await cluster.create(make_pod("web", wanting(2, env=[{"name": "OWN", "value": "1"}]), make_container("other")))
    await cluster.until_ready()
    made = config_of(cluster, "main")
    assert dict(made.env)["TEST_DEVICES"] == "dev-0,dev-1" and dict(made.env)["OWN"] == "1"
    assert [(d.host_path, d.container_path, d.permissions) for d in made.devices] == [
        (HOST_DEVICE, "/dev/test/dev-0", "r"), (HOST_DEVICE, "/dev/test/dev-1", "r")
    ]  # fmt: skip
    mount = next(m for m in made.mounts if m.container_path == "/etc/test-devices")
    assert mount.readonly and Path(mount.host_path).read_text() == "dev-0 dev-1"
    assert made.annotations["devices.test/ids"] == "dev-0,dev-1"
    assert "TEST_DEVICES" not in dict(config_of(cluster, "other").env)
    assert [name for name, _ in plugin.calls] == ["ListAndWatch", "Allocate", "PreStartContainer"]

    listed = (await ask(cluster, "List", {}))["pod_resources"]
    devices = [{"resource_name": RESOURCE, "device_ids": ["dev-0", "dev-1"], "topology": {"nodes": [{}]}}]
    assert listed == [
        {"name": "web", "namespace": "default", "containers": [{"name": "main", "devices": devices}, {"name": "other"}]}
    ]
    one = await ask(cluster, "Get", {"pod_name": "web", "pod_namespace": "default"})
    assert one["pod_resources"] == listed[0]
    with pytest.raises(PluginFailure, match="pod web in namespace other not found"):
        await ask(cluster, "Get", {"pod_name": "web", "pod_namespace": "other"})
    room = await ask(cluster, "GetAllocatableResources", {})
    assert room["devices"][0]["device_ids"] == ["dev-0", "dev-1", "dev-2"] and room["cpu_ids"]


async def test_no_device_is_given_twice_and_the_last_one_comes_back(cluster: Cluster, plugin: DevicePlugin) -> None:
    await cluster.create(make_pod("a", wanting(1)))
    await cluster.create(make_pod("b", wanting(1)))
    await cluster.create(make_pod("greedy", wanting(2)))
    for name in ("a", "b"):
        await cluster.until_ready(name)
    refused = await cluster.until_pod(lambda p: p["status"].get("phase") == "Failed", "greedy")
    assert refused["status"]["reason"] == "UnexpectedAdmissionError"
    assert refused["status"]["message"].endswith(
        f"Allocate failed due to requested number of devices unavailable for {RESOURCE}. Requested: 2, Available: 1, "
        "which is unexpected"
    )
    taken = {dict(c.env)["TEST_DEVICES"] for c in cluster.runtime.configs.values()}
    assert taken == {"dev-0", "dev-1"}
    await cluster.api.client.delete(PODS, "a", namespace="default")
    await cluster.until_gone("a")
    await cluster.create(make_pod("c", wanting(2)))
    await cluster.until_ready("c")
    ids = {dict(c.env)["TEST_DEVICES"] for c in cluster.runtime.configs.values()}
    assert "dev-0,dev-2" in ids


async def test_an_init_containers_devices_are_used_again_a_sidecars_are_not(
    cluster: Cluster, plugin: DevicePlugin
) -> None:
    init = wanting(2, "init")
    init["command"] = ["exit", "0"]
    sidecar = wanting(1, "side", restartPolicy="Always")
    await cluster.create(make_pod("web", wanting(2), initContainers=[init, sidecar]))
    await cluster.until_ready()
    found = {c.name: dict(c.env)["TEST_DEVICES"] for c in cluster.runtime.configs.values()}
    assert found == {"init": "dev-0,dev-1", "side": "dev-0", "main": "dev-1,dev-2"}


async def test_unhealthy_devices_are_capacity_but_not_given(cluster: Cluster, plugin: DevicePlugin) -> None:
    for device in ("dev-0", "dev-1"):
        await plugin.set_health(device, False)
    await until_node(cluster, "3", "1")
    await cluster.create(make_pod("web", wanting(1)))
    await cluster.until_ready()
    assert dict(config_of(cluster, "main").env)["TEST_DEVICES"] == "dev-2"

    async def until_told(health: str) -> None:
        told = [{"name": RESOURCE, "resources": [{"resourceID": "dev-2", "health": health}]}]
        await cluster.until_pod(lambda p: p["status"]["containerStatuses"][0].get("allocatedResourcesStatus") == told)

    await until_told("Healthy")
    await plugin.set_health("dev-2", False)
    await until_told("Unhealthy")
    await plugin.set_health("dev-2", True)
    await until_told("Healthy")
    await plugin.set_health("dev-0", True)
    await until_node(cluster, "3", "2")
    await plugin.stop()
    await until_node(cluster, "3", "0")
    plugin.healthy.pop("dev-1")
    await plugin.start()
    await until_node(cluster, "2", "2")


async def test_allocations_outlive_the_kubelet(cluster: Cluster, plugin: DevicePlugin) -> None:
    await cluster.create(make_pod("web", wanting(2)))
    await cluster.until_ready()
    running = {i: c.state for i, c in cluster.runtime.containers.items()}
    await cluster.restart()
    await until_node(cluster, "0", "0")
    assert not plugin.socket.exists(), "by this a plugin learns that it must register again"
    await plugin.stop()
    await plugin.start()
    await until_node(cluster, "3", "3")
    assert {i: c.state for i, c in cluster.runtime.containers.items()} == running
    await cluster.create(make_pod("second", wanting(1)))
    await cluster.until_ready("second")
    await cluster.create(make_pod("third", wanting(1)))
    await cluster.until_pod(lambda p: p["status"].get("reason") == "UnexpectedAdmissionError", "third")
    assert [r["container_requests"][0]["devices_ids"] for n, r in plugin.calls if n == "Allocate"] == [
        ["dev-0", "dev-1"], ["dev-2"]
    ]  # fmt: skip


async def test_a_plugin_may_prefer_and_may_refuse(cluster: Cluster) -> None:
    plugin = DevicePlugin(cluster.config.data_dir / "device-plugins", RESOURCE, 3, prefer=True)
    await cluster.until((plugin.directory / "kubelet.sock").exists)
    await plugin.start()
    await until_node(cluster, "3", "3")
    plugin.cdi = ["vendor.test/gpu=0"]
    await cluster.create(make_pod("web", wanting(2)))
    await cluster.until_ready()
    assert dict(config_of(cluster, "main").env)["TEST_DEVICES"] == "dev-2,dev-1"
    assert config_of(cluster, "main").cdi_devices == ("vendor.test/gpu=0",)
    plugin.refuse = "no current"
    await cluster.create(make_pod("dark", wanting(1)))
    pod = await cluster.until_pod(lambda p: p["status"].get("phase") == "Failed", "dark")
    assert pod["status"]["reason"] == "UnexpectedAdmissionError"
    assert "Allocate failed due to rpc error: code = Unknown desc = no current" in pod["status"]["message"]
    await cluster.until(lambda: len(cluster.runtime.containers) == 1)
    await plugin.stop()


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"version": "v1alpha1"}, 'requested API version "v1alpha1" is not supported by kubelet'),
        ({"resource_name": "cpu"}, 'the ResourceName "cpu" is invalid'),
        ({"endpoint": "../x.sock"}, "no file name"),
    ],
)
async def test_a_bad_registration_is_told_why(cluster: Cluster, other: dict[str, str], complaint: str) -> None:
    plugin = DevicePlugin(cluster.config.data_dir / "device-plugins", RESOURCE, 1)
    await cluster.until((plugin.directory / "kubelet.sock").exists)
    with pytest.raises(PluginFailure, match=complaint):
        await plugin.register(**other)


async def test_an_unreadable_checkpoint_keeps_nobody_from_starting(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    file = cluster.config.data_dir / "device-plugins" / "kubelet_internal_checkpoint"
    await cluster.until(file.parent.exists)
    file.write_text("{")
    await cluster.restart()
    await cluster.create(make_pod())
    await cluster.until_ready()
    assert "allocations of devices are not known" in caplog.text
    assert objects.uid(cluster.pod() or {})


async def test_a_plugin_in_the_plugin_registry_counts_too(cluster: Cluster) -> None:
    plugin = DevicePlugin(cluster.config.data_dir / "elsewhere", RESOURCE, 2)
    plugin.directory.mkdir()
    await plugin.serve()
    await cluster.until((cluster.config.data_dir / "device-plugins" / "kubelet.sock").exists)
    devices = cluster.kubelet.manager.devices
    with pytest.raises(BadPlugin, match="supports no version of v1beta1"):
        await devices.register(Plugin(RESOURCE, plugin.socket, ["v1"]))
    await devices.register(Plugin(RESOURCE, plugin.socket, ["v1beta1"]))
    await until_node(cluster, "2", "2")
    await devices.deregister(Plugin(RESOURCE, plugin.socket, ["v1beta1"]))
    await until_node(cluster, "2", "0")
    await plugin.stop()


async def test_what_cannot_be_written_down_is_not_given(
    cluster: Cluster, plugin: DevicePlugin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Ledger) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "write", full)
        await cluster.create(make_pod("web", wanting(1)))
        refused = await cluster.until_pod(lambda p: p["status"].get("phase") == "Failed")
    assert "No space left on device" in refused["status"]["message"]
    assert "cannot be written down" in caplog.text
    await cluster.create(make_pod("next", wanting(3)))
    await cluster.until_ready("next")
