"""Devices of ResourceSlices, allocated to the ResourceClaims of Pods."""

from __future__ import annotations

import re
from typing import Any

from tests.unit.scheduler.test_scheduler import add_node, admin, node, placed, pod, refused, server, until
from tests.unit.scheduler.test_volumes import refusals

from podwright.api.objects import Object
from podwright.api.resources import DEVICECLASSES, PODS, RESOURCECLAIMS, RESOURCESLICES
from podwright.client.client import Client
from podwright.scheduler.plugins.device_allocation import Allocator, allocation_of, requests_of
from podwright.scheduler.plugins.devices import pools_of

__all__ = ["admin", "server"]

DRIVER = "gpu.example.com"
SHORT = ["cannot allocate all claims"]


def device_class(*selectors: str, **spec: Any) -> Object:
    return {
        "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpu"},
        "spec": {"selectors": [{"cel": {"expression": s}} for s in selectors], **spec},
    }  # fmt: skip


def device(name: str, memory: str = "8Gi", model: str = "a", **more: Any) -> Object:
    return {
        "name": name, "attributes": {"model": {"string": model}, "version": {"version": "1.2.3"}},
        "capacity": {"memory": {"value": memory}}, **more,
    }  # fmt: skip


def slice_of(where: str, *devices: Object, pool: str = "", **spec: Any) -> Object:
    place: Object = {"nodeName": where} if where else {}
    return {
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": f"slice-{pool or where}"},
        "spec": {"driver": DRIVER, "pool": {"name": pool or where, "generation": 1, "resourceSliceCount": 1},
                 "devices": list(devices), **place, **spec},
    }  # fmt: skip


def claim(*requests: Object, name: str = "c", **devices: Any) -> Object:
    return {
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"devices": {"requests": list(requests), **devices}},
    }  # fmt: skip


def wants(name: str = "r", *selectors: str, **more: Any) -> Object:
    chosen = [{"cel": {"expression": s}} for s in selectors]
    return {"name": name, "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount",
                                      **({"selectors": chosen} if chosen else {}), **more}}  # fmt: skip


def chosen(asked: Object, *slices: Object, where: str = "a", classes: Object | None = None) -> list[str] | None:
    """The devices that a claim gets on a node."""
    found = Allocator(pools_of(slices), frozenset(), {}).allocate(
        [(asked, requests_of(asked, lambda name: classes or device_class()))], node(where))
    return None if found is None else [f"{w.name}={d.id[2]}" for w, d in found[0]]


def test_selectors_look_at_attributes_and_capacity() -> None:
    here = slice_of("a", device("d1", "4Gi"), device("d2", "16Gi", "b"))
    big = f'device.capacity["{DRIVER}"].memory.compareTo(quantity("8Gi")) >= 0'
    assert chosen(claim(wants("r", big)), here) == ["r=d2"]
    assert chosen(claim(wants("r", f'device.attributes["{DRIVER}"].model == "a"')), here) == ["r=d1"]
    assert chosen(claim(wants("r", f'device.attributes["{DRIVER}"].version.isLessThan(semver("1.0.0"))')), here) is None
    assert chosen(claim(wants("r", '"x" in device.attributes["other.example.com"]')), here) is None
    assert chosen(claim(wants()), here, classes=device_class('device.driver == "nobody"')) is None


def test_counts_all_and_alternatives() -> None:
    here = slice_of("a", device("d1"), device("d2"), device("d3", model="b"))
    assert chosen(claim(wants(count=2)), here) == ["r=d1", "r=d2"]
    assert chosen(claim(wants(count=4)), here) is None
    assert chosen(claim(wants(allocationMode="All")), here) == ["r=d1", "r=d2", "r=d3"]
    assert chosen(claim(wants("x"), wants("y", allocationMode="All")), here) is None
    first = {"name": "r", "firstAvailable": [
        {"name": "many", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 9},
        {"name": "few", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}]}
    assert chosen(claim(first), here) == ["r/few=d1", "r/few=d2"]


def test_constraints_step_back() -> None:
    here = slice_of("a", device("d1", model="a"), device("d2", model="b"), device("d3", model="b"))
    same = [{"requests": ["r"], "matchAttribute": f"{DRIVER}/model"}]
    assert chosen(claim(wants(count=2), constraints=same), here) == ["r=d2", "r=d3"]
    differs = [{"distinctAttribute": f"{DRIVER}/model"}]
    assert chosen(claim(wants("x"), wants("y"), constraints=differs), here) == ["x=d1", "y=d2"]
    assert chosen(claim(wants(count=3), constraints=differs), here) is None


def test_parts_of_a_device_share_its_counters() -> None:
    def part(name: str, size: str) -> Object:
        return device(name, consumesCounters=[{"counterSet": "g", "counters": {"memory": {"value": size}}}])

    counters = [{"name": "g", "counters": {"memory": {"value": "40Gi"}}}]
    here = slice_of("a", part("whole", "40Gi"), part("half1", "20Gi"), part("half2", "20Gi"), sharedCounters=counters)
    assert chosen(claim(wants(count=2)), here) == ["r=half1", "r=half2"]
    assert chosen(claim(wants(count=3)), here) is None


def test_taints_of_rules() -> None:
    taint = {"key": "broken", "effect": "NoExecute"}
    rules = [{"spec": {"deviceSelector": {"driver": DRIVER, "device": "d1"}, "taint": taint}},
             {"spec": {"taint": {"key": "without-a-selector", "effect": "NoSchedule"}}}]  # fmt: skip
    (pool,) = pools_of([slice_of("a", device("d1"), device("d2"))], rules)
    assert [d.taints for d in pool.devices] == [[taint], []]
    asked = claim(wants())
    requests = [(asked, requests_of(asked, lambda name: device_class()))]
    found = Allocator([pool], frozenset(), {}).allocate(requests, node("a"))
    assert found is not None and [d.id[2] for _, d in found[0]] == ["d2"]


def test_taints_generations_and_configuration() -> None:
    tainted = device("d1", taints=[{"key": "broken", "effect": "NoSchedule"}])
    old = slice_of("a", device("old"))
    new = slice_of("a", tainted)
    new["metadata"]["name"], new["spec"]["pool"]["generation"] = "slice-z", 2
    assert chosen(claim(wants()), old, new) is None
    assert chosen(claim(wants(tolerations=[{"key": "broken", "operator": "Exists"}])), old, new) == ["r=d1"]
    new["spec"]["pool"]["resourceSliceCount"] = 2
    assert chosen(claim(wants(adminAccess=True)), old, new) is None
    opaque = {"opaque": {"driver": DRIVER, "parameters": {}}}
    asked = claim(wants(adminAccess=True), config=[opaque])
    found = Allocator(pools_of([old]), frozenset(((DRIVER, "a", "old"),)), {}).allocate(
        [(asked, requests_of(asked, lambda name: device_class(config=[opaque])))], node("a"))
    assert found is not None
    assert allocation_of(asked, found[0]) == {
        "devices": {
            "results": [{"request": "r", "driver": DRIVER, "pool": "a", "device": "old", "adminAccess": True}],
            "config": [{"source": "FromClass", "requests": ["r"], **opaque}, {"source": "FromClaim", **opaque}],
        },
        "nodeSelector": {"nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]},
    }  # fmt: skip


def test_why_not() -> None:
    user = pod("p", resourceClaims=[{"name": "g", "resourceClaimName": "c"}])
    nodes = [node("a"), node("b")]
    found: dict[Any, list[Object]] = {RESOURCECLAIMS: [claim(wants())], RESOURCESLICES: [slice_of("a", device("d"))]}
    assert set(refusals(user, nodes, others=found)["a"]) == {"request r: device class gpu does not exist"}
    found[DEVICECLASSES] = [device_class()]
    assert refusals(user, nodes, others=found) == {"a": [], "b": SHORT}
    found[DEVICECLASSES] = [device_class("device.nonsense == 1")]
    told = refusals(user, nodes, others=found)
    assert re.match('running Filter plugin "DynamicResources": .*CEL runtime error', told["a"][0])
    assert told["b"] == told["a"], "the scheduler does not place such a Pod anywhere"
    found[RESOURCECLAIMS] = []
    assert refusals(user, nodes, others=found)["a"] == ['resourceclaim.resource.k8s.io "c" not found']


async def test_a_device_goes_to_one_claim_and_a_claim_to_several_pods(admin: Client) -> None:
    for name in ("a", "b"):
        await add_node(admin, node(name))
    await admin.create(DEVICECLASSES, device_class(f'device.driver == "{DRIVER}"'))
    await admin.create(RESOURCESLICES, slice_of("b", device("d1")))
    for name in ("c", "other"):
        made = claim(wants(count=1), name=name)
        del made["metadata"]["uid"]
        await admin.create(RESOURCECLAIMS, made)
    for name, asked in (("p1", "c"), ("p2", "c")):
        await admin.create(PODS, pod(name, resourceClaims=[{"name": "g", "resourceClaimName": asked}]))
        assert await placed(admin, name) == "b"
    held = await admin.get(RESOURCECLAIMS, "c", namespace="default")
    assert [r["name"] for r in held["status"]["reservedFor"]] == ["p1", "p2"]
    assert held["metadata"]["finalizers"] == ["resource.kubernetes.io/delete-protection"]
    await admin.create(PODS, pod("p3", resourceClaims=[{"name": "g", "resourceClaimName": "other"}]))
    assert await refused(admin, "p3") == (
        "0/2 nodes are available: 2 cannot allocate all claims. "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    more = slice_of("a", device("d2"))
    await admin.create(RESOURCESLICES, more)
    assert await until(lambda: placed(admin, "p3")) == "a"
