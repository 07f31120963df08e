"""A full node: 250 Pods on one kubelet, what they cost while nothing happens."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from podwright.api import objects
from podwright.api.resources import PODS

from .conftest import KubeletNode, make_pod

_PODS = int(os.environ.get("PODWRIGHT_MANY_PODS", "60"))


@pytest.fixture
def config() -> dict[str, Any]:
    return {"max_pods": 300}


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def test_full_node(node: KubeletNode) -> None:
    """PODWRIGHT_MANY_PODS=250 for the whole of it."""
    await node.create(make_pod("first"))
    await node.until_ready("first")
    memory, began = _memory(), time.monotonic()
    for number in range(_PODS):
        await node.create(make_pod(f"p{number}", terminationGracePeriodSeconds=1))
    for number in range(_PODS):
        await node.until_pod(lambda p: objects.condition_is_true(p, "Ready"), f"p{number}")
    took = time.monotonic() - began
    each = (_memory() - memory) / _PODS
    await asyncio.sleep(1)
    cpu, began = _cpu(), time.monotonic()
    await asyncio.sleep(3)
    idle = (_cpu() - cpu) / (time.monotonic() - began)
    print(f"{_PODS / took:.0f} Pods/s, {each / 1e6:.2f} MB a Pod, {idle * 100:.2f} % of a core idle")
    for pod in await node.user.items(PODS):
        await node.user.delete(PODS, objects.name(pod), namespace="default")
    await node.until(lambda: not any(k[0] == "pods" for k in node.api.objects))
    assert idle < 0.05 and each < 1e6
