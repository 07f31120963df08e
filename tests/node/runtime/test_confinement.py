"""What a container is kept from, tried from inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from podwright.runtime.protocol import (
    Device,
    Mount,
    MountPropagation,
    ProfileType,
    RuntimeFailure,
    SecurityContext,
    SecurityProfile,
)

DEFAULT = SecurityContext(seccomp=SecurityProfile(ProfileType.RUNTIME_DEFAULT))


async def test_default_seccomp_profile(node: Any) -> None:
    powerful = SecurityContext(seccomp=SecurityProfile(ProfileType.RUNTIME_DEFAULT), capabilities_add=["SYS_TIME"])
    _, (plain, free) = await node.run_pod(
        node.container(name="plain", security=powerful),
        node.container(name="free", security=SecurityContext(capabilities_add=["SYS_ADMIN"])),
    )
    assert "Seccomp:\t2" in await node.sh(plain, "cat /proc/self/status")
    assert "Seccomp:\t0" in await node.sh(free, "cat /proc/self/status")
    assert "not permitted" in await node.sh(plain, "unshare -m true")
    assert await node.sh(free, "unshare -m echo did") == "did\n"
    assert await node.sh(plain, "ls /bin >/dev/null && ps >/dev/null && wget -V 2>&1 | head -c0; echo fine") == "fine\n"


async def test_localhost_seccomp_profile(node: Any) -> None:
    profile = node.state / "no-mkdir.json"
    profile.write_bytes(orjson.dumps({
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]
    }))
    local = SecurityContext(seccomp=SecurityProfile(ProfileType.LOCALHOST, str(profile)))
    _, (container,) = await node.run_pod(node.container(security=local))
    assert "not permitted" in await node.sh(container, "mkdir /tmp/x")
    missing = SecurityContext(seccomp=SecurityProfile(ProfileType.LOCALHOST, "/no/such.json"))
    with pytest.raises(RuntimeFailure, match="cannot load seccomp profile") as failure:
        await node.run_pod(node.container(security=missing))
    assert failure.value.reason == "CreateContainerError"


async def test_default_container_cannot_reach_the_host(node: Any) -> None:
    masked = SecurityContext(masked_paths=["/proc/kcore", "/sys/firmware"], readonly_paths=["/proc/sys", "/proc/irq"])
    _, (container,) = await node.run_pod(node.container(security=masked))
    for attempt in (
        "mount -t tmpfs x /mnt", "mkdir -p /m && mount --bind / /m", "echo 1 > /proc/sys/kernel/panic",
        "mknod /tmp/disk b 254 0 && head -c1 /tmp/disk", "echo 0 > /sys/fs/cgroup/memory/memory.limit_in_bytes",
        "chroot /proc/1/root true && cat /proc/kcore | grep .", "swapoff -a",
        "sysctl -w kernel.hostname=x",
    ):
        assert await node.sh(container, f"({attempt}) >/dev/null 2>&1 && echo did") == "", attempt


async def test_privileged_and_devices(node: Any) -> None:
    _, (privileged, chosen, plain) = await node.run_pod(
        node.container(name="privileged", security=SecurityContext(privileged=True)),
        node.container(name="chosen", devices=[Device("/dev/full", "/dev/mine")]), node.container(name="plain"),
    )
    assert await node.sh(privileged, "mkdir -p /m; mount -t tmpfs x /m && echo did") == "did\n"
    assert "kmsg" in await node.sh(privileged, "ls /dev")
    assert await node.sh(chosen, "test -c /dev/mine && head -c1 /dev/mine | wc -c") == "1\n"
    assert sorted(set((await node.sh(plain, "ls /dev")).split()) - {"core"}) == [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    ]


async def test_an_unknown_capability_or_user_is_a_create_error(node: Any) -> None:
    config = node.sandbox()
    sandbox = await node.runtime.run_pod_sandbox(config)
    for security in (
        SecurityContext(capabilities_add=["FLY"]), SecurityContext(run_as_username="nobody-here"),
    ):
        with pytest.raises(RuntimeFailure) as failure:
            await node.runtime.create_container(sandbox.id, node.container(security=security), config)
        assert failure.value.reason == "CreateContainerError"
    with pytest.raises(RuntimeFailure, match="is not present"):
        await node.runtime.create_container(sandbox.id, node.container(image="none:1"), config)
    assert await node.runtime.list_containers() == []
    assert list((node.state / "n1" / "runtime" / "containers").iterdir()) == []


async def test_a_mount_that_is_not_there_is_a_start_error(node: Any) -> None:
    config = node.sandbox()
    sandbox = await node.runtime.run_pod_sandbox(config)
    place = str(node.state / "no" / "place")
    container = await node.runtime.create_container(sandbox.id, node.container(mounts=[Mount("/x", place)]), config)
    with pytest.raises(RuntimeFailure, match=place):
        await node.runtime.start_container(container)


async def test_later_mounts_of_the_host_are_seen_where_asked(node: Any) -> None:
    import subprocess

    shared = node.state / "n1" / "volumes"
    shared.mkdir()
    subprocess.run(["mount", "--bind", shared, shared], check=True)
    subprocess.run(["mount", "--make-shared", shared], check=True)
    try:
        (shared / "below").mkdir()
        _, (slave, private) = await node.run_pod(
            node.container(name="slave", mounts=[
                Mount("/v", str(shared), propagation=MountPropagation.HOST_TO_CONTAINER)]),
            node.container(name="private", mounts=[Mount("/v", str(shared))]),
        )
        subprocess.run(["mount", "-t", "tmpfs", "late", shared / "below"], check=True)
        Path(shared / "below" / "file").write_text("late\n")
        assert await node.sh(slave, "cat /v/below/file") == "late\n"
        assert "No such" in await node.sh(private, "cat /v/below/file")
    finally:
        subprocess.run(["umount", "-l", shared / "below"], check=False)
        subprocess.run(["umount", "-l", shared], check=False)
