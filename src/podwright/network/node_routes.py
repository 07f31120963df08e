"""Keeps the routes to other nodes' Pod ranges in step with the API's nodes."""

from __future__ import annotations

import asyncio
import logging

from podwright.api.objects import Object
from podwright.api.resources import NODES
from podwright.client.client import Client
from podwright.client.informers import Informer
from podwright.network.routes import NodeRoutes

log = logging.getLogger(__name__)

_RETRY = 1.0


async def follow_nodes(client: Client, routes: NodeRoutes) -> None:
    """Runs until cancelled."""
    changed = asyncio.Event()
    informer = Informer(client, NODES)

    def relevant(old: Object | None, new: Object | None) -> None:
        if old is None or new is None or _where(old) != _where(new):
            changed.set()

    informer.add_handler(relevant)
    async with asyncio.TaskGroup() as group:
        group.create_task(informer.run(), name="nodes")
        await informer.synced()
        while True:
            changed.clear()
            try:
                await routes.sync(informer.items())
            except OSError as failed:
                log.warning("routes to other nodes: %s", failed)
                await asyncio.sleep(_RETRY)
                changed.set()
            await changed.wait()


def _where(node: Object) -> tuple[object, object]:
    return (node.get("spec") or {}).get("podCIDR"), (node.get("status") or {}).get("addresses")
