"""Rows of sig-api-machinery and sig-auth for which controllers work beside the API server (docs/conformance.md).

The controllers are the real ones over the live server; nothing runs the Pods.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from podwright.client.client import Client
from podwright.client.transport import InProcessTransport
from podwright.controllers.config import ControllerConfig
from podwright.controllers.manager import ControllerManager

from .conftest import Api, Pki, config_for, config_map, pod, running, take
from .test_conversion_webhooks import CRDS
from .test_custom_resources import definition as crontabs
from .test_custom_resources import tab

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(pki: Pki) -> AsyncIterator[Api]:
    async with running(config_for(pki)) as made:
        def client_for(user: str) -> Client:
            account = user.startswith("system:serviceaccount:")
            groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system") if account else ()
            return Client(InProcessTransport(made.server.local, user, groups))

        config = ControllerConfig(root_ca=pki.path("ca.crt").read_text())
        controllers = asyncio.create_task(ControllerManager(client_for, config=config).run())
        try:
            yield made
        finally:
            controllers.cancel()
            await asyncio.wait((controllers,))


class Space(Api):
    """The server, and a namespace of the test's own."""

    def __init__(self, api: Api, name: str) -> None:
        super().__init__(api.server, api.session)
        self.ns = f"/api/v1/namespaces/{name}"
        self.apps = f"/apis/apps/v1/namespaces/{name}"


@pytest_asyncio.fixture(loop_scope="module")
async def api(cluster: Api, request: pytest.FixtureRequest) -> Space:
    space = Space(cluster, request.node.name.removeprefix("test_").replace("_", "-"))
    await make(space, "/api/v1/namespaces", {"metadata": {"name": space.ns.rpartition("/")[2]}})
    await until(space, f"{space.ns}/serviceaccounts/default", lambda obj: "metadata" in obj)
    return space


async def eventually(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await what():
            await asyncio.sleep(0.01)


async def until(api: Space, path: str, holds: Callable[[dict[str, Any]], bool]) -> None:
    async def now() -> bool:
        answer = await api.get(path)
        return answer.status == 200 and holds(answer.json)

    await eventually(now)


async def gone(api: Space, path: str) -> None:
    async def now() -> bool:
        return (await api.get(path)).status == 404

    await eventually(now)


async def names(api: Space, path: str) -> list[str]:
    return [o["metadata"]["name"] for o in (await api.get(path)).json["items"]]


async def make(api: Space, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post(path, body)
    assert answer.status == 201, answer.text
    made: dict[str, Any] = answer.json
    return made


HARD = {
    "pods": "5", "services": "10", "services.nodeports": "1", "services.loadbalancers": "1",
    "replicationcontrollers": "10", "resourcequotas": "1", "cpu": "1", "memory": "500Mi", "configmaps": "10",
    "secrets": "10", "persistentvolumeclaims": "10", "requests.storage": "10Gi", "ephemeral-storage": "50Gi",
    "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "10",
    "gold.storageclass.storage.k8s.io/requests.storage": "10Gi", "count/replicasets.apps": "5",
    "requests.example.com/dongle": "3", "count/resourceclaims.resource.k8s.io": "1",
    "gold.deviceclass.resource.k8s.io/devices": "1",
}


def quota(name: str, hard: dict[str, str], *scopes: dict[str, Any] | str) -> dict[str, Any]:
    spec: dict[str, Any] = {"hard": hard}
    if scopes and isinstance(scopes[0], str):
        spec["scopes"] = list(scopes)
    elif scopes:
        spec["scopeSelector"] = {"matchExpressions": list(scopes)}
    return {"metadata": {"name": name}, "spec": spec}


def scope(name: str, operator: str = "Exists", *values: str) -> dict[str, Any]:
    return {"scopeName": name, "operator": operator, **({"values": list(values)} if values else {})}


def asking(name: str, requests: dict[str, str], limits: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    body = pod(name, **spec)
    body["spec"]["containers"][0]["resources"] = {"requests": requests, "limits": limits or {}}
    return body


async def used(api: Space, name: str, counts: dict[str, str]) -> None:
    """The quota comes to say so, and says nothing else of what is not counted here."""
    path = f"{api.ns}/resourcequotas/{name}"

    def shows(obj: dict[str, Any]) -> bool:
        found = (obj.get("status") or {}).get("used") or {}
        return found.items() >= counts.items()

    try:
        await until(api, path, shows)
    except TimeoutError:
        raise AssertionError((counts, (await api.get(path)).text)) from None


async def refused(api: Space, path: str, body: dict[str, Any], *said: str) -> None:
    answer = await api.post(path, body)
    assert (answer.status, answer.json["reason"]) == (403, "Forbidden"), answer.text
    assert all(part in answer.json["message"] for part in said), answer.text


async def test_quota_counts_what_comes_and_goes(api: Space) -> None:
    await until(api, f"{api.ns}/configmaps/kube-root-ca.crt", lambda obj: True)
    await make(api, f"{api.ns}/resourcequotas", quota("q", HARD))
    none = dict.fromkeys(HARD, "0") | {"resourcequotas": "1", "configmaps": "1"}
    await used(api, "q", none)
    dongles = {"example.com/dongle": "2"}
    asked = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", **dongles}
    held = await make(api, f"{api.ns}/pods", asking("p", asked, dongles))
    at_once = (await api.get(f"{api.ns}/resourcequotas/q")).json["status"]["used"]
    assert (at_once["resourcequotas"], at_once["configmaps"]) == ("1", "1"), "what admission has not counted yet"
    held_of = {
        "pods": "1", "cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", "requests.example.com/dongle": "2",
    }
    await used(api, "q", none | held_of)
    await refused(
        api, f"{api.ns}/pods", asking("cpu", {"cpu": "600m", "memory": "100Mi"}),
        "exceeded quota: q, requested: cpu=600m, used: cpu=500m, limited: cpu=1",
    )
    await refused(
        api, f"{api.ns}/pods", asking("dongles", {**asked, "memory": "100Mi"}, dongles),
        "requested: ephemeral-storage=30Gi,requests.example.com/dongle=2",
    )
    await refused(api, f"{api.ns}/pods", pod("bare"), "failed quota: q: must specify cpu for: c; memory for: c")
    held["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "100m", "memory": "100Mi"}
    held["metadata"].pop("resourceVersion")
    assert (await api.put(f"{api.ns}/pods/p", held)).status == 422
    port = {"ports": [{"port": 80}]}
    await make(api, f"{api.ns}/services", {"metadata": {"name": "s"}, "spec": port})
    await make(api, f"{api.ns}/services", {"metadata": {"name": "n"}, "spec": {**port, "type": "NodePort"}})
    balanced = {**port, "type": "LoadBalancer", "allocateLoadBalancerNodePorts": True}
    await refused(api, f"{api.ns}/services", {"metadata": {"name": "l"}, "spec": balanced}, "services.nodeports=1")
    assert (await api.patch(f"{api.ns}/services/s", {"spec": {"type": "NodePort"}})).status == 403
    await make(api, f"{api.ns}/secrets", {"metadata": {"name": "s"}})
    await make(api, f"{api.ns}/configmaps", config_map("c"))
    none_of = {"replicas": 0, "selector": {"a": "b"}, "template": TEMPLATE}
    await make(api, f"{api.ns}/replicationcontrollers", {"metadata": {"name": "r"}, "spec": none_of})
    none_of["selector"] = {"matchLabels": {"a": "b"}}
    await make(api, f"{api.apps}/replicasets", {"metadata": {"name": "r"}, "spec": none_of})
    storage = {"resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "gold"}
    claim = {"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], **storage}}
    await make(api, f"{api.ns}/persistentvolumeclaims", claim)
    claims = api.ns.replace("/api/v1", "/apis/resource.k8s.io/v1") + "/resourceclaims"
    device = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gold"}}]}}
    await make(api, claims, {"metadata": {"name": "d"}, "spec": device})
    second = {"metadata": {"name": "e"}, "spec": device}
    await refused(api, claims, second, "gold.deviceclass.resource.k8s.io/devices=1")
    await refused(api, f"{api.ns}/resourcequotas", quota("second", {"pods": "1"}), "resourcequotas=1")
    await used(api, "q", none | held_of | {
        "services": "2", "services.nodeports": "1", "secrets": "1", "configmaps": "2", "replicationcontrollers": "1",
        "count/replicasets.apps": "1", "persistentvolumeclaims": "1", "requests.storage": "1Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/requests.storage": "1Gi", "count/resourceclaims.resource.k8s.io": "1",
        "gold.deviceclass.resource.k8s.io/devices": "1",
    })
    for path in ("configmaps/c", "secrets/s", "services/s", "services/n", "persistentvolumeclaims/c"):
        assert (await api.delete(f"{api.ns}/{path}")).status == 200
    for path in (f"{api.ns}/replicationcontrollers/r", f"{api.apps}/replicasets/r", f"{claims}/d"):
        assert (await api.delete(path, {"propagationPolicy": "Background"})).status == 200
    assert (await api.delete(f"{api.ns}/pods/p", {"gracePeriodSeconds": 0})).status == 200
    await used(api, "q", none)


async def served_tabs(api: Space) -> str:
    """Where CronTabs of the namespace are; their definition is the module's."""
    assert (await api.post(CRDS, crontabs())).status in (201, 409)
    return api.ns.replace("/api/v1", "/apis/stable.example.com/v1") + "/crontabs"


async def test_quota_of_custom_resources(api: Space) -> None:
    tabs = await served_tabs(api)
    await make(api, f"{api.ns}/resourcequotas", quota("q", {"count/crontabs.stable.example.com": "1"}))
    await used(api, "q", {"count/crontabs.stable.example.com": "0"})
    await make(api, tabs, tab("a", cron="*"))
    await used(api, "q", {"count/crontabs.stable.example.com": "1"})
    await refused(api, tabs, tab("b", cron="*"), "exceeded quota: q")
    await api.delete(f"{tabs}/a")
    await used(api, "q", {"count/crontabs.stable.example.com": "0"})


async def test_quota_scopes(api: Space) -> None:
    """By scopes and by scopeSelector: a Pod's quality of service, its deadline (also one that it is given later), its
    priority, and where its affinity looks."""
    path, pods = f"{api.ns}/resourcequotas", f"{api.ns}/pods"
    for name in ("BestEffort", "NotBestEffort"):
        await make(api, path, quota(name.lower(), {"pods": "5"}, name))
    limits = {"pods": "1", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"}
    for name in ("Terminating", "NotTerminating"):
        await make(api, path, quota(name.lower(), limits, scope(name)))
    await make(api, path, quota("elsewhere", {"pods": "5"}, scope("CrossNamespacePodAffinity")))
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    for name in ("quota-high", "quota-low"):
        await make(api, classes, {"metadata": {"name": name}, "value": 1000})
    await make(api, path, quota("high", {"pods": "1"}, scope("PriorityClass", "In", "quota-high")))
    await make(api, path, quota("not-high", {"pods": "5"}, scope("PriorityClass", "NotIn", "quota-high")))
    await make(api, path, quota("any", {"pods": "5"}, scope("PriorityClass")))
    names = [o["metadata"]["name"] for o in (await api.get(path)).json["items"]]
    for name in names:
        await used(api, name, {"pods": "0"})

    async def counted(*where: str) -> None:
        for name in names:
            await used(api, name, {"pods": "1" if name in where else "0"})

    much = {"cpu": "500m", "memory": "200Mi"}, {"cpu": "1", "memory": "400Mi"}
    await make(api, pods, asking("p", *much, priorityClassName="quota-high"))
    await counted("notbesteffort", "notterminating", "high", "any")
    sums = {"requests.cpu": "500m", "requests.memory": "200Mi", "limits.cpu": "1", "limits.memory": "400Mi"}
    await used(api, "notterminating", sums)
    await used(api, "terminating", dict.fromkeys(sums, "0"))
    await refused(
        api, pods, asking("q", *much, priorityClassName="quota-high", activeDeadlineSeconds=3600),
        "exceeded quota: high",
    )
    assert (await api.patch(f"{pods}/p", {"spec": {"activeDeadlineSeconds": 3600}})).status == 200
    await refused(api, pods, asking("q", *much, activeDeadlineSeconds=3600), "exceeded quota: terminating")
    await counted("notbesteffort", "terminating", "high", "any")
    await used(api, "terminating", sums)
    await api.delete(f"{pods}/p", {"gracePeriodSeconds": 0})
    await counted()
    names.remove("notterminating")
    await api.delete(f"{path}/notterminating")
    far = {"topologyKey": "region", "namespaceSelector": {"matchLabels": {"team": "ads"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [far]}}
    await make(api, pods, pod("far", affinity=affinity, priorityClassName="quota-low"))
    await counted("besteffort", "elsewhere", "not-high", "any")


async def test_quota_of_volume_attributes_classes(api: Space) -> None:
    """A claim that is being changed counts for the class that it has and for the one that it asks for."""
    hard = {"requests.storage": "5Gi", "persistentvolumeclaims": "1"}
    for name in ("gold", "silver"):
        await make(api, f"{api.ns}/resourcequotas", quota(name, hard, scope("VolumeAttributesClass", "In", name)))
        await used(api, name, {"requests.storage": "0", "persistentvolumeclaims": "0"})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "",
             "volumeAttributesClassName": "gold"}
    claims, volume = f"{api.ns}/persistentvolumeclaims", "/api/v1/persistentvolumes/quota-volume"
    await make(api, claims, {"metadata": {"name": "c"}, "spec": {**claim, "volumeName": "quota-volume"}})
    await refused(api, claims, {"metadata": {"name": "d"}, "spec": claim}, "exceeded quota: gold")
    await make(api, "/api/v1/persistentvolumes", {"metadata": {"name": "quota-volume"}, "spec": {
        "storageClassName": "", "volumeAttributesClassName": "gold", "persistentVolumeReclaimPolicy": "Delete",
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        "csi": {"driver": "fake.csi.k8s.io", "volumeHandle": "h"},
        "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "c",
                     "namespace": api.ns.rpartition("/")[2]},
    }})
    await until(api, f"{claims}/c", lambda obj: obj["status"]["phase"] == "Bound")
    assert (await api.get(f"{claims}/c")).json["status"]["currentVolumeAttributesClassName"] == "gold"
    one, none = {"requests.storage": "1Gi", "persistentvolumeclaims": "1"}, dict.fromkeys(hard, "0")
    await used(api, "gold", one)
    changed = await api.patch(f"{claims}/c", {"spec": {"volumeAttributesClassName": "silver"}})
    assert changed.status == 200, changed.text
    await used(api, "silver", one)
    await used(api, "gold", one)
    assert (await api.patch(volume, {"spec": {"volumeAttributesClassName": "silver"}})).status == 200
    done = await api.patch(f"{claims}/c/status", {"status": {"currentVolumeAttributesClassName": "silver"}})
    assert done.status == 200, done.text
    await used(api, "gold", none)
    await used(api, "silver", one)


async def test_quotas_as_objects(api: Space) -> None:
    path, own = f"{api.ns}/resourcequotas", "labelSelector=row%3Dquota"
    body = quota("q", {"cpu": "500m", "memory": "500Mi"})
    body["metadata"]["labels"] = {"row": "quota"}
    since = (await api.get(f"/api/v1/resourcequotas?{own}")).json["metadata"]["resourceVersion"]
    await make(api, path, body)
    assert await names(api, f"/api/v1/resourcequotas?{own}") == ["q"]
    async with api.watch(f"{path}?watch=1&{own}&resourceVersion={since}") as events:

        async def told(cpu: str, memory: str) -> None:
            wanted = {"cpu": cpu, "memory": memory}
            while (await take(events, 1))[0]["object"].get("status", {}).get("hard") != wanted:
                pass

        async def written() -> bool:
            read = (await api.get(f"{path}/q")).json
            put = await api.put(f"{path}/q/status", {**read, "status": {"hard": read["spec"]["hard"]}})
            assert put.status in (200, 409), put.text
            return put.status == 200

        await eventually(written)
        await told("500m", "500Mi")
        spec = {"spec": {"hard": {"cpu": "1", "memory": "1Gi"}}}
        patched = await api.patch(f"{path}/q", spec, "strategic-merge-patch+json")
        assert patched.json["spec"]["hard"] == {"cpu": "1", "memory": "1Gi"}
        status = {"status": {"hard": {"cpu": "1", "memory": "1Gi"}}}
        assert (await api.patch(f"{path}/q/status", status, "strategic-merge-patch+json")).status == 200
        await told("1", "1Gi")
        assert (await api.get(f"{path}/q/status")).json["status"]["hard"] == {"cpu": "1", "memory": "1Gi"}
        status = {"status": {"hard": {"cpu": "2", "memory": "2Gi"}}}
        patched = await api.patch(f"{path}/q/status", status, "strategic-merge-patch+json")
        assert patched.json["status"]["hard"] == {"cpu": "2", "memory": "2Gi"}
        assert patched.json["spec"]["hard"] == {"cpu": "1", "memory": "1Gi"}
        await told("2", "2Gi")
    await until(api, f"{path}/q", lambda obj: obj["status"] == {
        "hard": {"cpu": "1", "memory": "1Gi"}, "used": {"cpu": "0", "memory": "0"}})
    replaced = await api.put(f"{path}/q", {**body, "spec": {"hard": {"cpu": "2", "memory": "1Gi"}}})
    assert replaced.json["spec"]["hard"] == {"cpu": "2", "memory": "1Gi"}, "no resourceVersion, no conflict"
    await api.delete(f"{path}?{own}")
    assert (await api.get(f"{path}/q")).status == 404


async def deployment(api: Space, name: str) -> str:
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}
    await make(api, f"{api.apps}/deployments", {"metadata": {"name": name}, "spec": spec})
    await until(api, f"{api.apps}/replicasets", lambda obj: len(obj["items"]) == 1)
    return (await names(api, f"{api.apps}/replicasets"))[0]


def policy(name: str, owner: dict[str, Any]) -> dict[str, Any]:
    preconditions = {"uid": owner["metadata"]["uid"]}
    return {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": name, "preconditions": preconditions}


async def test_deployments_and_what_they_own(api: Space) -> None:
    replicas, pods = f"{api.apps}/replicasets", f"{api.ns}/pods"
    await deployment(api, "d")
    made = (await api.get(f"{api.apps}/deployments/d")).json
    assert (await api.delete(f"{api.apps}/deployments/d", policy("Background", made))).status == 200
    for path in (f"{api.apps}/deployments", replicas, pods):
        await until(api, path, lambda obj: not obj["items"])
    owned = await deployment(api, "e")
    await until(api, f"{replicas}/{owned}", lambda obj: obj.get("status", {}).get("replicas") == 2)
    made = (await api.get(f"{api.apps}/deployments/e")).json
    assert (await api.delete(f"{api.apps}/deployments/e", policy("Orphan", made))).status == 200
    await gone(api, f"{api.apps}/deployments/e")
    left = (await api.get(replicas)).json["items"]
    assert [(o["metadata"]["name"], o["metadata"].get("ownerReferences")) for o in left] == [(owned, None)]
    kept = (await api.get(pods)).json["items"]
    assert len(kept) == 2 and all(o["metadata"]["ownerReferences"][0]["name"] == owned for o in kept)


async def replication(api: Space, name: str) -> dict[str, Any]:
    labels = {"rc": name}
    template = {**TEMPLATE, "metadata": {"labels": labels}}
    body = {"metadata": {"name": name}, "spec": {"replicas": 3, "selector": labels, "template": template}}
    made = await make(api, f"{api.ns}/replicationcontrollers", body)
    await until(api, f"{api.ns}/pods?labelSelector=rc%3D{name}", lambda obj: len(obj["items"]) == 3)
    return made


async def test_replication_controllers_and_their_pods(api: Space) -> None:
    """Background, orphan, foreground; a second owner spares a Pod."""
    path = f"{api.ns}/replicationcontrollers"
    made = {name: await replication(api, name) for name in ("background", "orphan", "default", "foreground", "other")}
    await api.delete(f"{path}/background", policy("Background", made["background"]))
    await until(api, f"{api.ns}/pods?labelSelector=rc%3Dbackground", lambda obj: not obj["items"])
    await api.delete(f"{path}/orphan", policy("Orphan", made["orphan"]))
    await api.delete(f"{path}/default")
    for name in ("orphan", "default"):
        await gone(api, f"{path}/{name}")
        left = (await api.get(f"{api.ns}/pods?labelSelector=rc%3D{name}")).json["items"]
        assert len(left) == 3 and not any(o["metadata"].get("ownerReferences") for o in left)
    pods = await names(api, f"{api.ns}/pods?labelSelector=rc%3Dforeground")
    other = (await api.get(f"{path}/other")).json
    reference = {"apiVersion": "v1", "kind": "ReplicationController", "name": "other", "uid": other["metadata"]["uid"]}
    await api.patch(
        f"{api.ns}/pods/{pods[0]}", {"metadata": {"ownerReferences": [reference]}}, "strategic-merge-patch+json"
    )
    await api.patch(f"{api.ns}/pods/{pods[1]}", {"metadata": {"finalizers": ["example.com/hold"]}})
    deleted = await api.delete(f"{path}/foreground", policy("Foreground", made["foreground"]))
    assert "foregroundDeletion" in deleted.json["metadata"]["finalizers"]
    await gone(api, f"{api.ns}/pods/{pods[2]}")
    assert (await api.get(f"{path}/foreground")).status == 200, "a Pod of it is still there"
    await api.patch(f"{api.ns}/pods/{pods[1]}", {"metadata": {"finalizers": None}})
    await gone(api, f"{path}/foreground")
    spared = (await api.get(f"{api.ns}/pods/{pods[0]}")).json["metadata"]
    assert [o["name"] for o in spared["ownerReferences"]] == ["other"] and "deletionTimestamp" not in spared


async def test_a_ring_of_owners_goes(api: Space) -> None:
    made = [await make(api, f"{api.ns}/pods", pod(f"p{i}")) for i in range(3)]
    for i, obj in enumerate(made):
        owner = made[(i - 1) % 3]["metadata"]
        reference = {"apiVersion": "v1", "kind": "Pod", "name": owner["name"], "uid": owner["uid"],
                     "controller": True, "blockOwnerDeletion": True}
        patch = {"metadata": {"ownerReferences": [reference]}}
        await api.patch(f"{api.ns}/pods/{obj['metadata']['name']}", patch)
    await api.delete(f"{api.ns}/pods/p0", {"propagationPolicy": "Foreground"})
    await until(api, f"{api.ns}/pods", lambda obj: not obj["items"])


async def test_custom_resources_and_what_they_own(api: Space) -> None:
    tabs = await served_tabs(api)

    async def own(name: str, owner: dict[str, Any] | None = None) -> dict[str, Any]:
        obj = tab(name, cron="*")
        if owner is not None:
            reference = {"apiVersion": "stable.example.com/v1", "kind": "CronTab",
                         "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
            obj["metadata"] = {**obj["metadata"], "ownerReferences": [reference]}
        return await make(api, tabs, obj)

    await own("child", await own("owner"))
    await api.delete(f"{tabs}/owner", {"propagationPolicy": "Background"})
    await gone(api, f"{tabs}/child")
    await own("canary")
    await api.delete(f"{tabs}/canary", {"propagationPolicy": "Foreground"})
    await gone(api, f"{tabs}/canary")
    await own("kept", await own("leaving"))
    await api.delete(f"{tabs}/leaving", {"propagationPolicy": "Orphan"})
    await gone(api, f"{tabs}/leaving")
    assert "ownerReferences" not in (await api.get(f"{tabs}/kept")).json["metadata"]


async def test_pods_go_before_what_they_may_need(api: Space) -> None:
    """KEP-5080: while a Pod is there, nothing else of a namespace that goes is touched."""
    inside = "/api/v1/namespaces/ordered"
    await make(api, "/api/v1/namespaces", {"metadata": {"name": "ordered"}})
    await until(api, f"{inside}/serviceaccounts/default", lambda obj: True)
    held = pod("p")
    held["metadata"]["finalizers"] = ["e2e.example.com/finalizer"]
    await make(api, f"{inside}/pods", held)
    await make(api, f"{inside}/configmaps", config_map("c"))
    await api.delete(inside)

    def processed(obj: dict[str, Any]) -> bool:
        kinds = {c["type"] for c in obj["status"].get("conditions", ())}
        return obj["status"]["phase"] == "Terminating" and "NamespaceDeletionContentFailure" in kinds

    await until(api, inside, processed)
    assert (await api.get(f"{inside}/pods/p")).json["metadata"]["deletionTimestamp"]
    assert (await api.get(f"{inside}/configmaps/c")).status == 200
    conditions = {c["type"]: c for c in (await api.get(inside)).json["status"]["conditions"]}
    assert {kind: c["status"] for kind, c in conditions.items()} == {
        "NamespaceDeletionDiscoveryFailure": "False", "NamespaceDeletionGroupVersionParsingFailure": "False",
        "NamespaceDeletionContentFailure": "False", "NamespaceContentRemaining": "True",
        "NamespaceFinalizersRemaining": "True",
    }
    assert conditions["NamespaceContentRemaining"]["message"] == (
        "Some resources are remaining: pods. has 1 resource instances")
    assert conditions["NamespaceFinalizersRemaining"]["message"] == (
        "Some content in the namespace has finalizers remaining: e2e.example.com/finalizer in 1 resource instances")
    refused = await api.post(f"{inside}/configmaps", config_map("late"))
    assert refused.status == 403 and refused.json["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await api.patch(f"{inside}/pods/p", {"metadata": {"finalizers": None}})
    await gone(api, inside)


async def test_a_namespace_takes_what_is_in_it(api: Space) -> None:
    await make(api, "/api/v1/namespaces", {"metadata": {"name": "n"}})
    inside = "/api/v1/namespaces/n"
    await until(api, f"{inside}/serviceaccounts/default", lambda obj: True)
    await make(api, f"{inside}/pods", pod("p"))
    await make(api, f"{inside}/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}})
    await api.delete("/api/v1/namespaces/n")
    await gone(api, "/api/v1/namespaces/n")
    await make(api, "/api/v1/namespaces", {"metadata": {"name": "n"}})
    assert await names(api, f"{inside}/pods") == [] and await names(api, f"{inside}/services") == []


async def test_the_root_ca_comes_back(api: Space, pki: Pki) -> None:
    path = f"{api.ns}/configmaps/kube-root-ca.crt"
    ca = {"ca.crt": pki.path("ca.crt").read_text()}
    await until(api, path, lambda obj: obj["data"] == ca)
    uid = (await api.get(path)).json["metadata"]["uid"]
    await api.delete(path)
    await until(api, path, lambda obj: obj["metadata"]["uid"] != uid and obj["data"] == ca)
    emptied = await api.put(path, {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "", "more": "x"}})
    assert emptied.status == 200, emptied.text
    await until(api, path, lambda obj: obj["data"].get("ca.crt") == ca["ca.crt"])
