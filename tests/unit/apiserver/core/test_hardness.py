"""What bad or greedy clients meet."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from podwright.api.status import ApiError
from podwright.apiserver.http import connections
from podwright.apiserver.inflight import InFlight, Limit
from podwright.apiserver.registry.registry import store_failure
from podwright.apiserver.requests import UserInfo
from podwright.store.protocol import FutureRevision, StoreUnavailable, ValueTooLarge

from .conftest import Api, Pki, config_for, config_map, running

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"

BODIES = [
    b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"[" * 50_000, b'{"metadata":[]}', b'{"metadata":{"name":1}}',
    b'{"metadata":{"name":"a/b"}}', b'{"metadata":{"name":".."}}', b'{"metadata":{"name":"a","labels":{"a":1}}}',
    b'{"metadata":{"name":"a"},"data":{"a":1e999}}', b'{"metadata":{"name":"a","annotations":null},"data":null}',
    b'{"kind":"Nonsense","apiVersion":"v1"}', b'{"apiVersion":"x/y/z"}', b'{"metadata":{"name":"a","generateName":7}}',
    b'{"metadata":{"name":"a","finalizers":[1]}}', b'{"metadata":{"name":"a","ownerReferences":[{}]}}',
    b'{"metadata":{"name":"a","managedFields":[{"manager":"x"}]}}', b'{"metadata":{"uid":{}}}',
    b'{"metadata":{"name":"\\ud800"}}', b'{"metadata":{"name":"a","resourceVersion":"x"}}',
    b'{"metadata":{"name":"a","creationTimestamp":"yesterday"}}', b'{"metadata":{"namespace":"other","name":"a"}}',
]
PATHS = [
    "/api/v1/namespaces/default/configmaps", "/apis/apps/v1/namespaces/default/deployments", "/api/v1/nodes",
    "/api/v1/namespaces/default/services", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/api/v1/namespaces/default/pods", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "/api/v1/namespaces",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "/api/v1/namespaces/default/bindings",
]


@pytest.mark.parametrize("path", PATHS)
async def test_bad_bodies_are_the_clients_fault(api: Api, path: str) -> None:
    for body in BODIES:
        for method, url in (("POST", path), ("PUT", f"{path}/a"), ("DELETE", f"{path}/a")):
            answer = await api.request(method, url, body)
            assert answer.status < 500, (method, url, body[:60], answer.text)
        for kind in ("json-patch", "merge-patch", "strategic-merge-patch", "apply-patch"):
            suffix = "yaml" if kind == "apply-patch" else "json"
            answer = await api.request(
                "PATCH", f"{path}/a?fieldManager=m", body, content_type=f"application/{kind}+{suffix}"
            )
            assert answer.status < 500, (kind, path, body[:60], answer.text)


@pytest.mark.parametrize(
    "query",
    [
        "limit=x", "limit=-1", "continue=%00", "resourceVersion=-1", "resourceVersion=" + "9" * 30, "labelSelector=,,,",
        "fieldSelector=%ff", "watch=1&resourceVersion=x", "watch=1&timeoutSeconds=x", "resourceVersionMatch=Bogus",
        "watch=1&timeoutSeconds=1&labelSelector=a%20in%20(", "pretty=x", "limit=99999999999999999999999",
    ],
)
async def test_bad_queries_are_the_clients_fault(api: Api, query: str) -> None:
    answer = await api.get(f"{CONFIG_MAPS}?{query}")
    assert answer.status < 500, answer.text


async def test_odd_paths(api: Api) -> None:
    for path in ("/api/v1/namespaces/default/configmaps/..%2f..%2fsecrets", "/api//v1", "/apis/%00/v1", "/api/v1/%ff/x",
                 "/api/v1/namespaces/%2e%2e/configmaps/a", "/apis/apps/v1/" + "a/" * 500):
        assert (await api.get(path)).status in (400, 404)


async def test_too_large(api: Api) -> None:
    answer = await api.post(CONFIG_MAPS, config_map("big", a="x" * (3 * 1024 * 1024)))
    assert (answer.status, answer.json["reason"]) == (413, "RequestEntityTooLarge")


async def raw(api: Api, text: bytes, pki: Pki, seconds: float = 5.0) -> bytes:
    """What the server sends back until it closes the connection."""
    context = ssl.create_default_context(cafile=str(pki.path("ca.crt")))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", api.server.port, ssl=context, server_hostname="localhost"
    )
    try:
        writer.write(text)
        async with asyncio.timeout(seconds):
            return await reader.read()
    finally:
        writer.close()


async def test_garbage_is_answered_and_closed(api: Api, pki: Pki) -> None:
    assert b" 400 " in (await raw(api, b"NONSENSE\r\n\r\n", pki)).split(b"\r\n")[0]
    smuggled = b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert b" 400 " in (await raw(api, smuggled, pki)).split(b"\r\n")[0]


async def test_a_head_that_does_not_come_is_not_waited_for(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.2)
    async with running(config_for(pki)) as api:
        assert await raw(api, b"GET /api HTTP/1.1\r\nHost: x\r\nX-Slow: ", pki, 3.0) == b""


async def test_client_certificates(api: Api, pki: Pki) -> None:
    context = ssl.create_default_context(cafile=str(pki.path("ca.crt")))
    context.load_cert_chain(pki.path("admin.crt"), pki.path("admin.key"))
    async with api.session.get(f"{api.url}/api/v1/nodes", ssl=context) as response:
        assert response.status == 200


async def test_seats_go_round_between_users() -> None:
    limit = Limit(1, 5.0)
    await limit.take("busy")
    order: list[str] = []

    async def one(flow: str) -> None:
        await limit.take(flow)
        order.append(flow)
        limit.give()

    async with asyncio.TaskGroup() as tasks:
        for flow in ("busy", "busy", "busy", "quiet"):
            tasks.create_task(one(flow))
        await asyncio.sleep(0)
        limit.give()
    assert order.index("quiet") == 1 and limit.executing == 0 and limit.waiting == 0


async def test_who_waits_too_long_is_refused() -> None:
    limit = Limit(1, 0.02)
    await limit.take("a")
    with pytest.raises(ApiError) as refused:
        await limit.take("b")
    assert refused.value.code == 429 and refused.value.retry_after == 1
    limit.give()
    assert limit.try_take()


def test_what_a_store_refuses_is_told_by_its_kind() -> None:
    assert store_failure(ValueTooLarge("x")).code == 413
    ahead = store_failure(FutureRevision(9, 5))
    assert ahead.code == 504 and "Too large resource version: 9, current: 5" in str(ahead)
    assert store_failure(StoreUnavailable("gone")).code == 503


def test_administrators_and_watches_are_exempt() -> None:
    inflight = InFlight(1, 1, 60.0)
    assert inflight.pool("list", UserInfo("a", groups=("system:masters",)), "") is None
    assert inflight.pool("watch", UserInfo("a"), "") is None
    assert inflight.pool("list", UserInfo("a"), "") is inflight.reads
    assert inflight.pool("create", UserInfo("a"), "") is inflight.writes


async def test_answers_name_their_flow(api: Api) -> None:
    schemas = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
    uids = {o["metadata"]["uid"]: o["metadata"]["name"] for o in (await api.get(schemas)).json["items"]}
    assert uids[(await api.get("/api")).headers["X-Kubernetes-PF-FlowSchema-UID"]] == "exempt"
    refused = await api.get("/api", headers={"Impersonate-User": "someone"})
    assert uids[refused.headers["X-Kubernetes-PF-FlowSchema-UID"]] == "global-default"
    own = {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "own"},
        "spec": {
            "matchingPrecedence": 1000, "priorityLevelConfiguration": {"name": "workload-low"},
            "rules": [
                {
                    "subjects": [{"kind": "User", "user": {"name": "someone"}}],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                }
            ],
        },
    }
    made = await api.post(schemas, own)
    assert made.status == 201, made.text
    again = await api.get("/api", headers={"Impersonate-User": "someone"})
    assert again.headers["X-Kubernetes-PF-FlowSchema-UID"] == made.json["metadata"]["uid"]
