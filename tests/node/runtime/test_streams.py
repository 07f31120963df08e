"""exec, attach, port-forward, statistics, limits changed in life, logs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from podwright.runtime.protocol import ContainerState, Resources, RuntimeFailure


async def read_all(read: Any) -> bytes:
    data = b""
    while chunk := await read():
        data += chunk
    return data


async def read_until(read: Any, wanted: bytes) -> bytes:
    data = b""
    async with asyncio.timeout(60):
        while wanted not in data:
            chunk = await read()
            assert chunk, data
            data += chunk
    return data


async def test_exec_with_stdin(node: Any) -> None:
    _, (container,) = await node.run_pod(node.container())
    session = await node.runtime.exec(
        container, ["sh", "-c", "cat; echo done >&2; exit 5"], stdin=True, tty=False
    )
    await session.write_stdin(b"x" * 3000)
    await session.write_stdin(b"end\n")
    await session.close_stdin()
    async with asyncio.TaskGroup() as group:
        stdout = group.create_task(read_all(session.read_stdout))
        stderr = group.create_task(read_all(session.read_stderr))
    assert stdout.result() == b"x" * 3000 + b"end\n"
    assert stderr.result() == b"done\n"
    assert await session.wait() == 5
    await session.aclose()


async def test_exec_with_stdin_larger_than_any_pipe(crun_node: Any) -> None:
    node = crun_node
    _, (container,) = await node.run_pod(node.container())
    session = await node.runtime.exec(container, ["cat"], stdin=True, tty=False)
    size = 5_000_000

    async def feed() -> None:
        await session.write_stdin(b"y" * size)
        await session.close_stdin()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(feed())
        output = group.create_task(read_all(session.read_stdout))
    assert len(output.result()) == size
    await session.aclose()


async def test_exec_on_a_terminal(node: Any) -> None:
    _, (container,) = await node.run_pod(node.container())
    session = await node.runtime.exec(container, ["sh"], stdin=True, tty=True)
    await session.resize(123, 45)
    # runc copies the size a moment later; the quotes keep what the terminal echoes from being the answer.
    await session.write_stdin(b"until stty size | grep '4''5 123'; do usleep 9999; done\n")
    await session.write_stdin(b"tty; test -t 0 && echo ye''s; echo $TERM\n")
    seen = await read_until(session.read_stdout, b"xterm")
    assert b"45 123" in seen and b"/dev/pts/" in seen and b"yes" in seen
    assert await session.read_stderr() == b""
    await session.write_stdin(b"exit 9\n")
    async with asyncio.timeout(60):
        await read_all(session.read_stdout)
        assert await session.wait() == 9
    await session.aclose()


async def test_exec_that_cannot_start(node: Any) -> None:
    _, (container,) = await node.run_pod(node.container())
    for tty in (False, True):
        with pytest.raises(RuntimeFailure, match="nonsuch"):
            session = await node.runtime.exec(container, ["nonsuch"], stdin=False, tty=tty)
            await read_all(session.read_stdout)
            await session.wait()
        await session.aclose()


async def test_closing_an_exec_session_kills_its_processes(node: Any) -> None:
    _, (container,) = await node.run_pod(node.container())
    for tty in (False, True):
        session = await node.runtime.exec(container, ["sh", "-c", "sleep 888 & sleep 888"], stdin=False, tty=tty)
        async with asyncio.timeout(60):
            while "sleep 888" not in await node.sh(container, "ps -o args"):
                pass
        await session.aclose()
        assert "888" not in await node.sh(container, "ps -o args")


async def test_a_hundred_sessions_at_once(crun_node: Any) -> None:
    node = crun_node
    _, (container,) = await node.run_pod(node.container())

    async def one(number: int) -> None:
        session = await node.runtime.exec(container, ["sh", "-c", f"read x; echo {number} $x"], stdin=True, tty=False)
        await session.write_stdin(b"back\n")
        assert await read_all(session.read_stdout) == f"{number} back\n".encode()
        assert await session.wait() == 0
        await session.aclose()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(one(number))


async def test_attach(node: Any) -> None:
    script = 'while read line; do echo "got $line"; echo "err $line" >&2; [ "$line" = end ] && exit 6; done'
    _, (container,) = await node.run_pod(
        node.container(command=["sh", "-c", script], stdin=True)
    )
    session = await node.runtime.attach(container)
    await session.write_stdin(b"one\n")
    assert await read_until(session.read_stdout, b"\n") == b"got one\n"
    assert await read_until(session.read_stderr, b"\n") == b"err one\n"
    await session.close_stdin()
    async with asyncio.timeout(60):
        assert await session.wait() == 0, "the container's stays open: this attachment is over, not the container"
        assert await read_all(session.read_stdout) == b""
    await session.aclose()
    again = await node.runtime.attach(container)
    await again.write_stdin(b"end\n")
    assert await read_until(again.read_stdout, b"\n") == b"got end\n"
    async with asyncio.timeout(60):
        assert await again.wait() == 6
        assert await again.read_stdout() == b""
    await again.aclose()
    with pytest.raises(RuntimeFailure):
        await node.runtime.attach(container)


async def test_stdin_once_is_closed_with_the_first_attachment(node: Any) -> None:
    _, (container,) = await node.run_pod(node.container(command=["cat"], stdin=True, stdin_once=True))
    session = await node.runtime.attach(container)
    await session.write_stdin(b"text")
    await session.close_stdin()
    assert await read_all(session.read_stdout) == b"text"
    await session.aclose()
    assert (await node.exited(container)).exit_code == 0


async def test_attach_to_a_terminal(node: Any) -> None:
    _, (container,) = await node.run_pod(node.container(command=["sh"], stdin=True, tty=True))
    session = await node.runtime.attach(container)
    await session.resize(99, 33)
    async with asyncio.timeout(60):
        while True:
            await session.write_stdin(b"stty size\n")
            if b"33 99" in await read_until(session.read_stdout, b"# "):
                break
    await session.write_stdin(b"exit 3\n")
    assert (await node.exited(container)).exit_code == 3
    await session.aclose()


async def test_port_forward(node: Any) -> None:
    sandbox, (container,) = await node.run_pod(node.container("nc -ll -p 7000 -e cat"))
    async with asyncio.timeout(60):
        while ":1B58" not in await node.sh(container, "cat /proc/net/tcp /proc/net/tcp6"):
            pass
    connections = [await node.runtime.port_forward(sandbox, 7000) for _ in range(5)]
    for number, (reader, writer) in enumerate(connections):
        writer.write(f"hello {number}\n".encode())
        assert await reader.readline() == f"hello {number}\n".encode()
        writer.close()
    with pytest.raises(RuntimeFailure, match="refused"):
        await node.runtime.port_forward(sandbox, 7001)


async def test_statistics(node: Any) -> None:
    script = "dd if=/dev/zero of=/tmp/x bs=1M count=4; i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; sleep 1000"
    _, (container,) = await node.run_pod(node.container(script))
    async with asyncio.timeout(60):
        while (await node.runtime.container_stats(container)).cpu_usage < 20_000_000:
            await asyncio.sleep(0.02)
    stats = await node.runtime.container_stats(container)
    assert 0 < stats.memory_working_set <= stats.memory_usage < 1 << 30
    assert stats.pids >= 1
    async with asyncio.timeout(60):  # a slow machine is still writing
        while stats.rootfs_bytes < 4 << 20:
            node.runtime._statistics._layers.clear()
            stats = await node.runtime.container_stats(container)
    assert stats.rootfs_bytes < 5 << 20
    assert 2 <= stats.rootfs_inodes < 10


async def test_limits_change_in_life(node: Any) -> None:
    _, (container,) = await node.run_pod(
        node.container(resources=Resources(memory_limit=64 << 20, cpu_quota=50_000, cpu_period=100_000))
    )
    await node.runtime.update_container_resources(container, Resources(memory_limit=128 << 20, cpu_shares=256))
    await node.runtime.update_container_resources(container, Resources(memory_limit=96 << 20))
    status = await node.runtime.container_status(container)
    assert status.resources.memory_limit == 96 << 20
    assert (status.resources.cpu_shares, status.resources.cpu_quota) == (256, 50_000)
    sandbox = await node.runtime.pod_sandbox_status(status.sandbox_id)
    await node.runtime.update_pod_resources(status.sandbox_id, Resources(cpu_shares=128, memory_limit=256 << 20))
    if Path("/sys/fs/cgroup/memory").is_dir():
        memory = Path("/sys/fs/cgroup/memory")
        assert (memory / status.cgroup.lstrip("/") / "memory.limit_in_bytes").read_text() == f"{96 << 20}\n"
        assert (memory / sandbox.cgroup_parent.lstrip("/") / "memory.limit_in_bytes").read_text() == f"{256 << 20}\n"
        assert Path("/sys/fs/cgroup/cpu", status.cgroup.lstrip("/"), "cpu.shares").read_text() == "256\n"


async def test_reopened_log(node: Any) -> None:
    config = node.sandbox()
    sandbox = await node.runtime.run_pod_sandbox(config)
    container = await node.start(
        sandbox.id, node.container(command=["sh", "-c", 'while read x; do echo "$x"; done'], stdin=True), config
    )
    session = await node.runtime.attach(container)
    log = config.log_directory / "main" / "0.log"
    await session.write_stdin(b"before\n")
    await read_until(session.read_stdout, b"before\n")
    os.rename(log, log.with_suffix(".old"))
    await node.runtime.reopen_container_log(container)
    async with asyncio.timeout(60):
        while not log.exists():
            await asyncio.sleep(0.005)
    await session.write_stdin(b"after\n")
    await read_until(session.read_stdout, b"after\n")
    async with asyncio.timeout(60):
        while "after" not in log.read_text():
            await asyncio.sleep(0.005)
    assert "before" in log.with_suffix(".old").read_text()
    await session.aclose()


async def test_orphan_of_an_exec_does_not_keep_the_container(node: Any) -> None:
    _, (container,) = await node.run_pod(node.container())
    await node.sh(container, "setsid sleep 999 >/dev/null 2>&1 </dev/null &")
    await node.runtime.stop_container(container, 5.0)
    assert (await node.runtime.container_status(container)).state == ContainerState.EXITED
