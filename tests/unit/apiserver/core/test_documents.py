"""Discovery, OpenAPI, health, version and metrics."""

from __future__ import annotations

import asyncio
from typing import Any

from podwright.api.protobuf import wire
from podwright.api.resources import Resource
from podwright.apiserver.openapi import custom, schemas

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
    assert document.headers.getall("Cache-Control") == ["public, immutable"] and "Expires" in document.headers
    plain = await api.get("/openapi/v3/apis/apps/v1")
    assert plain.headers["Cache-Control"] == "no-cache, private"
    async with api.session.get(
        f"{api.url}/openapi/v3/apis/apps/v1?hash=OLD", headers={"Authorization": f"Bearer {api.token}"},
        allow_redirects=False,
    ) as moved:
        assert (moved.status, moved.headers["Location"]) == (301, url)


async def test_openapi_v3_in_protobuf(api: Api) -> None:
    url = "/openapi/v3/apis/apps/v1"
    answer = await api.get(url, headers={"Accept": "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"})
    assert answer.headers["Content-Type"] == "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
    plain = await api.get(url)
    document = plain.json
    assert answer.headers["ETag"] == plain.headers["ETag"]
    top = _wire(answer.body)
    assert top[1] == [b"3.0.0"]
    components = _wire(top[5][0])
    named = {pair[1][0].decode(): _wire(pair[2][0]) for pair in map(_wire, _wire(components[1][0])[1])}
    assert named.keys() == document["components"]["schemas"].keys()
    spec = _wire(named["io.k8s.api.apps.v1.DeploymentSpec"][1][0])
    assert spec[23] == [b"selector", b"template"] and spec[25] == [b"object"]
    fields = {pair[1][0].decode(): _wire(pair[2][0]) for pair in map(_wire, _wire(spec[31][0])[1])}
    assert _wire(fields["replicas"][1][0])[35] == [b"int32"]
    paths = {pair[1][0].decode(): _wire(pair[2][0]) for pair in map(_wire, _wire(top[4][0])[1])}
    assert paths.keys() == document["paths"].keys()
    patch = _wire(paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"][10][0])
    assert b"fieldValidation" in {_wire(_wire(p)[1][0])[1][0] for p in patch[6]}
    assert (await api.get(url, headers={"Accept": "text/plain"})).status == 406


async def test_openapi_v2(api: Api) -> None:
    document = (await api.get("/openapi/v2")).json
    refs = set(_refs(document))
    assert all(ref.removeprefix("#/definitions/") in document["definitions"] for ref in refs)
    ids = [op["operationId"] for item in document["paths"].values() for k, op in item.items() if k != "parameters"]
    assert len(ids) == len(set(ids)) and "readCoreV1NamespacedPod" in ids


async def test_openapi_v2_in_protobuf(api: Api) -> None:
    """client-go asks for nothing else; the answer's media type is the valid spelling of it."""
    wanted = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    answer = await api.get("/openapi/v2", headers={"Accept": wanted})
    assert answer.headers["Content-Type"] == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    again = await api.get("/openapi/v2", headers={"Accept": wanted, "If-None-Match": answer.headers["ETag"]})
    assert again.status == 304
    document = (await api.get("/openapi/v2")).json
    top = _wire(answer.body)
    assert top[1] == [b"2.0"]
    named = {pair[1][0].decode(): _wire(pair[2][0]) for pair in map(_wire, _wire(top[9][0])[1])}
    assert named.keys() == document["definitions"].keys()
    spec = named["io.k8s.api.core.v1.PodSpec"]
    assert spec[19] == [b"containers"] and _wire(spec[22][0]) == {1: [b"object"]}
    fields = {pair[1][0].decode(): _wire(pair[2][0]) for pair in map(_wire, _wire(spec[25][0])[1])}
    extensions = {pair[1][0].decode(): _wire(pair[2][0])[2][0] for pair in map(_wire, fields["containers"][31])}
    assert extensions["x-kubernetes-patch-merge-key"] == b'"name"\n'
    items = _wire(_wire(fields["containers"][23][0])[1][0])
    assert items == {1: [b"#/definitions/io.k8s.api.core.v1.Container"]}
    paths = {pair[1][0].decode() for pair in map(_wire, _wire(top[8][0])[2])}
    assert paths == document["paths"].keys()
    assert (await api.get("/openapi/v2", headers={"Accept": "text/plain"})).status == 406


def _wire(data: bytes) -> dict[int, list[Any]]:
    """A message's fields by number, nested ones still bytes."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(data):
        tag, at = wire.read_varint(data, at, len(data))
        value: Any
        if tag & 7 == wire.BYTES:
            length, at = wire.read_varint(data, at, len(data))
            value, at = data[at : at + length], at + length
        elif tag & 7 == wire.FIXED64:
            value, at = data[at : at + 8], at + 8
        else:
            value, at = wire.read_varint(data, at, len(data))
        found.setdefault(tag >> 3, []).append(value)
    return found


def test_custom_resources_lose_in_v2_what_kubectl_would_misread() -> None:
    row = Resource("example.com", "v1", "widgets", "Widget", custom=True)
    raw: dict[str, Any] = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["note", "size"],
                "properties": {
                    "note": {"type": "string", "nullable": True},
                    "size": {"type": "integer"},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {}}},
                    "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                },
            }
        },
    }
    second = custom.definitions(row, "com.example.v1.Widget", raw, schemas.V2)["com.example.v1.Widget"]
    spec = second["properties"]["spec"]
    assert spec["required"] == ["size"]
    assert spec["properties"]["note"] == {}
    assert spec["properties"]["free"] == {"x-kubernetes-preserve-unknown-fields": True}
    assert spec["properties"]["port"] == {"x-kubernetes-int-or-string": True}
    third = custom.definitions(row, "com.example.v1.Widget", raw, schemas.V3)["com.example.v1.Widget"]
    assert third["properties"]["spec"] == raw["properties"]["spec"]
    open_ended = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    free = custom.definitions(row, "w", open_ended, schemas.V2)["w"]
    assert "properties" not in free


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


REQUIRED_CHECKS = (
    "[+]ping ok",
    "[+]log ok",
    "[+]etcd ok",
    "[+]poststarthook/start-apiserver-admission-initializer ok",
    "[+]poststarthook/generic-apiserver-start-informers ok",
    "[+]poststarthook/start-apiextensions-informers ok",
    "[+]poststarthook/start-apiextensions-controllers ok",
    "[+]poststarthook/crd-informer-synced ok",
    "[+]poststarthook/bootstrap-controller ok",
    "[+]poststarthook/start-system-namespaces-controller ok",
    "[+]poststarthook/scheduling/bootstrap-system-priority-classes ok",
    "[+]poststarthook/start-cluster-authentication-info-controller ok",
    "[+]poststarthook/start-kube-aggregator-informers ok",
    "[+]poststarthook/apiservice-registration-controller ok",
    "[+]poststarthook/apiservice-status-local-available-controller ok",
    "[+]poststarthook/apiservice-status-remote-available-controller ok",
    "[+]poststarthook/kube-apiserver-autoregistration ok",
    "[+]autoregister-completion ok",
    "[+]poststarthook/apiservice-openapi-controller ok",
)
"""What upstream's suite looks for in all three pages."""


async def test_health_and_version_need_no_credentials(api: Api) -> None:
    async with asyncio.timeout(60):
        while (await api.get("/readyz", token="")).status != 200:  # every group version gets its APIService
            await asyncio.sleep(0.01)
    for path in ("/healthz", "/livez", "/readyz"):
        answer = await api.get(path, token="")
        assert (answer.status, answer.text) == (200, "ok")
    for path in ("/healthz", "/livez", "/readyz"):
        verbose = (await api.get(f"{path}?verbose=1", token="")).text.splitlines()
        assert set(REQUIRED_CHECKS) <= set(verbose) and verbose[-1] == f"{path[1:]} check passed"
        assert ("[+]informer-sync ok" in verbose) == ("[+]shutdown ok" in verbose) == (path == "/readyz")
    some = (await api.get("/livez?verbose&exclude=etcd&exclude=nothing", token="")).text
    assert "[+]etcd excluded: ok\n" in some
    assert some.endswith('cannot be excluded: no matches for "nothing"\nlivez check passed\n')
    assert (await api.get("/readyz/poststarthook/rbac/bootstrap-roles")).text == "ok"
    assert (await api.get("/version", token="")).json["minor"] == "37"
    assert (await api.get("/api", token="")).status == 401
    assert (await api.get("/livez/ping")).text == "ok"


async def test_a_limit_of_time_must_be_one(api: Api) -> None:
    bad = await api.get("/version?timeout=invalid")
    assert (bad.status, bad.json["reason"]) == (400, "BadRequest")
    assert "invalid timeout specified in the request URL" in bad.json["message"]
    for within in ("3m", "0s", "20s"):
        assert (await api.get(f"/version?timeout={within}")).status == 200


async def test_metrics(api: Api) -> None:
    await api.get("/api/v1/nodes")
    text = (await api.get("/metrics")).text
    for line in (
        "apiserver_request_total{", "apiserver_storage_objects{", "apiserver_response_sizes_bucket{",
        'apiserver_resource_objects{group="",resource="namespaces"} 4.0', "apiserver_storage_size_bytes{",
        'kubernetes_build_info{build_date="',
    ):
        assert f"\n{line}" in text, line
    await api.get("/readyz")
    indicators = (await api.get("/metrics/slis")).text
    assert 'kubernetes_healthcheck{name="etcd",type="readyz"} 1.0' in indicators
    assert 'kubernetes_healthchecks_total{name="ping",status="success",type="readyz"}' in indicators
