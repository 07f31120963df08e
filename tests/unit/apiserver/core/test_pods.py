"""Pods: graceful deletion, binding, eviction, status and ephemeral containers."""

from __future__ import annotations

import asyncio

from .conftest import Api, pod, service_account

PODS = "/api/v1/namespaces/default/pods"


async def bind(api: Api, name: str, node: str = "n1") -> int:
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": node}}
    return (await api.post(f"{PODS}/{name}/binding", body)).status


async def set_status(api: Api, name: str, **status: object) -> None:
    answer = await api.patch(f"{PODS}/{name}/status", {"status": status})
    assert answer.status == 200, answer.text


async def test_a_pod_without_a_node_goes_at_once(api: Api) -> None:
    await service_account(api)
    await api.post(PODS, pod("p"))
    gone = await api.delete(f"{PODS}/p")
    assert gone.status == 200 and gone.json["kind"] == "Pod"
    assert (await api.get(f"{PODS}/p")).status == 404


async def test_a_bound_pod_waits_for_its_kubelet(api: Api) -> None:
    await service_account(api)
    await api.post(PODS, pod("p"))
    assert await bind(api, "p") == 201
    bound = (await api.get(f"{PODS}/p")).json
    assert bound["spec"]["nodeName"] == "n1"
    assert [(c["type"], c["status"]) for c in bound["status"]["conditions"]] == [("PodScheduled", "True")]
    assert await bind(api, "p", "n2") == 409
    marked = (await api.delete(f"{PODS}/p")).json
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    longer = (await api.delete(f"{PODS}/p?gracePeriodSeconds=60")).json
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 30
    shorter = (await api.delete(f"{PODS}/p?gracePeriodSeconds=5")).json
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter["metadata"]["deletionTimestamp"] < marked["metadata"]["deletionTimestamp"]
    assert (await api.delete(f"{PODS}/p", {"gracePeriodSeconds": 0})).status == 200
    assert (await api.get(f"{PODS}/p")).status == 404


async def test_an_ended_pod_goes_at_once(api: Api) -> None:
    await service_account(api)
    await api.post(PODS, pod("p"))
    await bind(api, "p")
    await set_status(api, "p", phase="Succeeded")
    await api.delete(f"{PODS}/p")
    assert (await api.get(f"{PODS}/p")).status == 404


async def test_status_and_spec_are_apart(api: Api) -> None:
    await service_account(api)
    await api.post(PODS, pod("p"))
    await api.patch(f"{PODS}/p", {"status": {"phase": "Running"}, "metadata": {"labels": {"a": "b"}}})
    got = (await api.get(f"{PODS}/p")).json
    assert got["status"]["phase"] == "Pending" and got["metadata"]["labels"]["a"] == "b"
    await set_status(api, "p", phase="Running", podIP="10.0.0.1", podIPs=[{"ip": "10.0.0.1"}])
    got = (await api.get(f"{PODS}/p")).json
    assert got["status"]["phase"] == "Running" and got["status"]["podIP"] == "10.0.0.1"


async def test_only_one_of_many_binders_wins(api: Api) -> None:
    await service_account(api)
    await api.post(PODS, pod("p"))
    async with asyncio.TaskGroup() as tasks:
        tries = [tasks.create_task(bind(api, "p", f"n{i}")) for i in range(6)]
    assert sorted(t.result() for t in tries) == [201] + [409] * 5


async def test_ephemeral_containers(api: Api) -> None:
    await service_account(api)
    await api.post(PODS, pod("p"))
    body = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}}
    added = await api.patch(f"{PODS}/p/ephemeralcontainers", body, "strategic-merge-patch+json")
    assert added.status == 200, added.text
    assert (await api.get(f"{PODS}/p")).json["spec"]["ephemeralContainers"][0]["name"] == "debug"


async def test_eviction_respects_the_budget(api: Api) -> None:
    await service_account(api)
    await api.post(PODS, pod("p"))
    await bind(api, "p")
    await set_status(api, "p", phase="Running", conditions=[{"type": "Ready", "status": "True"}])
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    budget = {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}},
    }
    assert (await api.post(budgets, budget)).status == 201
    state = {
        "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1, "observedGeneration": 1,
    }
    assert (await api.patch(f"{budgets}/b/status", {"status": state})).status == 200
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    refused = await api.post(f"{PODS}/p/eviction", eviction)
    assert refused.status == 429 and refused.json["details"]["causes"][0]["reason"] == "DisruptionBudget"
    await api.patch(f"{budgets}/b/status", {"status": {"disruptionsAllowed": 1}})
    assert (await api.post(f"{PODS}/p/eviction", eviction)).status == 201
    evicted = (await api.get(f"{PODS}/p")).json
    assert evicted["metadata"]["deletionTimestamp"]
    assert [c["reason"] for c in evicted["status"]["conditions"] if c["type"] == "DisruptionTarget"] == [
        "EvictionByEvictionAPI"
    ]
    after = (await api.get(f"{budgets}/b")).json["status"]
    assert after["disruptionsAllowed"] == 0 and "p" in after["disruptedPods"]


async def test_an_invalid_pod_names_its_causes(api: Api) -> None:
    await service_account(api)
    refused = await api.post(PODS, pod("p", restartPolicy="Sometimes"))
    assert refused.status == 422 and refused.json["reason"] == "Invalid"
    assert refused.json["details"]["causes"][0]["field"] == "spec.restartPolicy"


async def test_a_pod_has_the_zone_of_its_node(api: Api) -> None:
    await service_account(api)
    zone, region = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
    await api.post("/api/v1/nodes", {"metadata": {"name": "n", "labels": {zone: "z", region: "r", "x": "y"}}})
    own = pod("p")
    own["metadata"]["labels"] = {region: "mine"}
    await api.post(PODS, own)
    assert await bind(api, "p", "n") == 201
    assert (await api.get(f"{PODS}/p")).json["metadata"]["labels"] == {zone: "z", region: "mine"}
    direct = (await api.post(PODS, pod("q", nodeName="n"))).json
    assert direct["metadata"]["labels"] == {"app": "q", zone: "z", region: "r"}


async def test_app_armor_annotations_become_fields(api: Api) -> None:
    await service_account(api)
    prefix = "container.apparmor.security.beta.kubernetes.io/"
    for annotation, field in (
        ("localhost/x", {"type": "Localhost", "localhostProfile": "x"}),
        ("runtime/default", {"type": "RuntimeDefault"}), ("unconfined", {"type": "Unconfined"}),
    ):
        body = pod("p")
        body["metadata"]["annotations"] = {prefix + "c": annotation}
        made = (await api.post(f"{PODS}?dryRun=All", body)).json
        assert made["spec"]["containers"][0]["securityContext"]["appArmorProfile"] == field
    body["spec"]["securityContext"] = {"appArmorProfile": {"type": "Unconfined"}}
    made = (await api.post(f"{PODS}?dryRun=All", body)).json
    assert "securityContext" not in made["spec"]["containers"][0], "the Pod's says the same"


async def test_a_node_without_an_address_has_no_proxy(api: Api) -> None:
    await api.post("/api/v1/nodes", {"metadata": {"name": "n"}})
    refused = await api.get("/api/v1/nodes/n/proxy/healthz")
    assert refused.status == 500 and "reason" not in refused.json
    assert refused.json["message"] == "no preferred addresses found; known addresses: []"
