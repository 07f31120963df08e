"""Rows of sig-api-machinery about admission webhooks, step by step as upstream's own tests take them: the webhook
stands behind a Service, answers as the image of those tests does, and configurations choose namespaces by a label."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from podwright.api.resources import ENDPOINTSLICES

from .conftest import Api, Pki, pod, service_account
from .hook_server import HookServer, hook_server
from .test_admission_of_custom_resources import HOOKS, patch
from .test_conversion_webhooks import CRDS

NS = "/api/v1/namespaces/hooks"
MAPS = f"{NS}/configmaps"
SCOPE = {"matchLabels": {"e2e": "true"}}
MAP_RULE = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
POD_RULE = {**MAP_RULE, "resources": ["pods"]}
UNWANTED = "the configmap contains unwanted key and value"
ANYTHING = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
Review = dict[str, Any]


def verdict(why: str) -> Review:
    return {"allowed": not why, **({"status": {"message": why}} if why else {})}


def data_of(request: Review) -> Review:
    found: Review = (request["object"] or request["oldObject"]).get("data") or {}
    return found


def pods(request: Review) -> Any:
    obj = request["object"]
    names = [container["name"] for container in obj["spec"]["containers"]]
    if "wait-forever" in names:
        return asyncio.sleep(60, {"allowed": True})
    why = "the pod contains unwanted container name; " if "webhook-disallow" in names else ""
    if (obj["metadata"].get("labels") or {}).get("webhook-e2e-test") == "webhook-disallow":
        why += "the pod contains unwanted label"
    return verdict(why)


def config_maps(request: Review) -> Review:
    bad = request["operation"] != "DELETE" and data_of(request).get("webhook-e2e-test") == "webhook-disallow"
    return {"allowed": not bad, **({"status": {"reason": UNWANTED}} if bad else {})}


def mutate(request: Review) -> Review:
    data = data_of(request)
    stage = "mutation-stage-2" if "mutation-stage-1" in data else "mutation-stage-1"
    if data.get("mutation-start") != "yes":
        return {"allowed": True}
    return patch({"op": "add", "path": f"/data/{stage}", "value": "yes"})


def custom(request: Review) -> Review:
    held = data_of(request).get("webhook-e2e-test")
    if request["operation"] == "DELETE":
        why = "the custom resource cannot be deleted because it contains unwanted key and value"
        return verdict(why if held == "webhook-nondeletable" else "")
    return verdict("the custom resource contains unwanted data" if held == "webhook-disallow" else "")


def definitions(request: Review) -> Review:
    bad = (request["object"]["metadata"].get("labels") or {}).get("webhook-e2e-test") == "webhook-disallow"
    return verdict("the crd contains unwanted label" if bad else "")


INIT = {"op": "add", "path": "/spec/initContainers", "value": [{"name": "webhook-added-init-container", "image": "i"}]}
ANSWERS = {
    "/pods": pods, "/configmaps": config_maps, "/mutating-configmaps": mutate, "/mutating-custom-resource": mutate,
    "/custom-resource": custom, "/crd": definitions,
    "/always-deny": lambda _: {"allowed": False, "status": {"reason": "this webhook denies all requests"}},
    "/always-allow-delay": lambda _: asyncio.sleep(1.5, {"allowed": True}),
    "/mutating-pods": lambda _: patch(INIT),
    "/pods/attach": lambda _: verdict("attaching to pod 'to-be-attached-pod' is not allowed"),
    "/add-label": lambda _: patch({"op": "add", "path": "/metadata/labels", "value": {"added": "yes"}}),
}


@pytest.fixture
async def hooks(api: Api, pki: Pki) -> AsyncIterator[HookServer]:
    async with hook_server(pki) as made:
        made.answers.update(ANSWERS)
        await api.post("/api/v1/namespaces", {"metadata": {"name": "hooks", "labels": {"e2e": "true"}}})
        await service_account(api, "hooks")
        service = {"metadata": {"name": "e2e-test-webhook"}, "spec": {"ports": [{"port": 8443}]}}
        await api.post(f"{NS}/services", service)
        # Below validation: an endpoint on loopback is refused.
        await api.server.writer.create(ENDPOINTSLICES, {
            "addressType": "IPv4",
            "metadata": {"name": "e2e-test-webhook-1", "namespace": "hooks",
                         "labels": {"kubernetes.io/service-name": "e2e-test-webhook"}},
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": "", "port": made.port, "protocol": "TCP"}],
        })
        yield made


def hook(hooks: HookServer, name: str, path: str, rule: Review, *operations: str, **more: Any) -> Review:
    service = {"namespace": "hooks", "name": "e2e-test-webhook", "path": path, "port": 8443}
    return {
        "name": f"{name}.k8s.io", "rules": [{**rule, "operations": [*operations]}],
        "clientConfig": {"service": service, "caBundle": hooks.bundle}, "sideEffects": "None",
        "admissionReviewVersions": ["v1", "v1beta1"], "namespaceSelector": SCOPE, **more,
    }


def unreachable(made: Review) -> Review:
    """Without the authority, so that no call succeeds."""
    return {**made, "clientConfig": {"service": made["clientConfig"]["service"]}}


async def register(api: Api, kind: str, *webhooks: Review, name: str = "e2e", **labels: str) -> Review:
    made = await api.post(
        f"{HOOKS}/{kind}webhookconfigurations", {"metadata": {"name": name, "labels": labels}, "webhooks": [*webhooks]}
    )
    assert made.status == 201, made.text
    return dict(made.json)


async def remove(api: Api, kind: str, name: str = "e2e") -> None:
    assert (await api.delete(f"{HOOKS}/{kind}webhookconfigurations/{name}")).status == 200


def bad_map(name: str) -> Review:
    return {"metadata": {"name": name}, "data": {"webhook-e2e-test": "webhook-disallow"}}


def mutable(name: str) -> Review:
    return {"metadata": {"name": name}, "data": {"mutation-start": "yes"}}


def stages(*numbers: int) -> Review:
    return {"mutation-start": "yes", **{f"mutation-stage-{n}": "yes" for n in numbers}}


def deny_maps(hooks: HookServer) -> Review:
    skipping = {**SCOPE, "matchExpressions": [{"key": "skip", "operator": "NotIn", "values": ["yes"]}]}
    return hook(
        hooks, "deny-unwanted-configmap-data", "/configmaps", MAP_RULE, "CREATE", "UPDATE", "DELETE",
        namespaceSelector=skipping,
    )


def stage(hooks: HookServer, number: int, **more: Any) -> Review:
    return hook(hooks, f"adding-configmap-data-stage-{number}", "/mutating-configmaps", MAP_RULE, "CREATE", **more)


async def test_deny_pods_and_config_maps(api: Api, hooks: HookServer) -> None:
    failing = unreachable(hook(hooks, "fail-open", "/configmaps", MAP_RULE, "CREATE", failurePolicy="Ignore"))
    denying = hook(hooks, "deny-unwanted-pod", "/pods", POD_RULE, "CREATE", timeoutSeconds=1)
    await register(api, "validating", denying, deny_maps(hooks), failing)
    disallowed = pod("disallowed-pod")
    disallowed["metadata"]["labels"] = {"webhook-e2e-test": "webhook-disallow"}
    disallowed["spec"]["containers"][0]["name"] = "webhook-disallow"
    refused = (await api.post(f"{NS}/pods", disallowed)).json["message"]
    assert "unwanted container name" in refused and "unwanted label" in refused
    hanging = pod("hanging-pod", containers=[{"name": "wait-forever", "image": "i"}])
    refused = (await api.post(f"{NS}/pods", hanging)).json["message"]
    assert "webhook" in refused and refused.endswith("/pods?timeout=1s\": context deadline exceeded")
    assert (await api.get(f"{NS}/pods/hanging-pod")).status == 404
    refused = (await api.post(MAPS, bad_map("disallowed"))).json
    assert refused["message"].endswith(f"denied the request: {UNWANTED}") and refused["reason"] == UNWANTED
    allowed = {"metadata": {"name": "allowed"}, "data": {"admit": "this"}}
    assert (await api.post(MAPS, allowed)).status == 201
    assert UNWANTED in (await api.put(f"{MAPS}/allowed", {**allowed, **bad_map("allowed")})).text
    change = {"data": bad_map("")["data"]}
    assert UNWANTED in (await api.patch(f"{MAPS}/allowed", change, "strategic-merge-patch+json")).text
    await api.post("/api/v1/namespaces", {"metadata": {"name": "skipped", "labels": {"e2e": "true", "skip": "yes"}}})
    assert (await api.post("/api/v1/namespaces/skipped/configmaps", bad_map("disallowed"))).status == 201


async def test_deny_attaching(api: Api, hooks: HookServer) -> None:
    rule = {**POD_RULE, "resources": ["pods/attach"]}
    await register(api, "validating", hook(hooks, "deny-attaching-pod", "/pods/attach", rule, "CONNECT"))
    assert (await api.post(f"{NS}/pods", pod("to-be-attached-pod"))).status == 201
    refused = await api.post(f"{NS}/pods/to-be-attached-pod/attach?stdin=true&container=c", None)
    assert refused.status == 400 and "attaching to pod 'to-be-attached-pod' is not allowed" in refused.text
    (asked,) = hooks.asked
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "PodAttachOptions"} and asked["options"] is None
    assert asked["object"] == {"kind": "PodAttachOptions", "apiVersion": "v1", "stdin": True, "container": "c"}


async def test_fail_closed(api: Api, hooks: HookServer) -> None:
    failing = unreachable(hook(hooks, "fail-closed", "/configmaps", MAP_RULE, "CREATE", failurePolicy="Fail"))
    await register(api, "validating", failing)
    refused = await api.post(MAPS, {"metadata": {"name": "foo"}})
    assert (refused.status, refused.json["reason"]) == (500, "InternalError")
    assert "x509: certificate signed by unknown authority" in refused.json["message"]


async def test_honor_timeout(api: Api, hooks: HookServer) -> None:
    """With a second and a half where the row's webhook takes five."""
    outcomes = {}
    for policy, seconds in (("Fail", 1), ("Ignore", 1), ("Fail", 10), ("Fail", None)):
        name = f"{policy.lower()}-{seconds or 'default'}"
        slow = hook(
            hooks, f"allow-with-delay-{name}", "/always-allow-delay", MAP_RULE, "CREATE", failurePolicy=policy,
            **({"timeoutSeconds": seconds} if seconds else {}),
            matchConditions=[{"name": "mine", "expression": f"object.metadata.name == '{name}'"}],
        )
        made = await register(api, "validating", slow, name=name)
        assert made["webhooks"][0]["timeoutSeconds"] == (seconds or 10)
        outcomes[name] = api.post(MAPS, {"metadata": {"name": name}})
    answers = dict(zip(outcomes, await asyncio.gather(*outcomes.values()), strict=True))
    refused = answers.pop("fail-1").json["message"]
    assert "context deadline exceeded" in refused and "/always-allow-delay?timeout=1s" in refused
    assert {answer.status for answer in answers.values()} == {201}


async def test_mutations_in_order_and_defaults_after_them(api: Api, hooks: HookServer) -> None:
    await register(api, "mutating", stage(hooks, 1), stage(hooks, 2))
    assert (await api.post(MAPS, mutable("to-be-mutated"))).json["data"] == stages(1, 2)
    await remove(api, "mutating")
    await register(api, "mutating", hook(hooks, "adding-init-container", "/mutating-pods", POD_RULE, "CREATE"))
    (init,) = (await api.post(f"{NS}/pods", pod("webhook-to-be-mutated"))).json["spec"]["initContainers"]
    assert init["name"] == "webhook-added-init-container" and init["terminationMessagePolicy"] == "File"


async def test_what_configures_webhooks_is_beyond_them(api: Api, hooks: HookServer) -> None:
    rule = {"apiGroups": ["admissionregistration.k8s.io"], "apiVersions": ["*"],
            "resources": ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"]}
    more = {"failurePolicy": "Fail", "namespaceSelector": {}}
    await register(api, "validating", hook(hooks, "deny", "/always-deny", rule, "DELETE", **more), name="blocking")
    await register(api, "mutating", hook(hooks, "label", "/add-label", rule, "CREATE", **more), name="blocking")
    nothing = {**MAP_RULE, "resources": ["invalid"]}
    for kind in ("validating", "mutating"):
        dummy = unreachable(hook(hooks, f"dummy-{kind}", "", nothing, "CREATE", failurePolicy="Ignore"))
        made = await register(api, kind, dummy)
        assert "added" not in (made["metadata"].get("labels") or {})
        await remove(api, kind)
    for kind in ("validating", "mutating"):
        await remove(api, kind, "blocking")
    assert not hooks.asked


@pytest.mark.parametrize("kind", ["validating", "mutating"])
async def test_rules_are_updated_and_patched(api: Api, hooks: HookServer, kind: str) -> None:
    await register(api, kind, deny_maps(hooks) if kind == "validating" else stage(hooks, 1))

    async def works(name: str) -> bool:
        made = await api.post(MAPS, {"metadata": {"name": name}, "data": stages() | bad_map("")["data"]})
        return made.status == 400 if kind == "validating" else "mutation-stage-1" in made.json["data"]

    assert await works("a")
    at = f"{HOOKS}/{kind}webhookconfigurations/e2e"
    held = (await api.get(at)).json
    held["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    assert (await api.put(at, held)).status == 200 and not await works("b")
    change = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]
    assert (await api.patch(at, change, "json-patch+json")).status == 200 and await works("c")


@pytest.mark.parametrize("kind", ["validating", "mutating"])
async def test_ten_are_listed_and_deleted_by_label(api: Api, hooks: HookServer, kind: str) -> None:
    for i in range(10):
        await register(
            api, kind, deny_maps(hooks) if kind == "validating" else stage(hooks, 1), name=f"e2e-{i}", uuid="u"
        )
    query = f"{HOOKS}/{kind}webhookconfigurations?labelSelector=uuid%3Du"
    assert len((await api.get(query)).json["items"]) == 10
    body = {"metadata": {"name": "a"}, "data": stages() | bad_map("")["data"]}
    first = await api.post(MAPS, body)
    assert first.status == 400 if kind == "validating" else "mutation-stage-1" in first.json["data"]
    assert (await api.delete(query)).status == 200
    second = await api.post(MAPS, {**body, "metadata": {"name": "b"}})
    assert second.status == 201 and second.json["data"] == body["data"]


@pytest.mark.parametrize("kind", ["validating", "mutating"])
async def test_match_conditions(api: Api, hooks: HookServer, kind: str) -> None:
    at = f"{HOOKS}/{kind}webhookconfigurations"
    first = [{"name": "expression-1", "expression": "object.metadata.namespace == 'production'"}]
    both = [*first, {"name": "expression-2", "expression": "object.metadata.namespace == 'staging'"}]
    conditional = hook(hooks, "conditional", "/always-deny", MAP_RULE, "CREATE", matchConditions=first)
    await register(api, kind, conditional)
    held = (await api.get(f"{at}/e2e")).json
    assert held["webhooks"][0]["matchConditions"] == first
    held["webhooks"][0]["matchConditions"] = both
    assert (await api.put(f"{at}/e2e", held)).json["webhooks"][0]["matchConditions"] == both
    bad = {**conditional, "matchConditions": [{"name": "invalid-expression-1", "expression": "... [] bad expression"}]}
    refused = await api.post(at, {"metadata": {"name": "bad"}, "webhooks": [bad]})
    assert refused.status == 422 and "webhooks[0].matchConditions[0].expression" in refused.text
    assert "compilation failed" in refused.text
    assert (await api.post(MAPS, {"metadata": {"name": "a"}})).status == 201 and not hooks.asked


async def test_everything_but_skip_me_is_mutated(api: Api, hooks: HookServer) -> None:
    condition = {"name": "skip-me", "expression": "object.metadata.name != 'skip-me'"}
    made = stage(hooks, 1, matchConditions=[condition])
    made["rules"][0]["operations"].append("DELETE")
    await register(api, "mutating", made)
    assert (await api.post(MAPS, mutable("any"))).json["data"] == stages(1)
    assert (await api.post(MAPS, mutable("skip-me"))).json["data"] == stages()
    assert (await api.delete(f"{MAPS}/any")).status == 403, "there the condition has no object, which is a failure"


async def defined(api: Api, schema: Review, **labels: str) -> Review:
    """A definition of two versions, the first of which is stored."""
    return dict((await api.post(CRDS, {
        "metadata": {"name": "e2e-tests.webhook.example.com", "labels": labels},
        "spec": {
            "group": "webhook.example.com", "scope": "Namespaced", "names": {"plural": "e2e-tests", "kind": "E2e-test"},
            "versions": [{"name": v, "served": True, "storage": v == "v1", "schema": schema} for v in ("v1", "v2")],
        },
    })).json)


CUSTOM_RULE = {"apiGroups": ["webhook.example.com"], "apiVersions": ["v1", "v2"], "resources": ["e2e-tests"]}
CUSTOM = "/apis/webhook.example.com/v1/namespaces/hooks/e2e-tests"


def instance(name: str, **data: str) -> Review:
    return {"apiVersion": "webhook.example.com/v1", "kind": "E2e-test", "metadata": {"name": name}, "data": data}


async def test_deny_custom_resources(api: Api, hooks: HookServer) -> None:
    await defined(api, ANYTHING)
    denying = hook(hooks, "deny-custom", "/custom-resource", CUSTOM_RULE, "CREATE", "UPDATE", "DELETE")
    await register(api, "validating", denying)
    unwanted = "the custom resource contains unwanted data"
    bad = instance("cr-instance-1", **{"webhook-e2e-test": "webhook-disallow"})
    assert unwanted in (await api.post(CUSTOM, bad)).text
    made = await api.post(CUSTOM, instance("cr-instance-2", **{"webhook-e2e-test": "webhook-nondeletable"}))
    assert made.status == 201, made.text
    assert unwanted in (await api.put(f"{CUSTOM}/cr-instance-2", {**made.json, "data": bad["data"]})).text
    for path in (f"{CUSTOM}/cr-instance-2", CUSTOM):
        assert "cannot be deleted because it contains unwanted key and value" in (await api.delete(path)).text
    allowed = {**made.json, "data": {"webhook-e2e-test": "webhook-allow"}}
    assert (await api.put(f"{CUSTOM}/cr-instance-2", allowed)).status == 200
    assert (await api.delete(f"{CUSTOM}/cr-instance-2")).status == 200


def custom_stages(hooks: HookServer) -> tuple[Review, Review]:
    path = "/mutating-custom-resource"
    return (hook(hooks, "mutate-stage-1", path, CUSTOM_RULE, "CREATE", "UPDATE"),
            hook(hooks, "mutate-stage-2", path, CUSTOM_RULE, "CREATE"))


async def test_mutate_custom_resources_over_a_change_of_the_stored_version(api: Api, hooks: HookServer) -> None:
    await defined(api, ANYTHING)
    await register(api, "mutating", *custom_stages(hooks))
    assert (await api.post(CUSTOM, instance("a", **stages()))).json["data"] == stages(1, 2)
    versions = [{"name": v, "served": True, "storage": v == "v2", "schema": ANYTHING} for v in ("v1", "v2")]
    at = f"{CRDS}/e2e-tests.webhook.example.com"
    changed = await api.patch(at, {"spec": {"versions": versions}}, "strategic-merge-patch+json")
    assert changed.json["status"]["storedVersions"] == ["v1", "v2"], changed.text
    dummy = [{"op": "add", "path": "/dummy", "value": "test"}]
    patched = await api.patch(f"{CUSTOM.replace('/v1/', '/v2/')}/a", dummy, "json-patch+json")
    assert patched.json["data"] == stages(1, 2) and patched.json["dummy"] == "test"


async def test_mutate_custom_resources_with_pruning(api: Api, hooks: HookServer) -> None:
    text = {"type": "string"}
    data = {"type": "object", "properties": {"mutation-start": text, "mutation-stage-1": text}}
    await defined(api, {"openAPIV3Schema": {"type": "object", "properties": {"data": data}}})
    await register(api, "mutating", *custom_stages(hooks))
    made = await api.post(CUSTOM, instance("a", **stages()))
    assert made.json["data"] == stages(1) == (await api.get(f"{CUSTOM}/a")).json["data"]


async def test_deny_definitions(api: Api, hooks: HookServer) -> None:
    rule = {"apiGroups": ["apiextensions.k8s.io"], "apiVersions": ["*"], "resources": ["customresourcedefinitions"]}
    more = {"namespaceSelector": {}, "objectSelector": SCOPE}
    await register(api, "validating", hook(hooks, "deny-crd", "/crd", rule, "CREATE", **more))
    refused = await defined(api, ANYTHING, **{"e2e": "true", "webhook-e2e-test": "webhook-disallow"})
    why = 'admission webhook "deny-crd.k8s.io" denied the request: the crd contains unwanted label'
    assert refused["message"] == why
    assert (await defined(api, ANYTHING, e2e="true"))["kind"] == "CustomResourceDefinition"


async def test_webhooks_see_reviews_and_policies_do_not(api: Api, hooks: HookServer) -> None:
    rule = {"apiGroups": ["authorization.k8s.io"], "apiVersions": ["*"], "resources": ["*"]}
    matched = {"resourceRules": [{**rule, "operations": ["*"]}]}
    spec = {"matchConstraints": matched, "validations": [{"expression": "false"}]}
    await api.post(f"{HOOKS}/validatingadmissionpolicies", {"metadata": {"name": "p"}, "spec": spec})
    bound = {"policyName": "p", "validationActions": ["Deny"]}
    await api.post(f"{HOOKS}/validatingadmissionpolicybindings", {"metadata": {"name": "p"}, "spec": bound})
    review = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await api.post(path, review)).json["status"]["allowed"] is True
    await register(api, "validating", hook(hooks, "deny", "/always-deny", rule, "CREATE", namespaceSelector={}))
    refused = await api.post(path, review)
    assert refused.status == 400 and "this webhook denies all requests" in refused.text


async def test_discovery_has_them(api: Api) -> None:
    group = next(g for g in (await api.get("/apis")).json["groups"] if g["name"] == "admissionregistration.k8s.io")
    assert [v["version"] for v in group["versions"]] == ["v1"]
    assert (await api.get("/apis/admissionregistration.k8s.io")).json["versions"] == group["versions"]
    listed = (await api.get(HOOKS)).json
    assert listed["groupVersion"] == "admissionregistration.k8s.io/v1"
    names = {r["name"] for r in listed["resources"]}
    assert {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} <= names
