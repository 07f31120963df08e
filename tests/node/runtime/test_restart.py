"""Our process dies at any moment; containers do not notice, and nothing is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from podwright.runtime import linux
from podwright.runtime.oci import preparation
from podwright.runtime.oci.host import new_id
from podwright.runtime.oci.records import SandboxRecord
from podwright.runtime.protocol import ContainerState, EventType, SandboxState

CHILD = textwrap.dedent("""
    import asyncio, sys
    sys.path[:0] = {path!r}
    from conftest import Node
    from podwright.runtime.images.store import ImageStore
    from podwright.runtime.protocol import Mount
    from pathlib import Path

    async def main():
        base = Path("/var/lib/podwright/{mark}")
        node = Node("{mark}", "{engine}", ImageStore(base / "images", base / "references.json"))
        await node.runtime.open()
        {body}

    asyncio.run(main())
""")


def start_child(node: Any, body: str, first: str = "") -> subprocess.Popen[bytes]:
    """`first` is a directory in which programs are looked for before all others."""
    path = [str(Path(__file__).parent), *sys.path]
    script = CHILD.format(path=path, mark=node.mark, engine=node.engine, body=textwrap.indent(body, " " * 4).strip())
    environment = {**os.environ, "PATH": f"{first}:{os.environ['PATH']}"}
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment
    )


def command_lines(argument: str) -> list[str]:
    """Of the processes that were given this argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().decode())
    return [line for line in found if argument in line.split("\0")]


async def until(condition: Any, timeout: float = 60) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)


async def test_nothing_is_lost_when_the_process_is_killed(node: Any, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    await node.runtime.close()
    child = start_child(node, """
config = node.sandbox()
sandbox = await node.runtime.run_pod_sandbox(config)
gate = [Mount("/gate", "GATE")]
ids = [await node.start(sandbox.id, node.container(command=["sh", "-c", script], name=name, mounts=gate), config)
       for name, script in (
           ("counter", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"),
           ("brief", "while test -e /gate/gate; do sleep 0.05; done; exit 5"),
       )]
ids.append(await node.runtime.create_container(sandbox.id, node.container(name="waiting"), config))
pid = (await node.runtime.container_status(ids[0])).pid
print(sandbox.id, *ids, pid, config.log_directory, flush=True)
await asyncio.sleep(1000)
""".replace("GATE", str(tmp_path)))
    assert child.stdout is not None
    words = (await asyncio.to_thread(child.stdout.readline)).decode().split()
    sandbox, counter, brief, waiting, pid, logs = words
    child.kill()
    child.wait()
    (tmp_path / "gate").unlink()  # `brief` ends while nobody looks
    log = Path(logs) / "counter" / "0.log"
    await until(lambda: (node.run / "n1" / "runtime" / "exits" / brief).exists() and log.read_text().count("\n") > 20)
    before = time.time()

    await node.runtime.open()
    assert (await node.runtime.pod_sandbox_status(sandbox)).state == SandboxState.READY
    status = await node.runtime.container_status(counter)
    assert (status.state, status.pid) == (ContainerState.RUNNING, int(pid))
    ended = await node.runtime.container_status(brief)
    assert (ended.state, ended.exit_code, ended.reason) == (ContainerState.EXITED, 5, "Error")
    assert ended.started_at < ended.finished_at < before
    events = node.runtime.events()
    event = await anext(events)
    assert (event.type, event.container_id) == (EventType.STOPPED, brief)
    assert (await node.runtime.container_status(waiting)).state == ContainerState.CREATED
    await node.runtime.start_container(waiting)
    assert (await node.sh(waiting, "hostname")).strip() == "pod-1"

    numbers = [int(line.split()[3]) for line in log.read_text().splitlines()]
    assert numbers == list(range(len(numbers)))
    await node.runtime.stop_container(counter, 0)
    assert (await node.runtime.container_status(counter)).exit_code == 137
    await node.runtime.remove_pod_sandbox(sandbox)
    assert await node.runtime.list_containers() == []


@pytest.mark.parametrize(
    ("delay", "slow"),
    [*((delay, False) for delay in (0.0, 0.004, 0.008, 0.012, 0.016, 0.02, 0.03)), (0.004, True), (0.012, True)],
)
async def test_killed_in_the_middle_of_a_start(crun_node: Any, tmp_path: Path, delay: float, slow: bool) -> None:
    """Whatever was under way, each container afterwards either runs once, waits for its start, or has an end. On a slow
    machine conmon is only on its way when our successor looks."""
    node = crun_node
    await node.runtime.close()
    if slow:
        conmon = shutil.which("conmon")
        (tmp_path / "conmon").write_text(f'#!/bin/sh\nsleep 0.0{random.randint(1, 9)}\nexec {conmon} "$@"\n')
        (tmp_path / "conmon").chmod(0o755)
    child = start_child(node, """
config = node.sandbox()
sandbox = await node.runtime.run_pod_sandbox(config)
ids = [await node.runtime.create_container(sandbox.id, node.container(name=f"c{i}"), config) for i in range(3)]
print("now", flush=True)
await asyncio.gather(*(node.runtime.start_container(i) for i in ids))
await asyncio.sleep(1000)
""", str(tmp_path))
    assert child.stdout is not None
    await asyncio.to_thread(child.stdout.readline)
    await asyncio.sleep(delay)
    child.kill()
    child.wait()
    await node.runtime.open()
    containers = await node.runtime.list_containers()
    assert len(containers) == 3
    for container in containers:
        assert container.state in (ContainerState.CREATED, ContainerState.RUNNING)
        if container.state == ContainerState.CREATED:
            assert not command_lines(container.id)
            await node.runtime.start_container(container.id)
    for container in await node.runtime.list_containers():
        assert container.state == ContainerState.RUNNING
        async with asyncio.timeout(60):
            while (await node.sh(container.id, "ps -o args")).count("sleep 1000") != 2:
                pass
        await node.runtime.stop_container(container.id, 60.0)
        assert (await node.runtime.container_status(container.id)).exit_code == 0


async def test_killed_in_the_middle_of_an_end(crun_node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end was noted, its root filesystem not unmounted; of another only the volatile half was still there."""
    node = crun_node
    _, (container,) = await node.run_pod(node.container())
    with monkeypatch.context() as dying:
        dying.setattr(preparation, "unmount", lambda *arguments: None)
        await node.runtime.stop_container(container, 0)
        await node.runtime.close()
    bundle = node.run / "n1" / "runtime" / "containers" / container
    other = bundle.with_name("f" * 64)
    other.mkdir()
    assert linux.is_mount_point(bundle / "rootfs")
    await node.runtime.open()
    assert (await node.runtime.container_status(container)).exit_code == 137
    assert not linux.is_mount_point(bundle / "rootfs")
    assert not other.exists()


async def test_after_a_reboot_everything_is_over(crun_node: Any) -> None:
    node = crun_node
    sandbox, (container,) = await node.run_pod(node.container())
    pid = (await node.runtime.container_status(container)).pid
    await node.runtime.stop_container(container, 0)
    await node.runtime.close()
    for path in node.state.rglob("*.json"):  # as if written in another boot
        document = orjson.loads(path.read_bytes())
        if "boot" in document:
            document["boot"] = "00000000-0000-0000-0000-000000000000"
            if "pid" in document:
                document |= {"state": "CONTAINER_RUNNING", "pid": os.getpid(), "pid_start": 1}
            path.write_bytes(orjson.dumps(document))
    (node.state / "n1" / "runtime" / "containers" / container / "persist" / "exit").unlink()
    (node.run / "n1" / "runtime" / "exits" / container).unlink()
    await node.runtime.open()
    assert (await node.runtime.pod_sandbox_status(sandbox)).state == SandboxState.NOTREADY
    status = await node.runtime.container_status(container)
    assert (status.state, status.exit_code, status.pid) == (ContainerState.EXITED, 255, 0)
    assert status.message
    assert not Path(f"/proc/{pid}").exists()
    await node.runtime.remove_pod_sandbox(sandbox)


@pytest.mark.parametrize("where", ["made", "removed"])
async def test_killed_between_a_sandbox_and_its_record(
    crun_node: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Whichever of the two is there, the successor clears the other away too."""
    node, config = crun_node, crun_node.sandbox()
    sandboxes = node.runtime._sandboxes
    if where == "made":
        await node.runtime.host.workers.run(sandboxes._make, SandboxRecord(new_id(), config, 0.0, linux.boot_id()))
    else:
        sandbox = await node.runtime.run_pod_sandbox(config)
        await node.runtime.stop_pod_sandbox(sandbox.id)

        def die(*_: Any) -> bool:
            raise OSError("killed")

        with monkeypatch.context() as patch, pytest.raises(OSError, match="killed"):
            patch.setattr(node.runtime.host.cgroups, "remove", die)
            await node.runtime.remove_pod_sandbox(sandbox.id)
    await node.reopen()
    for sandbox in await node.runtime.list_pod_sandboxes():
        await node.runtime.remove_pod_sandbox(sandbox.id)
    assert not node.runtime.host.cgroups.exists(config.cgroup_parent)
    assert list((node.run / "n1" / "runtime" / "sandboxes").iterdir()) == []


async def test_conmon_killed(crun_node: Any) -> None:
    """Nobody holds the container's output any more: it is ended, and its end is told."""
    node = crun_node
    _, (container,) = await node.run_pod(node.container())
    record = node.runtime._containers.get(container)
    os.kill(record.conmon_pid, signal.SIGKILL)
    status = await node.exited(container)
    assert (status.exit_code, status.reason) == (255, "Error")
    await until(lambda: not Path(f"/proc/{record.pid}/exe").exists())


async def test_shared_process_namespace_survives(crun_node: Any) -> None:
    from podwright.runtime.protocol import NamespaceMode, NamespaceOptions, SecurityContext

    node = crun_node
    shared = NamespaceOptions(pid=NamespaceMode.POD)
    config = node.sandbox(namespaces=shared)
    sandbox = await node.runtime.run_pod_sandbox(config)
    await node.reopen()
    container = await node.start(
        sandbox.id, node.container(security=SecurityContext(namespaces=shared)), config
    )
    assert "catatonit" in await node.sh(container, "ps -o args")
    assert len(await node.runtime.list_containers()) == 1
    reaper = node.runtime._containers.get(node.runtime._sandboxes.get(sandbox.id).init_container)
    os.kill(reaper.pid, signal.SIGKILL)
    assert (await node.exited(container)).exit_code == 137
    async with asyncio.timeout(60):
        while (await node.runtime.pod_sandbox_status(sandbox.id)).state != SandboxState.NOTREADY:
            await asyncio.sleep(0.005)
