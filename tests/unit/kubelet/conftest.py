"""A kubelet over a runtime and an API in memory."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from podwright.api import defaulting, objects
from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.kubelet import Kubelet

from .fake_api import FakeApi
from .fake_runtime import BUSYBOX, FakeImages, FakeRuntime

NODE = "node-1"


def make_pod(name: str = "web", *containers: Object, **spec: Any) -> Object:
    """A Pod as the API server would have it, bound to the node."""
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": NODE, "containers": list(containers) or [make_container()], **spec},
    }
    defaulting.apply(PODS, pod)
    return pod


def make_container(name: str = "main", *command: str, **more: Any) -> Object:
    ctr: Object = {"name": name, "image": BUSYBOX, **more}
    if command:
        ctr["command"] = list(command)
    return ctr


class Cluster:
    """The kubelet under test with everything around it."""

    def __init__(self, directory: Path, **config: Any) -> None:
        self.api = FakeApi()
        self.runtime = FakeRuntime()
        self.images = FakeImages()
        defaults: dict[str, Any] = {
            "node_ips": ("192.0.2.7",),
            "crash_loop_initial": 0.05,
            "crash_loop_maximum": 0.4,
            "image_pull_initial": 0.05,
            "retry_initial": 0.02,
            "lease_period": 0.05,
            "node_status_period": 0.05,
            "cluster_dns": ("10.96.0.10",),
            "eviction_hard": {},
        }
        self.config = KubeletConfig(
            node_name=NODE, data_dir=directory, cgroup_root="/podwright/test/node-1", **{**defaults, **config}
        )
        self.kubelet = self.new_kubelet()
        self._task: asyncio.Task[None] | None = None

    def new_kubelet(self) -> Kubelet:
        return Kubelet(self.config, self.api.client, self.runtime, self.images)

    async def start(self) -> None:
        self._task = asyncio.create_task(self.kubelet.run())

    async def kill(self) -> None:
        """The kubelet's process is gone; containers go on."""
        if self._task is not None:
            if self._task.done():
                self._task.result()
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def restart(self) -> None:
        await self.kill()
        self.kubelet = self.new_kubelet()
        await self.start()

    async def create(self, pod: Object) -> Object:
        return await self.api.client.create(PODS, pod, namespace=objects.namespace(pod))

    def pod(self, name: str = "web") -> Object | None:
        return self.api.find(PODS, name)

    async def until(self, condition: Callable[[], Any], seconds: float = 60) -> Any:
        """Waits until the condition holds; looks after each round of the loop."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := condition()):
                    if self._task is not None and self._task.done():
                        self._task.result()
                    await asyncio.sleep(0.002)
                return found
        except TimeoutError:
            known = [o for k, o in self.api.objects.items() if k[0] == "pods"]
            raise AssertionError(f"not in time; Pods: {known}") from None

    async def until_pod(self, condition: Callable[[Object], Any], name: str = "web", seconds: float = 60) -> Object:
        await self.until(lambda: (p := self.pod(name)) is not None and condition(p), seconds)
        found = self.pod(name)
        assert found is not None
        return found

    async def until_ready(self, name: str = "web") -> Object:
        return await self.until_pod(lambda p: objects.condition_is_true(p, "Ready"), name)

    async def until_gone(self, name: str = "web", seconds: float = 60) -> None:
        await self.until(lambda: self.pod(name) is None, seconds)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one, wherever pytest has its own: the path of a socket has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="pw-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def config() -> dict[str, Any]:
    """Overrides of the kubelet's configuration; parametrize it to change them."""
    return {}


@pytest.fixture
async def cluster(tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    from podwright.kubelet import kubelet as module
    from podwright.kubelet.volumes import empty_dir, manager

    # Mounting takes root: here a tmpfs is a directory like any other.
    monkeypatch.setattr(module, "make_shared", lambda directory: None)
    monkeypatch.setattr(manager, "mount", lambda *args: None)
    monkeypatch.setattr(manager, "is_mount_point", lambda path: True)
    monkeypatch.setattr(empty_dir, "mount", lambda *args: None)
    made = Cluster(tmp_path / "node", **config)
    await made.start()
    yield made
    await made.kill()
