"""Lists, watches and the forms of answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from podwright.apiserver.registry.watches import next_bookmark

from .conftest import Api, Pki, config_for, config_map, pod, running, service_account, take

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


async def fill(api: Api, count: int) -> None:
    for i in range(count):
        assert (await api.post(CONFIG_MAPS, config_map(f"c{i:02}", n=str(i)))).status == 201


async def test_pages_are_one_snapshot(api: Api) -> None:
    await fill(api, 5)
    first = (await api.get(f"{CONFIG_MAPS}?limit=2")).json
    assert [o["metadata"]["name"] for o in first["items"]] == ["c00", "c01"]
    assert first["metadata"]["remainingItemCount"] == 3
    assert len((await api.get(f"{CONFIG_MAPS}?limit=2&resourceVersion=0")).json["items"]) == 5, "of any age: no pages"
    await api.post(CONFIG_MAPS, config_map("c02a"))
    await api.delete(f"{CONFIG_MAPS}/c03")
    await api.patch(f"{CONFIG_MAPS}/c04", {"data": {"n": "new"}})
    names, token = [], first["metadata"]["continue"]
    while token:
        page = (await api.get(f"{CONFIG_MAPS}?limit=2&continue={token}")).json
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        names += [(o["metadata"]["name"], o["data"]["n"]) for o in page["items"]]
        token = page["metadata"].get("continue")
    assert names == [("c02", "2"), ("c03", "3"), ("c04", "4")]


async def test_exact_and_not_older_than(api: Api) -> None:
    await fill(api, 2)
    version = (await api.get(CONFIG_MAPS)).json["metadata"]["resourceVersion"]
    await api.delete(f"{CONFIG_MAPS}/c00")
    exact = await api.get(f"{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")
    assert [o["metadata"]["name"] for o in exact.json["items"]] == ["c00", "c01"]
    newer = await api.get(f"{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")
    assert [o["metadata"]["name"] for o in newer.json["items"]] == ["c01"]
    assert (await api.get(f"{CONFIG_MAPS}?resourceVersionMatch=Exact")).status == 422
    assert (await api.get(f"{CONFIG_MAPS}?continue=garbage")).status == 400


async def test_a_compacted_token_is_gone_but_offers_another(api: Api) -> None:
    """Whether or not anything of the resource has changed since."""
    await fill(api, 5)
    for change in (False, True):
        first = (await api.get(f"{CONFIG_MAPS}?limit=1")).json["metadata"]
        if change:
            await api.delete(f"{CONFIG_MAPS}/c01")
        await api.post("/api/v1/namespaces", {"metadata": {"name": f"later-{change}".lower()}})
        await api.server.registry.compact(await api.server.store.revision())
        gone = await api.get(f"{CONFIG_MAPS}?limit=1&continue={first['continue']}")
        assert (gone.status, gone.json["reason"]) == (410, "Expired")
        rest: list[str] = []
        token, versions = gone.json["metadata"]["continue"], set()
        while token:
            page = (await api.get(f"{CONFIG_MAPS}?limit=2&continue={token}")).json
            rest += [o["metadata"]["name"] for o in page["items"]]
            versions.add(page["metadata"]["resourceVersion"])
            token = page["metadata"].get("continue")
            assert page["metadata"].get("remainingItemCount", 0) == (3 if change else 4) - len(rest)
        assert rest == ["c01", "c02", "c03", "c04"][change:]
        assert len(versions) == 1 and first["resourceVersion"] not in versions
        then = await api.get(f"{CONFIG_MAPS}?resourceVersion={first['resourceVersion']}&resourceVersionMatch=Exact")
        assert (then.status, then.json["reason"]) == (410, "Expired")


async def test_revisions_are_compacted_in_time(pki: Pki) -> None:
    async with running(config_for(pki, compaction_interval=0.1)) as api, asyncio.timeout(60):
        await fill(api, 2)
        token = (await api.get(f"{CONFIG_MAPS}?limit=1")).json["metadata"]["continue"]
        await api.post("/api/v1/namespaces", {"metadata": {"name": "later"}})
        while (answer := await api.get(f"{CONFIG_MAPS}?limit=1&continue={token}")).status == 200:
            await asyncio.sleep(0.01)
        assert answer.status == 410 and answer.json["metadata"]["continue"]


async def test_selectors(api: Api) -> None:
    await service_account(api)
    for name, node in (("a", "n1"), ("b", "n2"), ("c", "")):
        await api.post(PODS, pod(name, **({"nodeName": node} if node else {})))
    names = lambda answer: [o["metadata"]["name"] for o in answer.json["items"]]  # noqa: E731
    assert names(await api.get(f"{PODS}?fieldSelector=spec.nodeName%3Dn1")) == ["a"]
    assert names(await api.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn2")) == ["b"]
    assert names(await api.get(f"{PODS}?fieldSelector=spec.nodeName!%3Dn1")) == ["b", "c"]
    assert names(await api.get(f"{PODS}?labelSelector=app+in+(a,c)")) == ["a", "c"]
    assert names(await api.get(f"{PODS}?fieldSelector=metadata.name%3Db")) == ["b"]
    assert (await api.get(f"{PODS}?fieldSelector=spec.bogus%3Db")).status == 400
    assert (await api.get(f"{PODS}?labelSelector=a%3D%3D%3Db")).status == 400


async def test_items_of_built_in_lists_leave_out_their_kind(api: Api) -> None:
    await fill(api, 2)
    listed = (await api.get(CONFIG_MAPS)).json
    assert listed["kind"] == "ConfigMapList" and "kind" not in listed["items"][0]
    assert listed["items"][1]["metadata"]["name"] == "c01"


async def test_watch_sees_each_change_once_and_in_order(api: Api) -> None:
    await fill(api, 1)
    version = (await api.get(CONFIG_MAPS)).json["metadata"]["resourceVersion"]
    async with api.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={version}") as events:
        await api.post(CONFIG_MAPS, config_map("x"))
        await api.patch(f"{CONFIG_MAPS}/x", {"data": {"a": "1"}})
        deleted = await api.delete(f"{CONFIG_MAPS}/x")
        assert deleted.status == 200
        found = await take(events, 3)
    assert [e["type"] for e in found] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in found]
    assert versions == sorted(versions) and versions[0] > int(version)


async def test_watch_with_a_selector_translates(api: Api) -> None:
    body = config_map("x")
    body["metadata"]["labels"] = {"on": "no"}
    await api.post(CONFIG_MAPS, body)
    path = f"{CONFIG_MAPS}?watch=1&labelSelector=on%3Dyes"
    async with api.watch(path) as events:
        await api.patch(f"{CONFIG_MAPS}/x", {"metadata": {"labels": {"on": "yes"}}})
        await api.patch(f"{CONFIG_MAPS}/x", {"data": {"a": "1"}})
        await api.patch(f"{CONFIG_MAPS}/x", {"metadata": {"labels": {"on": "no"}}})
        found = await take(events, 3)
    assert [e["type"] for e in found] == ["ADDED", "MODIFIED", "DELETED"]
    assert found[2]["object"]["metadata"]["labels"] == {"on": "yes"}


async def test_streaming_list_ends_with_a_bookmark(api: Api) -> None:
    await fill(api, 2)
    path = f"{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with api.watch(path) as events:
        found = await take(events, 3)
    assert [e["type"] for e in found] == ["ADDED", "ADDED", "BOOKMARK"]
    assert found[2]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    accept = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    async with api.watch(path, headers=accept) as events:
        shown = await take(events, 3)
    assert [e["type"] for e in shown] == ["ADDED", "ADDED", "BOOKMARK"]
    assert {(e["object"]["apiVersion"], e["object"]["kind"]) for e in shown} == {
        ("meta.k8s.io/v1", "PartialObjectMetadata")}, "a metadata client can read nothing else"
    assert shown[2]["object"]["metadata"] == found[2]["object"]["metadata"]
    assert (await api.get(f"{CONFIG_MAPS}?watch=1&sendInitialEvents=true")).status == 422


async def test_watch_from_the_forgotten_past_is_410(api: Api) -> None:
    await fill(api, 2)
    cache = api.server.feed.caches["configmaps"]
    cache.floor = cache.changed
    async with api.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion=1") as events:
        found = await take(events, 1)
    assert found[0]["type"] == "ERROR" and found[0]["object"]["code"] == 410


async def test_watch_ends_after_its_time(api: Api) -> None:
    async with api.watch(f"{CONFIG_MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true") as events:
        assert [e async for e in events] == []


def test_a_bookmark_comes_every_minute_and_before_the_end() -> None:
    assert next_bookmark(0.0, 300.0) == 60.0
    assert next_bookmark(250.0, 300.0) == 298.0
    assert next_bookmark(298.0, 300.0) > 300.0 and next_bookmark(0.0, 1.0) > 1.0


async def test_table_partial_and_yaml(api: Api) -> None:
    await fill(api, 1)
    table = await api.get(CONFIG_MAPS, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    assert table.json["kind"] == "Table" and table.json["rows"][0]["cells"][:2] == ["c00", 1]
    partial = await api.get(
        f"{CONFIG_MAPS}/c00", headers={"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    )
    assert partial.json["kind"] == "PartialObjectMetadata" and "data" not in partial.json
    listed = await api.get(
        CONFIG_MAPS, headers={"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    )
    assert listed.json["items"][0]["metadata"]["name"] == "c00"
    text = await api.get(f"{CONFIG_MAPS}/c00", headers={"Accept": "application/yaml"})
    assert text.text.startswith("apiVersion: v1\ndata:\n")
    assert (await api.get(CONFIG_MAPS, headers={"Accept": "text/html"})).status == 406


async def test_yaml_body(api: Api) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: from-yaml\ndata: {a: b}\n"
    assert (await api.post(CONFIG_MAPS, body, content_type="application/yaml")).json["data"] == {"a": "b"}


async def test_big_answers_are_compressed_if_wanted(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map("big", a="x" * 200_000))
    headers = {"Authorization": f"Bearer {api.token}", "Accept-Encoding": "gzip"}
    async with api.session.get(f"{api.url}{CONFIG_MAPS}/big", headers=headers) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert len((await response.json())["data"]["a"]) == 200_000


async def test_events_are_one_storage_in_two_groups(api: Api) -> None:
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1"}, "reason": "Tested", "message": "hello",
        "type": "Normal", "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
    }
    assert (await api.post("/api/v1/namespaces/default/events", event)).status == 201
    other = await api.get("/apis/events.k8s.io/v1/namespaces/default/events/e1")
    assert other.status == 200
    assert other.json["apiVersion"] == "events.k8s.io/v1" and other.json["note"] == "hello"
    assert other.json["regarding"]["name"] == "p"


async def test_the_end_of_a_watch_is_audited(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {level: Metadata, verbs: [watch]}\n"
    )
    config = config_for(pki, audit_policy=tmp_path / "policy.yaml", audit_log=tmp_path / "audit.log")
    async with running(config) as api, api.watch("/api/v1/namespaces?watch=1&timeoutSeconds=1") as events:
        assert [event async for event in events]
    log = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert [event["stage"] for event in log] == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
