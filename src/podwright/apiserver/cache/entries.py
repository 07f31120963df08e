"""Objects and events as the watch cache keeps them: bytes first, parsed only when somebody looks inside."""

from __future__ import annotations

from collections import OrderedDict, deque

import orjson

from podwright.api.objects import Object
from podwright.api.resources import Resource

_METADATA = b'"metadata":{'
_PARSED_BYTES = 1024 * 1024
"""Of JSON, which parsed takes some six times as much."""
_SUPERSEDED = 128


class _Parsed:
    """Bounds what entries keep of their parsed form beside the bytes (least recently parsed goes first). What an object
    was before is of interest to those who are just being told, and no longer."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, Cached] = OrderedDict()
        self._bytes = 0
        self._superseded: deque[Cached] = deque()

    def keep(self, entry: Cached) -> None:
        if id(entry) not in self._entries:
            self._bytes += len(entry.data)
        self._entries[id(entry)] = entry
        while self._bytes > _PARSED_BYTES and len(self._entries) > 1:
            self._forget(next(iter(self._entries.values())))

    def supersede(self, entry: Cached) -> None:
        self._superseded.append(entry)
        if len(self._superseded) > _SUPERSEDED:
            self._forget(self._superseded.popleft())

    def release(self, entry: Cached) -> None:
        """The entry is no longer counted here."""
        if self._entries.pop(id(entry), None) is not None:
            self._bytes -= len(entry.data)

    def _forget(self, entry: Cached) -> None:
        self.release(entry)
        entry.forget()


_parsed = _Parsed()


def with_revision(value: bytes, revision: int) -> bytes:
    """The stored bytes with metadata.resourceVersion put in."""
    at = value.find(_METADATA)
    if at < 0:
        obj = orjson.loads(value)
        return encode(obj, revision)
    at += len(_METADATA)
    if value[at : at + 1] == b"}":
        return b'%b"resourceVersion":"%d"%b' % (value[:at], revision, value[at:])
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def encode(obj: Object, revision: int | None = None) -> bytes:
    """Storage bytes of an object: kind, apiVersion, metadata first, no resourceVersion unless `revision` is given."""
    metadata = {k: v for k, v in (obj.get("metadata") or {}).items() if k != "resourceVersion"}
    if revision is not None:
        metadata = {"resourceVersion": str(revision), **metadata}
    ordered: Object = {"kind": obj.get("kind"), "apiVersion": obj.get("apiVersion"), "metadata": metadata}
    for key, value in obj.items():
        if key not in ordered:
            ordered[key] = value
    # A copy has the size that it needs; what orjson gives lies in a buffer up to ten times as large, for good.
    return bytes(memoryview(orjson.dumps(ordered)))


class Cached:
    """One object at one revision. Immutable; `object` is shared, never to be changed."""

    __slots__ = ("_labels", "_object", "_shown", "_superseded", "data", "key", "name", "namespace", "revision")

    def __init__(self, key: str, data: bytes, revision: int) -> None:
        self.key = key
        namespace, _, name = key.rpartition("/")
        self.namespace = namespace
        self.name = name
        self.data = data
        self.revision = revision
        self._object: Object | None = None
        self._labels: dict[str, str] | None = None
        self._shown: tuple[tuple[object, Object], ...] = ()
        self._superseded = False

    @classmethod
    def of(cls, key: str, value: bytes, revision: int) -> Cached:
        return cls(key, with_revision(value, revision), revision)

    @classmethod
    def from_object(cls, key: str, obj: Object, revision: int) -> Cached:
        """An entry that is not from the store, such as a bookmark."""
        entry = cls(key, orjson.dumps(obj), revision)
        entry._object = obj
        return entry

    def show(self, form: object, obj: Object) -> None:
        """Keeps what the object looks like in one form of a custom resource; the last two forms are kept."""
        self._shown = (*self._shown[-1:], (form, obj))

    def shown_as(self, form: object) -> Object | None:
        return next((obj for known, obj in self._shown if known is form), None)

    @property
    def object(self) -> Object:
        obj = self._object
        if obj is None:
            obj = self._object = orjson.loads(self.data)
            _parsed.keep(self)
        return obj

    def know(self, obj: Object) -> None:
        """Takes the object that the bytes were written from, so that nobody parses them again."""
        metadata = {**obj["metadata"], "resourceVersion": str(self.revision)}
        self._object = {**obj, "metadata": metadata}
        _parsed.keep(self)

    def kept(self, obj: Object) -> None:
        """Somebody in this process was given the parsed form and keeps it for as long as it stands: to let go of it
        here would only have it parsed a second time."""
        if obj is self._object and not self._superseded:
            _parsed.release(self)

    def has_head(self, row: Resource) -> bool:
        """Whether the bytes are of the row's kind and version."""
        return self.data.startswith(b'{"kind":"%b","apiVersion":"%b",' % (row.kind.encode(), row.api_version.encode()))

    def at(self, revision: int) -> Cached:
        """The same object, under another revision: how a watch is told of one that no longer matches."""
        obj = dict(self.object)
        return Cached(self.key, encode(obj, revision), revision)

    def stored(self) -> bytes:
        """The bytes as the store has them: without resourceVersion."""
        head, _, tail = self.data.partition(b'"resourceVersion":"%d"' % self.revision)
        if not head.endswith(_METADATA):
            return encode(self.object)
        return head + tail.removeprefix(b",")

    def supersede(self) -> None:
        """There is a newer state, or none any more: the parsed form is kept for a moment only."""
        self._superseded = True
        _parsed.supersede(self)

    def forget(self) -> None:
        self._object = None

    @property
    def labels(self) -> dict[str, str]:
        labels = self._labels
        if labels is None:
            labels = self._labels = _labels_of(self)
        return labels


_NO_LABELS: dict[str, str] = {}


def _labels_of(entry: Cached) -> dict[str, str]:
    if b'"labels":{' not in entry.data:
        return _NO_LABELS
    return (entry.object.get("metadata") or {}).get("labels") or _NO_LABELS


class Event:
    """One change. `current` is the object after it; of a deletion, the last state with the deletion's revision.
    Encoded forms are kept so that a thousand watchers share one encoding."""

    __slots__ = ("current", "frames", "previous", "revision", "time", "type")

    def __init__(self, type: str, current: Cached, previous: Cached | None, revision: int, time: float) -> None:
        self.type = type
        self.current = current
        self.previous = previous
        self.revision = revision
        self.time = time
        self.frames: dict[object, bytes] = {}
