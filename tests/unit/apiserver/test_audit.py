from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from podwright.api.objects import Object
from podwright.api.status import ApiError, not_found
from podwright.apiserver.audit import Auditor, LogFile, Policy
from podwright.apiserver.exchange import One, Request
from podwright.apiserver.requests import UserInfo
from podwright.apiserver.routing import Query, resolve


def policy(*rules: Object, **more: object) -> Policy:
    return Policy({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more})


def request(method: str = "POST", path: str = "/api/v1/namespaces/ns/secrets", body: bytes = b"{}") -> Request:
    async def read() -> bytes:
        return body

    made = Request(method, resolve(method, path, Query([])), user=UserInfo("alice", groups=("dev",)), read_body=read)
    made.audit_id = "id-1"
    made.audit["k"] = "v"
    return made


async def run(rules: Policy, req: Request, reply: object = None, error: ApiError | None = None) -> list[Object]:
    events: list[Object] = []

    async def serve() -> object:
        if error is not None:
            raise error
        return reply

    auditor = Auditor(rules, events.append, clock=lambda: 1_000_000.5)
    if error is None:
        assert await auditor(req, serve) is reply
    else:
        with pytest.raises(ApiError):
            await auditor(req, serve)
    return events


async def test_levels_decide_what_is_written() -> None:
    reply = One(None, object={"kind": "Secret", "metadata": {"managedFields": [1], "name": "s"}}, status=201)
    metadata = await run(policy({"level": "Metadata"}), request(body=b'{"a":1}'), reply)
    assert [e["stage"] for e in metadata] == ["RequestReceived", "ResponseComplete"]
    last = metadata[1]
    assert last["objectRef"] == {"resource": "secrets", "namespace": "ns", "apiVersion": "v1"}
    assert last["user"] == {"username": "alice", "groups": ["dev"]} and last["responseStatus"]["code"] == 201
    assert last["annotations"] == {"k": "v"} and "requestObject" not in last
    assert last["stageTimestamp"] == "1970-01-12T13:46:40.500000Z"
    assert (await run(policy({"level": "Request"}), request(body=b'{"a":1}'), reply))[1]["requestObject"] == {"a": 1}
    whole = await run(policy({"level": "RequestResponse", "omitManagedFields": True}), request(), reply)
    assert whole[1]["responseObject"] == {"kind": "Secret", "metadata": {"name": "s"}}
    assert not await run(policy(), request(), reply)


async def test_the_first_rule_that_matches_counts() -> None:
    rules = policy(
        {"level": "None", "users": ["bob"]},
        {"level": "None", "resources": [{"group": "", "resources": ["secrets"], "resourceNames": ["x"]}]},
        {"level": "Request", "verbs": ["create"], "resources": [{"group": "", "resources": ["secrets"]}]},
        {"level": "None", "nonResourceURLs": ["/healthz*"]},
        {"level": "Metadata"},
        omitStages=["RequestReceived"],
    )
    assert [e["level"] for e in await run(rules, request())] == ["Request"]
    assert [e["level"] for e in await run(rules, request("GET", "/api/v1/namespaces/ns/secrets/s"))] == ["Metadata"]
    assert not await run(rules, request("GET", "/api/v1/namespaces/ns/secrets/x"))
    assert not await run(rules, request("GET", "/healthz/ping"))


async def test_refusals_are_events_too() -> None:
    events = await run(policy({"level": "Metadata"}), request(), error=not_found("", "secrets", "s"))
    assert events[1]["responseStatus"]["code"] == 404 and events[1]["responseStatus"]["reason"] == "NotFound"


async def test_the_log_is_json_lines(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "audit" / "log")
    await Auditor(policy({"level": "Metadata"}), log)(request(), _nothing)
    log.close()
    lines = (tmp_path / "audit" / "log").read_bytes().splitlines()
    assert [orjson.loads(line)["stage"] for line in lines] == ["RequestReceived", "ResponseComplete"]


async def _nothing() -> None:
    return None
