"""ServiceAccount tokens of Pods: kept, rotated, and used to the end when there is no server."""

from __future__ import annotations

import time

import pytest

from podwright.api.objects import Object
from podwright.kubelet.volumes.tokens import ServiceAccountTokens

from .fake_api import FakeApi


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


class _Clock:
    def __init__(self) -> None:
        self.time = time.time()

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("tokens do not sleep")


async def test_tokens_are_rotated_at_four_fifths_of_their_life(api: FakeApi) -> None:
    clock = _Clock()
    tokens = ServiceAccountTokens(api.client, clock)
    pod: Object = {"metadata": {"name": "web", "namespace": "default", "uid": "u"}, "spec": {}}
    first = await tokens.get(pod, "", 3600)
    clock.time += 0.79 * 3600 - 10
    assert await tokens.get(pod, "", 3600) == first
    clock.time = first.expires_at - 0.19 * 3600
    second = await tokens.get(pod, "", 3600)
    assert second.value != first.value
    # With no server the old one serves until it ends, not longer.
    await api.set_down(True)
    clock.time = second.expires_at - 1
    assert await tokens.get(pod, "", 3600) == second
    clock.time = second.expires_at + 1
    with pytest.raises(Exception, match="down"):
        await tokens.get(pod, "", 3600)
