"""Processes that take what they can get: each stays within its Pod's limits, and the Pod beside it is served."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.kubelet.eviction.manager import Evictions

from .conftest import KubeletNode, make_container, make_pod


@pytest.fixture
def config() -> dict[str, Any]:
    return {"pod_pids_limit": 200, "container_log_max_size": 4 << 20, "container_log_max_files": 3}


def bad(script: str, **more: Any) -> Object:
    return {**make_container("main", script), "command": ["sh", "-c", script], **more}


async def answers(node: KubeletNode) -> None:
    """The Pod beside does."""
    assert await node.sh("echo here", "beside") == "here\n"


async def ends(node: KubeletNode, name: str) -> None:
    await node.user.delete(PODS, name, namespace="default", grace_period_seconds=1)
    await node.until(lambda: node.pod(name) is None)


@pytest.mark.parametrize("shared", [False, True])
async def test_fork_bomb(node: KubeletNode, shared: bool) -> None:
    await node.create(make_pod("beside"))
    bomb = bad("bomb() { bomb | bomb & }; trap '' TERM; bomb; while :; do :; done")
    bomb["resources"] = {"limits": {"cpu": "100m", "memory": "64Mi"}}
    await node.create(make_pod("bomb", bomb, shareProcessNamespace=shared))
    await node.until_ready("beside")
    await node.until(lambda: node.pod("bomb")["status"].get("containerStatuses"))  # type: ignore[index]
    uid = objects.uid(node.pod("bomb") or {})
    groups = node.runtime.host.cgroups
    parent = await node.until(lambda: (s := node.kubelet.pod_runtime(uid).sandbox) and s.cgroup_parent)
    await node.until(lambda: len(groups.pids(parent)) > 100)
    assert len(groups.pids(parent)) <= 200
    await answers(node)
    await ends(node, "bomb")


async def test_zombies_end_with_their_parent(node: KubeletNode) -> None:
    await node.create(make_pod("beside"))
    spawner = bad("i=0; while [ $i -lt 300 ]; do (true & exec sleep 1000) & i=$((i+1)); done; exec sleep 1000")
    await node.create(make_pod("spawner", spawner))
    await node.until_ready("beside")
    await node.until_ready("spawner")
    uid = objects.uid(node.pod("spawner") or {})
    sandbox = node.kubelet.pod_runtime(uid).sandbox
    assert sandbox is not None
    await node.until(lambda: len(node.runtime.host.cgroups.pids(sandbox.cgroup_parent)) > 80)
    await answers(node)
    await ends(node, "spawner")


async def test_log_flood(node: KubeletNode) -> None:
    """`yes` writes as fast as it can; conmon and the kubelet keep up with the rotation."""
    await node.create(make_pod("beside"))
    flood = bad("exec yes 0123456789012345678901234567890123456789", resources={"limits": {"cpu": "200m"}})
    await node.create(make_pod("flood", flood))
    await node.until_ready("beside")
    await node.until_ready("flood")
    directory = node.container("flood").log_path.parent
    rotated = set[str]()
    began = time.monotonic()
    while len(rotated) < 5:
        names = {path.name for path in directory.iterdir()}
        rotated |= names - {node.container("flood").log_path.name}
        # The written one, one that was rotated, and one more between a rotation and its tidying up.
        assert len(names) <= 4, names
        assert time.monotonic() - began < 60, rotated
        await asyncio.sleep(0.02)
    total = sum(path.stat().st_size for path in directory.iterdir() if path.exists())
    assert total < 500 << 20, total
    await answers(node)
    await ends(node, "flood")


async def test_disk_filler_is_evicted(node: KubeletNode) -> None:
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(Evictions(node.kubelet, period=0.5).run())
        await node.create(make_pod("beside"))
        filler = bad("dd if=/dev/zero of=/filled bs=1M count=64; sleep 1000")
        filler["resources"] = {"limits": {"ephemeral-storage": "16Mi"}}
        await node.create(make_pod("filler", filler))
        await node.until_ready("beside")
        pod = await node.until_pod(lambda p: p["status"].get("phase") == "Failed", "filler")
        watch.cancel()
    assert pod["status"]["reason"] == "Evicted"
    assert "ephemeral" in pod["status"]["message"]
    await answers(node)
