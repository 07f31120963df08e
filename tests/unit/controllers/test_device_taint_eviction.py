"""Pods go from devices that are tainted, by their driver or by a rule, when their claims no longer tolerate it."""

from __future__ import annotations

from controller_harness import Harness, make_pod

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import DEVICETAINTRULES, PODS, RESOURCECLAIMS, RESOURCESLICES
from podwright.controllers.device_taint_eviction import DeviceTaintEvictionController


def using(h: Harness, name: str, device: str, *tolerations: Object) -> None:
    """A Pod whose claim has the device."""
    pod = h.api.add(PODS, make_pod(name, node="n", resourceClaims=[{"name": "c", "resourceClaimName": name}]))
    result = {"driver": "d", "pool": "p", "device": device, "request": "r", "tolerations": list(tolerations)}
    reserved = [{"resource": "pods", "name": name, "uid": objects.uid(pod)}]
    h.api.add(RESOURCECLAIMS, {
        "metadata": {"name": name, "namespace": "default"}, "spec": {},
        "status": {"allocation": {"devices": {"results": [result]}}, "reservedFor": reserved},
    })  # fmt: skip


def taint(h: Harness, effect: str = "NoExecute") -> Object:
    return {"key": "broken", "value": "yes", "effect": effect, "timeAdded": objects.format_time(h.clock.now())}


def alive(h: Harness) -> set[str]:
    return {objects.name(p) for p in h.api.objects(PODS) if not objects.is_deleting(p)}


def condition(h: Harness) -> tuple[str, str, str]:
    found = objects.condition(h.api.read(DEVICETAINTRULES, "r"), "EvictionInProgress")
    assert found is not None
    return found["status"], found["reason"], found["message"]


async def test_taints_of_drivers_and_how_long_they_are_tolerated() -> None:
    async with Harness().running(DeviceTaintEvictionController) as h:
        devices: list[Object] = [{"name": "good"}, {"name": "bad"}]
        piece = {"driver": "d", "pool": {"name": "p", "generation": 1}, "devices": devices}
        h.api.add(RESOURCESLICES, {"metadata": {"name": "s"}, "spec": piece})
        exists = {"key": "broken", "operator": "Exists", "effect": "NoExecute"}
        using(h, "spared", "good")
        using(h, "evicted", "bad")
        using(h, "tolerates", "bad", exists)
        using(h, "for-a-while", "bad", {**exists, "tolerationSeconds": 30})
        await h.settle()
        assert len(alive(h)) == 4
        h.api.change(RESOURCESLICES, "s", {"spec": {"devices": [devices[0], {**devices[1], "taints": [taint(h)]}]}})
        await h.settle()
        assert alive(h) == {"spared", "tolerates", "for-a-while"}
        target = objects.condition(h.api.read(PODS, "evicted"), "DisruptionTarget")
        assert target is not None and target["reason"] == "DeletionByDeviceTaintManager"
        assert "DeviceTaintManagerEviction" in h.event_reasons("evicted")
        await h.advance(31)
        assert alive(h) == {"spared", "tolerates"}


async def test_a_rule_says_what_it_has_done() -> None:
    async with Harness().running(DeviceTaintEvictionController) as h:
        using(h, "first", "a")
        using(h, "second", "a", {"key": "broken", "operator": "Exists", "tolerationSeconds": 60})
        using(h, "other", "b")
        spec = {"deviceSelector": {"driver": "d", "device": "a"}, "taint": taint(h, "NoSchedule")}
        h.api.add(DEVICETAINTRULES, {"metadata": {"name": "r"}, "spec": spec})
        await h.settle()
        assert len(alive(h)) == 3 and condition(h)[:2] == ("False", "EffectNoSchedule")
        h.api.change(DEVICETAINTRULES, "r", {"spec": {"taint": taint(h)}})
        await h.settle()
        assert alive(h) == {"second", "other"}
        assert condition(h) == ("True", "PodsPendingEviction", "1 pod needs to be evicted in 1 namespace. "
                                "1 pod evicted since starting the controller.")  # fmt: skip
        await h.advance(75)
        assert alive(h) == {"other"}
        assert condition(h) == ("False", "Completed", "2 pods evicted since starting the controller.")
        calls = h.api.total
        await h.advance(600)
        assert h.api.total == calls, "nothing is left to do"
