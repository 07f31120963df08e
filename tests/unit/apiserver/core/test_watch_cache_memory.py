"""What the watch cache keeps beside the bytes of what there is is bounded."""

from __future__ import annotations

import sys
import tracemalloc

from podwright.api.objects import Object
from podwright.apiserver.cache import entries
from podwright.apiserver.cache.entries import Cached, encode
from podwright.apiserver.cache.watch_cache import WatchCache


def stored(name: str, size: int = 4096, count: int = 0) -> bytes:
    metadata = {"name": name, "namespace": "default", "annotations": {"text": "x" * size, "count": str(count)}}
    return encode({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata})


def parsed(cache: WatchCache) -> int:
    return sum(entry._object is not None for entry in cache.objects.values())


def test_encoded_objects_take_their_own_size() -> None:
    value: Object = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"text": "x" * 3000}}
    tracemalloc.start()
    try:
        kept = [encode(value) for _ in range(100)]
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < 1.2 * sum(sys.getsizeof(each) for each in kept)


def test_parsed_forms_are_bounded_by_their_bytes() -> None:
    cache = WatchCache("configmaps")
    limit = entries._PARSED_BYTES // 4096
    for number in range(2 * limit):
        cache.apply(f"default/c-{number:04}", stored(f"c-{number:04}"), number + 1, 0.0, None)
        assert cache.objects[f"default/c-{number:04}"].object["kind"] == "ConfigMap"
    assert 0 < parsed(cache) <= limit
    assert cache.objects["default/c-0000"].object["metadata"]["name"] == "c-0000"  # read anew


def test_what_an_informer_keeps_is_parsed_once_and_forgotten_with_its_successor() -> None:
    cache = WatchCache("configmaps")
    cache.apply("default/c", stored("c"), 1, 0.0, None)
    entry = cache.objects["default/c"]
    kept = entry.object
    entry.kept(kept)
    for number in range(2 * entries._PARSED_BYTES // 4096):
        cache.apply(f"default/c-{number:04}", stored(f"c-{number:04}"), number + 2, 0.0, None)
        assert cache.objects[f"default/c-{number:04}"].object
    assert entry.object is kept
    for number in range(2 * entries._SUPERSEDED):
        cache.apply("default/c", stored("c", count=number), number + 10_000, 0.0, None)
        assert cache.objects["default/c"].object
    assert entry._object is None
    late = entry.object
    entry.kept(late)
    for number in range(2 * entries._PARSED_BYTES // 4096):
        cache.apply(f"default/d-{number:04}", stored(f"d-{number:04}"), number + 20_000, 0.0, None)
        assert cache.objects[f"default/d-{number:04}"].object
    assert entry._object is None, "what is superseded is never kept"


def test_what_an_object_was_is_forgotten_soon() -> None:
    cache = WatchCache("configmaps")
    for number in range(2 * entries._SUPERSEDED):
        cache.apply("default/c", stored("c", count=number), number + 1, 0.0, None)
        assert cache.objects["default/c"].object["metadata"]["resourceVersion"] == str(number + 1)
    events = list(cache.since(0))
    assert [e.current.revision for e in events] == list(range(1, 2 * entries._SUPERSEDED + 1))
    assert sum(e.current._object is not None for e in events) <= entries._SUPERSEDED + 1


def test_encoded_events_are_kept_for_the_latest_only() -> None:
    cache = WatchCache("configmaps")
    for number in range(300):
        cache.apply("default/c", stored("c", 10, number), number + 1, 0.0, None)
        cache._events[-1].frames["json"] = b"{}"
    assert 0 < sum(bool(event.frames) for event in cache.since(0)) <= 128
    assert isinstance(cache.objects["default/c"], Cached)
