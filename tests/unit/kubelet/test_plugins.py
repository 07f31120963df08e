"""Plugin registration: what is refused, what a plugin is told, and what does not take the kubelet down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.csi_driver import CsiDriver

from podwright.api.resources import CSINODES, NODES
from podwright.client.clock import SystemClock
from podwright.kubelet.plugins.registration import PluginKind, PluginWatcher
from podwright.kubelet.plugins.sockets import PluginFailure, PluginSocket
from podwright.kubelet.volumes.csi.drivers import CsiDrivers
from podwright.kubelet.volumes.mounted import VolumeFailure

from .fake_api import FakeApi


@pytest.fixture
async def drivers(tmp_path: Path) -> AsyncIterator[tuple[CsiDrivers, FakeApi]]:
    api = FakeApi()
    await api.client.create(NODES, {"metadata": {"name": "n"}})
    made = CsiDrivers(api.client, "n")
    kinds = {"CSIPlugin": PluginKind(made.register, made.deregister)}
    task = asyncio.create_task(PluginWatcher(tmp_path / "plugins_registry", kinds, SystemClock()).run())
    yield made, api
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _told(driver: CsiDriver) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while not driver.registered:
            await asyncio.sleep(0.005)
    return driver.registered


class _Old(CsiDriver):
    def info(self) -> dict[str, Any]:
        return {**super().info(), "supported_versions": ["0.3.0"]}


class _Foreign(CsiDriver):
    def info(self) -> dict[str, Any]:
        return {**super().info(), "type": "Toaster"}


@pytest.mark.parametrize(("kind", "complaint"), [(_Old, "supports no version"), (_Foreign, "no handler registered")])
async def test_what_cannot_be_registered_is_told_why(
    tmp_path: Path, drivers: tuple[CsiDrivers, FakeApi], kind: type[CsiDriver], complaint: str
) -> None:
    driver = kind("bad.test", tmp_path, tmp_path / "backing")
    await driver.start()
    told = await _told(driver)
    assert not told.get("plugin_registered") and complaint in told["error"]
    with pytest.raises(VolumeFailure, match=r"driver name bad\.test not found in the list of registered CSI drivers"):
        drivers[0].lock("bad.test", "h")
    await driver.stop()


async def test_two_drivers_and_a_socket_that_speaks_nonsense(
    tmp_path: Path, drivers: tuple[CsiDrivers, FakeApi]
) -> None:
    (tmp_path / "plugins_registry").mkdir(exist_ok=True)

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 no\r\n\r\n")
        writer.close()

    server = await asyncio.start_unix_server(nonsense, str(tmp_path / "plugins_registry" / "odd.sock"))
    made = [CsiDriver(f"{n}.test", tmp_path, tmp_path / "backing") for n in ("a", "b")]
    for driver in made:
        await driver.start()
    for driver in made:
        assert (await _told(driver)) == {"plugin_registered": True}
    api = drivers[1]
    names = [d["name"] for d in (api.find(CSINODES, "n") or {})["spec"]["drivers"]]
    assert sorted(names) == ["a.test", "b.test"]
    assert await drivers[0].capabilities("a.test") == frozenset({1})
    server.close()
    for driver in made:
        await driver.stop()
    async with asyncio.timeout(60):
        while (api.find(CSINODES, "n") or {})["spec"]["drivers"]:
            await asyncio.sleep(0.005)


async def test_a_call_that_is_refused_or_finds_nobody(tmp_path: Path) -> None:
    driver = CsiDriver("c.test", tmp_path, tmp_path / "backing")
    await driver.start()
    driver.fail["NodeGetInfo"] = ["FAILED_PRECONDITION", "DEADLINE_EXCEEDED"]
    async with PluginSocket(driver.socket) as socket:
        with pytest.raises(PluginFailure, match=r"rpc error: code = FailedPrecondition desc = NodeGetInfo") as failure:
            await socket.call("csi.v1.Node", "NodeGetInfo", {})
        assert not failure.value.unsure
        with pytest.raises(PluginFailure) as failure:
            await socket.call("csi.v1.Node", "NodeGetInfo", {})
        assert failure.value.unsure
        assert (await socket.call("csi.v1.Node", "NodeGetInfo", {}))["max_volumes_per_node"] == 7
    await driver.stop()
    async with PluginSocket(driver.socket) as socket:
        with pytest.raises(PluginFailure, match="code = Unavailable desc = connection error"):
            await socket.call("csi.v1.Node", "NodeGetInfo", {})
