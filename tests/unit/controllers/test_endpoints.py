"""EndpointSlices, Endpoints and mirroring."""

from __future__ import annotations

from controller_harness import Harness, make_node, make_pod

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import ENDPOINTS, ENDPOINTSLICES, NODES, PODS, SERVICES
from podwright.controllers.config import ControllerConfig
from podwright.controllers.endpoints import (
    EndpointsController,
    EndpointSliceController,
    EndpointSliceMirroringController,
)


def service(**spec: object) -> Object:
    return {
        "metadata": {"name": "web", "namespace": "default", "labels": {"team": "x"}},
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "10.96.0.10",
            "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
            **spec,
        },
    }


def backend(name: str, ip: str, **more: object) -> Object:
    return make_pod(name, labels={"app": "web"}, ip=ip, node="n", **more)  # type: ignore[arg-type]


def slices(h: Harness) -> list[Object]:
    return h.api.objects(ENDPOINTSLICES)


async def test_a_slice_lists_the_pods_with_ports_node_and_zone() -> None:
    async with Harness().running(EndpointSliceController) as h:
        h.api.add(NODES, make_node("n", labels={"topology.kubernetes.io/zone": "z"}))
        h.api.add(PODS, backend("a", "10.0.0.1"))
        h.api.add(PODS, backend("b", "10.0.0.2", ready=False))
        h.api.add(PODS, make_pod("other", labels={"app": "db"}, ip="10.0.0.3"))
        owner = h.api.add(SERVICES, service())
        await h.settle()
        (piece,) = slices(h)
        assert piece["metadata"]["labels"] == {
            "team": "x", "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }  # fmt: skip
        assert piece["metadata"]["ownerReferences"][0]["uid"] == objects.uid(owner)
        assert piece["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        assert [(e["addresses"], e["conditions"]["ready"], e["nodeName"], e["zone"]) for e in piece["endpoints"]] == [
            (["10.0.0.1"], True, "n", "z"), (["10.0.0.2"], False, "n", "z"),
        ]  # fmt: skip


async def test_it_follows_pods() -> None:
    async with Harness().running(EndpointSliceController) as h:
        h.api.add(SERVICES, service())
        await h.settle()
        assert slices(h)[0]["endpoints"] == []
        h.api.add(PODS, backend("a", "10.0.0.1"))
        await h.settle()
        assert len(slices(h)) == 1 and len(slices(h)[0]["endpoints"]) == 1
        h.api.remove(PODS, "a")
        await h.settle()
        condition = slices(h)[0]["endpoints"][0]["conditions"]
        assert condition == {"ready": False, "serving": True, "terminating": True}
        h.api.purge(PODS, "a")
        await h.settle()
        assert slices(h)[0]["endpoints"] == []
        h.api.remove(SERVICES, "web")
        await h.settle()
        assert slices(h) == []


async def test_named_ports_may_differ_by_pod() -> None:
    async with Harness().running(EndpointSliceController, EndpointsController) as h:
        for name, number in (("a", 8080), ("b", 9090)):
            pod = backend(name, f"10.0.0.{number % 7}")
            pod["spec"]["containers"][0]["ports"] = [{"name": "web", "containerPort": number}]
            h.api.add(PODS, pod)
        h.api.add(SERVICES, service(ports=[{"port": 80, "targetPort": "web", "protocol": "TCP"}]))
        await h.settle()
        assert sorted(p["ports"][0]["port"] for p in slices(h)) == [8080, 9090]
        subsets = h.api.read(ENDPOINTS, "web")["subsets"]
        assert sorted(s["ports"][0]["port"] for s in subsets) == [8080, 9090]


async def test_slices_hold_at_most_the_maximum_and_are_not_rewritten() -> None:
    async with Harness(ControllerConfig(max_endpoints_per_slice=3)).running(EndpointSliceController) as h:
        for index in range(7):
            h.api.add(PODS, backend(f"p{index}", f"10.0.0.{index}"))
        h.api.add(SERVICES, service())
        await h.settle()
        assert sorted(len(p["endpoints"]) for p in slices(h)) == [1, 3, 3]
        before = {objects.name(p): p["metadata"]["resourceVersion"] for p in slices(h)}
        h.api.purge(PODS, "p0")
        await h.settle()
        changed = [n for p in slices(h) if before[n := objects.name(p)] != p["metadata"]["resourceVersion"]]
        assert len(changed) == 1


async def test_publish_not_ready_and_dual_stack_and_hostnames() -> None:
    async with Harness().running(EndpointSliceController) as h:
        pod = backend("a", "10.0.0.1", ready=False, hostname="h", subdomain="web")
        pod["status"]["podIPs"].append({"ip": "fd00::1"})
        h.api.add(PODS, pod)
        h.api.add(SERVICES, service(publishNotReadyAddresses=True, ipFamilies=["IPv4", "IPv6"], clusterIP="None"))
        await h.settle()
        assert sorted(p["addressType"] for p in slices(h)) == ["IPv4", "IPv6"]
        for piece in slices(h):
            assert piece["endpoints"][0]["conditions"]["ready"] is True
            assert piece["endpoints"][0]["hostname"] == "h"
            assert piece["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


async def test_traffic_distribution_becomes_hints() -> None:
    async with Harness().running(EndpointSliceController) as h:
        h.api.add(NODES, make_node("n", labels={"topology.kubernetes.io/zone": "z"}))
        h.api.add(PODS, backend("a", "10.0.0.1"))
        h.api.add(SERVICES, service(trafficDistribution="PreferSameNode"))
        await h.settle()
        assert slices(h)[0]["endpoints"][0]["hints"] == {"forZones": [{"name": "z"}], "forNodes": [{"name": "n"}]}


async def test_topology_mode_shares_endpoints_out_by_the_cpu_of_zones() -> None:
    async with Harness().running(EndpointSliceController) as h:
        for name, zone in (("n", "a"), ("m", "b"), ("o", "b")):
            h.api.add(NODES, make_node(name, labels={"topology.kubernetes.io/zone": zone}))
        h.api.add(SERVICES, {**service(), "metadata": {
            "name": "s", "namespace": "default", "annotations": {"service.kubernetes.io/topology-mode": "Auto"}}})
        for index in range(6):
            h.api.add(PODS, backend(f"p{index}", f"10.0.0.{index}"))
        await h.settle()

        def hinted() -> list[str]:
            entries = [e for piece in slices(h) for e in piece["endpoints"]]
            return sorted(str(e["hints"]["forZones"][0]["name"]) if "hints" in e else "" for e in entries)

        assert hinted() == ["a", "a", "b", "b", "b", "b"], "all six run in a, which has a third of the CPU"
        assert "TopologyAwareHintsEnabled" in h.event_reasons("s")
        h.api.change(NODES, "m", {"status": {"allocatable": {"cpu": "20"}}})
        await h.settle()
        assert hinted() == ["a", "b", "b", "b", "b", "b"]
        h.api.change(NODES, "o", {"metadata": {"labels": {"topology.kubernetes.io/zone": None}}})
        await h.settle()
        assert hinted() == [""] * 6
        assert "TopologyAwareHintsDisabled" in h.event_reasons("s")


async def test_a_node_that_moves_to_another_zone_takes_its_endpoints_along() -> None:
    async with Harness().running(EndpointSliceController) as h:
        h.api.add(NODES, make_node("n", labels={"topology.kubernetes.io/zone": "z"}))
        h.api.add(SERVICES, service(trafficDistribution="PreferClose"))
        h.api.add(PODS, backend("a", "10.0.0.1"))
        await h.settle()
        h.api.change(NODES, "n", {"metadata": {"labels": {"topology.kubernetes.io/zone": "y"}}})
        await h.settle()
        (endpoint,) = slices(h)[0]["endpoints"]
        assert (endpoint["zone"], endpoint["hints"]) == ("y", {"forZones": [{"name": "y"}]})


async def test_finished_pods_and_services_without_selector_have_no_endpoints() -> None:
    async with Harness().running(EndpointSliceController, EndpointsController) as h:
        h.api.add(PODS, backend("a", "10.0.0.1", phase="Succeeded"))
        h.api.add(SERVICES, service())
        bare = service()
        bare["metadata"]["name"], bare["spec"]["selector"] = "bare", None
        h.api.add(SERVICES, bare)
        await h.settle()
        assert [p["endpoints"] for p in slices(h)] == [[]]
        assert h.api.find(ENDPOINTS, "bare", "default") is None


async def test_endpoints_split_ready_from_not_ready_and_go_with_the_service() -> None:
    async with Harness().running(EndpointsController) as h:
        h.api.add(PODS, backend("a", "10.0.0.2"))
        h.api.add(PODS, backend("b", "10.0.0.1", ready=False))
        h.api.add(SERVICES, service())
        await h.settle()
        (subset,) = h.api.read(ENDPOINTS, "web")["subsets"]
        assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.2"]
        assert [a["ip"] for a in subset["notReadyAddresses"]] == ["10.0.0.1"]
        assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        h.api.remove(SERVICES, "web")
        await h.settle()
        assert h.api.find(ENDPOINTS, "web", "default") is None


async def test_endpoints_of_a_user_are_mirrored_and_unmirrored() -> None:
    async with Harness().running(EndpointSliceMirroringController) as h:
        bare = service(selector=None)
        h.api.add(SERVICES, bare)
        subsets = [{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 80, "protocol": "TCP"}]}]
        h.api.add(ENDPOINTS, {"metadata": {"name": "web", "namespace": "default"}, "subsets": subsets})
        await h.settle()
        (piece,) = slices(h)
        assert piece["endpoints"] == [{"addresses": ["1.2.3.4"], "conditions": {"ready": True}}]
        assert piece["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == (
            "endpointslicemirroring-controller.k8s.io"
        )
        h.api.change(ENDPOINTS, "web", {"subsets": [{**subsets[0], "addresses": [{"ip": "5.6.7.8"}]}]})
        await h.settle()
        assert [e["addresses"] for p in slices(h) for e in p["endpoints"]] == [["5.6.7.8"]]
        h.api.change(ENDPOINTS, "web", {"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}})
        await h.settle()
        assert slices(h) == []


async def test_idle_and_status_noise_make_no_calls() -> None:
    async with Harness().running(EndpointSliceController, EndpointsController) as h:
        h.api.add(PODS, backend("a", "10.0.0.1"))
        h.api.add(SERVICES, service())
        await h.settle()
        before = h.api.total
        h.api.change(PODS, "a", {"metadata": {"annotations": {"x": "y"}}})
        await h.advance(60)
        assert h.api.total == before
