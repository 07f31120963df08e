"""The kubelet dies at random moments of Pods' lives on real containers: none is restarted, doubled or forgotten."""

from __future__ import annotations

import asyncio
import random
import time

from podwright.api import objects
from podwright.api.resources import PODS

from .conftest import KubeletNode, make_container, make_pod

_SECONDS = 8.0


async def test_random_deaths(node: KubeletNode) -> None:
    rng = random.Random(7)
    volumes = [{"name": "m", "emptyDir": {"medium": "Memory"}}]
    await node.create(make_pod("steady", make_container("a"), make_container("b"), volumes=volumes))
    await node.until_ready("steady")
    pids = [node.container("steady", n).pid for n in ("a", "b")]
    began, deaths, number = time.monotonic(), 0, 0
    while time.monotonic() - began < _SECONDS:
        name = f"p{number}"
        number += 1
        await node.create(make_pod(name, make_container(), volumes=volumes, terminationGracePeriodSeconds=1))
        await asyncio.sleep(rng.random() * 0.12)
        await node.restart()
        deaths += 1
        pod = await node.until_ready(name)
        # Whatever moment it was: one sandbox, one container, never started twice.
        uid = objects.uid(pod)
        await node.until(lambda uid=uid: len(node.kubelet.pod_runtime(uid).running()) == 1)
        assert len(node.kubelet.pod_runtime(uid).sandboxes) == 1
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
        await node.user.delete(PODS, name, namespace="default")
        await asyncio.sleep(rng.random() * 0.06)
        await node.restart()
        deaths += 1
        await node.until(lambda name=name: node.pod(name) is None)
    print(f"{deaths} deaths")
    await node.until(lambda: node.kubelet.find_container("default", "steady", "a"))
    assert [node.container("steady", n).pid for n in ("a", "b")] == pids
    steady = node.pod("steady") or {}
    assert [s["restartCount"] for s in steady["status"]["containerStatuses"]] == [0, 0]
    assert await node.until(lambda: len(list(node.config.pods_dir.iterdir())) == 1)
    assert len(await node.runtime.list_pod_sandboxes()) == 1
