"""Discovery, OpenAPI, health, version and metrics."""

from __future__ import annotations

from .conftest import Api

V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_aggregated_discovery(api: Api) -> None:
    core = await api.get("/api", headers={"Accept": f"{V2},application/json"})
    assert core.headers["Content-Type"] == V2
    pods = next(r for r in core.json["items"][0]["versions"][0]["resources"] if r["resource"] == "pods")
    assert pods["shortNames"] == ["po"] and {s["subresource"] for s in pods["subresources"]} >= {"log", "status"}
    again = await api.get("/api", headers={"Accept": V2, "If-None-Match": core.headers["ETag"]})
    assert again.status == 304
    groups = await api.get("/apis", headers={"Accept": V2})
    scaling = next(i for i in groups.json["items"] if i["metadata"]["name"] == "autoscaling")
    assert [v["version"] for v in scaling["versions"]] == ["v2", "v1"]


async def test_plain_discovery(api: Api) -> None:
    assert (await api.get("/api")).json["versions"] == ["v1"]
    groups = {g["name"]: g for g in (await api.get("/apis")).json["groups"]}
    assert groups["apps"]["preferredVersion"]["groupVersion"] == "apps/v1"
    assert "policy/v1beta1" not in str(groups)
    resources = {r["name"]: r for r in (await api.get("/apis/apps/v1")).json["resources"]}
    assert resources["deployments/scale"]["kind"] == "Scale"
    assert (await api.get("/apis/nonsense")).status == 404


async def test_openapi_v3(api: Api) -> None:
    paths = (await api.get("/openapi/v3")).json["paths"]
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    document = await api.get(url)
    schemas = document.json["components"]["schemas"]
    kind = schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"]
    assert kind == [{"group": "apps", "kind": "Deployment", "version": "v1"}]
    refs = set(_refs(document.json))
    assert refs and all(ref.removeprefix("#/components/schemas/") in schemas for ref in refs)
    patch = document.json["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in {p["name"] for p in patch["parameters"]}
    cached = await api.get(url, headers={"If-None-Match": document.headers["ETag"]})
    assert cached.status == 304


async def test_openapi_v2(api: Api) -> None:
    document = (await api.get("/openapi/v2")).json
    refs = set(_refs(document))
    assert all(ref.removeprefix("#/definitions/") in document["definitions"] for ref in refs)
    ids = [op["operationId"] for item in document["paths"].values() for k, op in item.items() if k != "parameters"]
    assert len(ids) == len(set(ids)) and "readCoreV1NamespacedPod" in ids


def _refs(value: object) -> list[str]:
    found: list[str] = []
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref" and isinstance(item, str):
                found.append(item)
            else:
                found += _refs(item)
    elif isinstance(value, list):
        for item in value:
            found += _refs(item)
    return found


async def test_health_and_version_need_no_credentials(api: Api) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        answer = await api.get(path, token="")
        assert (answer.status, answer.text) == (200, "ok")
    verbose = await api.get("/readyz?verbose", token="")
    assert "[+]ping ok" in verbose.text and verbose.text.endswith("readyz check passed\n")
    assert (await api.get("/version", token="")).json["minor"] == "37"
    assert (await api.get("/api", token="")).status == 401
    assert (await api.get("/livez/ping")).text == "ok"


async def test_metrics(api: Api) -> None:
    await api.get("/api/v1/nodes")
    text = (await api.get("/metrics")).text
    assert "apiserver_request_total{" in text and "apiserver_storage_objects{" in text
