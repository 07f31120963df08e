"""Events through both of their groups: one storage, each group's own fields and rules (sig-instrumentation's rows)."""

from __future__ import annotations

from typing import Any

import pytest

CORE = "/api/v1/namespaces/default/events"
NEW = "/apis/events.k8s.io/v1/namespaces/default/events"
ABOUT = {"kind": "Pod", "name": "web", "namespace": "default", "apiVersion": "v1"}


def core(name: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "labels": {"testevent": "yes"}},
        "involvedObject": ABOUT, "reason": "Testing", "message": "seen", "type": "Normal", "source": {"component": "t"},
        **more,
    }  # fmt: skip


def new(name: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name, "labels": {"testevent": "yes"}},
        "regarding": ABOUT, "reason": "Testing", "note": "seen", "type": "Normal", "action": "Do",
        "reportingController": "test.example.com/controller", "reportingInstance": "one",
        "eventTime": "2026-01-02T03:04:05.000006Z", **more,
    }  # fmt: skip


async def change(api: Any, path: str, patch: dict[str, Any], update: dict[str, Any]) -> None:
    """A patch changes what it names and no more; so does an update without a resourceVersion of what was read."""

    async def read() -> dict[str, Any]:
        found: dict[str, Any] = (await api.get(path)).json
        for name in ("resourceVersion", "managedFields"):
            found["metadata"].pop(name, None)
        return found

    before = await read()
    assert (await api.patch(path, patch, "strategic-merge-patch+json")).status == 200
    assert await read() == {**before, **patch}
    wanted = {**before, **patch, **update}
    assert (await api.put(path, wanted)).status == 200
    assert await read() == wanted


async def test_life_of_a_core_event(api: Any) -> None:
    assert (await api.post(CORE, core("one"))).status == 201
    everywhere = (await api.get("/api/v1/events?labelSelector=testevent%3Dyes")).json["items"]
    assert [e["metadata"]["name"] for e in everywhere] == ["one"]
    await change(api, f"{CORE}/one", {"message": "patched"}, {
        "series": {"count": 100, "lastObservedTime": "2026-01-02T03:04:05.000006Z"}})
    assert (await api.delete(f"{CORE}/one")).status == 200
    assert (await api.get(f"{CORE}?labelSelector=testevent%3Dyes")).json["items"] == []


async def test_life_of_a_new_event(api: Any) -> None:
    assert (await api.post(NEW, new("one"))).status == 201
    everywhere = (await api.get("/apis/events.k8s.io/v1/events?labelSelector=testevent%3Dyes")).json["items"]
    assert [e["regarding"]["name"] for e in everywhere] == ["web"]
    assert (await api.get(f"{CORE}/one")).json["message"] == "seen", "one storage"
    by = "test.example.com/controller"
    for query in (f"{CORE}?fieldSelector=source%3D{by}", f"{NEW}?fieldSelector=reportingController%3D{by}"):
        assert [e["metadata"]["name"] for e in (await api.get(query)).json["items"]] == ["one"]
    await change(api, f"{NEW}/one", {"note": "another"}, {
        "series": {"count": 100, "lastObservedTime": "2026-01-02T03:05:05.000006Z"}})
    assert (await api.delete(f"{NEW}/one")).status == 200
    assert (await api.get(f"{NEW}/one")).status == 404


@pytest.mark.parametrize(("path", "make"), [(CORE, core), (NEW, new)])
async def test_a_collection_of_events(api: Any, path: str, make: Any) -> None:
    for name in ("a", "b", "c"):
        assert (await api.post(path, make(name))).status == 201
    other = make("other")
    other["metadata"]["labels"] = {}
    await api.post(path, other)
    assert len((await api.get(f"{path}?labelSelector=testevent%3Dyes")).json["items"]) == 3
    assert (await api.delete(f"{path}?labelSelector=testevent%3Dyes")).status == 200
    assert [e["metadata"]["name"] for e in (await api.get(path)).json["items"]] == ["other"]
