"""The runtime's contract over a CRI socket: the tests of the embedded runtime, with containerd behind it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.node.leaks import none_left
from tests.node.runtime import containerd, test_confinement, test_lifecycle, test_streams
from tests.node.runtime.conftest import BUSYBOX, Node

from podwright.runtime.cri.images import CriImages
from podwright.runtime.cri.runtime import CriRuntime
from podwright.runtime.oci import cgroups
from podwright.runtime.protocol import (
    Container,
    ContainerState,
    ImagePullFailure,
    Mount,
    Resources,
    RuntimeFailure,
    SecurityContext,
)

# Those of the contract that are no matter of the embedded runtime's files, and of which containerd 1.6 does not have a
# mind of its own (it makes missing host paths, ignores stop signals and lets a closed session's command run on).
test_shared_namespaces = test_lifecycle.test_containers_of_a_pod_share_net_ipc_and_uts_but_neither_pid_nor_mnt
test_exit_code_log_and_event = test_lifecycle.test_exit_code_log_and_event
test_a_command_that_cannot_run = test_lifecycle.test_a_command_that_cannot_run
test_stopped_sandbox_has_nothing_left_running = test_lifecycle.test_stopped_sandbox_has_nothing_left_running
test_exec_with_stdin_larger_than_any_pipe = test_streams.test_exec_with_stdin_larger_than_any_pipe
test_exec_that_cannot_start = test_streams.test_exec_that_cannot_start
test_attach = test_streams.test_attach
test_attach_to_a_terminal = test_streams.test_attach_to_a_terminal
test_port_forward = test_streams.test_port_forward
test_limits_change_in_life = test_streams.test_limits_change_in_life
test_reopened_log = test_streams.test_reopened_log
test_default_container_cannot_reach_the_host = test_confinement.test_default_container_cannot_reach_the_host


class CriNode(Node):
    daemon: containerd.Containerd

    def make(self) -> CriRuntime:  # type: ignore[override]
        return CriRuntime(self.daemon.socket, owner=self.mark)


@pytest.fixture(scope="module")
def daemon(busybox_archive: Path) -> Iterator[containerd.Containerd]:
    mark = f"t-containerd-{os.getpid()}"
    with none_left([mark], directories=[Path("/run/podwright") / mark]), containerd.running(mark) as started:
        started.load(busybox_archive)
        yield started


@pytest.fixture
async def node(mark: str, daemon: containerd.Containerd) -> AsyncIterator[Node]:
    CriNode.daemon = daemon
    images = CriImages(daemon.socket)
    node = CriNode(mark, "containerd", images)  # type: ignore[arg-type]
    await node.runtime.open()
    try:
        yield node
    finally:
        await node.runtime.destroy()
        cgroups.detect().remove(node.cgroup_root)


@pytest.fixture
async def crun_node(node: Node) -> Node:
    return node


async def test_a_privileged_container_and_statistics(node: Node) -> None:
    _, [container] = await node.run_pod(
        node.container(security=SecurityContext(privileged=True)), privileged=True
    )
    assert "kmsg" in await node.sh(container, "ls /dev")
    await node.sh(container, "dd if=/dev/zero of=/file bs=1M count=8 2>/dev/null")
    stats = await node.runtime.container_stats(container)
    assert stats.cpu_usage > 0 and stats.memory_working_set > 0 and stats.pids >= 2
    status = await node.runtime.container_status(container)
    assert status.cgroup.startswith(node.cgroup_root) and status.pid > 0


async def test_out_of_memory_and_a_deadline_are_told(node: Node) -> None:
    limits = Resources(memory_limit=32 << 20)
    hungry = node.container(command=["sh", "-c", "x=$(tail /dev/zero)"], resources=limits)
    _, [container, other] = await node.run_pod(hungry, node.container(name="other"))
    ended = await node.exited(container)
    assert (ended.reason, ended.exit_code) == ("OOMKilled", 137)
    with pytest.raises(TimeoutError):
        await node.runtime.exec_sync(other, ["sleep", "777"], 1)


async def initialized(node: Node, container: str) -> Container | None:
    """Its status, once the daemon answers: it listens before it has found what it had."""
    try:
        return await node.runtime.container_status(container)
    except RuntimeFailure:
        return None


async def test_containers_and_their_events_outlive_the_runtimes_daemon(
    node: Node, daemon: containerd.Containerd, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    _, [container] = await node.run_pod(
        node.container(
            command=["sh", "-c", "while test -e /gate/gate; do sleep 0.1; done; exit 5"],
            mounts=[Mount("/gate", str(tmp_path))],
        )
    )
    pid = (await node.runtime.container_status(container)).pid
    daemon.kill()
    with pytest.raises(RuntimeFailure, match=r"containerd\.sock"):
        await node.runtime.list_containers()
    daemon.start()
    async with asyncio.timeout(60):
        while not (status := await initialized(node, container)):
            await asyncio.sleep(0.05)
    assert status.pid == pid
    gate.unlink()
    assert (await node.exited(container)).exit_code == 5


async def test_what_others_run_on_the_socket_is_not_ours(node: Node, daemon: containerd.Containerd) -> None:
    sandbox, [container] = await node.run_pod(node.container())
    stranger = CriRuntime(daemon.socket, owner="somebody")
    await stranger.open()
    assert [s.id for s in await node.runtime.list_pod_sandboxes()] == [sandbox]
    assert [c.id for c in await node.runtime.list_containers()] == [container]
    assert await stranger.list_pod_sandboxes() == [] and await stranger.list_containers() == []
    await stranger.destroy()
    assert (await node.runtime.container_status(container)).state == ContainerState.RUNNING


async def test_images(daemon: containerd.Containerd) -> None:
    images = CriImages(daemon.socket)
    found = await images.image_status("busybox:1.36")
    assert found is not None and found.repo_tags == [BUSYBOX] and found.config["Cmd"] == ["sh"]
    assert found.id in [image.id for image in await images.list_images()]
    assert await images.image_status("nobody/nothing:1") is None
    assert (await images.filesystem_usage()).mountpoint.startswith(str(daemon.place))
    with pytest.raises(ImagePullFailure):
        await images.pull_image("127.0.0.1:1/nobody/nothing:1")
    await images.remove_image("nobody/nothing:1")


async def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    runtime = CriRuntime(tmp_path / "none.sock", owner="x")
    with pytest.raises(RuntimeFailure, match=r"none\.sock"):
        await runtime.open()
