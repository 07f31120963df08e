"""The cache of one stored resource."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from podwright.api.objects import Object
from podwright.apiserver.cache.entries import Cached, Event

_KEEP_SECONDS = 75.0
_KEEP_AT_LEAST = 100
_KEEP_AT_MOST = 16384
_KEEP_FRAMES = 128
"""Events whose encoded forms are kept: for watchers that are a little behind."""
_NODE_NAME = b'"nodeName":"'
_NONE: dict[str, Cached] = {}


class Subscriber(Protocol):
    """Gets events in revision order. Must not wait, and must not raise."""

    def deliver(self, event: Event) -> None: ...

    def close(self) -> None: ...


class TooOld(Exception):
    """A watch from a revision that the ring of recent events does not reach back to."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {asked} ({oldest})")
        self.asked = asked
        self.oldest = oldest


class WatchCache:
    """Objects of one storage prefix by "namespace/name" (or "name"), indexed by namespace and, for Pods, by node;
    recent events; subscribers. Fed by one writer in revision order."""

    def __init__(self, path: str, *, by_node: bool = False) -> None:
        self.path = path
        self.prefix = f"/registry/{path}/"
        self.objects: dict[str, Cached] = {}
        self.namespaces: dict[str, dict[str, Cached]] = {}
        self.nodes: dict[str, dict[str, Cached]] = {}
        self.floor = 0
        self.changed = 0
        self._by_node = by_node
        self._events: deque[Event] = deque()
        self._sorted: dict[str | None, tuple[int, list[Cached]]] = {}
        self._subscribers: dict[tuple[str, str], dict[int, Subscriber]] = {}
        self.listeners: list[Callable[[Event], None]] = []

    def load(self, key: str, value: bytes, revision: int) -> None:
        """An object that was there at the start."""
        current = Cached.of(key, value, revision)
        self._put(current)
        self.changed = max(self.changed, revision)
        if self.listeners:
            event = Event("ADDED", current, None, revision, 0.0)
            for listener in self.listeners:
                listener(event)

    def apply(
        self, key: str, value: bytes | None, revision: int, now: float, last: bytes | None, parsed: Object | None = None
    ) -> None:
        """One change. `last` is the value before it, as the store knows it (for a deletion); `parsed` is what the
        writer wrote, if it was this process: it need not be parsed again."""
        previous = self.objects.get(key)
        if value is not None:
            current = Cached.of(key, value, revision)
            if parsed is not None:
                current.know(parsed)
            self._put(current)
            event = Event("MODIFIED" if previous is not None else "ADDED", current, previous, revision, now)
        else:
            if previous is None and last is None:
                return
            self._remove(key)
            stored = last if last is not None else previous.stored() if previous is not None else b"{}"
            event = Event("DELETED", Cached.of(key, stored, revision), previous, revision, now)
        self.changed = revision
        self._remember(event)
        for listener in self.listeners:
            listener(event)
        self._dispatch(event)
        if previous is not None:
            previous.supersede()
        if value is None:
            event.current.supersede()

    def _put(self, entry: Cached) -> None:
        old = self.objects.get(entry.key)
        self.objects[entry.key] = entry
        namespace = self.namespaces.get(entry.namespace)
        if namespace is None:
            namespace = self.namespaces[entry.namespace] = {}
        namespace[entry.key] = entry
        if self._by_node:
            node = node_of(entry)
            if old is not None and (before := node_of(old)) and before != node:
                self.nodes.get(before, {}).pop(entry.key, None)
            if node:
                self.nodes.setdefault(node, {})[entry.key] = entry

    def _remove(self, key: str) -> None:
        old = self.objects.pop(key, None)
        if old is None:
            return
        namespace = self.namespaces.get(old.namespace)
        if namespace is not None:
            namespace.pop(key, None)
            if not namespace:
                del self.namespaces[old.namespace]
        if self._by_node and (node := node_of(old)):
            pods = self.nodes.get(node)
            if pods is not None:
                pods.pop(key, None)
                if not pods:
                    del self.nodes[node]

    def _remember(self, event: Event) -> None:
        events = self._events
        events.append(event)
        if len(events) > _KEEP_FRAMES:
            events[-_KEEP_FRAMES].frames.clear()
        horizon = event.time - _KEEP_SECONDS
        while len(events) > _KEEP_AT_LEAST and (len(events) > _KEEP_AT_MOST or events[0].time < horizon):
            self.floor = events.popleft().revision

    def trim(self, now: float) -> None:
        """Forgets events past their time, also where none came since."""
        events = self._events
        horizon = now - _KEEP_SECONDS
        while len(events) > _KEEP_AT_LEAST and events[0].time < horizon:
            self.floor = events.popleft().revision

    def reset(self, revision: int) -> None:
        """Forgets all; every watch ends, and its client lists anew."""
        self.close_watches()
        self.objects.clear()
        self.namespaces.clear()
        self.nodes.clear()
        self._events.clear()
        self._sorted.clear()
        self.floor = self.changed = revision

    # Reading

    def get(self, key: str) -> Cached | None:
        return self.objects.get(key)

    def in_namespace(self, namespace: str) -> dict[str, Cached]:
        return self.namespaces.get(namespace, _NONE)

    def ordered(self, namespace: str = "") -> list[Cached]:
        """All objects (of a namespace) in key order. The list is shared."""
        kept = self._sorted.get(namespace)
        if kept is not None and kept[0] == self.changed:
            return kept[1]
        source = self.namespaces.get(namespace, _NONE) if namespace else self.objects
        entries = [source[key] for key in sorted(source)]
        if len(self._sorted) > 16:
            self._sorted.clear()
        self._sorted[namespace] = (self.changed, entries)
        return entries

    def since(self, revision: int) -> Iterable[Event]:
        """Events after `revision`. Raises TooOld."""
        if revision < self.floor:
            raise TooOld(revision, self.floor)
        newer: list[Event] = []
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            newer.append(event)
        newer.reverse()
        return newer

    # Watching

    def subscribe(self, subscriber: Subscriber, scope: tuple[str, str]) -> None:
        """`scope` is ("", "") for everything, ("namespace", ns), ("key", "ns/name") or ("node", name)."""
        self._subscribers.setdefault(scope, {})[id(subscriber)] = subscriber

    def unsubscribe(self, subscriber: Subscriber, scope: tuple[str, str]) -> None:
        bucket = self._subscribers.get(scope)
        if bucket is not None:
            bucket.pop(id(subscriber), None)
            if not bucket:
                del self._subscribers[scope]

    def close_watches(self) -> None:
        for subscriber in self.subscribers():
            subscriber.close()

    def subscribers(self) -> Sequence[Subscriber]:
        return [s for bucket in self._subscribers.values() for s in bucket.values()]

    def _dispatch(self, event: Event) -> None:
        buckets = self._subscribers
        if not buckets:
            return
        entry = event.current
        for scope in (("", ""), ("namespace", entry.namespace), ("key", entry.key)):
            bucket = buckets.get(scope)
            if bucket:
                for subscriber in list(bucket.values()):
                    subscriber.deliver(event)
        if self._by_node:
            nodes = {node_of(entry), node_of(event.previous) if event.previous else ""}
            for node in nodes:
                bucket = buckets.get(("node", node)) if node else None
                if bucket:
                    for subscriber in list(bucket.values()):
                        subscriber.deliver(event)


def node_of(pod: Cached) -> str:
    """spec.nodeName; parses only what can have one."""
    if _NODE_NAME not in pod.data:
        return ""
    return str((pod.object.get("spec") or {}).get("nodeName") or "")

