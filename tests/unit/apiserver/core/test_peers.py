"""Several API servers over one store."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import orjson
import pytest
from tests.unit.apiserver.core.conftest import Api, Pki, config_for, config_map, running, service_account
from tests.unit.apiserver.core.hook_server import hook_server
from tests.unit.apiserver.core.test_admission_of_custom_resources import patch, register

from podwright.api.resources import SERVICES
from podwright.apiserver.peers import PREFIX, Peers
from podwright.apiserver.registry import node_ports
from podwright.apiserver.registry.node_ports import Marks
from podwright.apiserver.registry.services import ServiceStrategy
from podwright.store.protocol import Change, StoreUnavailable
from podwright.store.sqlite import MemoryStore


class Part(MemoryStore):
    """One server's connection to a store that all share, which can break."""

    def __init__(self, whole: MemoryStore) -> None:
        self._whole = whole
        self._broken = asyncio.Event()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def __getattribute__(self, name: str):
        if name in ("_whole", "_broken", "open", "close", "cut", "mend", "watch", "__class__"):
            return object.__getattribute__(self, name)
        if self._broken.is_set():
            raise StoreUnavailable("cut off")
        return getattr(self._whole, name)

    def cut(self) -> None:
        self._broken.set()

    def mend(self) -> None:
        self._broken.clear()

    async def watch(self, prefix: str, *, after: int) -> Broken:
        if self._broken.is_set():
            raise StoreUnavailable("cut off")
        return Broken(await self._whole.watch(prefix, after=after), self._broken)


class Broken:
    def __init__(self, inner, broken: asyncio.Event) -> None:
        self._inner, self._broken = inner, broken

    async def __aiter__(self) -> AsyncIterator[Sequence[Change]]:
        changes = aiter(self._inner)
        while True:
            following = asyncio.ensure_future(anext(changes))
            cut = asyncio.ensure_future(self._broken.wait())
            try:
                await asyncio.wait({following, cut}, return_when=asyncio.FIRST_COMPLETED)
                if cut.done():
                    raise StoreUnavailable("cut off")
                yield following.result()
            finally:
                cut.cancel()
                following.cancel()
                await asyncio.gather(following, cut, return_exceptions=True)

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.fixture
async def pair(pki: Pki) -> AsyncIterator[list[Api]]:
    whole = MemoryStore()
    await whole.open()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(whole.close)
        yield [
            await stack.enter_async_context(
                running(config_for(pki, store_exclusive=False, advertise_address=address), store=Part(whole))
            )
            for address in ("10.0.0.1", "10.0.0.2")
        ]


async def addresses(api: Api) -> list[str]:
    endpoints = (await api.get("/api/v1/namespaces/default/endpoints/kubernetes")).json
    slice_ = (await api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")).json
    found = [a["ip"] for a in endpoints["subsets"][0]["addresses"]]
    assert found == [e["addresses"][0] for e in slice_["endpoints"]]
    return found


async def test_each_reads_what_the_other_wrote(pair: list[Api]) -> None:
    for number in range(40):
        writer, reader = pair[number % 2], pair[1 - number % 2]
        made = await writer.post("/api/v1/namespaces/default/configmaps", config_map(f"c{number}"))
        assert made.status == 201
        listed = (await reader.get("/api/v1/namespaces/default/configmaps")).json
        assert int(listed["metadata"]["resourceVersion"]) >= int(made.json["metadata"]["resourceVersion"])
        assert len(listed["items"]) == number + 1


async def test_tokens_definitions_and_rights_hold_on_every_server(pair: list[Api]) -> None:
    one, two = pair
    await service_account(one)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    token = (await one.post(f"{account}/token", request)).json["status"]["token"]
    await two.get(account)
    assert (await two.get("/api/v1/namespaces/default/pods", token=token)).status == 403, "known, and has no rights"
    rights = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "view"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
    }
    assert (await one.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", rights)).status == 201
    await two.get("/api/v1/namespaces")
    assert (await two.get("/api/v1/namespaces/default/pods", token=token)).status == 200
    version = {
        "name": "v1", "served": True, "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.x.io"},
        "spec": {
            "group": "x.io", "scope": "Cluster", "names": {"plural": "things", "kind": "Thing"}, "versions": [version],
        },
    }
    await one.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    thing = {"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": "t"}}
    async with asyncio.timeout(60):
        while (made := await two.post("/apis/x.io/v1/things", thing)).status == 404:
            await two.get("/api/v1/namespaces")
    assert made.status == 201
    assert (await one.get("/apis/x.io/v1/things/t")).status == 200


async def test_webhooks_and_policies_hold_on_every_server(pair: list[Api], pki: Pki) -> None:
    one, two = pair
    path, group = "/api/v1/namespaces/default/configmaps", "admissionregistration.k8s.io"
    rules = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    async with hook_server(pki) as hooks:
        hooks.answers["/mark"] = lambda request: patch(
            {"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}
        )
        await register(one, hooks, "Mutating", "/mark", rules)
        policy = {
            "apiVersion": f"{group}/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "short"},
            "spec": {"matchConstraints": {"resourceRules": [rules]},
                     "validations": [{"expression": "object.metadata.name != 'b'"}]},
        }  # fmt: skip
        binding = {
            "apiVersion": f"{group}/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "short"},
            "spec": {"policyName": "short", "validationActions": ["Deny"]},
        }
        assert (await one.post(f"/apis/{group}/v1/validatingadmissionpolicies", policy)).status == 201
        assert (await one.post(f"/apis/{group}/v1/validatingadmissionpolicybindings", binding)).status == 201
        for server in (two, one):
            await server.get(path)  # it has seen what the store has
            made = await server.post(path, config_map(f"a{len(hooks.asked)}"))
            assert made.json["metadata"]["labels"] == {"seen": "yes"}
            assert "failed expression" in (await server.post(path, config_map("b"))).json["message"]
        asked = len(hooks.asked)
        await two.delete(f"/apis/{group}/v1/mutatingwebhookconfigurations/mark")
        await one.get(path)
        assert "labels" not in (await one.post(path, config_map("c"))).json["metadata"]
        assert len(hooks.asked) == asked


SERVICES_PATH = "/api/v1/namespaces/default/services"


def service(name: str, **port: int) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80, **port}]}}


def blind(api: Api, *picks: int) -> None:
    """Its cache has not seen what others gave out."""
    strategy = api.server.registry.strategy(SERVICES)
    assert isinstance(strategy, ServiceStrategy)
    strategy.ports.uses.taken.clear()
    numbers = iter(picks)
    strategy.ports.pick = lambda: next(numbers)  # type: ignore[method-assign]


async def marks(api: Api) -> dict[str, Any]:
    entry = await api.server.store.get(node_ports.KEY)
    assert entry is not None
    found: dict[str, Any] = orjson.loads(entry.value)
    return found


async def test_no_node_port_is_given_out_twice(pair: list[Api]) -> None:
    one, two = pair
    assert (await one.post(SERVICES_PATH, service("a", nodePort=30009))).status == 201
    assert (await one.post(SERVICES_PATH, service("b", nodePort=30001))).status == 201
    assert await marks(one) == {
        "kind": "RangeAllocation", "apiVersion": "v1", "metadata": {}, "range": "30000-32767",
        "data": base64.b64encode(b"\x02\x02").decode(),
    }
    blind(two, 30001, 30009, 30003)
    refused = await two.post(SERVICES_PATH, service("c", nodePort=30001))
    assert refused.json["details"]["causes"] == [{
        "reason": "FieldValueInvalid", "field": "spec.ports[0].nodePort",
        "message": "Invalid value: 30001: provided port is already allocated",
    }]  # fmt: skip
    assert (await two.post(SERVICES_PATH, service("c"))).json["spec"]["ports"][0]["nodePort"] == 30003
    await one.patch(f"{SERVICES_PATH}/a", {"spec": {"type": "ClusterIP"}})
    assert (await two.post(SERVICES_PATH, service("A_b", nodePort=30005))).status == 422
    assert (await two.delete(f"{SERVICES_PATH}/b")).status == 200
    assert (await marks(one))["data"] == base64.b64encode(b"\x08").decode(), "what nobody has is free"


async def test_marks_of_node_ports_are_repaired(pair: list[Api]) -> None:
    """A server that knew of no marks wrote Services, or one died between the mark and the Service."""
    one, _ = pair
    await one.post(SERVICES_PATH, service("a", nodePort=30009))
    registry, now = one.server.registry, 1_800_000_000.0
    registry.now = lambda: now
    found = Marks(30000, 32767)
    await found.claim(registry, {30001})
    await found.release(registry, {30009})
    for later, expected in ((0.0, b"\x02\x02"), (59.0, b"\x02\x02"), (60.0, b"\x02\x00")):
        now = 1_800_000_000.0 + later
        await found.repair(registry)
        assert base64.b64decode((await marks(one))["data"]) == expected


async def test_the_kubernetes_service_has_every_server_that_lives(pair: list[Api]) -> None:
    one, two = pair
    assert await addresses(one) == await addresses(two) == ["10.0.0.1", "10.0.0.2"]
    now = 0.0
    registry = one.server.registry
    peers = Peers(registry, one.server.writer, "10.0.0.1", lambda: 1, ttl_seconds=15, monotonic=lambda: now)
    await peers.reconcile()
    now = 14.0
    await peers.reconcile()
    assert await addresses(one) == ["10.0.0.1", "10.0.0.2"]
    now = 16.0
    await peers.reconcile()
    assert await addresses(two) == ["10.0.0.1"], "the other was silent for too long"
    await two.server.peers.reconcile()
    assert await addresses(one) == ["10.0.0.1", "10.0.0.2"], "it was only slow"
    await two.server.stop()
    assert await addresses(one) == ["10.0.0.1"], "one that stops says so"
    assert [e.key for e in (await registry.store.list(PREFIX)).entries] == [f"{PREFIX}10.0.0.1"]


async def test_what_every_cluster_has_comes_back(api: Api) -> None:
    flows = "/apis/flowcontrol.apiserver.k8s.io/v1"
    paths = [f"/api/v1/namespaces/default/{kind}/kubernetes" for kind in ("services", "endpoints")]
    paths += [
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",
        f"{flows}/flowschemas/catch-all", f"{flows}/prioritylevelconfigurations/workload-low",
        "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication",
    ]
    space = "/api/v1/namespaces/kube-node-lease"
    before = {path: (await api.get(path)).json for path in (*paths, space)}
    assert (await api.delete("/api/v1/namespaces/default/services")).status == 200
    for path in paths[1:]:
        assert (await api.delete(path)).status == 200
    going = (await api.delete(space)).json
    going["spec"]["finalizers"] = []
    assert (await api.put(f"{space}/finalize", going)).status == 200

    async def settles(path: str, holds: Callable[[Any], bool]) -> None:
        async with asyncio.timeout(60):
            while (now := await api.get(path)).status != 200 or not holds(now.json):
                await asyncio.sleep(0.01)

    parts = ("subsets", "endpoints", "ports", "data")
    for path, old in before.items():
        await settles(path, lambda now, old=old: now["metadata"]["uid"] != old["metadata"]["uid"] and all(
            now.get(part) == old.get(part) for part in parts))
    changed = {"spec": {"limited": {"nominalConcurrencyShares": 1}}}
    for mark, shares in (("false", 1), ("true", 100)):
        told = {"metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": mark}}, **changed}
        assert (await api.patch(f"{flows}/prioritylevelconfigurations/workload-low", told)).status == 200
        await settles(
            f"{flows}/prioritylevelconfigurations/workload-low",
            lambda now, shares=shares: now["spec"]["limited"]["nominalConcurrencyShares"] == shares,
        )
    for path, change, said in (
        ("flowschemas/catch-all", {"matchingPrecedence": 9}, "spec of 'catch-all' must equal the fixed value"),
        ("prioritylevelconfigurations/exempt", {"type": "Limited"}, "except the 'spec.exempt' field must equal"),
        ("prioritylevelconfigurations/exempt", {"exempt": {"nominalConcurrencyShares": 7}}, ""),
    ):
        answer = await api.patch(f"{flows}/{path}", {"spec": change})
        assert answer.status == (422 if said else 200) and said in answer.text, answer.text
    kept = await api.delete("/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical")
    assert kept.status == 403 and "a system priority class and cannot be deleted" in kept.json["message"]


async def test_a_server_that_lost_the_store_says_so_and_ends_its_watches(pair: list[Api]) -> None:
    one, two = pair
    path = "/api/v1/namespaces/default/configmaps"
    async with two.watch(f"{path}?watch=1&resourceVersion=0") as events:
        two.server.store.cut()
        async with asyncio.timeout(60):
            assert [e async for e in events] == []
    for answer in (await two.get(path), await two.get(f"{path}?watch=1&resourceVersion=0")):
        assert (answer.status, answer.json["reason"]) == (503, "ServiceUnavailable")
    assert (await two.post(path, config_map("lost"))).status == 503
    assert (await two.get("/readyz")).status == 500
    assert (await one.post(path, config_map("kept"))).status == 201
    two.server.store.mend()
    async with asyncio.timeout(60):
        while (await two.get("/readyz")).status != 200:
            await asyncio.sleep(0.01)
    assert [c["metadata"]["name"] for c in (await two.get(path)).json["items"]] == ["kept"]
