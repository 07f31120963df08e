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

from .conftest import Api, Pki, config_for, config_map, pod, running

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


def quota(name: str, scopes: list[str] | None = None, **hard: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"hard": {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}}
    return {"metadata": {"name": name}, "spec": {**spec, "scopes": scopes} if scopes else spec}


async def used(api: Space, name: str, **counts: str) -> None:
    wanted = {key.replace("__", "/").replace("_", "."): value for key, value in counts.items()}

    def shows(obj: dict[str, Any]) -> bool:
        found = (obj.get("status") or {}).get("used") or {}
        return all(found.get(key) == value for key, value in wanted.items())

    try:
        await until(api, f"{api.ns}/resourcequotas/{name}", shows)
    except TimeoutError:
        raise AssertionError((wanted, (await api.get(f"{api.ns}/resourcequotas/{name}")).text)) from None


async def test_quota_counts_what_comes_and_goes(api: Space) -> None:
    await until(api, f"{api.ns}/configmaps/kube-root-ca.crt", lambda obj: True)
    hard = quota("q", configmaps="5", secrets="5", services="5", services_nodeports="1", replicationcontrollers="5",
                 resourcequotas="1", count__replicasets_apps="5", pods="5", requests_cpu="1", requests_memory="500Mi")
    await make(api, f"{api.ns}/resourcequotas", hard)
    await used(api, "q", resourcequotas="1", configmaps="1", secrets="0", pods="0")
    await make(api, f"{api.ns}/configmaps", config_map("c"))
    await make(api, f"{api.ns}/secrets", {"metadata": {"name": "s"}})
    ports = {"type": "NodePort", "ports": [{"port": 1}]}
    await make(api, f"{api.ns}/services", {"metadata": {"name": "v"}, "spec": ports})
    assert (await api.post(f"{api.ns}/services", {"metadata": {"name": "w"}, "spec": ports})).status == 403
    none = {"replicas": 0, "selector": {"a": "b"}, "template": TEMPLATE}
    await make(api, f"{api.ns}/replicationcontrollers", {"metadata": {"name": "r"}, "spec": none})
    none = {**none, "selector": {"matchLabels": {"a": "b"}}}
    await make(api, f"{api.apps}/replicasets", {"metadata": {"name": "r"}, "spec": none})
    assert (await api.post(f"{api.ns}/resourcequotas", quota("second", pods="1"))).status == 403
    asking = pod("p")
    asking["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "500m", "memory": "252Mi"}}
    await make(api, f"{api.ns}/pods", asking)
    await used(
        api, "q", configmaps="2", secrets="1", services="1", services_nodeports="1", replicationcontrollers="1",
        count__replicasets_apps="1", pods="1", requests_cpu="500m", requests_memory="252Mi",
    )
    more = {**asking, "metadata": {"name": "p2"}}
    refused = await api.post(f"{api.ns}/pods", more)
    assert refused.status == 403 and "exceeded quota: q, requested: requests.memory=252Mi" in refused.text
    for path in ("configmaps/c", "secrets/s", "services/v", "replicationcontrollers/r", "pods/p?gracePeriodSeconds=0"):
        assert (await api.delete(f"{api.ns}/{path}")).status == 200
    await api.delete(f"{api.apps}/replicasets/r")
    await used(
        api, "q", configmaps="1", secrets="0", services="0", services_nodeports="0", replicationcontrollers="0",
        count__replicasets_apps="0", pods="0", requests_cpu="0", requests_memory="0",
    )


async def test_quota_scopes(api: Space) -> None:
    for scope in ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating"):
        await make(api, f"{api.ns}/resourcequotas", quota(scope.lower(), [scope], pods="5"))
    await make(api, f"{api.ns}/pods", pod("plain"))
    await used(api, "besteffort", pods="1")
    await used(api, "notterminating", pods="1")
    ends = pod("ends", activeDeadlineSeconds=3600)
    ends["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1m"}}
    await make(api, f"{api.ns}/pods", ends)
    for name, count in (("besteffort", "1"), ("notbesteffort", "1"), ("terminating", "1"), ("notterminating", "1")):
        await used(api, name, pods=count)
    for name in ("plain", "ends"):
        await api.delete(f"{api.ns}/pods/{name}?gracePeriodSeconds=0")
    for name in ("besteffort", "notbesteffort", "terminating", "notterminating"):
        await used(api, name, pods="0")


async def test_quotas_as_objects(api: Space) -> None:
    path = f"{api.ns}/resourcequotas"
    body = quota("q", cpu="1", memory="500Mi")
    body["metadata"]["labels"] = {"row": "quota"}
    await make(api, path, body)
    assert await names(api, "/api/v1/resourcequotas?labelSelector=row%3Dquota") == ["q"]
    patched = await api.patch(f"{path}/q", {"spec": {"hard": {"cpu": "2"}}})
    assert patched.json["spec"]["hard"] == {"cpu": "2", "memory": "500Mi"}
    await until(api, f"{path}/q", lambda obj: obj.get("status", {}).get("hard", {}).get("cpu") == "2")
    status = await api.patch(f"{path}/q/status", {"status": {"hard": {"cpu": "750m"}}})
    assert status.json["status"]["hard"]["cpu"] == "750m"
    await until(api, f"{path}/q", lambda obj: obj["status"]["hard"]["cpu"] == "2")
    await api.delete(f"{path}?labelSelector=row%3Dquota")
    assert await names(api, path) == []


async def deployment(api: Space, name: str) -> str:
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}
    await make(api, f"{api.apps}/deployments", {"metadata": {"name": name}, "spec": spec})
    await until(api, f"{api.apps}/replicasets", lambda obj: len(obj["items"]) == 1)
    return (await names(api, f"{api.apps}/replicasets"))[0]


async def test_deployments_and_what_they_own(api: Space) -> None:
    owned = await deployment(api, "d")
    await api.delete(f"{api.apps}/deployments/d", {"propagationPolicy": "Background"})
    await gone(api, f"{api.apps}/replicasets/{owned}")
    owned = await deployment(api, "e")
    await api.delete(f"{api.apps}/deployments/e", {"propagationPolicy": "Orphan"})
    await gone(api, f"{api.apps}/deployments/e")
    await until(api, f"{api.apps}/replicasets/{owned}", lambda obj: not obj["metadata"].get("ownerReferences"))


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
    for name in ("background", "orphan", "foreground", "other"):
        await replication(api, name)
    await api.delete(f"{path}/background", {"propagationPolicy": "Background"})
    await until(api, f"{api.ns}/pods?labelSelector=rc%3Dbackground", lambda obj: not obj["items"])
    await api.delete(f"{path}/orphan", {"propagationPolicy": "Orphan"})
    await gone(api, f"{path}/orphan")
    await until(
        api, f"{api.ns}/pods?labelSelector=rc%3Dorphan",
        lambda obj: len(obj["items"]) == 3 and not any(o["metadata"].get("ownerReferences") for o in obj["items"]),
    )
    pods = await names(api, f"{api.ns}/pods?labelSelector=rc%3Dforeground")
    other = (await api.get(f"{path}/other")).json
    reference = {"apiVersion": "v1", "kind": "ReplicationController", "name": "other", "uid": other["metadata"]["uid"]}
    await api.patch(
        f"{api.ns}/pods/{pods[0]}", {"metadata": {"ownerReferences": [reference]}}, "strategic-merge-patch+json"
    )
    await api.patch(f"{api.ns}/pods/{pods[1]}", {"metadata": {"finalizers": ["example.com/hold"]}})
    deleted = await api.delete(f"{path}/foreground", {"propagationPolicy": "Foreground"})
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
