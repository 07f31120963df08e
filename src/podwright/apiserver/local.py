"""The in-process endpoint: what client.transport.Handler asks for, entering just behind authentication.

Results are the cache's own dicts: callers never change them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

import orjson

from podwright.api import status
from podwright.api.calls import Call, WatchEvent, agent
from podwright.api.objects import Object
from podwright.apiserver.cache.entries import Cached, Event
from podwright.apiserver.cache.subscriptions import Item
from podwright.apiserver.encoding import Encoder, page_meta
from podwright.apiserver.exchange import Bytes, Many, One, Request
from podwright.apiserver.pipeline import Pipeline
from podwright.apiserver.registry.watches import Watch, next_bookmark
from podwright.apiserver.requests import UserInfo
from podwright.apiserver.routing import EMPTY_QUERY, Query, resolve

_BACKLOG = 65536


class _QueueSink:
    """Events for one in-process watcher. One that falls far behind is ended and lists anew."""

    def __init__(self, encoder: Encoder, watch: Watch) -> None:
        self._encoder = encoder
        self._watch = watch
        self.events: deque[Item] = deque()
        self.wake = asyncio.Event()
        self.ended = False

    def send(self, type: str, entry: Cached, event: Event | None) -> None:
        self.events.append((type, entry, event))
        if len(self.events) > _BACKLOG:
            self.end()
        self.wake.set()

    def end(self) -> None:
        self.ended = True
        self.wake.set()

    finish = end


class LocalEndpoint:
    """One per server. `stopping` ends all watches."""

    def __init__(self, pipeline: Pipeline, encoder: Encoder, stopping: asyncio.Event) -> None:
        self._pipeline = pipeline
        self._encoder = encoder
        self._stopping = stopping
        self._sinks: set[_QueueSink] = set()

    def stop(self) -> None:
        """Ends all watches."""
        for sink in list(self._sinks):
            sink.end()

    def _request(self, call: Call, user: str, groups: Sequence[str]) -> Request:
        query = Query(list(call.query.items())) if call.query else EMPTY_QUERY
        path = call.path
        if "?" in path:
            path, _, text = path.partition("?")
            query = Query([*Query.parse(text).items(), *query.items()])
        request = Request(
            call.method,
            resolve(call.method, path, query),
            query,
            user=UserInfo(user, groups=tuple(groups)),
            body_object=call.body,
            content_type=call.content_type,
            user_agent=agent(user) if not query.get("fieldManager") else "",
            in_process=True,
        )
        request.new_audit_id()
        return request

    async def call(self, call: Call, user: str, groups: Sequence[str]) -> Object:
        """Raises ApiError."""
        if self._stopping.is_set():
            await asyncio.sleep(0)
            raise status.unavailable("the server is shutting down")
        reply = await self._pipeline.serve(self._request(call, user, groups))
        if isinstance(reply, One):
            return self._encoder.object_of(reply)
        if isinstance(reply, Many):
            items = [self._encoder.served(reply.row, item) for item in reply.items]
            if call.keeps:
                for entry, obj in zip(reply.items, items, strict=True):
                    entry.kept(obj)
            return {
                "kind": reply.row.list_kind, "apiVersion": reply.row.api_version, "metadata": page_meta(reply),
                "items": items,
            }
        if isinstance(reply, Bytes):
            if reply.status >= 400:
                raise _refused(reply)
            value = orjson.loads(reply.body) if "json" in reply.content_type else {"text": reply.body.decode()}
            return value if isinstance(value, dict) else {"value": value}
        raise status.method_not_allowed("this call needs an HTTP connection")

    async def watch(self, call: Call, user: str, groups: Sequence[str]) -> AsyncIterator[WatchEvent]:
        """(type, object) pairs, compatible with client.transport.WatchEvent. Raises ApiError."""
        if self._stopping.is_set():
            # Who opens a watch again and again until it is cancelled must come to a point where it can be.
            await asyncio.sleep(0)
            raise status.unavailable("the server is shutting down")
        request = self._request(call, user, groups)
        if request.info.verb == "list":
            request.info.verb = "watch"
        reply = await self._pipeline.serve(request)
        if not isinstance(reply, Watch):
            raise status.method_not_allowed()
        sink = _QueueSink(self._encoder, reply)
        subscription = reply.attach(sink)
        self._sinks.add(sink)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + reply.timeout
        bookmark_at = next_bookmark(loop.time(), deadline)
        try:
            while not self._stopping.is_set():
                while sink.events:
                    batch = list(sink.events)
                    sink.events.clear()
                    if (form := self._encoder.conversion(reply.row)) is not None:
                        batch = await reply.settled(batch, form)
                    for type_, entry, _ in batch:
                        obj = self._encoder.served(reply.row, entry)
                        if call.keeps and type_ != "DELETED":
                            entry.kept(obj)
                        yield WatchEvent(type_, obj)
                if sink.ended or loop.time() >= deadline:
                    return
                if reply.bookmarks and loop.time() >= bookmark_at:
                    bookmark_at = next_bookmark(loop.time(), deadline)
                    yield WatchEvent("BOOKMARK", reply.bookmark().object)
                sink.wake.clear()
                until = min(deadline, bookmark_at) if reply.bookmarks else deadline
                try:
                    async with asyncio.timeout(max(until - loop.time(), 0.01)):
                        await sink.wake.wait()
                except TimeoutError:
                    continue
        finally:
            subscription.stop()
            self._sinks.discard(sink)


def _refused(reply: Bytes) -> status.ApiError:
    """What another API server answered, in whatever form."""
    try:
        value = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict) and value.get("kind") == "Status":
        return status.ApiError(value)
    reason = "ServiceUnavailable" if reply.status == 503 else "Unknown"
    return status.failure(reply.status, reason, reply.body[:300].decode("utf-8", "replace").strip())
