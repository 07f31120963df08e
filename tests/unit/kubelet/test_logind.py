"""The wait for the machine's shutdown, against a bus of the test's own with a logind that does as it is told."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import BusType
from dbus_fast.aio import MessageBus
from dbus_fast.constants import PropertyAccess
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from podwright.api import objects
from podwright.api.resources import NODES
from podwright.client.clock import SystemClock
from podwright.kubelet.node.logind import ShutdownWatch
from podwright.kubelet.node.shutdown import end_pods, periods

from .conftest import Cluster, make_container, make_pod


class Login1(ServiceInterface):
    """`read` is the end of the lock's pipe that tells whether somebody still holds it."""

    def __init__(self, overrides: Path) -> None:
        super().__init__("org.freedesktop.login1.Manager")
        self.overrides = overrides
        self.delay = 5.0
        self.asked: list[tuple[str, ...]] = []
        self.taken = asyncio.Event()
        self.read = -1

    @dbus_method()
    def Inhibit(self, what: "s", who: "s", why: "s", mode: "s") -> "h":  # type: ignore[name-defined]  # noqa: F821
        self.asked.append((what, who, why, mode))
        if self.read >= 0:
            os.close(self.read)
        self.read, write = os.pipe()
        # The bus sends a copy of it; ours is closed as soon as that is done.
        asyncio.get_running_loop().call_later(0.3, os.close, write)
        self.taken.set()
        return write

    @dbus_property(access=PropertyAccess.READ)
    def InhibitDelayMaxUSec(self) -> "t":  # type: ignore[name-defined]  # noqa: F821
        return int(self.delay * 1e6)

    @dbus_signal()
    def PrepareForShutdown(self, start: bool) -> "b":  # type: ignore[name-defined]  # noqa: F821
        return start

    async def released(self) -> None:
        """Returns when nobody holds the lock."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.read, done.set)
        try:
            async with asyncio.timeout(60):
                await done.wait()
        finally:
            loop.remove_reader(self.read)


class Systemd1(ServiceInterface):
    def __init__(self, login: Login1) -> None:
        super().__init__("org.freedesktop.systemd1.Manager")
        self.login = login

    @dbus_method()
    def KillUnit(self, name: "s", who: "s", number: "i"):  # type: ignore[name-defined]  # noqa: F821
        assert (name, who, number) == ("systemd-logind.service", "all", 1)
        for path in self.login.overrides.iterdir():
            self.login.delay = float(path.read_text().rpartition("=")[2])


@pytest.fixture
def bus_address(tmp_path: Path) -> Iterator[str]:
    config = tmp_path / "bus.conf"
    config.write_text(
        f"""<busconfig><type>session</type><listen>unix:path={tmp_path}/bus</listen><auth>EXTERNAL</auth>
        <policy context="default"><allow user="*"/><allow own="*"/>
        <allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"""
    )
    daemon = subprocess.Popen(
        ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"], stdout=subprocess.PIPE, text=True
    )
    assert daemon.stdout is not None
    address = daemon.stdout.readline().strip()
    yield address
    daemon.terminate()
    daemon.wait(60)


@pytest.fixture
async def login(bus_address: str, tmp_path: Path) -> AsyncIterator[Login1]:
    bus = await MessageBus(bus_address=bus_address, bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    made = Login1(tmp_path / "overrides")
    bus.export("/org/freedesktop/login1", made)
    bus.export("/org/freedesktop/systemd1", Systemd1(made))
    for name in ("org.freedesktop.login1", "org.freedesktop.systemd1"):
        await bus.request_name(name)
    yield made
    bus.disconnect()
    if made.read >= 0:
        os.close(made.read)


class Watched:
    def __init__(self, login: Login1, address: str, **more: Any) -> None:
        self.told: list[bool] = []
        self.go_on = asyncio.Event()
        self.called = asyncio.Event()
        self.watch = ShutdownWatch(
            self._changed, SystemClock(), longest=4.0, name="podwright-t", address=address, overrides=login.overrides,
            **more,
        )  # fmt: skip
        self.task = asyncio.ensure_future(self.watch.run())

    async def _changed(self, going_down: bool) -> None:
        self.told.append(going_down)
        self.called.set()
        if going_down:
            await self.go_on.wait()

    async def end(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(60):
        await event.wait()
    event.clear()


async def test_the_lock_is_held_until_the_pods_have_ended(login: Login1, bus_address: str) -> None:
    watched = Watched(login, bus_address)
    await soon(watched.watch.watching)
    assert [(what, mode) for what, _, _, mode in login.asked] == [("shutdown", "delay")]
    login.PrepareForShutdown(True)
    await soon(watched.called)
    released = asyncio.ensure_future(login.released())
    await asyncio.sleep(0.15)  # The lock's holder works: for that long nothing may happen.
    assert not released.done()
    watched.go_on.set()
    await released
    assert watched.told == [True]
    await watched.end()
    assert not login.overrides.exists()


async def test_a_shutdown_that_is_called_off_takes_the_lock_anew(login: Login1, bus_address: str) -> None:
    watched = Watched(login, bus_address)
    watched.go_on.set()
    await soon(watched.watch.watching)
    login.taken.clear()
    login.PrepareForShutdown(True)
    await login.released()
    login.PrepareForShutdown(False)
    await soon(login.taken)
    assert watched.told == [True, False]
    assert len(login.asked) == 2
    async with asyncio.timeout(60):
        while not watched.watch.holds_lock:
            await asyncio.sleep(0.005)
    await watched.end()
    await login.released()


async def test_logind_is_made_to_wait_long_enough_while_we_run(login: Login1, bus_address: str) -> None:
    login.delay = 1.0
    watched = Watched(login, bus_address)
    await soon(watched.watch.watching)
    assert login.delay == 4.0
    await watched.end()
    assert list(login.overrides.iterdir()) == []


async def test_without_a_bus_nothing_is_waited_for(tmp_path: Path) -> None:
    login = Login1(tmp_path / "overrides")
    watched = Watched(login, f"unix:path={tmp_path}/none")
    async with asyncio.timeout(60):
        await watched.task


@pytest.fixture
def config(bus_address: str) -> dict[str, Any]:
    return {"system_bus": bus_address, "shutdown_grace_period": 2.0, "shutdown_grace_period_critical": 1.0}


async def test_the_kubelet_ends_its_pods_and_comes_back_when_called_off(login: Login1, cluster: Cluster) -> None:
    login.delay = 100.0
    await cluster.restart()  # The first one may have looked before logind was there.
    await soon(login.taken)
    await cluster.create(make_pod("web"))
    await cluster.until_ready()
    login.PrepareForShutdown(True)
    await login.released()
    pod = cluster.pod()
    assert pod is not None and pod["status"]["phase"] == "Failed" and pod["status"]["reason"] == "Terminated"
    assert pod["status"]["message"] == "Pod was terminated in response to imminent node shutdown."
    node = cluster.api.find(NODES, "node-1") or {}
    (ready,) = (c for c in node["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "KubeletNotReady", "node is shutting down")
    login.PrepareForShutdown(False)
    await cluster.until(lambda: objects.condition_is_true(cluster.api.find(NODES, "node-1") or {}, "Ready"))
    await cluster.create(make_pod("later"))
    await cluster.until_ready("later")


async def test_a_mere_end_of_the_process_ends_no_pod(cluster: Cluster) -> None:
    await cluster.create(make_pod("web"))
    await cluster.until_ready()
    await cluster.restart()
    assert cluster.runtime.stop_order == []


@pytest.mark.parametrize(
    "config",
    [{"shutdown_grace_by_priority": ((100_000, 0.4), (0, 0.5), (10_000, 0.6)), "shutdown_grace_period": 9.0}],
)
async def test_groups_by_priority(cluster: Cluster) -> None:
    """The example of the documentation page: each group starts when the one before has ended or its time is over."""
    for name, priority in (("high", 200_000), ("edge", 10_000), ("plain", 9_999), ("below", -5)):
        await cluster.create(make_pod(name, make_container(name), priority=priority))
        await cluster.until_ready(name)
    began: list[tuple[str, float | None]] = []

    def evict(uid: str, verdict: Any) -> asyncio.Event:
        began.append((objects.name(cluster.kubelet.pods.get(uid) or {}), verdict.grace))
        done = asyncio.Event()
        done.set()
        return done

    await end_pods(cluster.kubelet.active_pods(), evict, periods(cluster.config))
    assert sorted(began[:2]) == [("below", 0.5), ("plain", 0.5)]
    assert began[2:] == [("edge", 0.6), ("high", 0.4)]


def test_no_grace_no_groups(tmp_path: Path) -> None:
    from podwright.kubelet.config import KubeletConfig

    assert periods(KubeletConfig(node_name="n", data_dir=tmp_path, cgroup_root="/x")) == ()
