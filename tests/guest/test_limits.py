"""Containers of crun and of runc in control groups of version 2: what the files say, and what it does to processes."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from podwright.runtime.oci.cgroups.interface import block_devices
from podwright.runtime.oci.cgroups.v2 import CgroupsV2
from podwright.runtime.protocol import ContainerState, DiskLimits, Resources

ROOT = Path("/sys/fs/cgroup")
MIB = 1 << 20


async def files(node: Any, container: str) -> Path:
    status = await node.runtime.container_status(container)
    return ROOT / str(status.cgroup).lstrip("/")


def text(path: Path) -> str:
    return path.read_text().strip()


def events(group: Path) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in text(group / "memory.events").splitlines())}


def limits_of_disk(group: Path) -> dict[str, str]:
    return dict(pair.split("=") for line in text(group / "io.max").splitlines() for pair in line.split()[1:])


async def test_limits_devices_and_the_tree(node: Any) -> None:
    """From the configuration into the files, in life too; what is in the container sees them, and may not write."""
    limits = Resources(
        cpu_shares=512, cpu_quota=50_000, cpu_period=100_000, cpuset_cpus="1", cpuset_mems="0",
        memory_limit=64 * MIB, memory_swap_limit=96 * MIB, memory_reservation=32 * MIB, pids_limit=20,
        hugepage_limits={"2MB": 4 * MIB}, disk=DiskLimits(read_bps=9 * MIB, write_iops=500),
        unified={"memory.high": str(60 * MIB), "memory.min": str(8 * MIB), "memory.oom.group": "1"},
    )  # fmt: skip
    config = node.sandbox()
    sandbox = await node.runtime.run_pod_sandbox(config)
    pod_limits = Resources(
        cpu_shares=1024, cpu_quota=70_000, cpu_period=100_000, memory_limit=128 * MIB, pids_limit=40,
        hugepage_limits={"2MB": 8 * MIB}, disk=DiskLimits(write_bps=30 * MIB),
    )  # fmt: skip
    await node.runtime.update_pod_resources(sandbox.id, pod_limits)
    container = await node.start(sandbox.id, node.container(resources=limits), config)
    group = await files(node, container)
    assert {name: text(group / name) for name in (
        "cpu.max", "cpuset.cpus", "cpuset.mems", "memory.max", "memory.swap.max", "memory.low", "memory.high",
        "memory.min", "memory.oom.group", "pids.max", "hugetlb.2MB.max", "cgroup.type",
    )} == {
        "cpu.max": "50000 100000", "cpuset.cpus": "1", "cpuset.mems": "0", "memory.max": str(64 * MIB),
        "memory.swap.max": str(32 * MIB), "memory.low": str(32 * MIB), "memory.high": str(60 * MIB),
        "memory.min": str(8 * MIB), "memory.oom.group": "1", "pids.max": "20", "hugetlb.2MB.max": str(4 * MIB),
        "cgroup.type": "domain",
    }  # fmt: skip
    assert text(group / "cpu.weight") == "20"  # of 512 shares
    assert limits_of_disk(group) == {"rbps": str(9 * MIB), "wbps": "max", "riops": "max", "wiops": "500"}

    # The Pod's group: its limits hold for all that is in it, and no process is in it itself.
    pod = group.parent
    assert (text(pod / "cpu.max"), text(pod / "cpu.weight"), text(pod / "pids.max")) == ("70000 100000", "39", "40")
    assert (text(pod / "memory.max"), text(pod / "hugetlb.2MB.max")) == (str(128 * MIB), str(8 * MIB))
    assert limits_of_disk(pod)["wbps"] == str(30 * MIB)
    assert text(pod / "cgroup.procs") == ""
    assert {"cpu", "cpuset", "io", "memory", "pids", "hugetlb"} <= set(text(pod / "cgroup.subtree_control").split())
    conmons = text(ROOT / node.cgroup_root.lstrip("/") / "conmon" / "cgroup.procs").split()
    assert len(conmons) == 1

    # From inside: a cgroup namespace of its own, its limits, read-only; one CPU; its devices and no others.
    inside = await node.sh(
        container,
        "cat /proc/self/cgroup /sys/fs/cgroup/memory.max; grep Cpus_allowed_list /proc/self/status; nproc;"
        "echo max > /sys/fs/cgroup/memory.max; mknod /tmp/vda b 254 0; head -c 1 /tmp/vda;"
        "mknod /tmp/kmsg c 1 11; head -c 1 /tmp/kmsg; echo > /dev/null && head -c 4 /dev/zero | wc -c",
    )
    assert re.search(r"^0::/\n67108864\nCpus_allowed_list:\t1\n1\n4\n", inside), inside
    assert "memory.max: Read-only file system" in inside, inside
    assert inside.count("Operation not permitted") == 2, inside

    # In its life: what is set changes, what is not stays; what is lifted is gone.
    fresh = Resources(
        cpu_shares=2048, cpu_quota=-1, cpu_period=100_000, memory_limit=96 * MIB, memory_swap_limit=96 * MIB,
        disk=DiskLimits(read_bps=5 * MIB), unified={"memory.high": "max"},
    )  # fmt: skip
    await node.runtime.update_container_resources(container, fresh)
    assert text(group / "cpu.max") == "max 100000" and text(group / "cpu.weight") == "79"
    assert (text(group / "memory.max"), text(group / "memory.swap.max")) == (str(96 * MIB), "0")
    assert (text(group / "memory.high"), text(group / "pids.max")) == ("max", "20")
    assert limits_of_disk(group)["rbps"] == str(5 * MIB)
    await node.runtime.update_container_resources(container, Resources(memory_limit=-1, memory_swap_limit=-1))
    assert text(group / "memory.max") == "max"


async def test_memory_processes_time_and_the_end(node: Any) -> None:
    """The kernel's answer to too much memory, too many processes and too much work; the figures; the end of all."""
    quiet = {"memory.oom.group": "1"}
    eater = "head -c 200m /dev/zero | tail & wait $!; sleep 1000"  # the shell outlives its child, but for the group
    alone = node.container(eater, "alone", resources=Resources(memory_limit=16 * MIB, memory_swap_limit=16 * MIB))
    together = replace(alone, name="together", log_path="together/0.log", resources=replace(
        alone.resources, unified=quiet))  # fmt: skip
    # A shell that cannot fork ends: the one that tries is not the one that works.
    busy = node.container(
        "dd if=/dev/zero of=/tmp/x bs=64k count=32 oflag=direct 2>/dev/null; while :; do :; done & "
        "(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 1000 & done)", "busy",
        resources=Resources(cpu_quota=20_000, cpu_period=100_000, pids_limit=10, memory_limit=64 * MIB),
    )  # fmt: skip
    _, (alone_id, together_id, busy_id) = await node.run_pod(alone, together, busy)
    ended = await node.exited(together_id)
    assert (ended.state, ended.reason, ended.exit_code) == (ContainerState.EXITED, "OOMKilled", 137)
    group = await files(node, alone_id)
    async with asyncio.timeout(60):
        while not events(group)["oom_kill"]:
            await asyncio.sleep(0.05)
    # Without the group only the one process dies, and the container lives.
    assert (await node.runtime.container_status(alone_id)).state == ContainerState.RUNNING
    assert events(group)["oom_group_kill"] == 0

    group = await files(node, busy_id)
    async with asyncio.timeout(60):
        while int(text(group / "pids.events").split()[1]) < 1:
            await asyncio.sleep(0.05)
    began, before = time.monotonic(), await node.runtime.container_stats(busy_id)
    await asyncio.sleep(2)
    after = await node.runtime.container_stats(busy_id)
    share = (after.cpu_usage - before.cpu_usage) / 1e9 / (time.monotonic() - began)
    assert 0.02 < share < 0.25, share
    assert after.pids in (9, 10)
    assert 0 < after.memory_rss <= after.memory_usage < 64 * MIB and after.memory_page_faults > 0
    assert after.memory_working_set <= after.memory_usage
    assert (after.disk_write_bytes, after.disk_write_ops) >= (2 * MIB, 32)
    assert set(after.psi) == {"cpu", "memory", "io"} and after.psi["cpu"]["some"]["total"] > 0
    assert {"avg10", "avg60", "avg300", "total"} == set(after.psi["cpu"]["full"])

    # cgroup.kill: all at once, those in groups below too.
    below = group / "below"
    below.mkdir()
    pids = [int(p) for p in text(group / "cgroup.procs").split()]
    (below / "cgroup.procs").write_text(str(pids[-1]))
    assert len(pids) == after.pids
    CgroupsV2(ROOT).kill(str(group).removeprefix(str(ROOT)))
    assert (await node.exited(busy_id)).exit_code == 137
    async with asyncio.timeout(60):
        while "populated 1" in text(group / "cgroup.events"):
            await asyncio.sleep(0.02)
    await node.runtime.remove_container(busy_id)
    assert not group.exists()


async def test_the_disk_is_throttled_for_one_and_free_for_the_other(node: Any) -> None:
    """Direct writes, so that no page cache lies between (io.max of the disk under the root filesystem); from bytes a
    second to operations a second in the container's life."""
    assert block_devices([node.state]), "the node's directory must be on a disk"
    by_bytes, by_operations = DiskLimits(write_bps=4 * MIB), DiskLimits(write_iops=100)
    _, (limited, free) = await node.run_pod(
        node.container(name="limited", resources=Resources(disk=by_bytes)), node.container(name="free")
    )

    async def write(container: str, block: int, count: int) -> float:
        """Seconds of the writes alone."""
        said = await node.sh(container, f"time dd if=/dev/zero of=/tmp/x bs={block} count={count} oflag=direct 2>&1")
        found = re.search(rf"^{count}\+0 records out\nreal\s+([0-9]+)m\s*([0-9.]+)s", said, re.M)
        assert found, said
        return 60 * int(found[1]) + float(found[2])

    await write(free, 256 << 10, 40)  # the file's blocks are found once
    for limit, block, count in ((by_bytes, 128 << 10, 64), (by_operations, 4096, 200)):
        await node.runtime.update_container_resources(limited, Resources(disk=limit))
        slow, _ = await asyncio.gather(write(limited, block, count), write(free, block, count))
        wanted = 2.0
        # The kernel holds the limit; how much of it there is to be had depends on the host's disk.
        assert 0.05 < wanted / slow < 1.15
    assert text(await files(node, free) / "io.max") == ""
