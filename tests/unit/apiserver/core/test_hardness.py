"""What bad or greedy clients meet."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import ssl
from typing import Any

import pytest

from podwright.api.status import ApiError
from podwright.apiserver.exchange import Reply, Request
from podwright.apiserver.http import connections
from podwright.apiserver.inflight import Level, Seats
from podwright.apiserver.registry.registry import store_failure
from podwright.store.protocol import FutureRevision, StoreUnavailable, ValueTooLarge

from .conftest import BOB, Api, Pki, config_for, config_map, running

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


def token(**parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps({"v": "meta.k8s.io/v1", **parts}).encode()).decode().rstrip("=")


QUERIES = [
    ("resourceVersion=-1", 400, 'invalid resource version: resourceVersion: Invalid value: "-1": strconv.ParseUint: '
     'parsing "-1": invalid syntax'),
    ("resourceVersion=18446744073709551616", 400, "value out of range"),
    ("watch=1&resourceVersion=x", 422, 'configmaps "" is invalid: resourceVersion: Invalid value: "x"'),
    ("watch=1&timeoutSeconds=9223372036854775808", 400, "strconv.ParseInt"),
    ("timeoutSeconds=1_0", 400, 'strconv.ParseInt: parsing "1_0": invalid syntax'),
    ("limit=%C2%B2", 400, "invalid syntax"),
    ("watch=1&sendInitialEvents=1&resourceVersionMatch=Exact", 422, 'supported values: "NotOlderThan"'),
    ("continue=" + token(rv=1, start="default/../../secrets/x"), 400, "invalid continue token: continue key is not"),
    ("continue=" + token(rv=0, start="a"), 400, "incorrect encoded start resourceVersion"),
    ("continue=" + token(rv=1e300, start="a"), 400, "cannot unmarshal"),
    ("continue=" + token(rv=1, start="a", v="v2"), 400, "server does not recognize this encoded version v2"),
    ("continue=" + token(rv=5, start="a") + "&resourceVersion=5", 400, "not allowed when using continue"),
    ("continue=" + token(rv=10**15, start="a"), 504, "Too large resource version"),
]


async def test_bad_queries_are_the_clients_fault(api: Api) -> None:
    for query, code, told in QUERIES:
        answer = await api.get(f"{CONFIG_MAPS}?{query}")
        assert (answer.status, told in answer.json["message"]) == (code, True), answer.text
    for query in ("limit=-1", "continue=%00", "labelSelector=,,,", "fieldSelector=%ff", "resourceVersionMatch=Bogus",
                  "watch=1&timeoutSeconds=1&labelSelector=a%20in%20(", "pretty=x"):
        assert (await api.get(f"{CONFIG_MAPS}?{query}")).status < 500, query


async def test_what_is_no_request_of_a_kind_is_refused(api: Api) -> None:
    await api.post(CONFIG_MAPS, config_map("a"))
    one = f"{CONFIG_MAPS}/a"
    nameless = 'the name of the object (a based on URL) was undeterminable: name must be provided'
    for body in ({"metadata": {"name": None}}, {"metadata": {"name": ""}}):
        answer = await api.patch(one, body)
        assert (answer.status, answer.json["message"]) == (400, nameless)
    assert (await api.put(one, {**config_map("a"), "metadata": {}})).json["message"] == nameless
    assert (await api.put(CONFIG_MAPS, config_map("a"))).status == 405
    for options in ([], {"gracePeriodSeconds": 2**63}, {"preconditions": []}, {"preconditions": {"uid": 5}}):
        assert (await api.delete(one, options)).status == 400, options
    table = await api.get(one, headers={"Accept": "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io"})
    assert table.status == 406


async def test_odd_paths(api: Api) -> None:
    for path in ("/api/v1/namespaces/default/configmaps/..%2f..%2fsecrets", "/api//v1", "/apis/%00/v1", "/api/v1/%ff/x",
                 "/api/v1/namespaces/%2e%2e/configmaps/a", "/apis/apps/v1/" + "a/" * 500):
        assert (await api.get(path)).status in (400, 404)


async def test_too_large(api: Api) -> None:
    answer = await api.post(CONFIG_MAPS, config_map("big", a="x" * (3 * 1024 * 1024)))
    assert (answer.status, answer.json["reason"]) == (413, "RequestEntityTooLarge")


async def raw(api: Api, text: bytes, pki: Pki, seconds: float = 60) -> bytes:
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
    whole = await raw(api, b"GET http://elsewhere:1/version?x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", pki)
    assert b" 200 " in whole.split(b"\r\n")[0] and b"gitVersion" in whole
    smuggled = b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert b" 400 " in (await raw(api, smuggled, pki)).split(b"\r\n")[0]


async def test_a_client_that_asks_first_is_told_to_go_on(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.token}"}
    async with api.session.post(api.url + CONFIG_MAPS, json=config_map("a"), headers=headers, expect100=True) as made:
        assert made.status == 201


async def test_packed_bodies_are_not_unpacked(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    packed = gzip.compress(json.dumps({**config_map("a"), "data": {"a": "x" * 2_000_000}}).encode())
    answer = await api.post(CONFIG_MAPS, packed, headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    assert not [r for r in caplog.records if r.levelname == "ERROR"]


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


def level(all: Seats, seats: int, wait: float = 60.0, *, lendable: int = 0, most: int = 0, queue: int = 50) -> Level:
    made = Level("a", all, wait)
    made.seats, made.lendable, made.most = seats, lendable, most or seats
    made.per_flow = made.queued = queue
    all.levels.append(made)
    return made


async def test_levels_lend_what_they_do_not_use() -> None:
    all = Seats(4)
    low, high = level(all, 2, most=4, queue=0), level(all, 2, lendable=1)
    assert [low.try_take() for _ in range(4)] == [True, True, True, False], "one seat is never lent"
    with pytest.raises(ApiError):
        await low.take("x")
    assert high.try_take()
    assert high.try_take(), "its own are its own, even if another sits on one"
    assert all.waiting == set() and low.rejected == {"concurrency-limit": 1}
    low.queued = low.per_flow = 1
    async with asyncio.TaskGroup() as tasks:
        waits = tasks.create_task(low.take("x"))
        await asyncio.sleep(0)
        high.give()
        await asyncio.sleep(0)
        assert not waits.done(), "what was lent comes back first"
        high.give()
        low.give()
        await waits
    assert low.executing == 3


async def test_seats_go_round_between_users() -> None:
    limit = level(Seats(1), 1)
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
    limit = level(Seats(1), 1, 0.02)
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


async def bob_may_everything(api: Api) -> None:
    rbac = "rbac.authorization.k8s.io"
    await api.post(
        f"/apis/{rbac}/v1/clusterrolebindings",
        {"metadata": {"name": "bob"}, "subjects": [{"kind": "User", "name": "bob", "apiGroup": rbac}],
         "roleRef": {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": rbac}},
    )


async def test_seats_follow_the_configuration(pki: Pki) -> None:
    """A user of a level with one seat and no queue is refused while it is taken; administrators and watches are not."""
    async with running(config_for(pki)) as api:
        group = "/apis/flowcontrol.apiserver.k8s.io/v1"
        limited = {"nominalConcurrencyShares": 0, "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}}
        made = await api.post(
            f"{group}/prioritylevelconfigurations",
            {"metadata": {"name": "none"}, "spec": {"type": "Limited", "limited": limited}},
        )
        assert made.status == 201, made.text
        rule = {
            "subjects": [{"kind": "User", "user": {"name": "bob"}}],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}],
        }
        spec = {"matchingPrecedence": 50, "priorityLevelConfiguration": {"name": "none"}, "rules": [rule]}
        await api.post(f"{group}/flowschemas", {"metadata": {"name": "bob"}, "spec": spec})
        await bob_may_everything(api)
        refused = await api.get(CONFIG_MAPS, token=BOB)
        assert (refused.status, refused.json["reason"], refused.headers["Retry-After"]) == (429, "TooManyRequests", "1")
        assert refused.headers["X-Kubernetes-PF-PriorityLevel-UID"] == made.json["metadata"]["uid"]
        assert (await api.get(f"{CONFIG_MAPS}?watch=1&timeoutSeconds=1", token=BOB)).status == 200
        assert (await api.get(CONFIG_MAPS)).status == 200
        metrics = (await api.get("/metrics")).text
        refused_once = '{flow_schema="bob",priority_level="none",reason="concurrency-limit"} 1.0'
        assert f"apiserver_flowcontrol_rejected_requests_total{refused_once}" in metrics
        assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-low"} 245.0' in metrics


async def test_dumps_show_who_waits_and_who_is_served(pki: Pki) -> None:
    """Of four requests that take long three have a level's seats and one waits."""
    end = asyncio.Event()
    async with running(config_for(pki)) as api, asyncio.TaskGroup() as tasks:
        handle = api.server.pipeline._handle

        async def slowly(request: Request) -> Reply:
            if (request.method, request.info.resource) == ("POST", "configmaps"):
                await end.wait()
            return await handle(request)

        api.server.pipeline._handle = slowly
        group = "/apis/flowcontrol.apiserver.k8s.io/v1"
        queuing = {"queues": 1, "handSize": 1, "queueLengthLimit": 9}
        limited = {
            "nominalConcurrencyShares": 1, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Queue", "queuing": queuing},
        }
        level = {"metadata": {"name": "few"}, "spec": {"type": "Limited", "limited": limited}}
        assert (await api.post(f"{group}/prioritylevelconfigurations", level)).status == 201
        rule = {
            "subjects": [{"kind": "User", "user": {"name": "bob"}}],
            "resourceRules": [
                {"verbs": ["create"], "apiGroups": [""], "resources": ["configmaps"], "namespaces": ["*"]}
            ],
        }
        spec = {
            "matchingPrecedence": 5, "priorityLevelConfiguration": {"name": "few"}, "rules": [rule],
            "distinguisherMethod": {"type": "ByNamespace"},
        }
        assert (await api.post(f"{group}/flowschemas", {"metadata": {"name": "a"}, "spec": spec})).status == 201
        await bob_may_everything(api)
        async def post() -> None:
            assert (await api.post(CONFIG_MAPS, {"metadata": {"generateName": "c-"}}, token=BOB)).status == 201

        def rows(text: str) -> list[list[str]]:
            return [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]

        async def dump(what: str) -> list[list[str]]:
            return rows((await api.get(f"/debug/api_priority_and_fairness/dump_{what}")).text)

        for _ in range(4):
            tasks.create_task(post())
        async with asyncio.timeout(30):
            while True:
                head, *levels = await dump("priority_levels")
                (few,) = (row for row in levels if row[0] == "few")
                if (few[4], few[5]) == ("1", "3"):
                    break
        assert head[:6] == [
            "PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests",
        ]
        assert few == ["few", "1", "false", "false", "1", "3", "3", "0", "0", "0"]
        assert [row[0] for row in levels] == sorted(row[0] for row in levels) and "exempt" in [row[0] for row in levels]
        assert (await dump("queues"))[1:] == [["few", "0", "1", "3", "3", "0.00000000ss", "1", "1", "0.00000000ss"]]
        _, *requests = [row for row in await dump("requests?includeRequestDetails=1") if row[0] != "exempt"]
        assert sorted(row[:5] for row in requests) == [
            ["few", "a", "0", "-1", "default"], ["few", "a", "0", "-1", "default"], ["few", "a", "0", "-1", "default"],
            ["few", "a", "0", "0", "default"],
        ]
        assert {tuple(row[10:]) for row in requests} == {
            ("bob", "create", CONFIG_MAPS, "default", "", "v1", "configmaps", "")
        }
        metrics = (await api.get("/metrics")).text
        for name, value in (("current_inqueue_requests", 1), ("current_executing_seats", 3)):
            assert f'flowcontrol_{name}{{flow_schema="a",priority_level="few"}} {value}.0' in metrics
        end.set()
