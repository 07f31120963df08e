"""One watch: which events it sees, and as what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from podwright.api.objects import Object
from podwright.apiserver.cache.entries import Cached, Event
from podwright.apiserver.cache.watch_cache import WatchCache


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
        self,
        namespace: str = "",
        labels: Selector | None = None,
        fields: Callable[[Object], bool] | None = None,
        key: str = "",
        node: str = "",
        view: Callable[[Cached], Object] = lambda entry: entry.object,
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
        flt = self._filter
        current, previous = event.current, event.previous
        if flt.everything:
            if not flt.namespace or current.namespace == flt.namespace:
                self._sink.send(event.type, current, event)
            return
        before = previous is not None and flt.matches(previous)
        if event.type == "DELETED":
            if before or (previous is None and flt.matches(current)):
                self._sink.send("DELETED", current, event)
            return
        after = flt.matches(current)
        if after:
            self._sink.send("MODIFIED" if before else "ADDED", current, event)
        elif before:
            assert previous is not None
            self._sink.send("DELETED", previous.at(event.revision), None)

    def close(self) -> None:
        """The cache gives up on its subscribers (it was rebuilt)."""
        self.stop()
        self._sink.finish()

    def stop(self) -> None:
        if not self._ended:
            self._ended = True
            self._cache.unsubscribe(self, self._scope)
