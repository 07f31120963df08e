"""Owners and dependents: background, foreground, orphan, virtual owners, loops."""

from __future__ import annotations

import tracemalloc

from controller_harness import Harness

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, CUSTOMRESOURCEDEFINITIONS, NODES, SECRETS, Resource
from podwright.controllers.garbage_collector import GarbageCollector
from podwright.controllers.garbage_collector.graph import Graph


def ref(owner: Object, *, block: bool = False, uid: str = "") -> Object:
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": objects.name(owner),
            "uid": uid or objects.uid(owner), "blockOwnerDeletion": block}  # fmt: skip


def add(h: Harness, name: str, *refs: Object, namespace: str = "default", finalizers: tuple[str, ...] = ()) -> Object:
    meta: Object = {"name": name, "namespace": namespace, "ownerReferences": list(refs)}
    if finalizers:
        meta["finalizers"] = list(finalizers)
    return h.api.add(CONFIGMAPS, {"metadata": meta})


def names(h: Harness) -> list[str]:
    return [objects.name(o) for o in h.api.objects(CONFIGMAPS)]


async def test_background_takes_dependents_and_theirs() -> None:
    async with Harness().running(GarbageCollector) as h:
        top = add(h, "top")
        middle = add(h, "middle", ref(top))
        add(h, "bottom", ref(middle))
        add(h, "other")
        await h.settle()
        h.api.remove(CONFIGMAPS, "top", propagation="Background")
        await h.settle()
        assert names(h) == ["other"]


async def test_an_object_with_another_owner_stays_without_the_reference() -> None:
    async with Harness().running(GarbageCollector) as h:
        one, two = add(h, "one"), add(h, "two")
        add(h, "child", ref(one), ref(two))
        await h.settle()
        h.api.remove(CONFIGMAPS, "one")
        await h.settle()
        refs = h.api.read(CONFIGMAPS, "child")["metadata"]["ownerReferences"]
        assert [r["name"] for r in refs] == ["two"]


async def test_foreground_waits_for_blocking_dependents() -> None:
    async with Harness().running(GarbageCollector) as h:
        top = add(h, "top")
        add(h, "blocking", ref(top, block=True), finalizers=("x/y",))
        add(h, "plain", ref(top), finalizers=("x/y",))
        await h.settle()
        h.api.remove(CONFIGMAPS, "top", propagation="Foreground")
        await h.settle()
        assert "top" in names(h)
        assert all(objects.is_deleting(h.api.read(CONFIGMAPS, n)) for n in ("blocking", "plain"))
        h.api.change(CONFIGMAPS, "blocking", {"metadata": {"finalizers": None}})
        await h.settle()
        assert names(h) == ["plain"]


async def test_foreground_goes_down_the_whole_tree() -> None:
    async with Harness().running(GarbageCollector) as h:
        top = add(h, "top")
        middle = add(h, "middle", ref(top, block=True))
        add(h, "bottom", ref(middle, block=True), finalizers=("x/y",))
        await h.settle()
        h.api.remove(CONFIGMAPS, "top", propagation="Foreground")
        await h.settle()
        assert names(h) == ["bottom", "middle", "top"]
        h.api.change(CONFIGMAPS, "bottom", {"metadata": {"finalizers": None}})
        await h.settle()
        assert names(h) == []


async def test_orphan_lets_dependents_go() -> None:
    async with Harness().running(GarbageCollector) as h:
        top = add(h, "top")
        add(h, "child", ref(top))
        await h.settle()
        h.api.remove(CONFIGMAPS, "top", propagation="Orphan")
        await h.settle()
        assert names(h) == ["child"]
        assert "ownerReferences" not in h.api.read(CONFIGMAPS, "child")["metadata"]


async def test_a_dependent_of_an_owner_that_never_was_goes() -> None:
    async with Harness().running(GarbageCollector) as h:
        top = add(h, "top")
        add(h, "child", ref(top, uid="somebody-else"))
        await h.settle()
        assert names(h) == ["top"]


async def test_an_owner_in_another_namespace_is_none() -> None:
    async with Harness().running(GarbageCollector) as h:
        top = add(h, "top", namespace="a")
        add(h, "child", ref(top), namespace="b")
        add(h, "good", ref(top), namespace="a")
        await h.settle()
        assert names(h) == ["good", "top"]
        assert h.event_reasons("child") == ["OwnerRefInvalidNamespace"] and not h.event_reasons("good")


async def test_a_wrong_namespace_seen_first_harms_nobody_else() -> None:
    h = Harness()
    async with h.running():
        top = add(h, "top", namespace="b")
        add(h, "child", ref(top), namespace="a")
        add(h, "good", ref(top), namespace="b")
        h.start(GarbageCollector)
        await h.settle()
        assert names(h) == ["good", "top"]
        assert h.event_reasons("child") == ["OwnerRefInvalidNamespace"] and not h.event_reasons("good")


async def test_a_cluster_scoped_object_with_a_namespaced_owner_is_left_with_an_event() -> None:
    async with Harness().running(GarbageCollector) as h:
        top = add(h, "top")
        h.api.add(NODES, {"metadata": {"name": "n", "ownerReferences": [ref(top)]}})
        await h.advance(5)
        assert h.api.find(NODES, "n") is not None
        assert "OwnerRefInvalidNamespace" in h.event_reasons("n")


async def test_a_loop_of_owners_does_not_spin_and_can_be_deleted() -> None:
    async with Harness().running(GarbageCollector) as h:
        one = add(h, "one")
        two = add(h, "two", ref(one, block=True))
        h.api.change(CONFIGMAPS, "one", {"metadata": {"ownerReferences": [ref(two, block=True)]}})
        await h.settle()
        before = h.api.total
        await h.advance(600)
        assert h.api.total == before
        assert names(h) == ["one", "two"]
        h.api.remove(CONFIGMAPS, "one", propagation="Foreground")
        await h.advance(60)
        assert names(h) == []
        before = h.api.total
        await h.advance(600)
        assert h.api.total == before


async def test_custom_resources_take_part() -> None:
    widgets = Resource("ex.io", "v1", "widgets", "Widget", custom=True)
    h = Harness()
    h.api.table.add(widgets)
    async with h.running(GarbageCollector):
        early = {"apiVersion": "ex.io/v1", "kind": "Widget", "metadata": {"name": "w", "uid": "gone"}}
        add(h, "early", ref(early))
        await h.settle()
        assert names(h) == ["early"]
        h.api.add(CUSTOMRESOURCEDEFINITIONS, {
            "metadata": {"name": "widgets.ex.io"},
            "spec": {"group": "ex.io", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
                     "versions": [{"name": "v1", "served": True, "storage": True}]},
            "status": {"conditions": [{"type": "Established", "status": "True"}]},
        })  # fmt: skip
        await h.settle()
        assert names(h) == []
        owner = h.api.add(widgets, {"metadata": {"name": "w", "namespace": "default"}})
        add(h, "child", ref(owner))
        await h.settle()
        assert names(h) == ["child"]
        h.api.remove(widgets, "w")
        await h.settle()
        assert names(h) == []


async def test_dependents_present_before_the_start_are_judged() -> None:
    h = Harness()
    async with h.running():
        top = add(h, "top")
        add(h, "kept", ref(top))
        add(h, "lost", ref(top, uid="gone"))
        h.start(GarbageCollector)
        await h.settle()
        assert names(h) == ["kept", "top"]
        before = h.api.total
        await h.advance(600)
        assert h.api.total == before


def test_fifty_thousand_objects_take_little_memory() -> None:
    graph = Graph(lambda uid: None, lambda uid: None, lambda v, k: SECRETS, lambda node, ref: None)
    tracemalloc.start()
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "o", "uid": "owner"}
    for index in range(50_000):
        meta = {"name": f"s{index}", "namespace": "n", "uid": f"00000000-0000-0000-0000-{index:012d}",
                "ownerReferences": [owner]}  # fmt: skip
        graph.observe(SECRETS, {"metadata": meta, "data": {"k": "v" * 100}})
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 60 << 20
