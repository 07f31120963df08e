"""Custom resources, from their definition to their deletion."""

from __future__ import annotations

import asyncio
from typing import Any

from .conftest import Api, take

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABS = "/apis/stable.example.com/v1/namespaces/default/crontabs"


def definition(**names: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["cron"],
                "properties": {
                    "cron": {"type": "string", "pattern": "^(?i)[0-9*]+$"},
                    "image": {"type": "string", "default": "busybox"},
                    "replicas": {"type": "integer", "minimum": 1},
                    "mode": {"type": "string", "enum": ["a", "b"]},
                    "size": {"type": "string", "oneOf": [{"pattern": "^[0-9]+$"}, {"enum": ["*"]}],
                             "not": {"maxLength": 0}},
                    "hosts": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                },
            },
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], **names},
            "versions": [
                {
                    "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                    },
                    "additionalPrinterColumns": [{"name": "Cron", "type": "string", "jsonPath": ".spec.cron"}],
                },
                {
                    "name": "v2", "served": True, "storage": False,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                },
            ],
        },
    }


def tab(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec}


async def test_it_is_served_at_once(api: Api) -> None:
    made = await api.post(CRDS, definition())
    assert made.status == 201, made.text
    conditions = {c["type"]: c["status"] for c in made.json["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    created = await api.post(TABS, tab("a", cron="*", bogus=1))
    assert created.status == 201
    assert created.json["spec"] == {"cron": "*", "image": "busybox"}
    assert created.headers["Warning"] == '299 - "unknown field \\"spec.bogus\\""'
    assert created.json["metadata"]["generation"] == 1


async def test_schema_errors(api: Api) -> None:
    await api.post(CRDS, definition())
    for spec, field in (
        ({"cron": "x"}, "spec.cron"), ({}, "spec.cron"), ({"cron": "*", "replicas": 0}, "spec.replicas"),
        ({"cron": "*", "mode": "c"}, "spec.mode"), ({"cron": 1}, "spec.cron"), ({"cron": "*", "size": "x"}, "<nil>"),
    ):
        refused = await api.post(TABS, tab("a", **spec))
        assert refused.status == 422, refused.text
        assert refused.json["details"]["causes"][0]["field"] == field
    few = await api.post(TABS, tab("a", cron="*", hosts=[]))
    assert few.json["details"]["causes"][0]["message"] == (
        "Invalid value: 0: spec.hosts in body should have at least 1 items"
    )
    assert [c["message"] for c in refused.json["details"]["causes"]] == [
        'Invalid value: "": "spec.size" must validate one and only one schema (oneOf). Found none valid',
        "Invalid value: \"x\": spec.size in body should match '^[0-9]+$'",
    ]


async def test_versions_convert_by_name(api: Api) -> None:
    await api.post(CRDS, definition())
    await api.post(TABS, tab("a", cron="*"))
    other = TABS.replace("/v1/", "/v2/")
    assert (await api.get(f"{other}/a")).json["apiVersion"] == "stable.example.com/v2"
    listed = (await api.get(other)).json
    assert listed["items"][0]["apiVersion"] == "stable.example.com/v2"
    written = await api.post(other, {**tab("b", cron="1", free="form"), "apiVersion": "stable.example.com/v2"})
    assert written.status == 201, written.text
    assert (await api.get(f"{TABS}/b")).json["apiVersion"] == "stable.example.com/v1"


async def test_status_scale_and_columns(api: Api) -> None:
    await api.post(CRDS, definition())
    await api.post(TABS, tab("a", cron="*", replicas=2))
    state = await api.patch(f"{TABS}/a/status", {"status": {"replicas": 1}, "spec": {"cron": "9"}})
    assert state.json["status"] == {"replicas": 1} and state.json["spec"]["cron"] == "*"
    scale = (await api.get(f"{TABS}/a/scale")).json
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 1)
    await api.patch(f"{TABS}/a/scale", {"spec": {"replicas": 4}})
    assert (await api.get(f"{TABS}/a")).json["spec"]["replicas"] == 4
    table = await api.get(TABS, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    assert [c["name"] for c in table.json["columnDefinitions"]][:2] == ["Name", "Cron"]
    assert table.json["rows"][0]["cells"][:2] == ["a", "*"]


async def test_discovery_and_openapi_follow(api: Api) -> None:
    await api.get("/openapi/v3")
    await api.post(CRDS, definition())
    groups = {g["name"] for g in (await api.get("/apis")).json["groups"]}
    assert "stable.example.com" in groups
    document = (await api.get("/openapi/v3/apis/stable.example.com/v1")).json
    assert "com.example.stable.v1.CronTab" in document["components"]["schemas"]


async def test_names_conflict(api: Api) -> None:
    await api.post(CRDS, definition())
    other = definition(plural="others")
    other["metadata"]["name"] = "others.stable.example.com"
    made = (await api.post(CRDS, other)).json
    conditions = {c["type"]: c["status"] for c in made["status"]["conditions"]}
    assert conditions["NamesAccepted"] == "False"
    assert (await api.get("/apis/stable.example.com/v1/others")).status == 404
    await api.delete(f"{CRDS}/crontabs.stable.example.com")
    async with asyncio.timeout(60):
        while (await api.get("/apis/stable.example.com/v1/others")).status != 200:
            await asyncio.sleep(0.02)


async def test_objects_go_with_their_definition(api: Api) -> None:
    await api.post(CRDS, definition())
    await api.post(TABS, tab("a", cron="*"))
    held = tab("held", cron="*")
    held["metadata"]["finalizers"] = ["example.com/held"]
    await api.post(TABS, held)
    async with api.watch(f"{TABS}?watch=1") as events:
        assert [e["type"] for e in await take(events, 2)] == ["ADDED", "ADDED"]
        await api.delete(f"{CRDS}/crontabs.stable.example.com")
        assert sorted(e["type"] for e in await take(events, 2)) == ["DELETED", "MODIFIED"]
        # While one is still there, none comes beside it, and it may be let go.
        refused = await api.post(TABS, tab("late", cron="*"))
        assert (refused.status, refused.json["message"]) == (
            403, 'crontabs.stable.example.com "late" is forbidden: create not allowed while custom resource definition'
            " is terminating",
        )
        late = tab("late", cron="*")
        assert (await api.patch(f"{TABS}/late?fieldManager=m", late, kind="apply-patch+yaml")).status == 403
        assert (await api.patch(f"{TABS}/held", {"metadata": {"finalizers": None}})).status == 200
        assert [e["type"] for e in await take(events, 1)] == ["DELETED"]
    async with asyncio.timeout(60):
        while (await api.get(f"{CRDS}/crontabs.stable.example.com")).status != 404:
            await asyncio.sleep(0.02)
    assert (await api.get(TABS)).status == 404
    await api.post(CRDS, definition())
    assert (await api.get(TABS)).json["items"] == []


async def test_what_is_built_in_is_no_custom_resource(api: Api) -> None:
    body = definition(plural="ingresses", kind="Ingress", shortNames=[])
    body["spec"]["group"] = "networking.k8s.io"
    body["metadata"] = {"name": "ingresses.networking.k8s.io",
                        "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}}
    path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
    backend = {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}
    await api.post(path, {"metadata": {"name": "real"}, "spec": backend})
    assert (await api.post(CRDS, body)).status == 201
    assert (await api.get(f"{path}/real")).json["spec"] == backend
    assert (await api.post(path, {"metadata": {"name": "odd"}, "spec": {"cron": "*"}})).status == 422
    assert (await api.delete(f"{CRDS}/ingresses.networking.k8s.io")).status == 200
    async with asyncio.timeout(60):
        while (await api.get(f"{CRDS}/ingresses.networking.k8s.io")).status != 404:
            await asyncio.sleep(0.02)
    assert (await api.get(f"{path}/real")).json["spec"] == backend


async def test_validation_rules(api: Api) -> None:
    body = definition()
    spec = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-validations"] = [
        {"rule": "!has(self.replicas) || self.replicas < 5", "message": "too many"},
        {"rule": "self.cron == oldSelf.cron", "message": "cron is fixed", "fieldPath": ".cron"},
    ]
    assert (await api.post(CRDS, body)).status == 201
    refused = await api.post(TABS, tab("a", cron="*", replicas=7))
    assert refused.status == 422
    assert refused.json["details"]["causes"] == [
        {"reason": "FieldValueInvalid", "message": "Invalid value: too many", "field": "spec"}
    ]
    assert (await api.post(TABS, tab("a", cron="*"))).status == 201
    changed = await api.patch(f"{TABS}/a", {"spec": {"cron": "9"}})
    assert changed.status == 422 and changed.json["details"]["causes"][0]["field"] == "spec.cron"
    assert (await api.patch(f"{TABS}/a", {"spec": {"replicas": 4}})).status == 200


async def test_objects_within_objects(api: Api) -> None:
    body = definition()
    spec = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    whole = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    spec["templates"] = {"type": "array", "items": whole}
    assert (await api.post(CRDS, body)).status == 201
    good = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {"a": "b"}}, "data": {"c": "d"}}
    made = await api.post(TABS, tab("a", cron="*", templates=[good]))
    assert made.status == 201 and made.json["spec"]["templates"] == [good], made.text
    bad = [{"kind": "X"}, {"apiVersion": "a/b/c", "kind": ""}, {**good, "metadata": {"labels": {"a": "-"}}}]
    refused = await api.post(TABS, tab("b", cron="*", templates=bad))
    assert [(c["field"], c["message"].partition(":")[0]) for c in refused.json["details"]["causes"]] == [
        ("spec.templates[0].apiVersion", "Required value"), ("spec.templates[1].apiVersion", "Invalid value"),
        ("spec.templates[1].kind", "Invalid value"), ("spec.templates[2].metadata.labels", "Invalid value"),
    ], refused.text


async def test_rules_wait_for_what_they_may_rely_on(api: Api) -> None:
    """A wrong type, a missing field or one of too many entries keeps them from being evaluated, a pattern does not."""
    body = definition()
    spec = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-validations"] = [{"rule": "self.replicas < 5", "message": "too many"}]
    assert (await api.post(CRDS, body)).status == 201
    refused = (await api.post(TABS, tab("a", cron="*", replicas=7, mode="c"))).json["details"]["causes"]
    assert [c["field"] for c in refused] == ["spec.mode", "<nil>"]
    assert refused[1]["message"].startswith("Invalid value: null: some validation rules were not checked because")
    refused = (await api.post(TABS, tab("a", cron="no", replicas=7))).json["details"]["causes"]
    assert [c["field"] for c in refused] == ["spec.cron", "spec"]


async def test_a_rule_that_does_not_compile_is_refused(api: Api) -> None:
    body = definition()
    schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["x-kubernetes-validations"] = [{"rule": "self.spec +"}]
    refused = await api.post(CRDS, body)
    assert refused.status == 422 and "compilation failed" in refused.json["message"]
    schema["x-kubernetes-validations"] = [{"rule": "self.spec.crom != '' && self.spec.cron > 5"}, {"rule": "1"}]
    refused = await api.post(CRDS, body)
    rules = "spec.versions[0].schema.openAPIV3Schema.x-kubernetes-validations"
    assert [c["field"] for c in refused.json["details"]["causes"]] == [f"{rules}[0].rule", f"{rules}[1].rule"]
    typed, valued = (c["message"] for c in refused.json["details"]["causes"])
    assert "ERROR: <input>:1:10: undefined field 'crom'\n | self.spec.crom" in typed
    assert "ERROR: <input>:1:40: found no matching overload for '_>_' applied to '(string, int)'" in typed
    assert valued.endswith("cel expression must evaluate to a bool")


async def test_a_definition_whose_rules_may_cost_too_much_is_refused(api: Api) -> None:
    body = definition()
    schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    texts = schema["properties"]["texts"] = {"type": "array", "items": {"type": "string"}}
    texts["x-kubernetes-validations"] = [{"rule": "self.all(a, self.exists_one(b, a == b))"}]
    refused = await api.post(CRDS, body)
    place = "spec.versions[0].schema.openAPIV3Schema"
    rule = f"{place}.properties[texts].x-kubernetes-validations[0].rule"
    causes = [(c["field"], c["message"].partition(" (try ")[0]) for c in refused.json["details"]["causes"]]
    factor = "exceeds budget by factor of more than 100x"
    assert causes == [
        (rule, f"Forbidden: estimated rule cost {factor}"),
        (rule, "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"),
        (place, f"Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema {factor}"),
    ]
    texts |= {"maxItems": 100, "items": {"type": "string", "maxLength": 20}}
    assert (await api.post(CRDS, body)).status == 201


async def test_a_rule_that_does_too_much_ends_the_rules(api: Api) -> None:
    body = definition()
    schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["many"] = {"type": "array", "maxItems": 1000, "items": {"type": "integer"}}
    greedy = "self.many.all(a, self.many.all(b, a + b >= 0))"
    schema["x-kubernetes-validations"] = [{"rule": greedy}, {"rule": "false"}]
    assert (await api.post(CRDS, body)).status == 201
    refused = await api.post(TABS, {**tab("a", cron="*"), "many": [1] * 600})
    assert [c["message"] for c in refused.json["details"]["causes"]] == [
        "Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation rules "
        f"will be run due to call cost exceeds limit for rule: {greedy}"
    ]
