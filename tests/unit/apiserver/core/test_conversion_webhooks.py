"""Custom resources in several versions, converted by a real webhook over HTTPS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any

import pytest

from podwright.client.transport import Call

from .conftest import Api, Pki, take
from .hook_server import HookServer, hook_server

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = "widgets.conv.example.com"
V1 = "/apis/conv.example.com/v1/namespaces/default/widgets"
V2 = "/apis/conv.example.com/v2/namespaces/default/widgets"


def definition(hooks: HookServer, storage: str = "v1", **client: Any) -> dict[str, Any]:
    """v1 has spec.hostPort ("host:port"); v2 has spec.host and spec.port."""

    def version(name: str, **properties: Any) -> dict[str, Any]:
        spec = {"type": "object", "properties": properties}
        schema = {"type": "object", "properties": {"spec": spec, "status": {"type": "object", "properties": {
            "seen": {"type": "string"}}}}}
        return {"name": name, "served": True, "storage": name == storage, "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}}}

    text = {"type": "string"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": NAME},
        "spec": {
            "group": "conv.example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version("v1", hostPort=text), version("v2", host=text, port=text)],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": client or hooks.client_config("/convert"), "conversionReviewVersions": ["v1"],
            }},
        },
    }


def converted(obj: dict[str, Any], version: str) -> dict[str, Any]:
    made = deepcopy(obj)
    made["apiVersion"] = version
    spec = made.get("spec", {})
    if version.endswith("v2"):
        host, _, port = spec.pop("hostPort", ":").partition(":")
        spec.update(host=host, port=port)
    else:
        spec["hostPort"] = f"{spec.pop('host', '')}:{spec.pop('port', '')}"
    return made


def convert(request: dict[str, Any]) -> dict[str, Any]:
    objs = [converted(obj, request["desiredAPIVersion"]) for obj in request["objects"]]
    return {"result": {"status": "Success"}, "convertedObjects": objs}


@pytest.fixture
async def hooks(pki: Pki) -> AsyncIterator[HookServer]:
    async with hook_server(pki) as made:
        made.answers["/convert"] = convert
        yield made


def widget(name: str, version: str = "v1", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": f"conv.example.com/{version}", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


async def test_every_verb_converts(api: Api, hooks: HookServer) -> None:
    assert (await api.post(CRDS, definition(hooks))).status == 201
    assert (await api.post(V1, widget("a", hostPort="h:1"))).status == 201
    assert not hooks.asked
    got = (await api.get(f"{V2}/a")).json
    assert (got["apiVersion"], got["spec"]) == ("conv.example.com/v2", {"host": "h", "port": "1"})
    made = await api.post(V2, widget("b", "v2", host="x", port="2", bogus="gone"))
    assert made.status == 201 and made.json["spec"] == {"host": "x", "port": "2"}, made.text
    assert made.json["metadata"]["managedFields"][0]["apiVersion"] == "conv.example.com/v2"
    assert (await api.get(f"{V1}/b")).json["spec"] == {"hostPort": "x:2"}
    put = await api.put(f"{V2}/a", {**got, "spec": {"host": "h", "port": "9"}})
    assert put.status == 200 and put.json["spec"]["port"] == "9"
    patched = await api.patch(f"{V2}/a", {"spec": {"host": "z"}})
    assert patched.json["spec"] == {"host": "z", "port": "9"}
    assert (await api.get(f"{V1}/a")).json["spec"] == {"hostPort": "z:9"}
    applied = await api.patch(
        f"{V2}/c?fieldManager=me", widget("c", "v2", host="s", port="3"), kind="apply-patch+yaml"
    )
    assert applied.status == 201 and (await api.get(f"{V1}/c")).json["spec"] == {"hostPort": "s:3"}
    told = await api.patch(f"{V2}/a/status", {"status": {"seen": "yes"}})
    assert told.json["apiVersion"] == "conv.example.com/v2" and told.json["status"] == {"seen": "yes"}
    table = await api.get(V2, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    assert [row["cells"][0] for row in table.json["rows"]] == ["a", "b", "c"]
    assert (await api.delete(f"{V2}/a")).status == 200


async def test_a_list_of_mixed_versions(api: Api, hooks: HookServer) -> None:
    await api.post(CRDS, definition(hooks))
    await api.post(V1, widget("a", hostPort="h:1"))
    switched = definition(hooks, storage="v2")
    assert (await api.patch(f"{CRDS}/{NAME}", {"spec": switched["spec"]})).status == 200
    assert (await api.get(f"{CRDS}/{NAME}")).json["status"]["storedVersions"] == ["v1", "v2"]
    await api.post(V1, widget("b", hostPort="k:2"))
    hooks.asked.clear()
    items = (await api.get(V2)).json["items"]
    assert [(i["apiVersion"], i["spec"]) for i in items] == [
        ("conv.example.com/v2", {"host": "h", "port": "1"}), ("conv.example.com/v2", {"host": "k", "port": "2"}),
    ]
    assert [len(request["objects"]) for request in hooks.asked] == [1]
    assert [i["spec"]["hostPort"] for i in (await api.get(V1)).json["items"]] == ["h:1", "k:2"]
    # A write moves an object into the storage version.
    before = (await api.get(f"{V2}/a")).json
    after = (await api.put(f"{V2}/a", before)).json
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    assert (await api.put(f"{V2}/a", after)).json["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


async def test_both_versions_watched_at_once(api: Api, hooks: HookServer) -> None:
    await api.post(CRDS, definition(hooks))
    await api.post(V1, widget("a", hostPort="h:1"))
    async with api.watch(f"{V1}?watch=1") as first, api.watch(f"{V2}?watch=1") as second:
        await api.patch(f"{V1}/a", {"spec": {"hostPort": "h:2"}})
        await api.post(V2, widget("b", "v2", host="x", port="3"))
        await api.delete(f"{V1}/a")
        ones, twos = await take(first, 4), await take(second, 4)
    assert [e["type"] for e in ones] == [e["type"] for e in twos] == ["ADDED", "MODIFIED", "ADDED", "DELETED"]
    assert [e["object"]["spec"] for e in ones] == [{"hostPort": p} for p in ("h:1", "h:2", "x:3", "h:2")]
    assert [e["object"]["spec"] for e in twos] == [
        {"host": h, "port": p} for h, p in (("h", "1"), ("h", "2"), ("x", "3"), ("h", "2"))
    ]
    assert {e["object"]["apiVersion"] for e in twos} == {"conv.example.com/v2"}


async def test_only_labels_and_annotations_may_change(api: Api, hooks: HookServer) -> None:
    await api.post(CRDS, definition(hooks))
    await api.post(V1, widget("a", hostPort="h:1"))

    def relabel(request: dict[str, Any]) -> dict[str, Any]:
        response = convert(request)
        for obj in response["convertedObjects"]:
            obj["metadata"].update(labels={"by": "hook"}, annotations={"a": "b"}, finalizers=["x/y"], generation=99)
        return response

    hooks.answers["/convert"] = relabel
    metadata = (await api.get(f"{V2}/a")).json["metadata"]
    assert metadata["labels"] == {"by": "hook"} and metadata["annotations"] == {"a": "b"}
    assert "finalizers" not in metadata and metadata["generation"] == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: r.update(result={"status": "Failure", "message": "no way"}), "failed: no way"),
        (lambda r: r.update(result={}), "failed: response.result.status was '', not 'Success'"),
        (lambda r: r.update(uid="other"), 'failed: expected response.uid="'),
        (lambda r: r.update(convertedObjects=[]), "returned 0 objects, expected 1"),
        (
            lambda r: r["convertedObjects"][0].update(apiVersion="conv.example.com/v1"),
            "returned invalid object at index 0: invalid groupVersion"
            " (expected conv.example.com/v2, received conv.example.com/v1)",
        ),
        (
            lambda r: r["convertedObjects"][0].update(kind="Other"),
            "returned invalid object at index 0: invalid kind (expected Widget, received Other)",
        ),
        (
            lambda r: r["convertedObjects"][0]["metadata"].update(name="b"),
            "returned invalid object: must have the same name: a != b",
        ),
        (
            lambda r: r["convertedObjects"][0]["metadata"].update(labels={"a": 1}),
            "returned invalid metadata: metadata.labels[a] must be a string, but is int64",
        ),
    ],
)
async def test_nonsense_is_refused_in_upstreams_words(api: Api, hooks: HookServer, change: Any, told: str) -> None:
    await api.post(CRDS, definition(hooks))
    await api.post(V1, widget("a", hostPort="h:1"))

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        response: dict[str, Any] = {"uid": request["uid"], **convert(request)}
        change(response)
        return response

    hooks.answers["/convert"] = answer
    for path in (f"{V2}/a", V2):
        failed = await api.get(path)
        assert failed.status == 500
        assert failed.json["message"].startswith(
            f"conversion webhook for conv.example.com/v1, Kind=Widget {told}"
        ), failed.text
    assert (await api.get(f"{V1}/a")).status == 200
    async with api.watch(f"{V2}?watch=1") as events:
        assert (await take(events, 1))[0]["type"] == "ERROR"
    await api.post(V1, widget("b", hostPort="h:2"))
    failed = await api.get(V2)
    if "invalid" in told:
        assert "returned invalid " in failed.text and "object at index 0: " in failed.text, failed.text


async def test_old_reviews_are_held_to_less(api: Api, hooks: HookServer) -> None:
    """v1beta1 without the uid; of the versions that the definition names, the first that is known is sent."""
    body = definition(hooks)
    body["spec"]["conversion"]["webhook"]["conversionReviewVersions"] = ["v9", "v1beta1", "v1"]
    assert (await api.post(CRDS, body)).status == 201
    await api.post(V1, widget("a", hostPort="h:1"))
    hooks.answers["/convert"] = lambda request: {**convert(request), "uid": ""}
    assert (await api.get(f"{V2}/a")).json["spec"] == {"host": "h", "port": "1"}


async def test_a_webhook_that_is_away(api: Api, hooks: HookServer) -> None:
    client = {"service": {"namespace": "default", "name": "conv", "path": "/convert"}, "caBundle": hooks.bundle}
    await api.post(CRDS, definition(hooks, **client))
    await api.post(V1, widget("a", hostPort="h:1"))
    failed = await api.get(f"{V2}/a")
    assert failed.status == 500 and failed.json["message"] == (
        'conversion webhook for conv.example.com/v1, Kind=Widget failed: Post'
        ' "https://conv.default.svc:443/convert?timeout=30s": service "conv" not found'
    )
    # Its definition can be deleted all the same.
    await api.delete(f"{CRDS}/{NAME}")


async def test_an_authority_that_is_none(api: Api, hooks: HookServer) -> None:
    """A definition is not established before its webhook could be trusted, and once it is, that cannot be undone."""
    good = hooks.client_config("/convert")
    bad = {**good, "caBundle": "bm9uZQ=="}
    made = await api.post(CRDS, definition(hooks, **bad))
    (established,) = [c for c in made.json["status"]["conditions"] if c["type"] == "Established"]
    assert (established["status"], established["reason"]) == ("False", "InvalidCABundle")
    assert (await api.get(V1)).status == 404
    mended = await api.patch(f"{CRDS}/{NAME}", {"spec": definition(hooks, **good)["spec"]})
    assert [c["status"] for c in mended.json["status"]["conditions"]] == ["True", "True"]
    assert (await api.post(V1, widget("a", hostPort="h:1"))).status == 201
    refused = await api.patch(f"{CRDS}/{NAME}", {"spec": definition(hooks, **bad)["spec"]})
    assert refused.json["details"]["causes"] == [{
        "reason": "FieldValueInvalid", "field": "spec.conversion.webhookClientConfig.caBundle",
        "message": 'Invalid value: "bm9uZQ==": unable to load root certificates: unable to parse bytes as PEM block'}]


async def test_a_stored_version_that_is_not_served(api: Api, hooks: HookServer) -> None:
    body = definition(hooks)
    body["spec"]["versions"][0]["served"] = False
    await api.post(CRDS, body)
    assert (await api.get(V1)).status == 404
    assert (await api.post(V2, widget("a", "v2", host="h", port="1"))).status == 201
    assert (await api.get(f"{V2}/a")).json["spec"] == {"host": "h", "port": "1"}
    group = (await api.get("/apis/conv.example.com")).json
    assert [v["version"] for v in group["versions"]] == ["v2"]


async def test_a_changed_schema_shows_in_what_is_stored(api: Api, hooks: HookServer) -> None:
    body = definition(hooks)
    body["spec"].pop("conversion")
    await api.post(CRDS, body)
    await api.post(V1, widget("a", hostPort="h:1"))
    properties = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties.pop("hostPort")
    properties["mode"] = {"type": "string", "default": "fast"}
    await api.patch(f"{CRDS}/{NAME}", {"spec": body["spec"]})
    assert (await api.get(f"{V1}/a")).json["spec"] == {"mode": "fast"}
    assert (await api.get(V1)).json["items"][0]["spec"] == {"mode": "fast"}
    async with api.watch(f"{V1}?watch=1") as events:
        assert [e["object"]["spec"] for e in await take(events, 1)] == [{"mode": "fast"}]


async def test_fields_are_selected_in_the_version_that_is_asked_for(api: Api, hooks: HookServer) -> None:
    body = definition(hooks)
    body["spec"]["versions"][1]["selectableFields"] = [{"jsonPath": ".spec.host"}]
    assert (await api.post(CRDS, body)).status == 201
    for name, host in (("a", "x:1"), ("b", "y:2"), ("c", "x:3")):
        assert (await api.post(V1, widget(name, hostPort=host))).status == 201
    for query in ("fieldSelector=spec.host%3Dx", "fieldSelector=spec.host%3Dx&limit=10"):
        found = await api.get(f"{V2}?{query}")
        assert [o["metadata"]["name"] for o in found.json["items"]] == ["a", "c"], found.text
    assert (await api.get(f"{V1}?fieldSelector=spec.host%3Dx")).status == 400, "v1 has no such field"
    shown = (await api.get("/openapi/v2")).json["definitions"]
    assert shown["com.example.conv.v2.Widget"]["x-kubernetes-selectable-fields"] == [{"fieldPath": "spec.host"}]
    assert "x-kubernetes-selectable-fields" not in shown["com.example.conv.v1.Widget"]
    assert (await api.delete(f"{V2}?fieldSelector=spec.host%3Dx")).status == 200
    assert [o["metadata"]["name"] for o in (await api.get(V1)).json["items"]] == ["b"]


async def test_a_watch_judges_fields_in_its_version_too(api: Api, hooks: HookServer) -> None:
    body = definition(hooks)
    body["spec"]["versions"][1]["selectableFields"] = [{"jsonPath": ".spec.host"}]
    await api.post(CRDS, body)
    for name, host in (("a", "x:1"), ("b", "y:2")):
        await api.post(V1, widget(name, hostPort=host))
    beside: list[tuple[str, str]] = []

    async def in_process() -> None:
        call = Call("GET", V2, {"watch": "1", "fieldSelector": "spec.host=x"})
        async for event in api.server.local.watch(call, "me", ["system:masters"]):
            beside.append((event.type, event.object["metadata"]["name"]))
            if len(beside) == 5:
                return

    expected = [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("MODIFIED", "b"), ("DELETED", "b")]
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(in_process())
        async with api.watch(f"{V2}?watch=1&fieldSelector=spec.host%3Dx") as events:
            first = await take(events, 1)
            await api.patch(f"{V1}/b", {"spec": {"hostPort": "x:9"}})
            await api.patch(f"{V1}/a", {"spec": {"hostPort": "z:1"}})
            await api.post(V1, widget("c", hostPort="y:1"))
            await api.patch(f"{V1}/b", {"spec": {"hostPort": "x:10"}})
            await api.delete(f"{V1}/b")
            seen = [*first, *await take(events, 4)]
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in seen] == expected == beside
    assert {e["object"]["apiVersion"] for e in seen} == {"conv.example.com/v2"}
