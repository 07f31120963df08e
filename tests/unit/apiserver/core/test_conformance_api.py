"""Rows of sig-api-machinery and sig-auth that the API server answers for alone (docs/conformance.md)."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from contextlib import AsyncExitStack
from typing import Any

import pytest
from multidict import CIMultiDict

from .conftest import Api, Pki, config_map, service_account, take
from .test_admission_of_custom_resources import HOOKS
from .test_certificate_requests import request as signing_request
from .test_conversion_webhooks import CRDS

NS = "/api/v1/namespaces/default"
MAPS = f"{NS}/configmaps"


async def lifecycle(api: Api, path: str, body: dict[str, Any], *, status: dict[str, Any] | None = None) -> None:
    """Every verb that a client has: create (three, where the server may name them), get, list, watch, patch, update,
    status, delete, deletecollection."""
    labels = {"row": "lifecycle"}
    body = {**body, "metadata": {**body["metadata"], "labels": labels}}
    query = "labelSelector=row%3Dlifecycle"
    count = 3 if "generateName" in body["metadata"] else 1
    for _ in range(count):
        made = await api.post(path, body)
        assert made.status == 201, made.text
    name = made.json["metadata"]["name"]
    at = f"{path}/{name}"
    assert (await api.get(at)).json["metadata"]["uid"] == made.json["metadata"]["uid"]
    found = (await api.get(f"{path}?{query}")).json
    assert len(found["items"]) == count
    version = found["metadata"]["resourceVersion"]
    async with api.watch(f"{path}?watch=1&{query}&resourceVersion={version}") as events:
        patched = await api.patch(at, {"metadata": {"annotations": {"patched": "true"}}})
        assert patched.json["metadata"]["annotations"]["patched"] == "true"
        assert int(patched.json["metadata"]["resourceVersion"]) > int(made.json["metadata"]["resourceVersion"])
        changed = patched.json
        changed["metadata"]["annotations"]["updated"] = "true"
        updated = await api.put(at, changed)
        assert updated.json["metadata"]["annotations"]["updated"] == "true", updated.text
        seen = ["MODIFIED", "MODIFIED"]
        if status is not None:
            written = await api.patch(f"{at}/status", {"status": status})
            assert written.status == 200, written.text
            read = (await api.get(f"{at}/status")).json
            assert (read["kind"], read["metadata"]["uid"]) == (made.json["kind"], made.json["metadata"]["uid"])
            assert all(read["status"][key] == value for key, value in status.items())
            put = await api.put(f"{at}/status", {**read, "metadata": {**read["metadata"], "annotations": {"s": "u"}}})
            assert put.status == 200, put.text
            seen += ["MODIFIED"] * (2 if put.json["metadata"]["resourceVersion"] != read["metadata"]["resourceVersion"]
                                    else 1)
        assert (await api.delete(at)).status == 200
        assert [e["type"] for e in await take(events, len(seen) + 1)] == [*seen, "DELETED"]
    assert (await api.get(at)).status == 404
    assert len((await api.get(f"{path}?{query}")).json["items"]) == count - 1
    assert (await api.post(path, body)).status == 201
    assert (await api.delete(f"{path}?{query}")).status == 200
    assert not (await api.get(f"{path}?{query}")).json["items"]


async def listed(api: Api, group_version: str, *names: str) -> None:
    """Discovery has the resources."""
    path = f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"
    found = {r["name"] for r in (await api.get(path)).json["resources"]}
    assert set(names) <= found, group_version


async def test_service_cidrs_and_addresses(api: Api) -> None:
    await listed(api, "networking.k8s.io/v1", "servicecidrs", "servicecidrs/status", "ipaddresses")
    group = "/apis/networking.k8s.io/v1"
    condition = {
        "type": "Test", "status": "True", "reason": "E2E", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    cidr = {"metadata": {"name": "test"}, "spec": {"cidrs": ["10.9.0.0/24"]}}
    await lifecycle(api, f"{group}/servicecidrs", cidr, status={"conditions": [condition]})
    parent = {"parentRef": {"group": "", "resource": "services", "name": "x", "namespace": "y"}}
    await lifecycle(api, f"{group}/ipaddresses", {"metadata": {"name": "192.168.7.5"}, "spec": parent})


async def test_flow_schemas_and_priority_levels(api: Api) -> None:
    await listed(
        api, "flowcontrol.apiserver.k8s.io/v1", "flowschemas", "flowschemas/status", "prioritylevelconfigurations",
        "prioritylevelconfigurations/status",
    )
    group = "/apis/flowcontrol.apiserver.k8s.io/v1"
    rule = {
        "subjects": [{"kind": "User", "user": {"name": "example"}}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}],
    }
    schema = {
        "metadata": {"generateName": "e2e-"},
        "spec": {"matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"},
                 "rules": [rule], "distinguisherMethod": {"type": "ByUser"}},
    }
    condition = {"type": "Dangling", "status": "False", "reason": "E2E", "message": "m",
                 "lastTransitionTime": "2026-01-01T00:00:00Z"}
    await lifecycle(api, f"{group}/flowschemas", schema, status={"conditions": [condition]})
    limited = {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}
    level = {"metadata": {"generateName": "e2e-"}, "spec": {"type": "Limited", "limited": limited}}
    await lifecycle(
        api, f"{group}/prioritylevelconfigurations", level, status={"conditions": [{**condition, "type": "E2E"}]}
    )


async def test_requests_are_classified(api: Api) -> None:
    """An answer names the flow schema and the priority level that it was served by."""
    group = "/apis/flowcontrol.apiserver.k8s.io/v1"
    limited = {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}
    level = await api.post(
        f"{group}/prioritylevelconfigurations",
        {"metadata": {"name": "test-level"}, "spec": {"type": "Limited", "limited": limited}},
    )
    rule = {"subjects": [{"kind": "User", "user": {"name": "noxu"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}
    schema = await api.post(f"{group}/flowschemas", {"metadata": {"name": "test-schema"}, "spec": {
        "matchingPrecedence": 1000, "priorityLevelConfiguration": {"name": "test-level"},
        "distinguisherMethod": {"type": "ByUser"}, "rules": [rule]}})
    uids = schema.json["metadata"]["uid"], level.json["metadata"]["uid"]
    for user, own in (("noxu", True), ("foo", False)):
        headers = {"Impersonate-User": user, "Impersonate-Group": "system:authenticated"}
        answer = await api.get("/version", headers=headers)
        served = tuple(answer.headers[f"X-Kubernetes-PF-{kind}-UID"] for kind in ("FlowSchema", "PriorityLevel"))
        assert all(served) and (served == uids) is own
    assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="test-level"}' in (await api.get("/metrics")).text


async def test_certificate_signing_requests(api: Api, pki: Pki) -> None:
    await listed(
        api, "certificates.k8s.io/v1", "certificatesigningrequests", "certificatesigningrequests/approval",
        "certificatesigningrequests/status",
    )
    group = (await api.get("/apis/certificates.k8s.io")).json
    assert "certificates.k8s.io/v1" in [version["groupVersion"] for version in group["versions"]]
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    template = signing_request("e2e")
    template["metadata"] = {"generateName": "e2e-"}
    template["spec"] |= {"signerName": "example.com/e2e", "expirationSeconds": 3600}
    *_, made = [(await api.post(path, template)).json for _ in range(3)]
    own = "fieldSelector=spec.signerName%3Dexample.com/e2e"
    listed_ = (await api.get(f"{path}?{own}")).json
    assert len(listed_["items"]) == 3 and made["spec"]["expirationSeconds"] == 3600
    name, at = made["metadata"]["name"], f"{path}/{made['metadata']['name']}"
    since = listed_["metadata"]["resourceVersion"]
    async with api.watch(f"{path}?watch=1&fieldSelector=metadata.name%3D{name}&resourceVersion={since}") as events:
        patched = (await api.patch(at, {"metadata": {"annotations": {"patched": "true"}}})).json
        patched["metadata"]["annotations"]["updated"] = "true"
        assert (await api.put(at, patched)).json["metadata"]["annotations"]["updated"] == "true"
        seen = await take(events, 2)
        assert [e["type"] for e in seen] == ["MODIFIED", "MODIFIED"]
        assert seen[0]["object"]["metadata"]["annotations"] == {"patched": "true"}

    approval = (await api.get(f"{at}/approval")).json
    assert (approval["kind"], approval["metadata"]["uid"]) == ("CertificateSigningRequest", made["metadata"]["uid"])
    asked = {"type": "ApprovalPatch", "status": "True", "reason": "e2e"}
    change = {"metadata": {"annotations": {"patchedapproval": "true"}}, "status": {"conditions": [asked]}}
    approval = (await api.patch(f"{at}/approval", change)).json
    assert [c["type"] for c in approval["status"]["conditions"]] == ["ApprovalPatch"]
    assert approval["metadata"]["annotations"]["patchedapproval"] == "true"
    approved = {"type": "Approved", "status": "True", "reason": "E2E", "message": "Set from a test"}
    approval["status"]["conditions"].append(approved)
    approval = (await api.put(f"{at}/approval", approval)).json
    assert [c["type"] for c in approval["status"]["conditions"]] == ["ApprovalPatch", "Approved"]

    status = (await api.get(f"{at}/status")).json
    assert (status["kind"], status["metadata"]["uid"]) == ("CertificateSigningRequest", made["metadata"]["uid"])
    issued = base64.b64encode(pki.path("ca.crt").read_bytes()).decode()
    change = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"certificate": issued}}
    status = (await api.patch(f"{at}/status", change)).json
    assert status["status"]["certificate"] == issued and status["metadata"]["annotations"]["patchedstatus"] == "true"
    status["status"]["conditions"].append({**approved, "type": "StatusUpdate"})
    status = (await api.put(f"{at}/status", status)).json
    assert [c["type"] for c in status["status"]["conditions"]] == ["ApprovalPatch", "Approved", "StatusUpdate"]

    assert (await api.delete(at)).status == 200 and (await api.get(at)).status == 404
    assert len((await api.get(f"{path}?{own}")).json["items"]) == 2
    assert (await api.delete(f"{path}?{own}")).status == 200
    assert (await api.get(f"{path}?{own}")).json["items"] == []


async def test_service_accounts(api: Api) -> None:
    path, own = f"{NS}/serviceaccounts", "labelSelector=static%3Dtrue"
    made = (await api.post(path, {"metadata": {"name": "a", "labels": {"static": "true"}}})).json
    assert (await api.get(f"{path}/a")).json["metadata"]["uid"] == made["metadata"]["uid"]
    async with api.watch(f"{path}?watch=1&{own}") as events:
        change = {"automountServiceAccountToken": False}
        patched = await api.patch(f"{path}/a", change, kind="strategic-merge-patch+json")
        assert patched.status == 200, patched.text
        (found,) = (await api.get(f"/api/v1/serviceaccounts?{own}")).json["items"]
        assert found["automountServiceAccountToken"] is False
        updated = {**patched.json, "automountServiceAccountToken": True}
        assert (await api.put(f"{path}/a", updated)).json["automountServiceAccountToken"] is True
        assert (await api.delete(path)).status == 200
        assert [e["type"] for e in await take(events, 4)] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]


async def test_a_token_of_an_account_is_reviewed(api: Api) -> None:
    await api.post(f"{NS}/serviceaccounts", {"metadata": {"name": "e2e-sa"}})
    made = await api.post(f"{NS}/serviceaccounts/e2e-sa/token", {})
    assert made.status == 201 and made.json["status"]["token"]
    review = {"spec": {"token": made.json["status"]["token"]}}
    said = (await api.post("/apis/authentication.k8s.io/v1/tokenreviews", review)).json["status"]
    assert said["authenticated"] is True and not said.get("error")
    assert said["user"]["username"] == "system:serviceaccount:default:e2e-sa"
    assert set(said["user"]["groups"]) == {
        "system:authenticated", "system:serviceaccounts", "system:serviceaccounts:default"}
    (credential,) = said["user"]["extra"]["authentication.kubernetes.io/credential-id"]
    assert credential.startswith("JTI=")


async def test_subject_reviews_agree_with_what_an_account_may(api: Api) -> None:
    await service_account(api)
    user = "system:serviceaccount:default:default"
    rbac = "rbac.authorization.k8s.io"
    role = {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}
    await api.post(f"/apis/{rbac}/v1/namespaces/default/roles", role)
    binding = {
        "metadata": {"name": "b"}, "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
    }
    await api.post(f"/apis/{rbac}/v1/namespaces/default/rolebindings", binding)
    await api.post(MAPS, config_map("c"))
    reviews = "/apis/authorization.k8s.io/v1"
    groups = ["system:authenticated", "system:serviceaccounts", "system:serviceaccounts:default"]
    uid = (await api.get(f"{NS}/serviceaccounts/default")).json["metadata"]["uid"]
    as_account = CIMultiDict([("Impersonate-User", user), ("Impersonate-Uid", uid)])
    for name in groups:
        as_account.add("Impersonate-Group", name)
    for verb, allowed in (("get", True), ("delete", False)):
        asked = {"verb": verb, "resource": "configmaps", "namespace": "default", "name": "c", "version": "v1"}
        spec = {"resourceAttributes": asked, "user": user, "groups": groups, "uid": uid}
        for path in ("subjectaccessreviews", "namespaces/default/localsubjectaccessreviews"):
            said = await api.post(f"{reviews}/{path}", {"metadata": {"namespace": "default"} if "/" in path else {},
                                                        "spec": spec})
            assert said.json["status"]["allowed"] is allowed, said.text
        done = await api.request(verb.upper(), f"{MAPS}/c", headers=as_account)
        assert done.status == (200 if allowed else 403)


PRESENT = {
    "admissionregistration.k8s.io/v1": "validatingwebhookconfigurations",
    "apiextensions.k8s.io/v1": "customresourcedefinitions", "apiregistration.k8s.io/v1": "apiservices",
    "apps/v1": "deployments", "authentication.k8s.io/v1": "tokenreviews",
    "authorization.k8s.io/v1": "selfsubjectaccessreviews", "autoscaling/v1": "horizontalpodautoscalers",
    "autoscaling/v2": "horizontalpodautoscalers", "batch/v1": "jobs",
    "certificates.k8s.io/v1": "certificatesigningrequests", "coordination.k8s.io/v1": "leases",
    "discovery.k8s.io/v1": "endpointslices", "events.k8s.io/v1": "events", "networking.k8s.io/v1": "ingresses",
    "node.k8s.io/v1": "runtimeclasses", "policy/v1": "poddisruptionbudgets",
    "scheduling.k8s.io/v1": "priorityclasses", "storage.k8s.io/v1": "csinodes",
}


async def test_the_version_and_every_group(api: Api) -> None:
    version = (await api.get("/version")).json
    assert int(version["major"]) == 1 and int(version["minor"]) == 37
    groups = (await api.get("/apis/")).json["groups"]
    assert len(groups) > 15
    for group_version, resource in PRESENT.items():
        await listed(api, group_version, resource)
    await listed(api, "v1", "namespaces")
    assert (await api.get("/apis/not-these-apps/v1")).status == 404
    assert "please-dont-ever-create-this" not in (await api.get("/apis/apps/v1")).text
    for group in groups:
        versions = [v["groupVersion"] for v in group["versions"]]
        assert group["preferredVersion"]["groupVersion"] in versions
        assert (await api.get(f"/apis/{group['name']}/")).json["preferredVersion"] == group["preferredVersion"]
        for each in versions:
            resources = (await api.get(f"/apis/{each}")).json
            assert resources["groupVersion"] == each and resources["resources"], each


async def test_tables_are_not_for_everything(api: Api) -> None:
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    body = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    refused = await api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body, headers=table)
    assert (refused.status, refused.json["reason"]) == (406, "NotAcceptable")


async def test_pages_of_pod_templates(api: Api) -> None:
    path = f"{NS}/podtemplates"
    spec = {"containers": [{"name": "c", "image": "i"}]}
    bodies = [{"metadata": {"name": f"t-{i:03}"}, "template": {"spec": spec}} for i in range(40)]
    await asyncio.gather(*(api.post(path, body) for body in bodies))
    names: list[str] = []
    token, versions = "", set()
    while True:
        page = (await api.get(f"{path}?limit=17&continue={token}")).json
        names += [o["metadata"]["name"] for o in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        assert page["metadata"].get("remainingItemCount", 0) == 40 - len(names)
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert names == [b["metadata"]["name"] for b in bodies] and len(versions) == 1
    whole = (await api.get(f"{path}?limit=40")).json
    assert len(whole["items"]) == 40 and whole["metadata"].keys() == {"resourceVersion"}
    table = {"Accept": "application/json;as=Table;v=v1beta1;g=meta.k8s.io"}
    first = (await api.get(f"{path}?limit=2", headers=table)).json
    assert [row["cells"][0] for row in first["rows"]] == ["t-000", "t-001"]
    rest = (await api.get(f"{path}?continue={first['metadata']['continue']}", headers=table)).json
    assert len(rest["rows"]) == 38 and rest["rows"][0]["cells"][0] == "t-002"


async def test_namespaces_patch_status_finalizer(api: Api) -> None:
    path = "/api/v1/namespaces"
    made = (await api.post(path, {"metadata": {"name": "n"}})).json
    assert made["status"]["phase"] == "Active"
    assert (await api.patch(f"{path}/n", {"metadata": {"labels": {"a": "b"}}})).json["metadata"]["labels"]["a"] == "b"
    condition = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "m", "lastTransitionTime": None}
    patched = await api.patch(f"{path}/n/status", {"metadata": {"annotations": {"s": "1"}},
                                                   "status": {"conditions": [condition]}})
    assert patched.json["metadata"]["annotations"] == {"s": "1"}, patched.text
    assert patched.json["status"]["phase"] == "Active"
    assert [(c["type"], c["reason"], c["message"]) for c in patched.json["status"]["conditions"]] == [
        ("StatusPatch", "E2E", "m")]
    status = (await api.get(f"{path}/n/status")).json
    status["status"]["conditions"].append({**condition, "type": "StatusUpdate"})
    assert len((await api.put(f"{path}/n/status", status)).json["status"]["conditions"]) == 2
    whole = (await api.get(f"{path}/n")).json
    whole["spec"]["finalizers"].append("e2e.example.com/fake")
    held = await api.put(f"{path}/n/finalize", whole)
    assert held.json["spec"]["finalizers"] == ["kubernetes", "e2e.example.com/fake"]
    freed = held.json
    freed["spec"]["finalizers"] = ["kubernetes"]
    assert (await api.put(f"{path}/n/finalize", freed)).json["spec"]["finalizers"] == ["kubernetes"]
    whole = (await api.get(f"{path}/n")).json
    whole["metadata"]["labels"]["updated"] = "true"
    assert (await api.put(f"{path}/n", whole)).json["metadata"]["labels"]["updated"] == "true"


def labelled(name: str, label: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"w": label}}}


async def test_several_watchers_see_what_they_select(api: Api) -> None:
    def watching(*labels: str) -> Any:
        return api.watch(f"{MAPS}?watch=1&labelSelector=w%20in%20({','.join(labels)})")

    async with watching("a") as only_a, watching("b") as only_b, watching("a", "b") as both:
        made = [(await api.post(MAPS, labelled("a", "a"))).json]
        for step in ("1", "2"):
            read = (await api.get(f"{MAPS}/a")).json
            made.append((await api.put(f"{MAPS}/a", {**read, "data": {"mutation": step}})).json)
        await api.delete(f"{MAPS}/a")
        made.append((await api.post(MAPS, labelled("b", "b"))).json)
        await api.delete(f"{MAPS}/b")
        seen = await take(both, 6)
        assert [e["type"] for e in seen] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
        assert [e["object"] for e in seen if e["type"] != "DELETED"] == made, "the very objects that were answered"
        assert await take(only_a, 4) == seen[:4]
        assert await take(only_b, 2) == seen[4:]


async def test_watches_start_where_others_ended(api: Api) -> None:
    """Closed and restarted; from a version, also of what is gone since."""
    path = f"{MAPS}?watch=1&labelSelector=w%3Da"
    async with api.watch(path) as events:
        await api.post(MAPS, labelled("a", "a"))
        first = (await api.patch(f"{MAPS}/a", {"data": {"mutation": "1"}})).json
        added, last = await take(events, 2)
    assert (added["type"], last["type"], last["object"]) == ("ADDED", "MODIFIED", first)
    second = (await api.patch(f"{MAPS}/a", {"data": {"mutation": "2"}})).json
    since = last["object"]["metadata"]["resourceVersion"]
    async with api.watch(f"{path}&resourceVersion={since}") as events:
        await api.delete(f"{MAPS}/a")
        seen = await take(events, 2)
    assert [e["type"] for e in seen] == ["MODIFIED", "DELETED"] and seen[0]["object"] == second
    assert int(seen[1]["object"]["metadata"]["resourceVersion"]) > int(second["metadata"]["resourceVersion"])
    async with api.watch(f"{path}&resourceVersion={since}") as events:
        assert await take(events, 2) == seen


async def test_watches_from_each_version_see_the_same_order(api: Api) -> None:
    rounds, chance = 25, random.Random(1)
    since = (await api.get(MAPS)).json["metadata"]["resourceVersion"]
    present: list[str] = []

    async def change(number: int) -> None:
        act = chance.choice(("create", "update", "delete")) if present else "create"
        if act == "create":
            present.append(f"cm-{number}")
            await api.post(MAPS, {"metadata": {"name": present[-1]}})
        elif act == "update":
            name = chance.choice(present)
            await api.put(f"{MAPS}/{name}", {"metadata": {"name": name}, "data": {"n": str(number)}})
        else:
            await api.delete(f"{MAPS}/{present.pop(chance.randrange(len(present)))}")

    async with AsyncExitStack() as stack:
        watches = []
        for number in range(rounds):
            watches.append(await stack.enter_async_context(api.watch(f"{MAPS}?watch=1&resourceVersion={since}")))
            await change(number)
            versions = [e["object"]["metadata"]["resourceVersion"] for w in watches for e in await take(w, 1)]
            assert len(set(versions)) == 1
            since = versions[0]


async def test_an_object_that_leaves_the_selector_is_deleted_to_the_watcher(api: Api) -> None:
    async with api.watch(f"{MAPS}?watch=1&labelSelector=w%3Dyes") as events:
        await api.post(MAPS, {**config_map("a"), "metadata": {"name": "a", "labels": {"w": "yes"}}})
        for change in (
            {"data": {"mutation": "1"}}, {"metadata": {"labels": {"w": "no"}}}, {"data": {"mutation": "2"}},
            {"metadata": {"labels": {"w": "yes"}}}, {"data": {"mutation": "3"}},
        ):
            assert (await api.patch(f"{MAPS}/a", change)).status == 200
        gone = await api.delete(f"{MAPS}/a")
        assert gone.status == 200
        got = await take(events, 6)
    versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in got]
    assert versions == sorted(set(versions)), "a deletion has the version at which the object left"
    assert [(e["type"], e["object"].get("data", {}).get("mutation")) for e in got] == [
        ("ADDED", None), ("MODIFIED", "1"), ("DELETED", "1"), ("ADDED", "2"), ("MODIFIED", "3"), ("DELETED", "3"),
    ]


async def test_field_validation_of_typed_objects(api: Api) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments?fieldValidation=Strict"
    template = '{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}'

    def body(metadata: str, spec: str) -> bytes:
        return (
            '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"' + metadata + '},"spec":{"selector":'
            '{"matchLabels":{"a":"b"}},"template":' + template + spec + "}}"
        ).encode()

    both = await api.post(path, body("", ',"unknown":1,"paused":true,"paused":false,"other":1'))
    told = 'unknown field "spec.unknown", duplicate field "spec.paused", unknown field "spec.other"'
    assert both.status == 400 and both.json["message"].endswith(f"strict decoding error: {told}"), both.text
    metadata = await api.post(path, body(',"strange":1', ""))
    assert 'strict decoding error: unknown field "metadata.strange"' in json.loads(metadata.body)["message"]


async def test_policies_whose_expressions_are_none(api: Api) -> None:
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    policy = {
        "metadata": {"name": "p"},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "matchConditions": [{"name": "c", "expression": "variables.a"}],
            "variables": [{"name": "a", "expression": "params.x"}],
            "validations": [{"expression": "object.spec.replicas <", "messageExpression": "authorizer"}],
        },
    }
    refused = await api.post(f"{HOOKS}/validatingadmissionpolicies", policy)
    causes = refused.json["details"]["causes"]
    assert [c["field"] for c in causes] == [
        "spec.matchConditions[0].expression", "spec.variables[0].expression",
        "spec.validations[0].messageExpression", "spec.validations[0].expression",
    ]
    assert all("compilation failed: ERROR: <input>:1:" in c["message"] for c in causes)


async def test_field_validation_of_custom_resources(api: Api) -> None:
    """By server-side apply, as the rows ask; an apply has no unknown fields at any level of validation."""
    template = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}}, "spec": {"type": "object"},
    }}
    port = {"type": "object", "required": ["containerPort", "protocol"], "properties": {
        "containerPort": {"type": "integer", "format": "int32"}, "protocol": {"type": "string"},
        "name": {"type": "string"},
    }}
    ports = {"type": "array", "items": port, "x-kubernetes-list-type": "map",
             "x-kubernetes-list-map-keys": ["containerPort", "protocol"]}
    closed = {"type": "object", "properties": {"foo": {"type": "string"}, "ports": ports, "template": template}}
    for plural, spec in (("closed", closed), ("open", {**closed, "x-kubernetes-preserve-unknown-fields": True})):
        schema = {"type": "object", "properties": {"spec": spec}}
        made = await api.post(CRDS, {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.fields.example.com"},
            "spec": {"group": "fields.example.com", "scope": "Cluster",
                     "names": {"plural": plural, "kind": plural.title()},
                     "versions": [{"name": "v1", "served": True, "storage": True,
                                   "schema": {"openAPIV3Schema": schema}}]},
        })
        assert made.status == 201, made.text

    async def applied(plural: str, body: str, level: str = "Strict") -> tuple[int, str]:
        path = f"/apis/fields.example.com/v1/{plural}/mytest?fieldManager=m&fieldValidation={level}"
        text = f"apiVersion: fields.example.com/v1\nkind: {plural.title()}\nmetadata:\n  name: mytest\n"
        text += "  finalizers:\n  - test-finalizer\n" + body
        answer = await api.request("PATCH", path, text.encode(), content_type="application/apply-patch+yaml")
        return answer.status, answer.json.get("message", "")

    valid = "spec:\n  foo: foo1\n  ports:\n  - name: x\n    containerPort: 80\n    protocol: TCP\n"
    assert await applied("closed", valid) == (201, "")
    assert (await applied("open", valid + "  unknown: uk1\n"))[0] == 201
    for level in ("Strict", "Warn", "Ignore"):
        code, said = await applied("closed", "unknownField: unknown\n" + valid, level)
        assert code == 400 and said.endswith(".unknownField: field not declared in schema"), said
    inner = "  template:\n    apiVersion: foo/v1\n    kind: Sub\n    metadata:\n      name: s\n      unknownSub: u\n"
    code, said = await applied("open", "  unknownMeta: u\n" + valid + inner)
    assert code == 400 and ".spec.template.metadata.unknownSub: field not declared in schema" in said, said
    assert ".metadata.unknownMeta: field not declared in schema" in said, said
    code, said = await applied("open", "spec:\n  unknown: uk1\n  foo: foo1\n  foo: foo2\n")
    assert code == 400 and said.startswith("error strict decoding patch: "), said
    assert 'line 10: key "foo" already set in map' in said, said


@pytest.mark.parametrize(
    ("policy", "told", "allowed"),
    [
        ({"validations": [
            {"expression": "object.spec.replicas > 1",
             "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"},
            {"expression": "namespaceObject.metadata.name == 'policed'", "message": "no other namespace"},
        ]}, "failed expression: object.spec.replicas > 1", 2),
        ({"variables": [{"name": "replicas", "expression": "object.spec.replicas"},
                        {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"}],
          "validations": [{"expression": "variables.replicas > 1",
                           "messageExpression": "'got ' + string(variables.replicas)"},
                          {"expression": "variables.oddReplicas", "reason": "Forbidden"}]}, "got 1", 3),
    ],
)
async def test_a_policy_over_deployments(api: Api, policy: dict[str, Any], told: str, allowed: int) -> None:
    """The messageExpression of the first adds a number to a text: the message is then that of the expression."""
    await api.post("/api/v1/namespaces", {"metadata": {"name": "policed", "labels": {"e2e": "true"}}})
    selected = {"namespaceSelector": {"matchLabels": {"e2e": "true"}}}
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
            "resources": ["deployments"]}
    spec = {"matchConstraints": {**selected, "resourceRules": [rule]}, **policy}
    made = await api.post(f"{HOOKS}/validatingadmissionpolicies", {"metadata": {"name": "p"}, "spec": spec})
    assert made.status == 201, made.text
    bound = {"policyName": "p", "matchResources": selected, "validationActions": ["Deny"]}
    await api.post(f"{HOOKS}/validatingadmissionpolicybindings", {"metadata": {"name": "b"}, "spec": bound})
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    body: dict[str, Any] = {"metadata": {"name": "d"},
                            "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}}
    path = "/apis/apps/v1/namespaces/policed"
    refused = await api.post(f"{path}/deployments", body)
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    about = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request"
    assert refused.json["message"] == f'deployments.apps "d" is forbidden: {about}: {told}'
    assert (await api.post(f"{path}/replicasets", body)).status == 201
    assert (await api.post("/apis/apps/v1/namespaces/default/deployments", body)).status == 201
    body["spec"]["replicas"] = allowed
    assert (await api.post(f"{path}/deployments", body)).status == 201
    body["spec"]["replicas"] = 4
    changed = await api.put(f"{path}/deployments/d", body)
    assert (changed.status, changed.json.get("reason")) == ((200, None) if allowed == 2 else (403, "Forbidden"))
