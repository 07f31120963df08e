"""Sandboxes and containers from start to end, seen from the host."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from podwright.runtime.protocol import (
    ContainerState,
    DnsConfig,
    Mount,
    NamespaceMode,
    NamespaceOptions,
    NoSuchThing,
    Resources,
    RuntimeFailure,
    SandboxState,
    SecurityContext,
)

KINDS = ("net", "ipc", "uts", "pid", "mnt")


def namespaces(pid: int | str) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS}


async def test_containers_of_a_pod_share_net_ipc_and_uts_but_neither_pid_nor_mnt(node: Any) -> None:
    sandbox, (one, two) = await node.run_pod(node.container(name="one"), node.container(name="two"))
    _, (other,) = await node.run_pod(node.container())
    first, second, third = [namespaces((await node.runtime.container_status(c)).pid) for c in (one, two, other)]
    host = namespaces("self")
    assert {k for k in KINDS if first[k] == second[k]} == {"net", "ipc", "uts"}
    assert not {k for k in KINDS if first[k] == third[k]}
    assert not {k for k in KINDS if first[k] == host[k]}
    assert (await node.sh(one, "hostname")).strip() == (await node.sh(two, "cat /etc/hostname")).strip() == "pod-1"
    await node.sh(one, "echo seen > /dev/shm/x")
    assert await node.sh(two, "cat /dev/shm/x") == "seen\n"
    assert "No such file" in await node.sh(other, "cat /dev/shm/x")
    assert (await node.sh(two, "ps -o pid,args")).count("sleep 1000") == 2
    await node.runtime.remove_pod_sandbox(sandbox)
    assert len(await node.runtime.list_containers()) == 1


async def test_pods_reach_each_other_the_host_and_themselves(node: Any) -> None:
    _, (_, beside) = await node.run_pod(
        node.container("nc -ll -p 8080 -e echo hello", name="server"), node.container(name="beside")
    )
    sandboxes = await node.runtime.list_pod_sandboxes()
    address = sandboxes[0].ips[0]
    _, (client,) = await node.run_pod(node.container())
    # nc listens a moment after its start
    script = "for i in 1 2 3 4 5 6 7 8 9; do nc {} 8080 </dev/null 2>&1 && break; sleep 0.1; done"
    assert await node.sh(beside, script.format("127.0.0.1")) == "hello\n"
    assert await node.sh(client, script.format(address)) == "hello\n"
    reader, writer = await asyncio.open_connection(address, 8080)
    assert await reader.read() == b"hello\n"
    writer.close()
    server_here = await asyncio.start_server(lambda r, w: (w.write(b"host\n"), w.close()), "0.0.0.0", 0)
    port = server_here.sockets[0].getsockname()[1]
    host = (await node.sh(client, "ip route get 1.1.1.1; hostname -i")) and _host_address()
    assert await node.sh(client, f"nc {host} {port} </dev/null") == "host\n"
    server_here.close()


def _host_address() -> str:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


async def test_exit_code_log_and_event(node: Any) -> None:
    config = node.sandbox()
    sandbox = await node.runtime.run_pod_sandbox(config)
    container = await node.start(
        sandbox.id, node.container(command=["sh", "-c", "echo out; echo err >&2; exit 3"]), config
    )
    status = await node.exited(container)
    seen = time.time()
    assert (status.exit_code, status.signal, status.reason, status.pid) == (3, 0, "Error", 0)
    assert status.started_at <= status.finished_at <= seen
    lines = [line.split(" ", 3)[1:] for line in node.log(config)]
    assert sorted(lines) == [["stderr", "F", "err"], ["stdout", "F", "out"]]


def reacts(pid: int, kind: str, number: int) -> bool:
    """Whether a process has set the signal to be caught (SigCgt) or ignored (SigIgn)."""
    status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return bool(int(status[kind], 16) >> (number - 1) & 1)


async def test_stop_signal_then_kill(node: Any) -> None:
    _, (polite, stubborn) = await node.run_pod(
        node.container(name="polite", command=["sh", "-c", "trap 'exit 42' USR1; while :; do sleep 0.05; done"],
                       stop_signal="SIGUSR1"),
        node.container(name="stubborn", command=["sh", "-c", "trap '' TERM; sleep 1000"]),
    )
    pids = [(await node.runtime.container_status(c)).pid for c in (polite, stubborn)]
    async with asyncio.timeout(60):  # until the traps stand
        while not (reacts(pids[0], "SigCgt", signal.SIGUSR1) and reacts(pids[1], "SigIgn", signal.SIGTERM)):
            await asyncio.sleep(0.01)
    await node.runtime.stop_container(polite, 60.0)
    assert (await node.runtime.container_status(polite)).exit_code == 42
    begun = time.monotonic()
    await node.runtime.stop_container(stubborn, 0.3)
    assert time.monotonic() - begun >= 0.3
    status = await node.runtime.container_status(stubborn)
    assert (status.exit_code, status.signal) == (137, 9)
    await node.runtime.stop_container(stubborn, 0.3)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["nonsuch"], 'exec: "nonsuch": executable file not found in $PATH'),
        (["/no/such"], "no such file or directory"), (["/etc/passwd"], "permission denied"),
    ],
)
async def test_a_command_that_cannot_run(node: Any, command: list[str], words: str) -> None:
    config = node.sandbox()
    sandbox = await node.runtime.run_pod_sandbox(config)
    container = await node.runtime.create_container(sandbox.id, node.container(command=command), config)
    with pytest.raises(RuntimeFailure) as failure:
        await node.runtime.start_container(container)
    assert failure.value.reason == "RunContainerError"
    assert words in str(failure.value)
    status = await node.runtime.container_status(container)
    assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 128, "StartError")
    assert words in status.message
    await node.runtime.remove_container(container)


async def test_out_of_memory_is_told(node: Any) -> None:
    limit = Resources(memory_limit=16 << 20)
    _, (container,) = await node.run_pod(
        node.container(command=["sh", "-c", "exec tail /dev/zero"], resources=limit)
    )
    status = await node.exited(container, timeout=30)
    assert (status.reason, status.exit_code, status.signal) == ("OOMKilled", 137, 9)


async def test_shared_process_namespace_has_an_init_that_reaps(node: Any) -> None:
    shared = NamespaceOptions(pid=NamespaceMode.POD)
    security = SecurityContext(namespaces=shared)
    sandbox, (one, two) = await node.run_pod(
        node.container(name="one", security=security), node.container(name="two", security=security), namespaces=shared
    )
    first, second = [namespaces((await node.runtime.container_status(c)).pid) for c in (one, two)]
    assert first["pid"] == second["pid"] != namespaces("self")["pid"]
    assert first["mnt"] != second["mnt"]
    seen = await node.sh(one, "ps -o pid,args")
    assert seen.count("sleep 1000") >= 2
    await node.sh(one, "sh -c 'sleep 0.01 & exec true'; sleep 0.1")
    assert "[sleep]" not in await node.sh(one, "ps -o stat,args")
    assert [c.name for c in await node.runtime.list_containers()] == ["one", "two"]
    await node.runtime.stop_container(one, 2.0)
    assert (await node.runtime.container_status(two)).state == ContainerState.RUNNING
    assert "sleep 1000" in await node.sh(two, "ps -o args")
    await node.runtime.remove_pod_sandbox(sandbox)


async def test_host_namespaces(node: Any) -> None:
    options = NamespaceOptions(NamespaceMode.NODE, NamespaceMode.NODE, NamespaceMode.NODE)
    _, (container,) = await node.run_pod(
        node.container(security=SecurityContext(namespaces=options)), namespaces=options, hostname=""
    )
    status = await node.runtime.container_status(container)
    own, host = namespaces(status.pid), namespaces("self")
    assert {k for k in KINDS if own[k] == host[k]} == {"net", "ipc", "uts", "pid"}
    sandbox = await node.runtime.pod_sandbox_status(status.sandbox_id)
    assert sandbox.ips == () and sandbox.netns == ""
    await node.runtime.stop_container(container, 2.0)


async def test_target_process_namespace(node: Any) -> None:
    config = node.sandbox()
    sandbox = await node.runtime.run_pod_sandbox(config)
    target = await node.start(sandbox.id, node.container(), config)
    options = NamespaceOptions(pid=NamespaceMode.TARGET, target_id=target)
    debugger = await node.start(
        sandbox.id, node.container(name="debug", security=SecurityContext(namespaces=options)), config
    )
    pids = [namespaces((await node.runtime.container_status(c)).pid)["pid"] for c in (target, debugger)]
    assert pids[0] == pids[1]


async def test_stopped_sandbox_has_nothing_left_running(node: Any) -> None:
    sandbox, (container,) = await node.run_pod(node.container())
    address = (await node.runtime.pod_sandbox_status(sandbox)).ips[0]
    await node.runtime.stop_pod_sandbox(sandbox)
    await node.runtime.stop_pod_sandbox(sandbox)
    status = await node.runtime.pod_sandbox_status(sandbox)
    assert status.state == SandboxState.NOTREADY
    assert (await node.runtime.container_status(container)).state == ContainerState.EXITED
    routes = Path("/proc/net/route").read_text()
    assert f"{int.from_bytes(bytes(map(int, address.split('.'))), 'little'):08X}" not in routes
    with pytest.raises(RuntimeFailure):
        await node.runtime.create_container(sandbox, node.container(), node.sandbox())
    await node.runtime.remove_pod_sandbox(sandbox)
    await node.runtime.remove_pod_sandbox(sandbox)
    with pytest.raises(NoSuchThing):
        await node.runtime.pod_sandbox_status(sandbox)
    with pytest.raises(NoSuchThing):
        await node.runtime.container_status(container)


async def test_a_sandbox_that_fails_leaves_nothing(node: Any) -> None:
    with pytest.raises(RuntimeFailure):
        await node.runtime.run_pod_sandbox(config := node.sandbox(sysctls={"net.no.such": "1"}))
    assert not node.runtime.host.cgroups.exists(config.cgroup_parent)
    assert list((node.run / "n1" / "runtime" / "sandboxes").iterdir()) == []
    assert await node.runtime.list_pod_sandboxes() == []


async def test_files_mounts_user_and_environment(node: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("from the host\n")
    config = node.sandbox(
        dns=DnsConfig(["10.96.0.10"], ["default.svc.cluster.local"], ["ndots:5"]),
        sysctls={"net.ipv4.ip_local_port_range": "1024 2048", "kernel.shm_rmid_forced": "1"}, shm_size=8 << 20,
    )
    sandbox = await node.runtime.run_pod_sandbox(config)
    security = SecurityContext(
        run_as_user=1000, run_as_group=2000, supplemental_groups=[3000], readonly_rootfs=True, no_new_privs=True,
        capabilities_drop=["ALL"], capabilities_add=["NET_BIND_SERVICE"], masked_paths=["/proc/kcore"],
        readonly_paths=["/proc/sys"],
    )
    container = await node.start(
        sandbox.id,
        node.container(
            env=[("A", "b c")], working_dir="/new/place", security=security,
            mounts=[Mount("/data", str(tmp_path / "data"), readonly=True)],
        ),
        config,
    )
    assert await node.sh(container, "pwd; id -u; id -G; echo $A; cat /data/file") == (
        "/new/place\n1000\n2000 3000\nb c\nfrom the host\n"
    )
    assert "Read-only" in await node.sh(container, "touch /x")
    assert "Read-only" in await node.sh(container, "touch /data/x")
    status = dict(
        line.split(":\t", 1) for line in (await node.sh(container, "cat /proc/1/status")).splitlines() if ":\t" in line
    )
    assert int(status["CapBnd"], 16) == 1 << 10
    assert status["NoNewPrivs"].strip() == "1"
    assert await node.sh(container, "cat /etc/resolv.conf") == (
        "search default.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
    )
    assert (await node.sh(container, "cat /proc/sys/net/ipv4/ip_local_port_range")).split() == ["1024", "2048"]
    assert "8192" in await node.sh(container, "df -k /dev/shm")
    assert (await node.runtime.container_status(container)).user == (1000, 2000, (2000, 3000))


async def test_limits_are_in_the_control_group(node: Any) -> None:
    limits = Resources(cpu_shares=512, cpu_quota=50_000, cpu_period=100_000, memory_limit=64 << 20, pids_limit=50)
    _, (container,) = await node.run_pod(node.container(resources=limits))
    status = await node.runtime.container_status(container)
    assert status.cgroup.endswith(container)
    if Path("/sys/fs/cgroup/memory").exists():
        def value(controller: str, name: str) -> str:
            return Path("/sys/fs/cgroup", controller, status.cgroup.lstrip("/"), name).read_text().strip()

        assert value("cpu", "cpu.shares") == "512"
        assert value("cpu", "cpu.cfs_quota_us") == "50000"
        assert value("memory", "memory.limit_in_bytes") == str(64 << 20)
        assert value("pids", "pids.max") == "50"
        conmons = Path("/sys/fs/cgroup/memory", node.cgroup_root.lstrip("/"), "conmon", "cgroup.procs").read_text()
        assert len(set(conmons.split()) - {str(os.getpid())}) == 1


async def test_exec_sync(node: Any) -> None:
    _, (container,) = await node.run_pod(node.container())
    result = await node.runtime.exec_sync(container, ["sh", "-c", "echo out; echo err >&2; exit 4"], 60)
    assert (result.exit_code, result.stdout, result.stderr) == (4, b"out\n", b"err\n")
    with pytest.raises(RuntimeFailure, match="nonsuch"):
        await node.runtime.exec_sync(container, ["nonsuch"], 60)
    with pytest.raises(TimeoutError):
        await node.runtime.exec_sync(container, ["sh", "-c", "sleep 777 & sleep 777 & (sleep 777 &); wait"], 0.3)
    script = "(setsid sh -c 'setsid sleep 777 & sleep 777' &) ; sleep 777"
    with pytest.raises(TimeoutError):
        await node.runtime.exec_sync(container, ["sh", "-c", script], 0.3)
    assert "777" not in await node.sh(container, "ps -o args | grep '[7]77'")
    assert (await node.runtime.container_status(container)).state == ContainerState.RUNNING
