"""The API client: typed by rows of the resource table, the same over every transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from podwright.api.objects import Object, name, namespace
from podwright.api.resources import Resource
from podwright.client.transport import MERGE_PATCH, Call, Transport, WatchEvent

_PAGE = 500


class Client:
    """Calls by resource row. Objects that come back are shared with caches: never change them.

    Every method raises ApiError for a refusal and ServerUnreachable if no server answers.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def transport(self) -> Transport:
        """What carries the calls."""
        return self._transport

    async def get(self, resource: Resource, name: str, *, namespace: str = "", subresource: str = "") -> Object:
        return await self._transport.call(Call("GET", resource.path(namespace, name, subresource)))

    async def list(
        self, resource: Resource, *, namespace: str = "", label_selector: str = "", field_selector: str = "",
        resource_version: str = "", limit: int = 0, continue_: str = "", keeps: bool = False,
    ) -> Object:
        """The List object as the server gives it: one page if `limit` is set. `keeps`: see :class:`Call`."""
        query = _selectors(label_selector, field_selector)
        if resource_version:
            query["resourceVersion"] = resource_version
        if limit:
            query["limit"] = str(limit)
        if continue_:
            query["continue"] = continue_
        return await self._transport.call(Call("GET", resource.path(namespace), query, keeps=keeps))

    async def items(
        self, resource: Resource, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> Sequence[Object]:
        """Every object, read straight from the server. Items carry apiVersion and kind."""
        found: list[Object] = []
        token = ""
        while True:
            page = await self.list(
                resource, namespace=namespace, label_selector=label_selector, field_selector=field_selector,
                limit=_PAGE, continue_=token,
            )
            found.extend(with_type(resource, item) for item in page.get("items") or ())
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return found

    async def create(
        self, resource: Resource, obj: Object, *, namespace: str = "", name: str = "", subresource: str = ""
    ) -> Object:
        """Creates in the object's own namespace unless one is given. `name` and `subresource` are for pods/binding,
        pods/eviction and serviceaccounts/token."""
        where = namespace or (obj.get("metadata") or {}).get("namespace") or ""
        return await self._transport.call(Call("POST", resource.path(where, name, subresource), body=obj))

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        """Replaces the object; its metadata.resourceVersion, if set, must be the current one (else 409)."""
        path = resource.path(namespace(obj), name(obj), subresource)
        return await self._transport.call(Call("PUT", path, body=obj))

    async def update_status(self, resource: Resource, obj: Object) -> Object:
        return await self.update(resource, obj, subresource="status")

    async def patch(
        self, resource: Resource, name: str, patch: Any, *, namespace: str = "", subresource: str = "",
        content_type: str = MERGE_PATCH, field_manager: str = "", force: bool = False,
    ) -> Object:
        query: dict[str, str] = {}
        if field_manager:
            query["fieldManager"] = field_manager
        if force:
            query["force"] = "true"
        path = resource.path(namespace, name, subresource)
        return await self._transport.call(Call("PATCH", path, query, patch, content_type))

    async def delete(
        self, resource: Resource, name: str, *, namespace: str = "", grace_period_seconds: int | None = None,
        propagation: str = "", uid: str = "", resource_version: str = "",
    ) -> Object:
        """`uid` and `resource_version` are preconditions (409 if they do not hold)."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if propagation:
            options["propagationPolicy"] = propagation
        preconditions = {}
        if uid:
            preconditions["uid"] = uid
        if resource_version:
            preconditions["resourceVersion"] = resource_version
        if preconditions:
            options["preconditions"] = preconditions
        return await self._transport.call(Call("DELETE", resource.path(namespace, name), body=options))

    def watch(
        self, resource: Resource, *, namespace: str = "", label_selector: str = "", field_selector: str = "",
        resource_version: str = "", timeout_seconds: int = 0, keeps: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """`keeps`: see :class:`Call`."""
        query = _selectors(label_selector, field_selector)
        query["watch"] = "1"
        query["allowWatchBookmarks"] = "true"
        if resource_version:
            query["resourceVersion"] = resource_version
        if timeout_seconds:
            query["timeoutSeconds"] = str(timeout_seconds)
        return self._transport.watch(Call("GET", resource.path(namespace), query, keeps=keeps))

    async def raw(self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None) -> Object:
        """A call by URL path, for what is no resource of the table."""
        return await self._transport.call(Call(method, path, query or {}, body=body))

    async def aclose(self) -> None:
        await self._transport.aclose()


def with_type(resource: Resource, item: Object) -> Object:
    """Items of a List answer have no apiVersion and kind: add them (to a shallow copy)."""
    if "kind" in item and "apiVersion" in item:
        return item
    return {"kind": resource.kind, "apiVersion": resource.api_version, **item}


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    query: dict[str, str] = {}
    if label_selector:
        query["labelSelector"] = label_selector
    if field_selector:
        query["fieldSelector"] = field_selector
    return query
