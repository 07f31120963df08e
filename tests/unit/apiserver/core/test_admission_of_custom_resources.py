"""Webhooks and policies over custom resources and their definitions, on a live server with a real HTTPS webhook."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from .conftest import Api, Pki, pod, service_account, take
from .hook_server import HookServer, hook_server
from .test_conversion_webhooks import CRDS, V1, V2, convert, definition, widget
from .test_custom_resources import TABS, tab
from .test_custom_resources import definition as crontabs

HOOKS = "/apis/admissionregistration.k8s.io/v1"


@pytest.fixture
async def hooks(pki: Pki) -> AsyncIterator[HookServer]:
    async with hook_server(pki) as made:
        made.answers["/convert"] = convert
        yield made


async def register(api: Api, hooks: HookServer, kind: str, path: str, rule: dict[str, Any], **more: Any) -> None:
    made = await api.post(f"{HOOKS}/{kind.lower()}webhookconfigurations", {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": path.strip("/")},
        "webhooks": [{
            "name": f"{path.strip('/')}.example.com", "clientConfig": hooks.client_config(path), "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "rules": [{"operations": ["CREATE", "UPDATE"], **rule}], **more,
        }],
    })
    assert made.status == 201, made.text


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {
        "allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode(),
    }


@pytest.mark.parametrize(("policy", "called"), [("Equivalent", True), ("Exact", False)])
async def test_equivalent_webhooks_are_given_the_version_they_name(
    api: Api, hooks: HookServer, policy: str, called: bool
) -> None:
    await api.post(CRDS, definition(hooks))
    seen: list[dict[str, Any]] = []

    def change(request: dict[str, Any]) -> dict[str, Any]:
        seen.append(request)
        return patch({"op": "replace", "path": "/spec/hostPort", "value": "hook:7"})

    hooks.answers["/change"] = change
    rule = {"apiGroups": ["conv.example.com"], "apiVersions": ["v1"], "resources": ["widgets"]}
    await register(api, hooks, "Mutating", "/change", rule, matchPolicy=policy)
    made = await api.post(V2, widget("a", "v2", host="h", port="1"))
    assert made.status == 201, made.text
    assert made.json["apiVersion"] == "conv.example.com/v2"
    assert made.json["spec"] == ({"host": "hook", "port": "7"} if called else {"host": "h", "port": "1"})
    if called:
        assert seen[0]["kind"]["version"] == "v1" and seen[0]["requestKind"]["version"] == "v2"
        assert seen[0]["resource"]["version"] == "v1" and seen[0]["requestResource"]["version"] == "v2"
        assert seen[0]["object"]["spec"] == {"hostPort": "h:1"}


async def test_equivalent_versions_of_built_in_kinds(api: Api, hooks: HookServer) -> None:
    seen: list[dict[str, Any]] = []

    def look(request: dict[str, Any]) -> dict[str, Any]:
        seen.append(request)
        return {"allowed": True}

    hooks.answers["/look"] = look
    rule = {"apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]}
    await register(api, hooks, "Validating", "/look", rule)
    made = await api.post("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
    })
    assert made.status == 201, made.text
    assert seen[0]["object"]["apiVersion"] == "autoscaling/v1" and seen[0]["requestKind"]["version"] == "v2"
    assert seen[0]["object"]["spec"]["maxReplicas"] == 3


async def test_reviews_name_the_kind_that_is_sent_and_what_was_asked(api: Api, hooks: HookServer) -> None:
    """A Scale is a Scale, an Eviction no deletion; options are what the request says, a patch's those of an update;
    a name to be generated comes between mutation and validation."""
    seen: list[dict[str, Any]] = []

    def look(request: dict[str, Any]) -> dict[str, Any]:
        seen.append(request)
        if request.get("subResource") == "scale" and request["object"]["spec"].get("replicas") == 5:
            return patch({"op": "replace", "path": "/spec/replicas", "value": 3})
        return {"allowed": True}

    hooks.answers["/change"] = look
    hooks.answers["/look"] = lambda request: {**look(request), "patch": None, "patchType": None}
    everything = {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"]}
    await register(api, hooks, "Mutating", "/change", everything)
    await register(api, hooks, "Validating", "/look", everything)
    ns = "/api/v1/namespaces/default"
    await api.post(f"{ns}/configmaps?fieldManager=me&fieldValidation=Strict", {"metadata": {"generateName": "g-"}})
    first, second = seen
    assert "name" not in first and "name" not in first["object"]["metadata"]
    assert second["name"] == second["object"]["metadata"]["name"] and second["name"].startswith("g-")
    meta = {"apiVersion": "meta.k8s.io/v1"}
    assert first["options"] == {**meta, "kind": "CreateOptions", "fieldManager": "me", "fieldValidation": "Strict"}
    await api.patch(f"{ns}/configmaps/{second['name']}?dryRun=All", {"data": {"a": "b"}})
    assert seen[-1]["options"] == {**meta, "kind": "UpdateOptions", "dryRun": ["All"]} and seen[-1]["dryRun"] is True
    await api.post("/api/v1/namespaces", {"metadata": {"name": "fresh"}})
    assert seen[-1]["name"] == seen[-1]["namespace"] == "fresh"

    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await api.post("/apis/apps/v1/namespaces/default/deployments", {
        "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}})
    at = "/apis/apps/v1/namespaces/default/deployments/d"
    scaled = await api.patch(f"{at}/scale", {"spec": {"replicas": 5}})
    assert scaled.json["spec"] == {"replicas": 3} and (await api.get(at)).json["spec"]["replicas"] == 3
    review = seen[-1]
    assert review["kind"] == review["requestKind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert (review["resource"]["resource"], review["subResource"]) == ("deployments", "scale")
    assert (review["object"]["kind"], review["object"]["spec"]) == ("Scale", {"replicas": 3})
    assert review["oldObject"]["spec"] == {"replicas": 1} and review["oldObject"]["status"]["selector"] == "a=b"

    await service_account(api)
    assert (await api.post(f"{ns}/pods", pod("p"))).status == 201
    seen.clear()
    evicted = await api.post(f"{ns}/pods/p/eviction", {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}})
    assert evicted.status == 201 and (await api.get(f"{ns}/pods/p")).status == 404
    assert [(r["operation"], r["kind"]["kind"], r["resource"]["resource"]) for r in seen] == [
        ("CREATE", "Eviction", "pods")] * 2


def policy(kind: str, name: str, rule: dict[str, Any], **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A policy and its binding."""
    rule = {"operations": ["CREATE", "UPDATE"], **rule}
    group = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    binding = {"policyName": name, **({"validationActions": ["Deny"]} if kind == "Validating" else {})}
    return (
        {**group, "kind": f"{kind}AdmissionPolicy", "spec": {"matchConstraints": {"resourceRules": [rule]}, **spec}},
        {**group, "kind": f"{kind}AdmissionPolicyBinding", "spec": binding},
    )


async def test_policies_see_the_version_that_they_name(api: Api, hooks: HookServer) -> None:
    await api.post(CRDS, definition(hooks))
    rule = {"apiGroups": ["conv.example.com"], "apiVersions": ["v1"], "resources": ["widgets"]}
    mutation = {"patchType": "JSONPatch", "jsonPatch": {
        "expression": '[JSONPatch{op: "replace", path: "/spec/hostPort", value: object.spec.hostPort + "0"}]'
    }}
    made = (
        *policy("Mutating", "ten-times", rule, mutations=[mutation], reinvocationPolicy="Never",
                matchConditions=[{"name": "v2", "expression": "request.requestKind.version == 'v2'"}]),
        *policy("Validating", "no-low-ports", rule, validations=[{
            "expression": "request.kind.version == 'v1' && !object.spec.hostPort.endsWith(':20')",
            "messageExpression": "object.spec.hostPort + ' ' + request.requestKind.version",
        }]),
    )
    for obj in made:
        plural = obj["kind"].lower().replace("policy", "policies") if obj["kind"].endswith("Policy") else \
            obj["kind"].lower() + "s"
        assert (await api.post(f"{HOOKS}/{plural}", obj)).status == 201
    created = await api.post(V2, widget("a", "v2", host="h", port="1"))
    assert created.status == 201, created.text
    assert created.json["spec"] == {"host": "h", "port": "10"}
    refused = await api.post(V2, widget("b", "v2", host="h", port="2"))
    assert refused.status == 422 and refused.json["message"].endswith("denied request: h:20 v2"), refused.text
    assert (await api.post(V1, widget("c", hostPort="h:2"))).json["spec"] == {"hostPort": "h:2"}


async def test_policies_see_custom_resources(api: Api) -> None:
    await api.post(CRDS, crontabs())
    rule = {"apiGroups": ["stable.example.com"], "apiVersions": ["*"], "operations": ["*"], "resources": ["crontabs"]}
    await api.post(f"{HOOKS}/validatingadmissionpolicies", {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "few"},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "variables": [{"name": "count", "expression": "has(object.spec.replicas) ? object.spec.replicas : 1"}],
            "validations": [
                {"expression": "variables.count < 3", "messageExpression": "'got ' + string(variables.count)"}
            ],
        },
    })
    await api.post(f"{HOOKS}/validatingadmissionpolicybindings", {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "few"}, "spec": {"policyName": "few", "validationActions": ["Deny"]},
    })
    assert (await api.post(TABS, tab("a", cron="*", replicas=2))).status == 201
    refused = await api.post(TABS, tab("b", cron="*", replicas=3))
    assert refused.status == 422
    assert refused.json["message"].endswith(
        "ValidatingAdmissionPolicy 'few' with binding 'few' denied request: got 3"
    )


async def test_who_writes_the_status_does_not_own_the_spec(api: Api) -> None:
    await api.post(CRDS, crontabs())
    made = await api.post(f"{TABS}?fieldManager=one", {**tab("a", cron="*"), "status": {"replicas": 1}})
    assert [e["manager"] for e in made.json["metadata"]["managedFields"]] == ["one"]
    assert "f:status" not in made.json["metadata"]["managedFields"][0]["fieldsV1"]
    body = {**made.json, "status": {"replicas": 2}, "spec": {"cron": "9"}}
    told = await api.put(f"{TABS}/a/status?fieldManager=two", body)
    [entry] = [e for e in told.json["metadata"]["managedFields"] if e["manager"] == "two"]
    assert entry["subresource"] == "status" and entry["fieldsV1"] == {"f:status": {".": {}, "f:replicas": {}}}
    applied = await api.patch(
        f"{TABS}/a?fieldManager=three", {**tab("a", mode="a"), "status": {"replicas": 5}}, kind="apply-patch+yaml"
    )
    assert applied.status == 200, applied.text
    [entry] = [e for e in applied.json["metadata"]["managedFields"] if e["manager"] == "three"]
    assert entry["fieldsV1"] == {"f:spec": {"f:mode": {}}} and applied.json["status"] == {"replicas": 2}


async def test_a_deprecated_version_warns(api: Api) -> None:
    body = crontabs()
    body["spec"]["versions"][1].update(deprecated=True)
    await api.post(CRDS, body)
    warned = await api.get(TABS.replace("/v1/", "/v2/"))
    assert warned.headers["Warning"] == '299 - "stable.example.com/v2 CronTab is deprecated"'
    assert "Warning" not in (await api.get(TABS)).headers


@pytest.mark.parametrize(
    ("plural", "kind", "spec", "change"),
    [
        (
            "validatingadmissionpolicies", "ValidatingAdmissionPolicy",
            {
                "matchConstraints": {"resourceRules": [
                    {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["x"]}
                ]},
                "validations": [{"expression": "true"}],
            },
            {"failurePolicy": "Ignore"},
        ),
        (
            "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding",
            {"policyName": "p", "validationActions": ["Deny"]}, {"validationActions": ["Warn"]},
        ),
    ],
)
async def test_policies_and_bindings_as_objects(
    api: Api, plural: str, kind: str, spec: dict[str, Any], change: dict[str, Any]
) -> None:
    path = f"{HOOKS}/{plural}"
    names = ("a", "b", "c")
    async with api.watch(f"{path}?watch=1&labelSelector=made=here") as events:
        for name in names:
            made = await api.post(path, {
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                "metadata": {"name": name, "labels": {"made": "here"}}, "spec": spec,
            })
            assert made.status == 201, made.text
        found = (await api.get(f"{path}/a")).json
        assert (await api.patch(f"{path}/a", {"spec": change})).status == 200
        again = (await api.get(f"{path}/b")).json
        again["metadata"]["annotations"] = {"updated": "true"}
        assert (await api.put(f"{path}/b", again)).json["metadata"]["annotations"] == {"updated": "true"}
        assert (await api.delete(f"{path}/a")).status == 200
        assert (await api.get(f"{path}/a")).status == 404 and found["metadata"]["name"] == "a"
        assert (await api.delete(f"{path}?labelSelector=made=here")).status == 200
        types = [event["type"] for event in await take(events, 8)]
    assert types == ["ADDED"] * 3 + ["MODIFIED"] * 2 + ["DELETED"] * 3
    assert (await api.get(path)).json["items"] == []


async def test_the_status_of_a_policy(api: Api) -> None:
    path = f"{HOOKS}/validatingadmissionpolicies"
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]}
    made = (await api.post(path, {"metadata": {"name": "p"}, "spec": spec})).json
    read = (await api.get(f"{path}/p/status")).json
    assert (read["kind"], read["metadata"]["uid"]) == ("ValidatingAdmissionPolicy", made["metadata"]["uid"])
    condition = {
        "type": "StatusPatched", "status": "True", "reason": "E2E", "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    change = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"conditions": [condition]}}
    patched = (await api.patch(f"{path}/p/status", change)).json
    assert [c["type"] for c in patched["status"]["conditions"]] == ["StatusPatched"]
    patched["status"]["conditions"].append({**condition, "type": "StatusUpdated"})
    patched["spec"]["failurePolicy"] = "Ignore"
    updated = (await api.put(f"{path}/p/status", patched)).json
    assert [c["type"] for c in updated["status"]["conditions"]] == ["StatusPatched", "StatusUpdated"]
    assert updated["spec"] == made["spec"] and updated["metadata"]["generation"] == 1
