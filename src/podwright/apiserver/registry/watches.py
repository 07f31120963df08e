"""GET with watch=true: where a watch starts, and what it first sends (KEP-3157 streaming lists, KEP-956 bookmarks)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podwright.api import status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.status import FieldError
from podwright.api.validation import field_errors
from podwright.apiserver.cache.entries import Cached
from podwright.apiserver.cache.subscriptions import Filter, Item, Sink, Subscription
from podwright.apiserver.cache.watch_cache import TooOld, WatchCache
from podwright.apiserver.exchange import Request
from podwright.apiserver.registry.lists import NOT_OLDER_THAN, filter_of, parse_version, version_error, wait_for
from podwright.apiserver.registry.registry import Form, Registry

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_BOOKMARK_SECONDS = 60.0
_BEFORE_END = 2.0


def next_bookmark(at: float, deadline: float) -> float:
    """When a watch is told next how far it is: every minute, and shortly before it ends."""
    last = deadline - _BEFORE_END
    return min(at + _BOOKMARK_SECONDS, last) if last > at else at + _BOOKMARK_SECONDS


@dataclass(slots=True)
class Watch:
    """An accepted watch. `attach` gives the sink its first events and connects it; both happen without a pause, so
    that nothing is lost between."""

    row: Resource
    stored: Resource
    cache: WatchCache
    filter: Filter
    revision: int
    send_initial: bool
    end_of_initial: bool
    bookmarks: bool
    timeout: float
    current: Callable[[], int]
    late: bool = False
    """Fields are judged once a webhook has converted the objects: see :meth:`settled`."""
    ended: Callable[[], None] = lambda: None
    """Called by whoever serves it, when it is over."""

    def attach(self, sink: Sink) -> Subscription:
        """Raises ApiError (410) if the start lies too far back."""
        flt = self.filter.coarse() if self.late else self.filter
        subscription = Subscription(self.cache, flt, sink)
        if self.send_initial:
            for entry in flt.select(self.cache):
                sink.send("ADDED", entry, None)
            if self.end_of_initial:
                sink.send("BOOKMARK", self.bookmark(end_of_initial=True), None)
        else:
            try:
                subscription.replay(self.revision)
            except TooOld as exc:
                raise status.expired(str(exc)) from None
        subscription.start()
        return subscription

    async def settled(self, batch: Sequence[Item], form: Form) -> list[Item]:
        """What a batch that the sink was sent comes to once its objects are converted. Raises ApiError (500)."""
        items = list(batch)
        if self.late:
            changes = [event for _, _, event in batch if event is not None]
            await form.prepare([*_objects(batch), *(e.previous for e in changes if e.previous is not None)])
            judged = [
                self.filter.judge(event) if event is not None
                else (type, entry, None) if type == "BOOKMARK" or self.filter.matches(entry) else None
                for type, entry, event in batch
            ]
            items = [item for item in judged if item is not None]
        await form.prepare(_objects(items))
        return items

    def bookmark(self, *, end_of_initial: bool = False) -> Cached:
        """An object that says only how far the watch is."""
        revision = self.current()
        metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
        if end_of_initial:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        obj: Object = {"kind": self.stored.kind, "apiVersion": self.stored.api_version, "metadata": metadata}
        return Cached.from_object("", obj, revision)


def _objects(batch: Sequence[Item]) -> list[Cached]:
    return [entry for type, entry, _ in batch if type != "BOOKMARK"]


async def watch(registry: Registry, request: Request, row: Resource, min_seconds: float) -> Watch:
    """Raises ApiError: 400 or 422 bad parameters, 410, 504."""
    query = request.query
    version_text, match = query.get("resourceVersion"), query.get("resourceVersionMatch")
    seconds = query.integer("timeoutSeconds")
    query.integer("limit")
    errors: list[FieldError] = []
    initial = query.flag("sendInitialEvents") if query.has("sendInitialEvents") else None
    bookmarks = query.flag("allowWatchBookmarks")
    path = "resourceVersionMatch"
    if initial is not None and match != NOT_OLDER_THAN:
        why = f"sendInitialEvents requires setting {path} to NotOlderThan"
        errors.append(field_errors.forbidden(path, why))
    elif initial is None and match:
        why = f"{path} is forbidden for watch unless sendInitialEvents is provided"
        errors.append(field_errors.forbidden(path, why))
    if match and match != NOT_OLDER_THAN:
        errors.append(field_errors.not_supported(path, match[:64], (NOT_OLDER_THAN,)))
    if match and query.get("continue"):
        errors.append(field_errors.forbidden(path, f"{path} is forbidden when continue is provided"))
    if errors:
        raise status.invalid("meta.k8s.io", "ListOptions", "", errors)
    if registry.feed.lost:
        raise status.unavailable("the store is not available")
    if (error := version_error(version_text)) is not None:
        raise status.invalid(row.group, row.plural, "", [error])
    revision = parse_version(version_text)
    flt = filter_of(registry, row, request)
    if revision:
        await wait_for(registry, revision)
    elif version_text != "0":
        await registry.fresh()
    cache, stored = registry.storage(row)
    send_initial = revision == 0 if initial is None else initial
    if initial is False and revision == 0:
        revision = registry.feed.revision
    return Watch(
        row, stored, cache, flt, revision, send_initial, bool(initial) and bookmarks, bookmarks,
        _timeout(seconds, min_seconds), lambda: registry.feed.revision,
        row.custom and flt.fields is not None and registry.form(row).converts,
    )


def _timeout(seconds: int | None, min_seconds: float) -> float:
    if seconds is not None and seconds > 0:
        return float(min(seconds, 86400))
    return min_seconds * (1.0 + random.random())
