from __future__ import annotations

import subprocess
from typing import Any

import pytest

from podwright.network.services.ports import Endpoint, service_ports
from podwright.network.services.rules import ruleset


def service(**spec: Any) -> dict[str, Any]:
    base = {"clusterIP": "10.64.0.5", "type": "ClusterIP", "ports": [{"port": 80, "name": "web", "protocol": "TCP"}]}
    return {"metadata": {"namespace": "ns", "name": "s"}, "spec": {**base, **spec}}


def endpoint_slice(*endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4", "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints), **more,
    }  # fmt: skip


def at(address: str, node: str = "n", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "nodeName": node, "conditions": conditions}


def test_ready_endpoints_of_every_slice_once_each() -> None:
    unready = at("1.1.1.3", ready=False)
    slices = [endpoint_slice(at("1.1.1.1"), at("1.1.1.2", "other")), endpoint_slice(at("1.1.1.1"), unready)]
    (port,) = service_ports([service()], slices, "n")
    assert port.cluster == [Endpoint("1.1.1.1", 8080, True), Endpoint("1.1.1.2", 8080, False)]
    assert port.local == [Endpoint("1.1.1.1", 8080, True)]


def test_terminating_endpoints_serve_only_while_nothing_is_ready() -> None:
    leaving = at("1.1.1.1", ready=False, serving=True, terminating=True)
    (port,) = service_ports([service()], [endpoint_slice(leaving)], "n")
    assert [e.address for e in port.cluster] == ["1.1.1.1"]
    (port,) = service_ports([service()], [endpoint_slice(leaving, at("1.1.1.2", ready=True))], "n")
    assert [e.address for e in port.cluster] == ["1.1.1.2"]


@pytest.mark.parametrize(
    "spec", [{"clusterIP": "None"}, {"type": "ExternalName"}, {"clusterIP": ""}], ids=["headless", "external", "no-ip"]
)
def test_what_has_no_address_is_not_proxied(spec: dict[str, Any]) -> None:
    assert service_ports([service(**spec)], [], "n") == []


def test_local_policies_leave_the_other_nodes_endpoints_out() -> None:
    slices = [endpoint_slice(at("1.1.1.1", "other"))]
    (port,) = service_ports([service(internalTrafficPolicy="Local")], slices, "n")
    assert port.internal_endpoints == [] and port.external_endpoints


def test_hints_keep_traffic_in_the_node_or_the_zone_where_every_endpoint_has_them() -> None:
    def hinted(address: str, node: str, zone: str, *, nodes: bool = False) -> dict[str, Any]:
        hints: dict[str, Any] = {"forZones": [{"name": zone}]}
        if nodes:
            hints["forNodes"] = [{"name": node}]
        return {**at(address, node, ready=True), "hints": hints}

    def served(*endpoints: dict[str, Any], node: str, zone: str) -> list[str]:
        (port,) = service_ports([service()], [endpoint_slice(*endpoints)], node, zone)
        return [e.address for e in port.cluster]

    zoned = (hinted("1.1.1.1", "n", "a"), hinted("1.1.1.2", "m", "a"), hinted("1.1.1.3", "o", "b"))
    assert served(*zoned, node="n", zone="a") == ["1.1.1.1", "1.1.1.2"]
    assert served(*zoned, node="o", zone="b") == ["1.1.1.3"]
    assert len(served(*zoned, node="x", zone="c")) == 3, "nothing is meant for this zone"
    assert len(served(*zoned, at("1.1.1.4", ready=True), node="n", zone="a")) == 4, "one has no hint"
    close = (hinted("1.1.1.1", "n", "a", nodes=True), hinted("1.1.1.2", "m", "a", nodes=True))
    assert served(*close, node="n", zone="a") == ["1.1.1.1"]
    assert served(*close, node="p", zone="a") == ["1.1.1.1", "1.1.1.2"]


def _load(*transactions: str) -> str:
    script = " && ".join(f"nft -f - <<'EOT'\n{t}EOT\n" for t in transactions).replace(" && nft", "\nnft")
    done = subprocess.run(["unshare", "-n", "sh", "-e"], input=script + "nft -s list ruleset", text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_kernel_takes_the_rules_and_a_change_leads_to_the_same_table_as_a_fresh_start() -> None:
    full = service_ports(
        [
            service(
                type="LoadBalancer", externalIPs=["192.0.2.1"], loadBalancerSourceRanges=["10.0.0.0/8"],
                externalTrafficPolicy="Local", sessionAffinity="ClientIP",
                ports=[{"port": 80, "name": "web", "protocol": "TCP", "nodePort": 30080}],
            )
            | {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}}}
        ],
        [endpoint_slice(at("1.1.1.1"), at("1.1.1.2", "other"))],
        "n",
    )  # fmt: skip
    empty = service_ports([service()], [], "n")
    one = ruleset("t", full, pod_cidr="10.128.0.0/16")
    two = ruleset("t", empty, pod_cidr="10.128.0.0/16")
    fresh, none = _load(one.transaction(None)), _load(two.transaction(None))
    assert "dnat to 1.1.1.2:8080" in fresh and "10.64.0.5 . tcp . 80" in fresh and "tcp . 30080" in fresh
    assert "10.64.0.5 . tcp . 80 : goto refuse" in none, "a Service without endpoints refuses at once"
    assert _load(one.transaction(None), two.transaction(one)) == none
    back = _load(two.transaction(None), one.transaction(two))
    assert sorted(back.split("\n")) == sorted(fresh.split("\n"))
