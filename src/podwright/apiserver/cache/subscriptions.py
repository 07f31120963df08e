"""One watch: which events it sees, and as what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from podwright.api.objects import Object
from podwright.apiserver.cache.entries import Cached, Event
from podwright.apiserver.cache.watch_cache import WatchCache

Item = tuple[str, Cached, "Event | None"]
"""Type, object, and the event if the object is its current one."""


class Selector(Protocol):
    def matches(self, values: Mapping[str, str], /) -> bool: ...


class Sink(Protocol):
    """Where a subscription's events go. Neither method waits or raises; a sink that cannot keep up closes itself."""

    def send(self, type: str, entry: Cached, event: Event | None) -> None: ...

    def finish(self) -> None:
        """Nothing more comes."""


class Filter:
    """Which objects a list or watch is about."""

    __slots__ = ("fields", "key", "labels", "namespace", "node", "view")

    def __init__(
        self, namespace: str = "", labels: Selector | None = None, fields: Callable[[Object], bool] | None = None,
        key: str = "", node: str = "", view: Callable[[Cached], Object] = lambda entry: entry.object,
    ) -> None:
        """`fields` judges the object as `view` shows it."""
        self.namespace = namespace
        self.labels = labels
        self.fields = fields
        self.key = key
        self.node = node
        self.view = view

    @property
    def everything(self) -> bool:
        return self.labels is None and self.fields is None

    def matches(self, entry: Cached) -> bool:
        if self.namespace and entry.namespace != self.namespace:
            return False
        if self.labels is not None and not self.labels.matches(entry.labels):
            return False
        return self.fields is None or self.fields(self.view(entry))

    def coarse(self) -> Filter:
        """The same without fields, for objects whose fields are not known yet."""
        return Filter(self.namespace, self.labels, None, self.key, self.node)

    def judge(self, event: Event) -> Item | None:
        """What a watch is told of an event; None: nothing."""
        current, previous = event.current, event.previous
        if self.everything:
            matches = not self.namespace or current.namespace == self.namespace
            return (event.type, current, event) if matches else None
        before = previous is not None and self.matches(previous)
        if event.type == "DELETED":
            return ("DELETED", current, event) if before or (previous is None and self.matches(current)) else None
        if self.matches(current):
            return "MODIFIED" if before else "ADDED", current, event
        return ("DELETED", previous.at(event.revision), None) if before and previous is not None else None

    def scope(self) -> tuple[str, str]:
        if self.key:
            return ("key", self.key)
        if self.node:
            return ("node", self.node)
        if self.namespace:
            return ("namespace", self.namespace)
        return ("", "")

    def select(self, cache: WatchCache) -> list[Cached]:
        """Matching objects in key order."""
        if self.key:
            entry = cache.get(self.key)
            return [entry] if entry is not None and self.matches(entry) else []
        if self.node:
            pods = cache.nodes.get(self.node) or {}
            return [e for _, e in sorted(pods.items()) if self.matches(e)]
        entries = cache.ordered(self.namespace)
        return entries if self.everything else [e for e in entries if self.matches(e)]


class Subscription:
    """Sends a sink what happens to the objects of a filter; an object that starts or stops to match is ADDED or
    DELETED, as upstream does."""

    def __init__(self, cache: WatchCache, filter: Filter, sink: Sink) -> None:
        self._cache = cache
        self._filter = filter
        self._sink = sink
        self._scope = filter.scope()
        self._ended = False

    def start(self) -> None:
        self._cache.subscribe(self, self._scope)

    def replay(self, revision: int) -> None:
        """Events after `revision`. Raises TooOld."""
        for event in self._cache.since(revision):
            self.deliver(event)

    def deliver(self, event: Event) -> None:
        if self._ended:
            return
        item = self._filter.judge(event)
        if item is not None:
            self._sink.send(*item)

    def close(self) -> None:
        """The cache gives up on its subscribers (it was rebuilt)."""
        self.stop()
        self._sink.finish()

    def stop(self) -> None:
        if not self._ended:
            self._ended = True
            self._cache.unsubscribe(self, self._scope)
