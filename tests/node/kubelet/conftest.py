"""A kubelet over the real runtime, with an API server in memory; everything it makes is gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "kubelet"))

from fake_api import FakeApi
from leaks import subnet, take

from podwright.api import defaulting, objects
from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, EVENTS, PODS
from podwright.client.client import Client
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.kubelet import Kubelet
from podwright.network.routed import RoutedPodNetwork
from podwright.runtime.build.busybox import build_busybox
from podwright.runtime.images.store import ImageStore
from podwright.runtime.oci import OciRuntime
from podwright.runtime.protocol import Container

BUSYBOX = "docker.io/library/busybox:1.36"
NODE = "n1"
SUBNET = f"{subnet()}."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def busybox_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "busybox.tar"
    build_busybox(path)
    return path


def make_container(name: str = "main", script: str = "sleep 1000 & wait", **more: Any) -> Object:
    """Runs the script and ends on SIGTERM."""
    return {"name": name, "image": BUSYBOX, "command": ["sh", "-c", f'trap "exit 0" TERM; {script}'], **more}


def make_pod(name: str = "web", *containers: Object, **spec: Any) -> Object:
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": NODE, "containers": list(containers) or [make_container()], **spec},
    }
    defaulting.apply(PODS, pod)
    return pod


class KubeletNode:
    """`kill` and `start` are what a restart of our process is."""

    def __init__(self, mark: str, images: ImageStore, api: Any = None, **config: Any) -> None:
        self.mark = mark
        self.images = images
        self.state = Path("/var/lib/podwright") / mark / "nodes" / NODE
        self.run = Path("/run/podwright") / mark / NODE
        self.api: Any = api or FakeApi()
        self.user: Client = getattr(self.api, "admin", self.api.client)
        defaults: dict[str, Any] = {
            "node_ips": (f"{SUBNET}1",),
            "crash_loop_initial": 0.2,
            "crash_loop_maximum": 1.0,
            "retry_initial": 0.2,
            "eviction_hard": {},
            "pod_pids_limit": 64,
        }
        self.config = KubeletConfig(
            node_name=NODE, data_dir=self.state, cgroup_root=f"/podwright/{mark}", **{**defaults, **config}
        )
        self.runtime = self._runtime()
        self.kubelet = self._kubelet()
        self._task: asyncio.Task[None] | None = None

    def _runtime(self) -> OciRuntime:
        network = RoutedPodNetwork(
            cluster=self.mark,
            node=NODE,
            pod_cidr=f"{SUBNET}0/24",
            cluster_cidr="10.213.0.0/16",
            state_dir=self.state / "network",
        )
        return OciRuntime(
            cluster=self.mark,
            node=NODE,
            state_dir=self.state / "runtime",
            run_dir=self.run,
            images=self.images,
            network=network,
            cgroup_root=self.config.cgroup_root,
        )

    def _kubelet(self) -> Kubelet:
        return Kubelet(self.config, self.api.client, self.runtime, self.images)

    async def start(self) -> None:
        self._task = asyncio.create_task(self.kubelet.run())

    async def kill(self) -> None:
        assert self._task is not None
        # A runtime that is cut off while it opens leaves its threads in this process, as a dead one would not.
        async with asyncio.timeout(60):
            await self.kubelet.started.wait()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def restart(self) -> None:
        await self.kill()
        await self.restart_from_nothing()

    async def restart_from_nothing(self) -> None:
        """After :meth:`kill`."""
        self.runtime = self._runtime()
        self.kubelet = self._kubelet()
        await self.start()

    async def destroy(self) -> None:
        for pod in await self.user.items(PODS):
            with contextlib.suppress(Exception):
                await self.user.delete(
                    PODS, objects.name(pod), namespace=objects.namespace(pod), grace_period_seconds=1
                )
        if self._task is not None:
            with contextlib.suppress(AssertionError):
                await self.until(lambda: not any(self.config.pods_dir.iterdir()))
            await self.kill()
        self.runtime = self._runtime()
        await self.runtime.open()
        await self.runtime.destroy()

    async def create(self, pod: Object) -> Object:
        return await self.user.create(PODS, pod)

    async def config_map(self, name: str, **data: str) -> None:
        meta = {"name": name, "namespace": "default"}
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
        await self.user.create(CONFIGMAPS, obj)

    def pod(self, name: str = "web") -> Object | None:
        return self.api.find(PODS, name)

    async def until(self, condition: Callable[[], Any], seconds: float = 60) -> Any:
        try:
            async with asyncio.timeout(seconds):
                while not (found := condition()):
                    if self._task is not None and self._task.done():
                        self._task.result()
                    await asyncio.sleep(0.005)
                return found
        except TimeoutError:
            known = await self.user.items(PODS)
            events = [(o["reason"], o["message"]) for o in await self.user.items(EVENTS)]
            raise AssertionError(f"not in time; Pods: {known}; events: {events}") from None

    async def until_pod(self, condition: Callable[[Object], Any], name: str = "web", seconds: float = 60) -> Object:
        await self.until(lambda: (p := self.pod(name)) is not None and condition(p), seconds)
        found = self.pod(name)
        assert found is not None
        return found

    async def until_ready(self, name: str = "web") -> Object:
        return await self.until_pod(lambda p: objects.condition_is_true(p, "Ready"), name)

    async def until_phase(self, phase: str, name: str = "web") -> Object:
        return await self.until_pod(lambda p: p["status"].get("phase") == phase, name)

    def container(self, pod: str = "web", name: str = "main") -> Container:
        found = self.kubelet.find_container("default", pod, name)
        assert found is not None
        return found

    async def sh(self, script: str, pod: str = "web", name: str = "main") -> str:
        result = await self.runtime.exec_sync(self.container(pod, name).id, ["sh", "-c", script], 60)
        return (result.stdout + result.stderr).decode()

    def log(self, pod: str = "web", name: str = "main") -> str:
        path = self.container(pod, name).log_path
        return "\n".join(line.split(" ", 3)[3] for line in path.read_text().splitlines())


@pytest.fixture
def mark() -> Iterator[str]:
    name = f"k{os.urandom(4).hex()}"
    places = [Path("/var/lib/podwright") / name, Path("/run/podwright") / name]
    before = take([name])
    yield name
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
    deadline = time.monotonic() + 30
    # Other clusters come and go on this host meanwhile: only this one's range counts.
    while leaked := take([name]).leaked_since(before):
        leaked["routes"] = [r for r in leaked.get("routes", ()) if SUBNET in r]
        if not any(leaked.values()):
            break
        assert time.monotonic() < deadline, f"left behind: {leaked}"
        time.sleep(0.05)


@pytest.fixture
def config() -> dict[str, Any]:
    return {}


@pytest.fixture
async def node(mark: str, busybox_archive: Path, config: dict[str, Any]) -> AsyncIterator[KubeletNode]:
    base = Path("/var/lib/podwright") / mark
    images = ImageStore(base / "images", base / "references.json")
    await images.load_archive(busybox_archive)
    made = KubeletNode(mark, images, **config)
    await made.start()
    try:
        yield made
    finally:
        await made.destroy()
