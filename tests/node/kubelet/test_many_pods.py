"""A full node: many Pods at once on one kubelet, which then has nothing to do."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from podwright.api import objects
from podwright.api.resources import PODS

from .conftest import KubeletNode, make_pod

_PODS = int(os.environ.get("PODWRIGHT_MANY_PODS", "60"))


@pytest.fixture
def config() -> dict[str, Any]:
    return {"max_pods": 300}


async def test_full_node(node: KubeletNode) -> None:
    """PODWRIGHT_MANY_PODS=250 for the whole of it."""
    for number in range(_PODS):
        await node.create(make_pod(f"p{number}", terminationGracePeriodSeconds=1))
    for number in range(_PODS):
        await node.until_pod(lambda p: objects.condition_is_true(p, "Ready"), f"p{number}", 120)

    async def quiet() -> bool:
        """No status is written for a second."""
        before = [p["metadata"]["resourceVersion"] for p in await node.user.items(PODS)]
        await asyncio.sleep(1)
        return before == [p["metadata"]["resourceVersion"] for p in await node.user.items(PODS)]

    async with asyncio.timeout(60):
        while not await quiet():
            pass
    for pod in await node.user.items(PODS):
        await node.user.delete(PODS, objects.name(pod), namespace="default")
    await node.until(lambda: not any(k[0] == "pods" for k in node.api.objects))
