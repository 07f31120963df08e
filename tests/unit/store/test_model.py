"""Random walks over every backend, checked step by step against a dict."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podwright.store.protocol import Change, Compacted, Entry, KeyExists, KeyMissing, RevisionMismatch, Store
from podwright.store.urls import open_store

KEYS = ["a", "a/b", "b", "b/a", "c", "d\uffff", "d\U0001f600"]
EXAMPLES = 60
STEPS = 30

key = st.sampled_from(KEYS)
value = st.binary(max_size=20)
step = st.one_of(
    st.tuples(st.just("create"), key, value),
    st.tuples(st.just("update"), key, value, st.sampled_from([0, 0, 0, -1])),
    st.tuples(st.just("delete"), key, st.sampled_from([None, 0, -1])),
    st.tuples(st.just("list"), st.sampled_from(["", "a", "b/", "d"]), key | st.just(""), st.integers(0, 4)),
    st.tuples(st.just("past"), st.floats(0, 1), st.integers(0, 3)),
    st.tuples(st.just("watch"), st.floats(0, 1), st.sampled_from(["", "a", "b/"])),
    st.tuples(st.just("compact"), st.floats(0, 0.7)),
    st.tuples(st.just("burst"), st.lists(st.tuples(key, value), min_size=2, max_size=6)),
)


@dataclass
class Model:
    """What the store must be, for keys under one root. `base` is the revision before the first write."""

    root: str
    base: int
    revision: int
    compacted: int = 0
    now: dict[str, Entry] = field(default_factory=dict)
    log: list[Change] = field(default_factory=list)
    states: dict[int, dict[str, Entry]] = field(default_factory=dict)

    def write(self, name: str, content: bytes | None) -> Change:
        self.revision += 1
        change = Change(name, content, self.revision, self.now.get(name))
        if content is None:
            del self.now[name]
        else:
            self.now[name] = Entry(name, content, self.revision)
        self.log.append(change)
        self.states[self.revision] = dict(self.now)
        return change

    def at(self, share: float) -> int:
        return self.base + int(share * (self.revision - self.base))

    def entries(self, state: dict[str, Entry], prefix: str, start: str) -> list[Entry]:
        names = sorted(state, key=str.encode)
        return [
            state[n] for n in names if n.startswith(self.root + prefix) and n.encode() >= (self.root + start).encode()
        ]


async def run(store: Store, model: Model, steps: list[tuple[object, ...]]) -> None:
    model.states[model.base] = {}
    live = await store.watch(model.root, after=model.base)
    # Until it has given something, a watch may be behind, and a compaction may overtake it.
    await create(store, model, "first", b"")
    first = await anext(aiter(live))
    for verb, *arguments in steps:
        await STEP[str(verb)](store, model, *arguments)
        assert await store.revision() == model.revision
    seen = list(first)
    async with asyncio.timeout(60):
        while len(seen) < len(model.log):
            seen += await anext(aiter(live))
    await live.aclose()
    assert seen == model.log
    assert list((await store.list(model.root)).entries) == model.entries(model.now, "", "")


async def create(store: Store, model: Model, name: str, content: bytes) -> None:
    name = model.root + name
    if name in model.now:
        with pytest.raises(KeyExists):
            await store.create(name, content)
    else:
        assert await store.create(name, content) == Entry(name, content, model.write(name, content).revision)
    assert await store.get(name) == model.now.get(name)


async def update(store: Store, model: Model, name: str, content: bytes, off: int) -> None:
    name = model.root + name
    current = model.now.get(name)
    if current is None:
        with pytest.raises(KeyMissing):
            await store.update(name, content, expected=model.revision + off)
    elif off:
        with pytest.raises(RevisionMismatch) as mismatch:
            await store.update(name, content, expected=current.revision + off)
        assert mismatch.value.current == current
    else:
        entry = await store.update(name, content, expected=current.revision)
        assert entry == Entry(name, content, model.write(name, content).revision)
    assert await store.get(name) == model.now.get(name)


async def delete(store: Store, model: Model, name: str, off: int | None) -> None:
    name = model.root + name
    current = model.now.get(name)
    expected = 0 if off is None else (current.revision if current else model.revision) + off
    if current is None:
        with pytest.raises(KeyMissing):
            await store.delete(name, expected=expected)
    elif off:
        with pytest.raises(RevisionMismatch) as mismatch:
            await store.delete(name, expected=expected)
        assert mismatch.value.current == current
    else:
        assert await store.delete(name, expected=expected) == (current, model.write(name, None).revision)
    assert await store.get(name) == model.now.get(name)


async def list_now(store: Store, model: Model, prefix: str, start: str, limit: int) -> None:
    page = await store.list(model.root + prefix, start=model.root + start if start else "", limit=limit)
    expected = model.entries(model.now, prefix, start)
    assert list(page.entries) == (expected[:limit] if limit else expected)
    assert page.more == (len(page.entries) < len(expected))
    assert page.remaining in (0, len(expected) - len(page.entries))
    assert page.revision == model.revision


async def list_past(store: Store, model: Model, share: float, limit: int) -> None:
    revision = model.at(share)
    if revision < model.compacted:
        with pytest.raises(Compacted) as refusal:
            await store.list(model.root, revision=revision)
        assert refusal.value.oldest == model.compacted
        return
    found: list[Entry] = []
    page = await store.list(model.root, limit=limit, revision=revision)
    found += page.entries
    while page.more:
        page = await store.list(model.root, start=found[-1].key + "\0", limit=limit, revision=revision)
        found += page.entries
    assert found == model.entries(model.states[revision], "", "")


async def watch(store: Store, model: Model, share: float, prefix: str) -> None:
    after = model.at(share)
    expected = [c for c in model.log if c.revision > after and c.key.startswith(model.root + prefix)]
    if after < model.compacted:
        with pytest.raises(Compacted) as refusal:
            await anext(aiter(await store.watch(model.root + prefix, after=after)))
        assert refusal.value.oldest == model.compacted
        return
    seen: list[Change] = []
    opened = await store.watch(model.root + prefix, after=after)
    async with asyncio.timeout(60):
        while len(seen) < len(expected):
            seen += await anext(aiter(opened))
    await opened.aclose()
    assert seen == expected


async def compact(store: Store, model: Model, share: float) -> None:
    revision = model.at(share)
    await store.compact(revision)
    model.compacted = max(model.compacted, revision)


async def burst(store: Store, model: Model, writes: list[tuple[str, bytes]]) -> None:
    """Deletes or creates at the same time, of which the outcome tells the order."""
    calls = [
        store.delete(model.root + name) if content[:1] < b"\x40" else store.create(model.root + name, content)
        for name, content in writes
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    done: list[tuple[int, str, bytes | None]] = []
    for (name, content), result in zip(writes, results, strict=True):
        if isinstance(result, BaseException):
            assert isinstance(result, KeyExists | KeyMissing)
        elif isinstance(result, Entry):
            done.append((result.revision, model.root + name, content))
        else:
            done.append((result[1], model.root + name, None))
    for revision, name, content in sorted(done):
        assert (name in model.now) == (content is None)
        assert model.write(name, content).revision == revision


STEP = {
    "create": create, "update": update, "delete": delete, "list": list_now, "past": list_past, "watch": watch,
    "compact": compact, "burst": burst,
}


def test_any_walk_is_as_in_the_model(store_url: str) -> None:
    walks = 0

    async def walk(steps: list[tuple[object, ...]]) -> None:
        nonlocal walks
        walks += 1
        store = open_store(store_url)
        await store.open()
        try:
            revision = await store.revision()
            await store.compact(revision)
            await run(store, Model(f"/registry/walk-{walks}/", revision, revision, compacted=revision), steps)
        finally:
            await store.close()

    @settings(
        # etcd takes 100 ms for each watch that begins in the past.
        max_examples=EXAMPLES // 3 if store_url.startswith("etcd") else EXAMPLES,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(step, min_size=5, max_size=STEPS))
    def check(steps: list[tuple[object, ...]]) -> None:
        asyncio.run(walk(steps))

    check()
