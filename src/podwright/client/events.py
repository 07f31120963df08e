"""Writing Events about objects, with upstream's correlation: the same event again only raises a count."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import EVENTS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock, SystemClock
from podwright.client.transport import ServerUnreachable

log = logging.getLogger(__name__)

NORMAL = "Normal"
WARNING = "Warning"

_CACHE = 4096
_QUEUE = 1000
_BURST = 25
_REFILL_SECONDS = 300.0


class EventRecorder:
    """`component` and `host` become the event's source. :meth:`event` never blocks and never fails: what cannot be
    sent is dropped, as upstream does. Run :meth:`run` as a task."""

    def __init__(self, client: Client, component: str, *, host: str = "", clock: Clock | None = None) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock or SystemClock()
        self._queue: deque[Object] = deque(maxlen=_QUEUE)
        self._wake = asyncio.Event()
        self._seen: OrderedDict[tuple[str, ...], Object] = OrderedDict()
        self._tokens: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def event(self, about: Object, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        """`about` is an object (or an ObjectReference-like dict with metadata). `kind` is Normal or Warning."""
        meta = about.get("metadata") or {}
        reference: Object = {
            "kind": about.get("kind", ""), "namespace": meta.get("namespace", ""), "name": meta.get("name", ""),
            "uid": meta.get("uid", ""), "apiVersion": about.get("apiVersion", ""),
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        if field_path:
            reference["fieldPath"] = field_path
        now = self._clock.now()
        stamp = objects.format_time(now)
        source = {"component": self._component}
        if self._host:
            source["host"] = self._host
        self._queue.append(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {
                    "name": f"{reference['name']}.{int(now * 1e9):x}", "namespace": reference["namespace"] or "default",
                },
                "involvedObject": {k: v for k, v in reference.items() if v},
                "reason": reason,
                "message": message[:1024],
                "source": source,
                "firstTimestamp": stamp,
                "lastTimestamp": stamp,
                "count": 1,
                "type": kind,
                "reportingComponent": self._component,
                "reportingInstance": self._host,
            }
        )
        self._wake.set()

    async def run(self) -> None:
        while True:
            while self._queue:
                await self._send(self._queue.popleft())
            self._wake.clear()
            await self._wake.wait()

    async def _send(self, event: Object) -> None:
        about = event["involvedObject"]
        key = (
            about.get("uid", ""), about.get("name", ""), about.get("fieldPath", ""),
            event["type"], event["reason"], event["message"],
        )  # fmt: skip
        if not self._admit((about.get("uid", ""), event["source"]["component"])):
            return
        known = self._seen.get(key)
        try:
            if known is not None:
                count = int(known.get("count") or 1) + 1
                change = {"count": count, "lastTimestamp": event["lastTimestamp"]}
                try:
                    written = await self._client.patch(
                        EVENTS, objects.name(known), change, namespace=objects.namespace(known)
                    )
                except ApiError as refused:
                    if refused.code != 404:
                        raise
                    written = await self._client.create(EVENTS, event)
            else:
                written = await self._client.create(EVENTS, event)
        except (ApiError, ServerUnreachable) as failed:
            log.info("event %s on %s not written: %s", event["reason"], about.get("name"), failed)
            return
        self._seen[key] = written
        self._seen.move_to_end(key)
        if len(self._seen) > _CACHE:
            self._seen.popitem(last=False)

    def _admit(self, key: tuple[str, str]) -> bool:
        """A token bucket an object: 25 events, one more each five minutes."""
        now = self._clock.monotonic()
        tokens, last = self._tokens.pop(key, (float(_BURST), now))
        tokens = min(float(_BURST), tokens + (now - last) / _REFILL_SECONDS)
        admitted = tokens >= 1.0
        self._tokens[key] = (tokens - 1.0 if admitted else tokens, now)
        if len(self._tokens) > _CACHE:
            self._tokens.popitem(last=False)
        return admitted
