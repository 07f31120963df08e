"""From a request to the verb that serves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from podwright.api import status
from podwright.api.resources import Resource
from podwright.apiserver.exchange import Bytes, Many, One, Reply, Request, Stream
from podwright.apiserver.registry import creating, deleting, lists, patching, pods, scale, updating, watches
from podwright.apiserver.registry.registry import Registry

Special = Callable[[Registry, Request, Resource], Awaitable[Reply]]
Page = Callable[[Request], Awaitable[Bytes]]

_STREAMING = {
    ("pods", "log"), ("pods", "exec"), ("pods", "attach"), ("pods", "portforward"), ("pods", "proxy"),
    ("nodes", "proxy"), ("services", "proxy"),
}
_DEPRECATED = {
    ("", "componentstatuses"): "v1 ComponentStatus is deprecated in v1.19+",
    ("", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
_WRITES: dict[str, Special] = {
    "update": updating.update, "patch": patching.patch, "delete": deleting.delete,
    "deletecollection": deleting.delete_collection,
}


class Handlers:
    """Looks the request up: a resource row and its verb, a subresource, or a page such as /version."""

    def __init__(self, registry: Registry, *, min_watch_seconds: float) -> None:
        self._registry = registry
        self._min_watch_seconds = min_watch_seconds
        self.pages: dict[str, Page] = {}
        """By exact path."""
        self.page_trees: list[tuple[str, Page]] = []
        """By path prefix."""
        self.streaming: Callable[[Any, Request, Resource], Awaitable[Any]] | None = None
        self.creates: dict[tuple[str, str], Special] = {}
        """POST to collections that store nothing: reviews, bindings."""
        self.subresources: dict[tuple[str, str], Special] = {
            ("pods", "binding"): pods.bind, ("pods", "eviction"): pods.evict
        }
        self.aggregated: Callable[[Request], Awaitable[Reply | None]] | None = None
        """Asked first: group versions of other API servers. None: not theirs."""
        self.virtual: dict[tuple[str, str], Special] = {}
        """GET of resources that are no stored objects (componentstatuses)."""

    def row(self, request: Request) -> Resource | None:
        info = request.info
        if not info.is_resource:
            return None
        return self._registry.table.by_path(info.group, info.version, info.resource)

    async def __call__(self, request: Request) -> Reply:
        """Raises ApiError."""
        if self.aggregated is not None and (answer := await self.aggregated(request)) is not None:
            return answer
        info = request.info
        if not info.is_resource:
            return await self._page(request)
        row = self._registry.table.by_path(info.group, info.version, info.resource)
        if row is None:
            raise status.path_not_found()
        if deprecation := _DEPRECATED.get((row.group, row.plural)):
            request.warnings.append(deprecation)
        reply = await self._resource(request, row)
        if row.custom:
            form = self._registry.form(row)
            if form.warning:
                request.warnings.append(form.warning)
            if isinstance(reply, Many):
                await form.prepare(reply.items)
            elif isinstance(reply, One) and reply.cached is not None:
                await form.prepare((reply.cached,))
        return reply

    async def _resource(self, request: Request, row: Resource) -> Reply:
        info = request.info
        verb = info.verb
        if len(info.parts) > 3 and info.subresource != "proxy":
            raise status.path_not_found()
        if info.name:
            if row.namespaced and not info.namespace:
                raise status.path_not_found()
            if info.name in (".", "..") or info.namespace in (".", ".."):
                raise status.bad_request(f'Name parameter invalid: "{info.name}": may not be \'{info.name}\'')
        if info.namespace and not row.namespaced and row.plural != "namespaces":
            raise status.path_not_found()
        if info.subresource:
            return await self._subresource(request, row)
        if verb not in row.verbs or (verb in ("update", "patch") and not info.name):
            raise status.method_not_allowed()
        if verb == "get":
            return await self._get(request, row)
        if verb == "list":
            virtual = self.virtual.get((row.group, row.plural))
            if virtual is not None:
                return await virtual(self._registry, request, row)
            return await lists.list_objects(self._registry, request, row)
        if verb == "watch":
            return await watches.watch(self._registry, request, row, self._min_watch_seconds)
        if verb == "create":
            return await self._create(request, row)
        return await _WRITES[verb](self._registry, request, row)

    async def _get(self, request: Request, row: Resource) -> Reply:
        info = request.info
        virtual = self.virtual.get((row.group, row.plural))
        if virtual is not None:
            return await virtual(self._registry, request, row)
        if request.query:
            version = request.query.get("resourceVersion")
            if version and version != "0":
                await lists.wait_for(self._registry, lists.parse_version(version))
        return One(row, await self._registry.get(row, info.namespace, info.name))

    async def _create(self, request: Request, row: Resource) -> Reply:
        if (row.namespaced and not request.info.namespace) or request.info.name:
            raise status.method_not_allowed()
        special = self.creates.get((row.group, row.plural))
        if special is not None:
            return await special(self._registry, request, row)
        return await creating.create(self._registry, request, row)

    async def _subresource(self, request: Request, row: Resource) -> Reply:
        info = request.info
        sub = row.subresource(info.subresource)
        if sub is None:
            raise status.path_not_found()
        if (row.plural, sub.name) in _STREAMING and not row.group:
            if self.streaming is None or request.raw is None:
                raise status.method_not_allowed()
            # A proxy hands OPTIONS on too, for which there is no verb.
            if info.verb not in sub.verbs and not (sub.name == "proxy" and request.method == "OPTIONS"):
                raise status.method_not_allowed()
            streaming = self.streaming
            return Stream(lambda raw: streaming(raw, request, row))
        if info.verb not in sub.verbs:
            raise status.method_not_allowed()
        special = self.subresources.get((row.plural, sub.name))
        if special is not None:
            return await special(self._registry, request, row)
        if sub.name == "scale":
            if info.verb == "get":
                return await scale.get_scale(self._registry, request, row)
            return await scale.update_scale(self._registry, request, row)
        if info.verb == "get":
            return One(row, await self._registry.get(row, info.namespace, info.name))
        if info.verb in ("update", "patch"):
            return await _WRITES[info.verb](self._registry, request, row)
        raise status.method_not_allowed()

    async def _page(self, request: Request) -> Reply:
        path = request.info.path
        page = self.pages.get(path) or (self.pages.get(path.rstrip("/")) if path != "/" else None)
        if page is None:
            for prefix, candidate in self.page_trees:
                if path.startswith(prefix):
                    page = candidate
                    break
        if page is None:
            raise status.path_not_found()
        if request.method not in ("GET", "HEAD"):
            raise status.method_not_allowed()
        return await page(request)
