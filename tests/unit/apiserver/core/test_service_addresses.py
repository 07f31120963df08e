"""Cluster IPs as IPAddress objects, several ServiceCIDRs, and the IP families of a cluster of one family."""

from __future__ import annotations

import asyncio
from typing import Any

from podwright.api.resources import IPADDRESSES, SERVICES
from podwright.apiserver.registry import cluster_ips

from .conftest import Api, Pki, config_for, running

SERVICES_PATH = "/api/v1/namespaces/default/services"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}, **spec}}


async def addresses(api: Api) -> dict[str, str]:
    items = (await api.get(ADDRESSES)).json["items"]
    return {o["metadata"]["name"]: o["spec"]["parentRef"]["name"] for o in items}


async def test_an_address_is_an_object_as_long_as_its_service_has_it(api: Api) -> None:
    assert await addresses(api) == {"10.96.0.1": "kubernetes"}
    ip = (await api.post(SERVICES_PATH, service("a"))).json["spec"]["clusterIP"]
    made = (await api.get(f"{ADDRESSES}/{ip}")).json
    assert made["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    assert made["spec"]["parentRef"] == {"resource": "services", "namespace": "default", "name": "a"}
    await api.patch(f"{SERVICES_PATH}/a", {"spec": {"type": "ExternalName", "externalName": "x.y"}})
    assert ip not in await addresses(api)
    again = (await api.patch(f"{SERVICES_PATH}/a", {"spec": {"type": "ClusterIP", "externalName": None}})).json
    assert (await addresses(api))[again["spec"]["clusterIP"]] == "a"
    await api.delete(f"{SERVICES_PATH}/a")
    assert list(await addresses(api)) == ["10.96.0.1"]


async def test_what_is_not_stored_takes_no_address(api: Api) -> None:
    await api.post(f"{SERVICES_PATH}?dryRun=All", service("a"))
    assert (await api.post(SERVICES_PATH, service("A_b"))).status == 422
    assert (await api.post(SERVICES_PATH, service("b"))).status == 201
    assert (await api.post(SERVICES_PATH, service("b"))).status == 409
    assert len(await addresses(api)) == 2


async def test_an_address_that_somebody_else_holds(api: Api) -> None:
    """As another server of the same store would hold it: its object is there before our cache knew."""
    theirs = {"metadata": {"name": "10.96.7.7"}, "spec": {"parentRef": {"resource": "services", "name": "x"}}}
    assert (await api.post(ADDRESSES, theirs)).status == 201
    refused = await api.post(SERVICES_PATH, service("a", clusterIP="10.96.7.7"))
    assert refused.json["details"]["causes"][0]["message"] == (
        'Invalid value: ["10.96.7.7"]: failed to allocate IP 10.96.7.7: provided IP is already allocated'
    )
    strategy = api.server.registry.strategy(SERVICES)
    strategy.ranges.uses.taken.clear()  # type: ignore[attr-defined]
    picks = iter([0x0A600707, 0x0A600708])
    strategy.ranges.pick = lambda: next(picks)  # type: ignore[attr-defined]
    assert (await api.post(SERVICES_PATH, service("a"))).json["spec"]["clusterIPs"] == ["10.96.7.8"]


async def test_several_ranges(api: Api) -> None:
    kubernetes = (await api.get(f"{CIDRS}/kubernetes")).json
    assert kubernetes["spec"] == {"cidrs": ["10.96.0.0/12"]}
    assert kubernetes["status"]["conditions"][0]["message"] == "Kubernetes default Service CIDR is ready"
    outside = await api.post(SERVICES_PATH, service("a", clusterIP="192.168.9.1"))
    assert "the provided network does not match the current range" in outside.text
    cidr = {"metadata": {"name": "more", "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
            "spec": {"cidrs": ["192.168.9.0/30"]}}
    assert (await api.post(CIDRS, cidr)).status == 201
    assert (await api.post(SERVICES_PATH, service("a", clusterIP="192.168.9.1"))).status == 201
    last = await api.post(SERVICES_PATH, service("b", clusterIP="192.168.9.3"))
    assert "The range of valid IPs is 192.168.9.0/30" in last.text
    await api.delete(f"{CIDRS}/more")
    assert (await api.post(SERVICES_PATH, service("b", clusterIP="192.168.9.2"))).status == 422, "it is going"
    await api.delete(f"{CIDRS}/kubernetes")
    async with asyncio.timeout(60):
        while (await api.get(f"{CIDRS}/kubernetes")).status != 200:
            await asyncio.sleep(0.01)


async def test_repair(pki: Pki) -> None:
    """What a crash left half done: an address without a Service, a Service without an address."""
    now = [1_800_000_000.0]
    async with running(config_for(pki), now=lambda: now[0]) as api:
        ip = (await api.post(SERVICES_PATH, service("a"))).json["spec"]["clusterIP"]
        await api.delete(f"{ADDRESSES}/{ip}")
        async with asyncio.timeout(60):
            while (await api.get(f"{ADDRESSES}/{ip}")).status != 200:
                await asyncio.sleep(0.01)
        left = {"metadata": {"name": "gone", "namespace": "default"}}
        assert await cluster_ips.claim(api.server.registry, "10.96.5.5", left)
        await api.server.cluster_ips.repair()
        assert "10.96.5.5" in await addresses(api), "its Service may just be on its way"
        now[0] += 61
        await api.server.cluster_ips.repair()
        assert set(await addresses(api)) == {"10.96.0.1", ip}
        assert api.server.registry.read(IPADDRESSES, "", ip) is not None


DEFAULTS: list[tuple[dict[str, Any], str, list[str], list[str] | None]] = [
    ({}, "SingleStack", ["IPv4"], None),
    ({"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4"], None),
    ({"clusterIP": "None"}, "SingleStack", ["IPv4"], ["None"]),
    ({"clusterIP": "None", "selector": None}, "RequireDualStack", ["IPv4", "IPv6"], ["None"]),
    ({"clusterIP": "None", "selector": None, "ipFamilyPolicy": "SingleStack"}, "SingleStack", ["IPv4"], ["None"]),
    ({"clusterIP": "10.96.3.3"}, "SingleStack", ["IPv4"], ["10.96.3.3"]),
]


async def test_families_by_default(api: Api) -> None:
    for i, (given, policy, families, ips) in enumerate(DEFAULTS):
        spec = (await api.post(SERVICES_PATH, service(f"s{i}", **given))).json["spec"]
        assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == (policy, families), given
        assert ips is None or spec["clusterIPs"] == ips, given


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"ipFamilyPolicy": "RequireDualStack"}, "spec.ipFamilyPolicy",
     'Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services'),
    ({"ipFamilies": ["IPv6"]}, "spec.ipFamilies[0]", 'Invalid value: "IPv6": not configured on this cluster'),
    ({"ipFamilies": ["IPv4", "IPv6"]}, "spec.ipFamilyPolicy",
     "Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are "
     "specified"),
    ({"clusterIP": "fd00::1"}, "spec.clusterIPs[0]",
     'Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster'),
    ({"clusterIPs": ["10.96.3.3"]}, "spec.clusterIPs",
     'Invalid value: ["10.96.3.3"]: must be empty when `clusterIP` is not specified'),
    ({"clusterIP": "x"}, "spec.clusterIPs[0]",
     'Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
]


async def test_families_that_this_cluster_has_not(api: Api) -> None:
    for given, field, message in REFUSED:
        answer = await api.post(SERVICES_PATH, service("a", **given))
        expected = {"reason": "FieldValueInvalid", "message": message, "field": field}
        assert answer.json["details"]["causes"] == [expected], given
