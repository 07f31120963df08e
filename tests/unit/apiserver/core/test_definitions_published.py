"""What is told of custom resource definitions: discovery, OpenAPI, watches; and the definitions as objects."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import Any

from .conftest import Api, take
from .test_custom_resources import CRDS, TABS, definition, tab

NAME = "crontabs.stable.example.com"
AGGREGATED = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}


def other(group: str, kind: str) -> dict[str, Any]:
    body = definition()
    plural = kind.lower() + "s"
    body["metadata"]["name"] = f"{plural}.{group}"
    body["spec"].update(group=group, names={"plural": plural, "kind": kind})
    return body


async def schemas(api: Api, group: str, version: str) -> set[str]:
    answer = await api.get(f"/openapi/v3/apis/{group}/{version}")
    return set(answer.json["components"]["schemas"]) if answer.status == 200 else set()


async def test_openapi_has_every_group_version_and_kind(api: Api) -> None:
    for body in (definition(), other("stable.example.com", "Job"), other("more.example.com", "Thing")):
        assert (await api.post(CRDS, body)).status == 201
    assert {"com.example.stable.v1.CronTab", "com.example.stable.v1.Job"} <= await schemas(
        api, "stable.example.com", "v1"
    )
    assert "com.example.stable.v2.CronTab" in await schemas(api, "stable.example.com", "v2")
    assert "com.example.more.v1.Thing" in await schemas(api, "more.example.com", "v1")
    published = (await api.get("/openapi/v2")).json["definitions"]
    shown = published["com.example.stable.v1.CronTab"]
    assert shown["properties"]["apiVersion"]["description"].startswith("APIVersion defines")
    shown["properties"] = {k: v for k, v in shown["properties"].items() if k not in ("apiVersion", "kind", "metadata")}
    assert shown.pop("x-kubernetes-group-version-kind")[0]["kind"] == "CronTab"
    expected = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    expected["properties"]["spec"]["properties"]["size"] = {"type": "string"}  # the second form has no oneOf and not
    assert shown == expected
    for form in ("v2", "v3/apis/stable.example.com/v1"):
        media = f"application/com.github.proto-openapi.spec.{form[:2]}@v1.0+protobuf"
        assert (await api.get(f"/openapi/{form}", headers={"Accept": media})).status == 200


async def test_documents_are_made_while_definitions_go(api: Api) -> None:
    """What a document is made of stands from its beginning: definitions that go meanwhile are no failure."""
    bodies = [other(f"g{i}.example.com", "Thing") for i in range(8)]
    for body in bodies:
        assert (await api.post(CRDS, body)).status == 201
    asked: list[Any] = []
    for body in bodies:
        asked += [api.get("/openapi/v3"), api.delete(f"{CRDS}/{body['metadata']['name']}"), api.get("/openapi/v2")]
    assert {answer.status for answer in await asyncio.gather(*asked)} == {200}


async def test_openapi_follows_a_version_that_is_renamed_or_no_longer_served(api: Api) -> None:
    body = definition()
    await api.post(CRDS, body)
    assert "com.example.stable.v2.CronTab" in (await api.get("/openapi/v2")).json["definitions"]
    renamed = deepcopy(body["spec"])
    renamed["versions"][1]["name"] = "v3"
    assert (await api.patch(f"{CRDS}/{NAME}", {"spec": renamed})).status == 200
    assert not await schemas(api, "stable.example.com", "v2")
    assert "com.example.stable.v3.CronTab" in await schemas(api, "stable.example.com", "v3")
    renamed["versions"][1]["served"] = False
    await api.patch(f"{CRDS}/{NAME}", {"spec": renamed})
    names = (await api.get("/openapi/v2")).json["definitions"]
    assert "com.example.stable.v3.CronTab" not in names and "com.example.stable.v1.CronTab" in names
    paths = (await api.get("/openapi/v3")).json["paths"]
    assert "apis/stable.example.com/v3" not in paths and "apis/stable.example.com/v1" in paths


BUILT_IN = """
admissionregistration.k8s.io/v1/validatingwebhookconfigurations apiextensions.k8s.io/v1/customresourcedefinitions
apiregistration.k8s.io/v1/apiservices apps/v1/deployments authentication.k8s.io/v1/tokenreviews
authorization.k8s.io/v1/selfsubjectaccessreviews autoscaling/v1/horizontalpodautoscalers
autoscaling/v2/horizontalpodautoscalers batch/v1/jobs certificates.k8s.io/v1/certificatesigningrequests
coordination.k8s.io/v1/leases discovery.k8s.io/v1/endpointslices events.k8s.io/v1/events networking.k8s.io/v1/ingresses
node.k8s.io/v1/runtimeclasses policy/v1/poddisruptionbudgets scheduling.k8s.io/v1/priorityclasses
storage.k8s.io/v1/csinodes
""".split()  # noqa: SIM905


async def test_aggregated_discovery_has_a_new_definition(api: Api) -> None:
    found = [
        f"{item['metadata'].get('name', '')}/{version['version']}/{resource['resource']}"
        for path in ("/api", "/apis") for item in (await api.get(path, headers=AGGREGATED)).json["items"]
        for version in item["versions"] for resource in version["resources"]
    ]
    assert {*BUILT_IN, "/v1/namespaces"} <= set(found) and len(found) == len(set(found))
    group = (await api.get("/apis/apiextensions.k8s.io")).json
    assert group["name"] == "apiextensions.k8s.io" and [v["version"] for v in group["versions"]] == ["v1"]
    assert group["versions"] in [g["versions"] for g in (await api.get("/apis")).json["groups"]]
    await api.post(CRDS, definition())
    items = {i["metadata"].get("name"): i for i in (await api.get("/apis", headers=AGGREGATED)).json["items"]}
    versions = {v["version"]: v["resources"] for v in items["stable.example.com"]["versions"]}
    assert list(versions) == ["v2", "v1"] and versions["v1"][0]["resource"] == "crontabs"
    listed = (await api.get("/apis/apiextensions.k8s.io/v1")).json["resources"]
    assert {"customresourcedefinitions", "customresourcedefinitions/status"} <= {r["name"] for r in listed}
    policies = {r["name"] for r in (await api.get("/apis/admissionregistration.k8s.io/v1")).json["resources"]}
    assert {"validatingadmissionpolicies", "validatingadmissionpolicies/status",
            "validatingadmissionpolicybindings"} <= policies


async def test_definitions_are_listed_and_deleted_by_label(api: Api) -> None:
    await api.post(CRDS, definition())
    specs: dict[str, Any] = {}
    for i in range(10):
        body = other("many.example.com", f"Kind{chr(97 + i)}")
        body["metadata"]["labels"] = {"made": "here"}
        made = await api.post(CRDS, body)
        assert made.status == 201
        specs[made.json["metadata"]["name"]] = made.json["spec"]
    listed = (await api.get(f"{CRDS}?labelSelector=made=here")).json["items"]
    assert {o["metadata"]["name"]: o["spec"] for o in listed} == specs and len(listed) == 10
    assert (await api.delete(f"{CRDS}?labelSelector=made=here")).status == 200
    async with asyncio.timeout(60):
        while len((await api.get(CRDS)).json["items"]) > 1:
            await asyncio.sleep(0.02)
    assert (await api.get(CRDS)).json["items"][0]["metadata"]["name"] == NAME


async def test_the_status_of_a_definition_is_read_updated_and_patched(api: Api) -> None:
    await api.post(CRDS, definition())
    found = (await api.get(f"{CRDS}/{NAME}/status")).json
    condition = {"type": "StatusUpdate", "status": "True", "reason": "Test", "message": "m"}
    found["status"]["conditions"].append(condition)
    updated = await api.put(f"{CRDS}/{NAME}/status", found)
    assert updated.status == 200 and updated.json["status"]["conditions"][-1]["type"] == "StatusUpdate"
    patched = await api.patch(f"{CRDS}/{NAME}/status", {"status": {"storedVersions": ["v1"]}})
    assert patched.json["status"]["conditions"][-1]["reason"] == "Test"
    assert (await api.post(TABS, tab("a", cron="*"))).status == 201
    # The row's own patch leaves one condition, which has but a message; the definition can be deleted all the same.
    alone = [{"op": "add", "path": "/status/conditions", "value": [{"message": "patched"}]}]
    patched = await api.patch(f"{CRDS}/{NAME}/status", alone, kind="json-patch+json")
    assert patched.json["status"]["conditions"] == [{"type": "", "status": "", "message": "patched"}]
    assert (await api.delete(f"{CRDS}/{NAME}")).status == 200
    async with asyncio.timeout(60):
        while (await api.get(f"{CRDS}/{NAME}")).status != 404:
            await asyncio.sleep(0.02)
    assert (await api.post(CRDS, definition())).status == 201


async def test_a_group_of_the_project_says_who_approved_it(api: Api) -> None:
    body = other("things.k8s.io", "Thing")
    refused = await api.post(CRDS, body)
    assert refused.status == 422 and "protected groups must have approval annotation" in refused.text
    for value, state, reason, message in (
        ("https://github.com/kubernetes/kubernetes/pull/1", "True", "ApprovedAnnotation", "approved in https://"),
        ("unapproved, an experiment", "False", "UnapprovedAnnotation", 'not approved: "unapproved, an experiment"'),
    ):
        body["metadata"]["annotations"] = {"api-approved.kubernetes.io": value}
        at = f"{CRDS}/{body['metadata']['name']}"
        await api.post(CRDS, body)
        found = (await api.patch(at, {"metadata": {"annotations": body["metadata"]["annotations"]}})).json
        condition = found["status"]["conditions"][2]
        assert condition["type"] == "KubernetesAPIApprovalPolicyConformant"
        assert (condition["status"], condition["reason"]) == (state, reason)
        assert condition["message"].startswith(message)


async def test_a_schema_that_says_what_nobody_checks_warns(api: Api) -> None:
    body = definition()
    spec = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["odd"] = {"type": "string", "format": "odd"}
    spec["when"] = {"type": "string", "format": "date-time"}
    spec["list"] = {"type": "array", "x-kubernetes-list-type": "set", "items": {
        "type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}}}
    told = (await api.post(CRDS, body)).headers.getall("Warning")
    assert told == [
        '299 - "unrecognized format \\"odd\\""',
        '299 - "x-kubernetes-list-type: set for items of type \\"object\\" is not supported by server-side apply or'
        ' CEL validation rules"',
    ]
    spec["more"] = {"type": "integer", "format": "more"}
    told = (await api.patch(f"{CRDS}/{NAME}", {"spec": body["spec"]})).headers.getall("Warning")
    assert told == ['299 - "unrecognized format \\"more\\""']


async def test_names_are_accepted_one_by_one(api: Api) -> None:
    await api.post(CRDS, definition())
    body = other("stable.example.com", "Tabs")
    body["spec"]["names"].update(shortNames=["ct", "tt"], listKind="CronTabList")
    assert definition()["spec"]["names"].get("shortNames") == ["ct"]
    state = (await api.post(CRDS, body)).json["status"]
    assert state["acceptedNames"] == {"plural": "tabss", "singular": "tabs", "kind": "Tabs"}
    conditions = {c["type"]: (c["status"], c["reason"], c["message"]) for c in state["conditions"]}
    assert conditions == {
        "NamesAccepted": ("False", "ListKindConflict", '"CronTabList" is already in use'),
        "Established": ("False", "NotAccepted", "not all names are accepted"),
    }
    await api.delete(f"{CRDS}/{NAME}")
    async with asyncio.timeout(60):
        while "listKind" not in (state := (await api.get(f"{CRDS}/tabss.stable.example.com")).json["status"])[
            "acceptedNames"
        ]:
            await asyncio.sleep(0.02)
    assert [c["status"] for c in state["conditions"]] == ["True", "True"]


async def test_defaults_of_what_is_stored_and_of_what_comes(api: Api) -> None:
    """A default shows in objects that were there before it; what an object got by one stays when it goes."""
    body = other("defaults.example.com", "Thing")
    body["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = {
        "type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
    }
    made = (await api.post(CRDS, body)).json
    at, schema = f"{CRDS}/{made['metadata']['name']}", "/spec/versions/0/schema/openAPIV3Schema/properties"
    things = f"/apis/defaults.example.com/v1/namespaces/default/{made['spec']['names']['plural']}"

    def thing(name: str) -> dict[str, Any]:
        return {"apiVersion": "defaults.example.com/v1", "kind": "Thing", "metadata": {"name": name}}

    assert "a" not in (await api.post(things, thing("before"))).json
    first = [{"op": "add", "path": f"{schema}/a/default", "value": "A"}]
    assert (await api.patch(at, first, kind="json-patch+json")).status == 200
    assert (await api.get(f"{things}/before")).json["a"] == "A"
    assert (await api.post(things, thing("after"))).json["a"] == "A"
    then = [{"op": "remove", "path": f"{schema}/a/default"}, {"op": "add", "path": f"{schema}/b/default", "value": "B"}]
    assert (await api.patch(at, then, kind="json-patch+json")).status == 200
    after, before = (await api.get(f"{things}/after")).json, (await api.get(f"{things}/before")).json
    assert (after["a"], after["b"]) == ("A", "B") and ("a" in before, before["b"]) == (False, "B")


async def test_watches_of_custom_resources_and_their_end(api: Api) -> None:
    body = definition()
    await api.post(CRDS, body)
    by_name = f"{TABS}?watch=1&timeoutSeconds=600&fieldSelector=metadata.name%3D"
    async with api.watch(f"{by_name}name1") as first, api.watch(f"{by_name}name2") as second:
        for name in ("name1", "name2"):
            made = (await api.post(TABS, tab(name, cron="*"))).json
            assert (made["apiVersion"], made["kind"]) == ("stable.example.com/v1", "CronTab")
            assert made["metadata"]["uid"]
        for name in ("name1", "name2"):
            change = [{"op": "add", "path": "/spec/mode", "value": "a"}]
            assert (await api.patch(f"{TABS}/{name}", change, kind="json-patch+json")).status == 200
        for name in ("name1", "name2"):
            assert (await api.delete(f"{TABS}/{name}")).status == 200
        # Each sees its own object and nothing of the other.
        for name, events in (("name1", first), ("name2", second)):
            seen = [(e["type"], e["object"]["metadata"]["name"]) for e in await take(events, 3)]
            assert seen == [("ADDED", name), ("MODIFIED", name), ("DELETED", name)]
    async with api.watch(f"{TABS}?watch=1") as events:
        # A definition whose spec changes ends watches; clients list anew.
        body["spec"]["versions"][0]["additionalPrinterColumns"] = []
        await api.patch(f"{CRDS}/{NAME}", {"spec": body["spec"]})
        async with asyncio.timeout(60):
            assert [e async for e in events] == []


async def test_field_validation(api: Api) -> None:
    await api.post(CRDS, definition())
    strict = await api.post(f"{TABS}?fieldValidation=Strict", tab("a", cron="*", bogus=1))
    assert strict.status == 400 and 'strict decoding error: unknown field "spec.bogus"' in strict.json["message"]
    assert (await api.post(f"{TABS}?fieldValidation=Strict", tab("a", cron="*"))).status == 201
    v2 = TABS.replace("/v1/", "/v2/")
    free = {**tab("b", cron="*", any={"thing": 1}), "apiVersion": "stable.example.com/v2"}
    applied = await api.patch(f"{v2}/b?fieldManager=m&fieldValidation=Strict", free, kind="apply-patch+yaml")
    assert applied.status == 201, applied.text
