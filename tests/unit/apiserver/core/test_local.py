"""The in-process endpoint, by the client that the components use."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from podwright.api.resources import CONFIGMAPS, ROLEBINDINGS, ROLES
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.transport import Call, InProcessTransport

from .conftest import Api, config_map

PATH = "/api/v1/namespaces/default/configmaps"


async def test_calls_and_watches(api: Api) -> None:
    transport = InProcessTransport(api.server.local, "system:admin", ("system:masters",))
    made = await transport.call(Call("POST", PATH, body=config_map("a", x="1")))
    assert made["metadata"]["resourceVersion"]
    listed = await transport.call(Call("GET", PATH))
    assert [o["metadata"]["name"] for o in listed["items"]] == ["a"]
    assert listed["items"][0]["kind"] == "ConfigMap"
    version = listed["metadata"]["resourceVersion"]
    async with aclosing(transport.watch(Call("GET", PATH, {"watch": "true", "resourceVersion": version}))) as events:
        async def first() -> str:
            return (await anext(events)).type

        waiting = asyncio.ensure_future(first())
        await asyncio.sleep(0)
        await transport.call(Call("DELETE", f"{PATH}/a"))
        async with asyncio.timeout(60):
            assert await waiting == "DELETED"


async def test_a_page_says_how_much_is_left(api: Api) -> None:
    transport = InProcessTransport(api.server.local, "system:admin", ("system:masters",))
    for name in ("a", "b", "c"):
        await transport.call(Call("POST", PATH, body=config_map(name, x="1")))
    page = await transport.call(Call("GET", PATH, {"limit": "1"}))
    assert page["metadata"]["remainingItemCount"] == 2
    rest = await transport.call(Call("GET", PATH, {"continue": page["metadata"]["continue"]}))
    assert [o["metadata"]["name"] for o in rest["items"]] == ["b", "c"]
    assert "remainingItemCount" not in rest["metadata"]


async def test_authorization_holds_in_process_too(api: Api) -> None:
    transport = InProcessTransport(api.server.local, "nobody")
    with pytest.raises(ApiError) as refused:
        await transport.call(Call("GET", PATH))
    assert refused.value.code == 403


async def test_who_may_list_one_object_by_name_may_not_list_all_afterwards(api: Api) -> None:
    admin = Client(InProcessTransport(api.server.local, "system:admin", ("system:masters",)))
    await admin.create(CONFIGMAPS, {**config_map("a"), "metadata": {"name": "a", "namespace": "default"}})
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    rule = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]}
    await admin.create(ROLES, {**kind, "kind": "Role", "metadata": {"name": "r", "namespace": "default"},
                               "rules": [rule]})
    subject = {"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}
    await admin.create(ROLEBINDINGS, {**kind, "kind": "RoleBinding", "subjects": [subject], "roleRef": reference,
                                      "metadata": {"name": "r", "namespace": "default"}})
    transport = InProcessTransport(api.server.local, "eve")
    for query, name in (({"fieldSelector": "metadata.name=a"}, ""), ({}, "/a")):
        assert await transport.call(Call("GET", PATH + name, query))
        for other, path in (({}, ""), ({"fieldSelector": "metadata.name=b"}, ""), ({}, "/b")):
            with pytest.raises(ApiError) as refused:
                await transport.call(Call("GET", PATH + path, other))
            assert refused.value.code == 403


async def test_with_the_client(api: Api) -> None:
    client = Client(InProcessTransport(api.server.local, "system:admin", ("system:masters",)))
    made = await client.create(CONFIGMAPS, {**config_map("a"), "metadata": {"name": "a", "namespace": "default"}})
    assert (await client.get(CONFIGMAPS, "a", namespace="default"))["metadata"]["uid"] == made["metadata"]["uid"]
