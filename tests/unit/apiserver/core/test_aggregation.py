"""Another API server behind an APIService: a real HTTPS server that checks who hands it requests."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from podwright.api.resources import ENDPOINTSLICES
from podwright.api.status import ApiError
from podwright.client.transport import Call

from .conftest import BOB, Api, Pki, config_for, running, take
from .hook_server import https_server

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
PATH = "/apis/wardle.example.com/v1alpha1"
FLUNDERS = f"{PATH}/namespaces/default/flunders"
LIST = {
    "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "wardle.example.com/v1alpha1",
    "resources": [
        {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "verbs": ["get"]},
        {"name": "flunders/status", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["get"]},
    ],
}


@dataclass
class Extension:
    port: int = 0
    seen: list[tuple[str, dict[str, list[str]], str]] = field(default_factory=list)
    broken: bool = False
    path: str = PATH
    resources: dict[str, Any] = field(default_factory=lambda: LIST)
    second: dict[str, Any] | None = None
    third: bool = True

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        remote: dict[str, list[str]] = {}
        for key, value in request.headers.items():
            if key.lower().startswith("x-remote-") or key.lower() == "authorization":
                remote.setdefault(key.lower(), []).append(value)
        certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
        subject = dict(pair[0] for pair in certificate["subject"]).get("commonName", "") if certificate else ""
        self.seen.append((f"{request.method} {request.path_qs}", remote, subject))
        if self.broken:
            return web.Response(status=500)
        if request.path == self.path:
            return web.json_response(self.resources)
        if request.path == "/openapi/v2" and self.second is not None:
            if request.headers.get("If-None-Match") == '"2"':
                return web.Response(status=304)
            return web.json_response(self.second, headers={"ETag": '"2"'})
        if request.path in ("/openapi/v2", "/openapi/v3") and not self.third:
            return web.Response(status=404)
        if request.path == "/openapi/v3":
            return web.json_response({"paths": {PATH[1:]: {"serverRelativeURL": f"/openapi/v3{PATH}?hash=ABC"}}})
        if request.path == f"/openapi/v3{PATH}":
            return web.json_response({"openapi": "3.0.0", "paths": {}})
        if request.path.endswith("/echo"):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(f"{remote['x-remote-user'][0]}: {message.data}")
            return socket
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            for kind in ("ADDED", "MODIFIED"):
                await response.write(json.dumps({"type": kind, "object": {}}).encode() + b"\n")
            await asyncio.sleep(0.05)
            return response
        body = await request.read()
        return web.json_response({"kind": "Flunder", "got": body.decode()}, status=201 if body else 200)


@pytest.fixture
async def extension(pki: Pki) -> AsyncIterator[Extension]:
    made = Extension()
    async with https_server(pki, made.handle, client_ca=str(pki.path("ca.crt"))) as port:
        made.port = port
        yield made


@pytest.fixture
async def api(pki: Pki) -> AsyncIterator[Api]:
    config = config_for(
        pki, proxy_client_certificate=pki.path("admin.crt"), proxy_client_key=pki.path("admin.key"),
        requestheader_client_ca=pki.path("ca.crt"), requestheader_allowed_names=("front-proxy-client",),
    )
    async with running(config) as api:
        yield api


def api_service(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1alpha1.wardle.example.com"},
        "spec": {
            "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
            "service": {"namespace": "default", "name": "api"}, "insecureSkipTLSVerify": True, **spec,
        },
    }


async def condition(api: Api, name: str = "v1alpha1.wardle.example.com", **wanted: str) -> dict[str, Any]:
    """The Available condition, once it says what is wanted."""
    async with asyncio.timeout(60):
        async with api.watch(f"{SERVICES}?watch=1&fieldSelector=metadata.name={name}") as events:
            async for event in events:
                for found in event["object"].get("status", {}).get("conditions", ()):
                    if all(found.get(k) == v for k, v in wanted.items()):
                        return dict(found)
    raise AssertionError("the watch ended")


async def backed(api: Api, port: int) -> None:
    await api.post("/api/v1/namespaces/default/services", {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
        "spec": {"ports": [{"port": 443, "targetPort": port}]},
    })
    # Below validation: an endpoint on loopback is refused.
    await api.server.writer.create(ENDPOINTSLICES, {
        "addressType": "IPv4",
        "metadata": {"name": "api-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "api"}},
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"name": "", "port": port, "protocol": "TCP"}],
    })


async def test_conditions_follow_the_service(api: Api, extension: Extension) -> None:
    assert (await api.post(SERVICES, api_service())).status == 201
    found = await condition(api, status="False", reason="ServiceNotFound")
    assert found["message"] == 'service/api in "default" is not present'
    refused = await api.get(FLUNDERS)
    assert (refused.status, refused.text) == (503, "service unavailable\n")
    made = await api.post("/api/v1/namespaces/default/services", {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}, "spec": {"ports": [{"port": 444}]},
    })
    assert made.status == 201, made.text
    found = await condition(api, reason="ServicePortError")
    assert found["message"] == 'service/api in "default" is not listening on port 443'
    await api.delete("/api/v1/namespaces/default/services/api")
    extension.broken = True
    await backed(api, extension.port)
    found = await condition(api, reason="FailedDiscoveryCheck")
    url = f"https://127.0.0.1:{extension.port}{PATH}"
    assert found["message"] == f"failing or missing response from {url}: bad status from {url}: 500"
    extension.broken = False
    await api.patch(f"{SERVICES}/v1alpha1.wardle.example.com", {"spec": {"versionPriority": 15}})
    found = await condition(api, status="True")
    assert (found["reason"], found["message"]) == ("Passed", "all checks passed")
    table = await api.get(SERVICES, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    cells = {row["cells"][0]: row["cells"][1:3] for row in table.json["rows"]}
    assert cells["v1alpha1.wardle.example.com"] == ["default/api", "True"]
    assert cells["v1.apps"] == ["Local", "True"]
    # As the row does: another's condition is written, an update takes the collection's label, and the condition stays.
    at = f"{SERVICES}/v1alpha1.wardle.example.com"
    wardle = (await api.get(f"{at}/status")).json
    wardle["status"]["conditions"].append({"type": "StatusUpdated", "status": "True", "reason": "E2E", "message": "m"})
    assert (await api.put(f"{at}/status", wardle)).status == 200
    await api.delete("/api/v1/namespaces/default/services/api")
    await condition(api, reason="ServiceNotFound")
    found = (await api.get(at)).json
    assert [c["type"] for c in found["status"]["conditions"]] == ["Available", "StatusUpdated"]
    found["metadata"]["labels"] = {"e2e-apiservice": "updated"}
    assert (await api.put(at, found)).status == 200
    assert (await api.delete(f"{SERVICES}?labelSelector=e2e-apiservice%3Dupdated")).status == 200
    assert (await api.get(at)).status == 404 and (await api.get(FLUNDERS)).status == 404


async def test_requests_are_handed_on_with_the_name_of_who_asks(api: Api, extension: Extension) -> None:
    await backed(api, extension.port)
    await api.post(SERVICES, api_service())
    await condition(api, status="True")
    extension.seen.clear()
    made = await api.post(FLUNDERS + "?dryRun=All", {"a": 1}, headers={"X-Remote-User": "evil", "X-Remote-Group": "x"})
    assert made.status == 201 and json.loads(made.json["got"]) == {"a": 1}
    line, remote, certificate = extension.seen[-1]
    assert line == f"POST {FLUNDERS}?dryRun=All" and certificate == "kubernetes-admin"
    assert remote == {
        "x-remote-user": ["admin"], "x-remote-uid": ["1"],
        "x-remote-group": ["system:masters", "system:authenticated"],
    }
    assert (await api.get(FLUNDERS, token=BOB)).status == 403
    async with api.watch(f"{FLUNDERS}?watch=1") as events:
        assert [e["type"] for e in await take(events, 2)] == ["ADDED", "MODIFIED"]
    headers = {"Authorization": f"Bearer {api.token}"}
    async with api.session.ws_connect(api.url + f"{FLUNDERS}/a/echo", headers=headers) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str(timeout=5) == "admin: hello"
    assert isinstance(socket, aiohttp.ClientWebSocketResponse)
    call = Call("GET", f"{FLUNDERS}/a b", {"labelSelector": "a in (b&c)"})
    assert (await api.server.local.call(call, "me", ["system:masters"]))["kind"] == "Flunder"
    assert extension.seen[-1][0] == f"GET {FLUNDERS}/a%20b?labelSelector=a+in+%28b%26c%29"
    extension.broken = True
    with pytest.raises(ApiError) as refused:
        await api.server.local.call(call, "me", ["system:masters"])
    assert refused.value.code == 500


async def test_discovery_and_openapi_are_merged(api: Api, extension: Extension) -> None:
    await backed(api, extension.port)
    await api.post(SERVICES, api_service())
    await condition(api, status="True")
    groups = {g["name"]: g for g in (await api.get("/apis")).json["groups"]}
    assert groups["wardle.example.com"]["preferredVersion"]["version"] == "v1alpha1"
    assert (await api.get("/apis/wardle.example.com")).json["kind"] == "APIGroup"
    assert (await api.get(PATH)).json == LIST
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    items = {i["metadata"]["name"]: i for i in (await api.get("/apis", headers=accept)).json["items"]}
    [resource] = items["wardle.example.com"]["versions"][0]["resources"]
    assert resource["resource"] == "flunders" and resource["subresources"][0]["subresource"] == "status"
    paths = (await api.get("/openapi/v3")).json["paths"]
    assert paths[PATH[1:]]["serverRelativeURL"] == f"/openapi/v3{PATH}?hash=ABC"
    assert (await api.get(f"/openapi/v3{PATH}")).json["openapi"] == "3.0.0"
    await api.delete(f"{SERVICES}/v1alpha1.wardle.example.com")
    assert "wardle.example.com" not in {g["name"] for g in (await api.get("/apis")).json["groups"]}
    assert (await api.get(FLUNDERS)).status == 404


def second_form(path: str, kind: str) -> dict[str, Any]:
    """What an extension server publishes: its own kind, one that everybody has, and one that says something else."""
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1."
    kinds = [{"group": "wardle.example.com", "kind": "Status", "version": "v1alpha1"}]
    return {
        "swagger": "2.0", "info": {"title": "wardle", "version": "v1"},
        "paths": {
            "/version/": {"get": {"responses": {"200": {"description": "OK"}}}},
            f"{path}/things": {
                "parameters": [{"name": "pretty", "in": "query", "type": "string", "uniqueItems": True}],
                "post": {
                    "consumes": ["application/json"], "produces": ["application/json"], "operationId": "makeThing",
                    "parameters": [
                        {"name": "body", "in": "body", "required": True, "schema": {"$ref": f"#/definitions/{kind}"}},
                        {"name": "fieldValidation", "in": "query", "type": "string"},
                    ],
                    "responses": {"200": {"description": "OK", "schema": {"$ref": f"#/definitions/{kind}"}}},
                },
            },
        },
        "definitions": {
            kind: {
                "type": "object",
                "properties": {
                    "status": {"$ref": f"#/definitions/{meta}Status"}, "spec": {"$ref": "#/definitions/wardle.Spec"},
                    "micro": {"$ref": f"#/definitions/{meta}MicroTime"},
                },
            },
            "wardle.Spec": {"type": "object", "properties": {"spec": {"$ref": "#/definitions/wardle.Spec"}}},
            "wardle.Unused": {"type": "object"},
            f"{meta}Status": {"type": "object", "x-kubernetes-group-version-kind": kinds},
            f"{meta}MicroTime": {"type": "string", "format": "date-time"},
        },
    }  # fmt: skip


async def test_a_second_form_document_is_merged_and_stands_in_for_a_third(api: Api, extension: Extension) -> None:
    extension.third, extension.second = False, second_form(PATH, "wardle.Flunder")
    await backed(api, extension.port)
    await api.post(SERVICES, api_service())
    await condition(api, status="True")
    document = (await api.get("/openapi/v2")).json
    assert "/version/" not in document["paths"] and f"{PATH}/things" in document["paths"]
    definitions = document["definitions"]
    assert "wardle.Unused" not in definitions and "wardle.Spec" in definitions
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1."
    properties = definitions["wardle.Flunder"]["properties"]
    assert properties["status"] == {"$ref": f"#/definitions/{meta}Status_v2"}
    assert properties["micro"]["$ref"].removeprefix("#/definitions/") in definitions
    assert definitions[f"{meta}Status_v2"]["type"] == "object" and "properties" in definitions[f"{meta}Status"]

    url = (await api.get("/openapi/v3")).json["paths"][PATH[1:]]["serverRelativeURL"]
    third = await api.get(url)
    assert third.headers.getall("Cache-Control") == ["public, immutable"]
    operation = third.json["paths"][f"{PATH}/things"]["post"]
    ref = {"schema": {"$ref": "#/components/schemas/wardle.Flunder"}}
    assert operation["requestBody"] == {"content": {"application/json": ref}, "required": True}
    assert operation["parameters"] == [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
    assert operation["responses"]["200"]["content"] == {"application/json": ref}
    assert "wardle.Spec" in third.json["components"]["schemas"]

    before = len(extension.seen)
    await api.patch(f"{SERVICES}/v1alpha1.wardle.example.com", {"spec": {"versionPriority": 16}})
    async with asyncio.timeout(10):
        while not any("/openapi/v2" in line for line, _, _ in extension.seen[before:]):
            await asyncio.sleep(0.01)
    assert f"{PATH}/things" in (await api.get("/openapi/v2")).json["paths"]
    await api.delete(f"{SERVICES}/v1alpha1.wardle.example.com")
    async with asyncio.timeout(10):
        while f"{PATH}/things" in (await api.get("/openapi/v2")).json["paths"]:
            await asyncio.sleep(0.01)


async def test_an_installed_metrics_server_comes_before_our_own(api: Api, extension: Extension) -> None:
    path, name = "/apis/metrics.k8s.io/v1beta1", "v1beta1.metrics.k8s.io"
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}

    async def resources() -> list[str]:
        items = {i["metadata"]["name"]: i for i in (await api.get("/apis", headers=accept)).json["items"]}
        return [r["resource"] for r in items["metrics.k8s.io"]["versions"][0]["resources"]]

    assert (await api.get(f"{path}/nodes")).json["kind"] == "NodeMetricsList"
    assert (await api.get(f"{SERVICES}/{name}")).status == 404  # the name is free for whoever installs one
    assert await resources() == ["nodes", "pods"]
    extension.path, extension.third = path, False
    extension.second = second_form(path, "wardle.Metrics")
    extension.resources = {**LIST, "groupVersion": "metrics.k8s.io/v1beta1"}
    await backed(api, extension.port)
    made = api_service(group="metrics.k8s.io", version="v1beta1")
    made["metadata"]["name"] = name
    assert (await api.post(SERVICES, made)).status == 201
    await condition(api, name, status="True")
    assert (await api.get(f"{path}/nodes")).json["kind"] == "Flunder"
    assert (await api.get(path)).json == extension.resources and await resources() == ["flunders"]
    paths = (await api.get("/openapi/v2")).json["paths"]
    assert [p for p in paths if p.startswith(path)] == [f"{path}/things"]
    await api.delete(f"{SERVICES}/{name}")
    assert (await api.get(f"{path}/nodes")).json["kind"] == "NodeMetricsList"
    async with asyncio.timeout(10):
        while await resources() != ["nodes", "pods"]:
            await asyncio.sleep(0.01)
    paths = (await api.get("/openapi/v2")).json["paths"]
    assert f"{path}/nodes" in paths and f"{path}/things" not in paths


async def test_a_bundle_that_does_not_fit_is_no_connection(api: Api, extension: Extension) -> None:
    """The certificate names localhost, not api.default.svc."""
    await backed(api, extension.port)
    authority = api.server.config.client_ca
    assert authority is not None
    bundle = base64.b64encode(authority.read_bytes()).decode()
    await api.post(SERVICES, api_service(insecureSkipTLSVerify=False, caBundle=bundle))
    found = await condition(api, reason="FailedDiscoveryCheck")
    assert "certificate" in found["message"] and "api.default.svc" in found["message"]


async def test_local_ones_are_kept(api: Api) -> None:
    async def names() -> dict[str, Any]:
        return {i["metadata"]["name"]: i for i in (await api.get(SERVICES)).json["items"]}

    async with asyncio.timeout(60):
        while "v1.apps" not in (found := await names()):
            await asyncio.sleep(0.02)
    assert found["v1."]["spec"] == {"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1}
    assert found["v1.apps"]["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "onstart"}
    assert "v1.apiregistration.k8s.io" not in found
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    schema = {"openAPIV3Schema": {"type": "object"}}
    await api.post(crds, {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "as.own.example.com"},
        "spec": {"group": "own.example.com", "scope": "Cluster", "names": {"plural": "as", "kind": "A"},
                 "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}]},
    })
    async with asyncio.timeout(60):
        while "v1.own.example.com" not in (found := await names()):
            await asyncio.sleep(0.02)
    spec = found["v1.own.example.com"]["spec"]
    assert (spec["groupPriorityMinimum"], spec["versionPriority"]) == (1000, 100)
    await api.delete(f"{crds}/as.own.example.com")
    async with asyncio.timeout(60):
        while "v1.own.example.com" in await names():
            await asyncio.sleep(0.02)


async def test_extension_servers_learn_how_clients_prove_who_they_are(api: Api) -> None:
    found = await api.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
    assert found.json["data"]["requestheader-allowed-names"] == '["front-proxy-client"]'
    assert "BEGIN CERTIFICATE" in found.json["data"]["requestheader-client-ca-file"]
