"""Namespaces, Services, scale, and every kind once."""

from __future__ import annotations

import socket

import pytest

from podwright.api.resources import served
from podwright.apiserver import component_statuses

from .conftest import Api, Pki, config_for, config_map, running


async def test_bootstrap_objects_are_there(api: Api) -> None:
    names = {o["metadata"]["name"] for o in (await api.get("/api/v1/namespaces")).json["items"]}
    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= names
    service = (await api.get("/api/v1/namespaces/default/services/kubernetes")).json
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    slices = (await api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")).json
    assert slices["ports"][0]["port"] == api.server.port
    config = (await api.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")).json
    assert "BEGIN CERTIFICATE" in config["data"]["client-ca-file"]


async def test_a_namespace_goes_when_it_is_finalized(api: Api) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    made = (await api.post("/api/v1/namespaces", body)).json
    assert made["spec"]["finalizers"] == ["kubernetes"] and made["status"]["phase"] == "Active"
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    marked = (await api.delete("/api/v1/namespaces/n")).json
    assert marked["status"]["phase"] == "Terminating" and marked["metadata"]["deletionTimestamp"]
    refused = await api.post("/api/v1/namespaces/n/configmaps", config_map("a"))
    assert refused.status == 403
    marked["spec"]["finalizers"] = []
    assert (await api.put("/api/v1/namespaces/n/finalize", marked)).status == 200
    assert (await api.get("/api/v1/namespaces/n")).status == 404


def service(name: str, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec},
    }


SERVICES = "/api/v1/namespaces/default/services"


async def test_services_get_addresses_and_ports_of_their_own(api: Api) -> None:
    one = (await api.post(SERVICES, service("one"))).json["spec"]
    assert one["clusterIP"].startswith("10.") and one["clusterIPs"] == [one["clusterIP"]]
    taken = await api.post(SERVICES, service("two", clusterIP=one["clusterIP"]))
    assert taken.status == 422 and "already allocated" in taken.json["message"]
    await api.delete(f"{SERVICES}/one")
    assert (await api.post(SERVICES, service("two", clusterIP=one["clusterIP"]))).status == 201
    node_port = (await api.post(SERVICES, service("three", type="NodePort"))).json["spec"]["ports"][0]["nodePort"]
    assert 30000 <= node_port <= 32767
    clash = service("four", type="NodePort", ports=[{"port": 80, "nodePort": node_port}])
    assert (await api.post(SERVICES, clash)).status == 422
    headless = (await api.post(SERVICES, service("five", clusterIP="None"))).json["spec"]
    assert headless["clusterIPs"] == ["None"]
    external = (await api.post(SERVICES, service("six", type="ExternalName", externalName="example.com"))).json
    assert "clusterIP" not in external["spec"]
    outside = await api.post(SERVICES, service("seven", clusterIP="192.0.2.1"))
    assert outside.status == 422


async def test_a_service_changes_its_type(api: Api) -> None:
    made = (await api.post(SERVICES, service("s", type="NodePort"))).json
    back = await api.patch(f"{SERVICES}/s", {"spec": {"type": "ClusterIP"}})
    assert back.status == 200, back.text
    assert "nodePort" not in back.json["spec"]["ports"][0]
    assert back.json["spec"]["clusterIP"] == made["spec"]["clusterIP"]


async def test_allocations_survive_a_restart(pki: Pki, tmp_path: object) -> None:
    config = config_for(pki, store_url=f"sqlite://{tmp_path}/store.db")
    async with running(config) as api:
        address = (await api.post(SERVICES, service("one"))).json["spec"]["clusterIP"]
    async with running(config) as api:
        assert (await api.post(SERVICES, service("two", clusterIP=address))).status == 422
        assert (await api.get(f"{SERVICES}/one")).json["spec"]["clusterIP"] == address


async def test_scale(api: Api) -> None:
    body = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "busybox"}]},
            },
        },
    }
    path = "/apis/apps/v1/namespaces/default/deployments"
    assert (await api.post(path, body)).status == 201
    scale = (await api.get(f"{path}/d/scale")).json
    assert scale["kind"] == "Scale" and scale["spec"]["replicas"] == 2 and scale["status"]["selector"] == "a=b"
    scale["spec"]["replicas"] = 5
    assert (await api.put(f"{path}/d/scale", scale)).json["spec"]["replicas"] == 5
    assert (await api.patch(f"{path}/d/scale", {"spec": {"replicas": 7}})).json["spec"]["replicas"] == 7
    assert (await api.get(f"{path}/d")).json["spec"]["replicas"] == 7
    assert (await api.put(f"{path}/d/scale", scale)).status == 409


@pytest.mark.parametrize(
    ("plural", "said"),
    [
        ("componentstatuses", "v1 ComponentStatus is deprecated in v1.19+"),
        ("endpoints", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
    ],
)
async def test_deprecated_kinds_warn(api: Api, plural: str, said: str) -> None:
    assert (await api.get(f"/api/v1/{plural}")).headers["Warning"] == f'299 - "{said}"'


async def test_components_print_their_state(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # nobody listens there once it is closed
    monkeypatch.setitem(component_statuses._PORTS, "scheduler", port)
    api.server.component_statuses.here.add("controller-manager")
    path = "/api/v1/componentstatuses"

    async def rows(asked: str) -> list[list[str]]:
        table = (await api.get(asked, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})).json
        assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Status", "Message", "Error"]
        return [row["cells"] for row in table["rows"]]

    refused = f'Get "https://127.0.0.1:{port}/healthz": dial tcp 127.0.0.1:{port}: connect: connection refused'
    ours = ["controller-manager", "Healthy", "ok", ""]
    assert await rows(path) == [["scheduler", "Unhealthy", refused, ""], ours, ["etcd-0", "Healthy", "ok", ""]]
    assert await rows(f"{path}/controller-manager") == [ours]
    assert await rows(f"{path}?fieldSelector=metadata.name%3Dcontroller-manager") == [ours]
    assert (await api.get(f"{path}/etcd-1")).status == 404


async def test_every_kind_lists_and_prints(api: Api) -> None:
    for row in served():
        if "list" not in row.verbs:
            continue
        listed = await api.get(row.path())
        assert listed.status == 200 and listed.json["kind"] == row.list_kind
        table = await api.get(row.path(), headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
        assert table.json["kind"] == "Table", row
