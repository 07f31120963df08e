"""A node's runtime for tests: real containers, everything under one marked directory, gone afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from leaks import none_left, subnet

from podwright.network.routed import RoutedPodNetwork
from podwright.runtime.build.busybox import build_busybox
from podwright.runtime.images.store import ImageStore
from podwright.runtime.oci import OciRuntime
from podwright.runtime.protocol import (
    Container,
    ContainerConfig,
    ContainerState,
    EventType,
    SandboxConfig,
    SandboxMetadata,
)

BUSYBOX = "docker.io/library/busybox:1.36"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def busybox_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "busybox.tar"
    build_busybox(path)
    return path


class Node:
    """A runtime and its directories. `reopened` gives a second one over the same, as after a restart of ours."""

    def __init__(self, mark: str, engine: str, images: ImageStore) -> None:
        self.mark = mark
        self.engine = engine
        self.images = images
        self.state = Path("/var/lib/podwright") / mark
        self.run = Path("/run/podwright") / mark
        self.logs = self.state / "logs"
        self.cgroup_root = f"/podwright/{mark}"
        self.runtime = self.make()
        self._numbers = itertools.count(1)

    def make(self) -> OciRuntime:
        network = RoutedPodNetwork(
            cluster=self.mark, node="n1", pod_cidr=f"{subnet()}.0/24", cluster_cidr="10.213.0.0/16",
            state_dir=self.state / "n1" / "network",
        )
        return OciRuntime(
            cluster=self.mark, node="n1", state_dir=self.state / "n1" / "runtime", run_dir=self.run / "n1",
            images=self.images, network=network, cgroup_root=self.cgroup_root, runtime=self.engine,
        )

    async def reopen(self) -> None:
        await self.runtime.close()
        self.runtime = self.make()
        await self.runtime.open()

    def sandbox(self, **changes: Any) -> SandboxConfig:
        number = next(self._numbers)
        config = SandboxConfig(
            SandboxMetadata(f"pod-{number}", "default", str(uuid.uuid4())), hostname=f"pod-{number}",
            log_directory=self.logs / f"pod-{number}", cgroup_parent=f"{self.cgroup_root}/pods/pod-{number}",
        )
        return replace(config, **changes)

    @staticmethod
    def container(script: str = "sleep 1000", name: str = "main", **changes: Any) -> ContainerConfig:
        config = ContainerConfig(
            name, 0, BUSYBOX, command=["sh", "-c", f'trap "exit 0" TERM; {script} & wait'], log_path=f"{name}/0.log"
        )
        return replace(config, **changes)

    async def start(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        container_id = await self.runtime.create_container(sandbox_id, config, sandbox)
        await self.runtime.start_container(container_id)
        return container_id

    async def run_pod(self, *configs: ContainerConfig, **changes: Any) -> tuple[str, list[str]]:
        """A sandbox with these containers, all started."""
        config = self.sandbox(**changes)
        sandbox = await self.runtime.run_pod_sandbox(config)
        return sandbox.id, [await self.start(sandbox.id, c, config) for c in configs]

    async def exited(self, container_id: str, timeout: float = 60) -> Container:
        """Waits for the event of the container's end."""
        async with asyncio.timeout(timeout):
            status = await self.runtime.container_status(container_id)
            if status.state == ContainerState.EXITED:
                return status
            async for event in self.runtime.events():
                if event.container_id == container_id and event.type == EventType.STOPPED:
                    return await self.runtime.container_status(container_id)
        raise AssertionError("no event")

    async def sh(self, container_id: str, script: str) -> str:
        result = await self.runtime.exec_sync(container_id, ["sh", "-c", script], 60)
        return (result.stdout + result.stderr).decode()

    def log(self, sandbox: SandboxConfig, name: str = "main") -> list[str]:
        return (sandbox.log_directory / name / "0.log").read_text().splitlines()


@pytest.fixture(params=["crun", "runc"])
def engine_name(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.fail(f"{request.param} is not installed: make setup does it")
    return str(request.param)


@pytest.fixture
def mark() -> Iterator[str]:
    """A name that nothing else on the host has. All that is made under it must be gone at the end."""
    name = f"t{os.urandom(4).hex()}"
    places = [Path("/var/lib/podwright") / name, Path("/run/podwright") / name]
    links = f"pw{hashlib.sha256(f'{name}/n1'.encode()).hexdigest()[:4]}"
    with none_left([name], link_prefixes=[links]):
        yield name
        for place in places:
            shutil.rmtree(place, ignore_errors=True)


async def _node(mark: str, engine: str, archive: Path) -> AsyncIterator[Node]:
    base = Path("/var/lib/podwright") / mark
    images = ImageStore(base / "images", base / "references.json")
    await images.load_archive(archive)
    node = Node(mark, engine, images)
    await node.runtime.open()
    try:
        yield node
    finally:
        await node.runtime.destroy()


@pytest.fixture
async def node(mark: str, engine_name: str, busybox_archive: Path) -> AsyncIterator[Node]:
    async for node in _node(mark, engine_name, busybox_archive):
        yield node


@pytest.fixture
async def crun_node(mark: str, busybox_archive: Path) -> AsyncIterator[Node]:
    async for node in _node(mark, "auto", busybox_archive):
        yield node


MakeNode = Callable[[], Node]
