"""What a node's process does while its server is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from podwright.api.objects import Object
from podwright.client.client import Client
from podwright.client.transport import Call, ServerUnreachable, WatchEvent
from podwright.cluster.node_process import until_ready


def node(status: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "resourceVersion": "7"},
        "status": {"conditions": [{"type": "Ready", "status": status}]},
    }  # fmt: skip


class Killed:
    """A server that is away at first, is killed while it is watched, and comes back."""

    def __init__(self) -> None:
        self.lists, self.watches = 0, 0

    async def call(self, call: Call) -> Object:
        self.lists += 1
        if self.lists == 1:
            raise ServerUnreachable("connection timed out")
        return {"metadata": {"resourceVersion": "7"}, "items": [node("Unknown")]}

    async def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        assert call.query["fieldSelector"] == "metadata.name=n"
        self.watches += 1
        if self.watches == 2:
            raise ServerUnreachable("connection refused")
        if self.watches == 3:
            yield WatchEvent("MODIFIED", node("True"))
            await asyncio.Event().wait()

    async def aclose(self) -> None: ...


async def test_a_node_that_starts_while_its_server_is_away_waits() -> None:
    server = Killed()
    async with asyncio.timeout(60):
        await until_ready(Client(server), "n")
    assert server.watches == 3, "a watch that ends says nothing about the node"
