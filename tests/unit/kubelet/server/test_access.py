from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from podwright.api.objects import Object
from podwright.api.resources import TOKENREVIEWS, Resource
from podwright.client.transport import ServerUnreachable
from podwright.kubelet.server.access import Access

_METRICS = {"username": "system:serviceaccount:m:scraper", "groups": ["system:serviceaccounts"]}


class Reviews:
    """An API server that knows one token, whose user may read nodes/metrics and nodes/healthz."""

    def __init__(self) -> None:
        self.asked: list[Object] = []
        self.down = False

    async def create(self, resource: Resource, obj: Object, **_: Any) -> Object:
        if self.down:
            raise ServerUnreachable("down")
        self.asked.append(obj["spec"])
        if resource is TOKENREVIEWS:
            known = obj["spec"]["token"] == "known"
            return {"status": {"authenticated": True, "user": _METRICS} if known else {}}
        wanted = obj["spec"]["resourceAttributes"]
        return {"status": {"allowed": wanted["subresource"] in ("metrics", "healthz") and wanted["verb"] == "get"}}


class Bare:
    """A connection without client certificate."""

    @staticmethod
    def get_extra_info(name: str, default: Any = None) -> Any:
        return default


class HandClock:
    time = 0.0

    def monotonic(self) -> float:
        return self.time


async def code(access: Access, path: str, token: str = "", method: str = "GET") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    refused = await access.refusal(make_mocked_request(method, path, headers, transport=Bare()))
    assert refused is None or isinstance(refused, web.Response)
    return refused.status if refused else 200


@pytest.mark.parametrize(
    ("path", "token", "method", "expected"),
    [
        ("/healthz", "", "GET", 401),
        ("/healthz/ping", "", "GET", 401),
        ("/healthz/ping", "known", "GET", 200),
        ("/metrics", "", "GET", 401),
        ("/metrics", "unknown", "GET", 401),
        ("/metrics", "known", "GET", 200),
        ("/metrics/cadvisor", "known", "GET", 200),
        ("/metrics", "known", "POST", 403),
        ("/metricsandmore", "known", "GET", 403),
        ("/stats/summary", "known", "GET", 403),
        ("/pods", "known", "GET", 403),
        ("/exec/default/web/main", "known", "POST", 403),
    ],
)
async def test_who_may_what(path: str, token: str, method: str, expected: int) -> None:
    access = Access(Reviews(), "n1", HandClock())  # type: ignore[arg-type]
    assert await code(access, path, token, method) == expected


async def test_answers_are_kept_for_a_while() -> None:
    reviews, clock = Reviews(), HandClock()
    access = Access(reviews, "n1", clock)  # type: ignore[arg-type]
    for _ in range(3):
        assert await code(access, "/metrics", "known") == 200
        assert await code(access, "/stats/summary", "known") == 403
    assert len(reviews.asked) == 3 and reviews.asked[1] == {
        "user": "system:serviceaccount:m:scraper", "groups": ["system:serviceaccounts"],
        "resourceAttributes": {
            "verb": "get", "version": "v1", "resource": "nodes", "subresource": "metrics", "name": "n1"
        },
    }  # fmt: skip
    clock.time += 31
    assert await code(access, "/stats/summary", "known") == 403
    assert len(reviews.asked) == 4
    reviews.down = True
    assert await code(access, "/metrics", "known") == 200
    assert await code(access, "/logs/", "known") == 500
    clock.time += 121
    assert await code(access, "/metrics", "known") == 401
