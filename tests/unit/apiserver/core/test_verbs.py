"""Create, read, change and delete over HTTPS."""

from __future__ import annotations

import asyncio
from typing import Any

from .conftest import BOB, Api, config_map, pod, service_account

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


async def test_create_fills_system_fields_and_get_gives_the_same_bytes(api: Api) -> None:
    made = await api.post(CONFIG_MAPS, config_map("a", x="1"))
    assert made.status == 201
    metadata = made.json["metadata"]
    assert metadata["uid"] and metadata["creationTimestamp"] and metadata["namespace"] == "default"
    assert int(metadata["resourceVersion"]) > 0
    got = await api.get(f"{CONFIG_MAPS}/a")
    assert got.status == 200 and got.text == made.text
    assert got.headers["Audit-Id"] and got.headers["Content-Type"] == "application/json"


async def test_a_name_is_taken_once(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map("a"))
    again = await api.post(CONFIG_MAPS, config_map("a"))
    assert (again.status, again.json["reason"]) == (409, "AlreadyExists")
    assert again.json["message"] == 'configmaps "a" already exists'


async def test_generate_name(api: Api) -> None:
    body = config_map("")
    body["metadata"] = {"generateName": "run-"}
    names = {(await api.post(CONFIG_MAPS, body)).json["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5 and all(n.startswith("run-") and len(n) == 9 for n in names)


async def test_update_checks_the_resource_version(api: Api) -> None:
    made = (await api.post(CONFIG_MAPS, config_map("a", x="1"))).json
    made["data"] = {"x": "2"}
    assert (await api.put(f"{CONFIG_MAPS}/a", made)).status == 200
    stale = await api.put(f"{CONFIG_MAPS}/a", made)
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    unconditional = await api.put(f"{CONFIG_MAPS}/a", config_map("a", x="3"))
    assert unconditional.status == 200 and unconditional.json["data"] == {"x": "3"}
    assert unconditional.json["metadata"]["uid"] == made["metadata"]["uid"]


async def test_an_update_without_change_writes_nothing(api: Api) -> None:
    made = (await api.post(CONFIG_MAPS, config_map("a", x="1"))).json
    again = await api.put(f"{CONFIG_MAPS}/a", made)
    assert again.json["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_names_and_namespaces_of_body_and_url_must_agree(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map("a"))
    assert (await api.put(f"{CONFIG_MAPS}/a", config_map("b"))).status == 400
    other = config_map("c")
    other["metadata"]["namespace"] = "kube-system"
    assert (await api.post(CONFIG_MAPS, other)).status == 400


async def test_patches(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map("a", x="1", y="2"))
    merged = await api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": None, "z": "3"}})
    assert merged.json["data"] == {"y": "2", "z": "3"}
    operations = [{"op": "replace", "path": "/data/y", "value": "9"}]
    assert (await api.patch(f"{CONFIG_MAPS}/a", operations, "json-patch+json")).json["data"]["y"] == "9"
    await service_account(api)
    await api.post(PODS, pod("p"))
    body = {"spec": {"containers": [{"name": "c", "image": "other"}]}}
    patched = await api.patch(f"{PODS}/p", body, "strategic-merge-patch+json")
    assert patched.json["spec"]["containers"][0]["image"] == "other"
    assert patched.json["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert (await api.patch(f"{CONFIG_MAPS}/a", {}, "nonsense")).status == 415
    for query, unfit, kind, said in (
        ("", {"metadata": {"labels": "x"}}, "strategic-merge",
         '"map[metadata:map[labels:x]]": cannot restore map from string'),
        ("", {"spec": {"containers": {"a": 1}}}, "strategic-merge", "cannot restore slice from map"),
        ("", {"spec": {"containers": [{"name": "c", "image": 5}]}}, "strategic-merge",
         "cannot convert int64 to string"),
        ("?fieldValidation=Strict", {"spec": {"a": 1}}, "strategic-merge",
         '"map[spec:map[a:1]]": strict decoding error: unknown field "spec.a"'),
        ("", {"spec": {"containers": 5}}, "merge",
         "json: cannot unmarshal number into Go struct field PodSpec.spec.containers"),
    ):
        refused = await api.patch(f"{PODS}/p{query}", unfit, f"{kind}-patch+json")
        assert refused.status == 422 and refused.json["message"].startswith(' "" is invalid: patch: Invalid value: ')
        assert said in refused.json["message"], refused.json["message"]


async def test_server_side_apply_creates_owns_and_conflicts(api: Api) -> None:
    body = config_map("a", x="1")
    first = await api.patch(f"{CONFIG_MAPS}/a?fieldManager=one", body, "apply-patch+yaml")
    assert first.status == 201
    assert [m["manager"] for m in first.json["metadata"]["managedFields"]] == ["one"]
    body["data"]["x"] = "2"
    conflict = await api.patch(f"{CONFIG_MAPS}/a?fieldManager=two", body, "apply-patch+yaml")
    assert conflict.status == 409
    assert conflict.json["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    forced = await api.patch(f"{CONFIG_MAPS}/a?fieldManager=two&force=true", body, "apply-patch+yaml")
    assert forced.status == 200 and forced.json["data"] == {"x": "2"}
    assert (await api.patch(f"{CONFIG_MAPS}/a", body, "apply-patch+yaml")).status == 422


async def test_nobody_owns_what_the_server_fills_in(api: Api) -> None:
    """So that the next apply, which does not repeat it, does not take it away."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    made = await api.post("/api/v1/namespaces/default/services?fieldManager=kubectl", service)
    assert made.json["spec"]["clusterIP"]
    (own,) = made.json["metadata"]["managedFields"]
    assert set(own["fieldsV1"]["f:spec"]) == {"f:internalTrafficPolicy", "f:ports", "f:sessionAffinity", "f:type"}


async def test_many_patches_at_once_all_count(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map("a"))
    async with asyncio.TaskGroup() as tasks:
        done = [tasks.create_task(api.patch(f"{CONFIG_MAPS}/a", {"data": {f"k{i}": "v"}})) for i in range(8)]
    assert {task.result().status for task in done} == {200}
    assert len((await api.get(f"{CONFIG_MAPS}/a")).json["data"]) == 8


async def test_dry_run_writes_nothing(api: Api) -> None:
    assert (await api.post(f"{CONFIG_MAPS}?dryRun=All", config_map("a"))).status == 201
    assert (await api.get(f"{CONFIG_MAPS}/a")).status == 404
    await api.post(CONFIG_MAPS, config_map("a", x="1"))
    dry = await api.patch(f"{CONFIG_MAPS}/a?dryRun=All", {"data": {"x": "2"}})
    assert dry.json["data"] == {"x": "2"}
    assert (await api.delete(f"{CONFIG_MAPS}/a?dryRun=All")).status == 200
    assert (await api.get(f"{CONFIG_MAPS}/a")).json["data"] == {"x": "1"}
    assert (await api.post(f"{CONFIG_MAPS}?dryRun=Some", config_map("b"))).status == 422


async def test_field_validation(api: Api) -> None:
    body = {**config_map("a"), "bogus": 1}
    strict = await api.post(f"{CONFIG_MAPS}?fieldValidation=Strict", body)
    assert strict.status == 400 and 'unknown field "bogus"' in strict.json["message"]
    warned = await api.post(CONFIG_MAPS, body)
    assert warned.status == 201 and "bogus" not in warned.json
    assert warned.headers["Warning"] == '299 - "unknown field \\"bogus\\""'
    ignored = await api.post(f"{CONFIG_MAPS}?fieldValidation=Ignore", {**body, "metadata": {"name": "b"}})
    assert ignored.status == 201 and "Warning" not in ignored.headers
    twice = b'{"metadata":{"name":"c"},"data":{"a":"1","a":"2"}}'
    doubled = await api.post(f"{CONFIG_MAPS}?fieldValidation=Strict", twice)
    assert doubled.status == 400 and 'duplicate field "data.a"' in doubled.json["message"]


async def test_a_collection_is_deleted_in_portions_if_asked(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.post(CONFIG_MAPS, config_map(name))
    some = (await api.delete(f"{CONFIG_MAPS}?limit=2")).json
    assert [o["metadata"]["name"] for o in some["items"]] == ["a", "b"] and some["metadata"]["continue"]
    wrong = await api.delete(CONFIG_MAPS, {"preconditions": {"uid": "nope"}})
    assert wrong.status == 409
    assert [o["metadata"]["name"] for o in (await api.get(CONFIG_MAPS)).json["items"]] == ["c"]


async def test_delete_and_its_preconditions(api: Api) -> None:
    made = (await api.post(CONFIG_MAPS, config_map("a"))).json
    for precondition in ({"uid": "nope"}, {"resourceVersion": "1"}):
        wrong = await api.delete(f"{CONFIG_MAPS}/a", {"preconditions": precondition})
        assert wrong.status == 409 and wrong.json["details"] == {"name": "a", "kind": "ConfigMap"}
    other = await api.put(f"{CONFIG_MAPS}/a", {**made, "metadata": {**made["metadata"], "uid": "nope"}})
    assert other.status == 409 and "Precondition failed: UID in precondition: nope" in other.json["message"]
    assert "Key: /registry/configmaps/default/a," in other.json["message"]
    gone = await api.delete(f"{CONFIG_MAPS}/a", {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert gone.json["status"] == "Success"
    assert gone.json["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    assert (await api.delete(f"{CONFIG_MAPS}/a")).status == 404


async def test_finalizers_hold_an_object(api: Api) -> None:
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await api.post(CONFIG_MAPS, body)
    held = await api.delete(f"{CONFIG_MAPS}/a")
    assert held.json["metadata"]["deletionTimestamp"]
    assert held.json["metadata"]["deletionGracePeriodSeconds"] == 0
    freed = await api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": None}})
    assert freed.status == 200
    assert (await api.get(f"{CONFIG_MAPS}/a")).status == 404


async def test_propagation_policy_becomes_a_finalizer(api: Api) -> None:
    for name, policy, finalizer in (("a", "Foreground", "foregroundDeletion"), ("b", "Orphan", "orphan")):
        await api.post(CONFIG_MAPS, config_map(name))
        held = await api.delete(f"{CONFIG_MAPS}/{name}", {"propagationPolicy": policy})
        assert held.json["metadata"]["finalizers"] == [finalizer]
    assert (await api.delete(f"{CONFIG_MAPS}/a", {"propagationPolicy": "Nonsense"})).status == 422


async def test_delete_collection_by_selector(api: Api) -> None:
    for i in range(6):
        body = config_map(f"c{i}")
        body["metadata"]["labels"] = {"odd": str(i % 2)}
        await api.post(CONFIG_MAPS, body)
    assert (await api.delete(f"{CONFIG_MAPS}?labelSelector=odd%3D1")).status == 200
    left = (await api.get(CONFIG_MAPS)).json["items"]
    assert [o["metadata"]["name"] for o in left] == ["c0", "c2", "c4"]


async def test_the_unauthorized_and_the_forbidden(api: Api) -> None:
    assert (await api.get(CONFIG_MAPS, token="")).status == 401
    assert (await api.get(CONFIG_MAPS, token="wrong")).status == 401
    refused = await api.get(CONFIG_MAPS, token=BOB)
    assert refused.status == 403
    assert refused.json["message"] == (
        'configmaps is forbidden: User "bob" cannot list resource "configmaps" in API group "" '
        'in the namespace "default"'
    )


async def test_a_new_role_binding_counts_at_once(api: Api) -> None:
    assert (await api.get(CONFIG_MAPS, token=BOB)).status == 403
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "bob"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    assert (await api.post(path, binding)).status == 201
    assert (await api.get(CONFIG_MAPS, token=BOB)).status == 200
    await api.delete(f"{path}/bob")
    assert (await api.get(CONFIG_MAPS, token=BOB)).status == 403


async def test_paths_and_methods_that_are_not_served(api: Api) -> None:
    assert (await api.get("/api/v1/nonsense")).status == 404
    assert (await api.post("/api/v1/configmaps", config_map("a"))).status == 405
    assert (await api.get("/api/v1/namespaces/default/nodes")).status == 404
    assert (await api.get("/apis/apps/v1/namespaces/default/deployments/x/nonsense")).status == 404
    assert (await api.get("/nonsense")).status == 404


async def test_impersonation(api: Api) -> None:
    as_bob = await api.get(CONFIG_MAPS, headers={"Impersonate-User": "bob"})
    assert as_bob.status == 403 and 'User "bob"' in as_bob.json["message"]


async def test_patches_of_one_object_at_once_all_come_through(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map("busy", a="b"))

    async def patch(i: int) -> int:
        added: Any = {"data": {f"k{i}": "v"}}
        kind = "merge-patch+json"
        if i % 3 == 1:
            added, kind = [{"op": "add", "path": f"/data/k{i}", "value": "v"}], "json-patch+json"
        elif i % 3 == 2:
            added, kind = {**config_map("busy"), "data": added["data"]}, "apply-patch+yaml"
        return (await api.patch(f"{CONFIG_MAPS}/busy?fieldManager=m{i}", added, kind=kind)).status

    assert set(await asyncio.gather(*(patch(i) for i in range(30)))) == {200}
    assert len((await api.get(f"{CONFIG_MAPS}/busy")).json["data"]) == 31
