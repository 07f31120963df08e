"""Waiting a moment for an object that may just be on its way into the cache."""

from __future__ import annotations

import asyncio

from podwright.api.objects import Object, name, namespace
from podwright.api.resources import Resource
from podwright.apiserver.requests import Objects


async def get_soon(
    objects: Objects, resource: Resource, namespace_name: str, object_name: str, timeout: float
) -> Object | None:
    """The object, or the one of that name that arrives within `timeout` seconds, or None."""
    present = objects.get(resource, namespace_name, object_name)
    if present is not None or timeout <= 0:
        return present
    arrived: asyncio.Future[Object] = asyncio.get_running_loop().create_future()

    def changed(old: Object | None, new: Object | None) -> None:
        if new is not None and name(new) == object_name and namespace(new) == namespace_name and not arrived.done():
            arrived.set_result(new)

    end = objects.subscribe(resource, changed)
    try:
        async with asyncio.timeout(timeout):
            return await arrived
    except TimeoutError:
        return objects.get(resource, namespace_name, object_name)
    finally:
        end()
