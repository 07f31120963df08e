"""The cases of the DNS specification for Kubernetes, section by section."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.network.dns.records import Record, Zone


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": name}, "spec": spec}


HTTP = [{"name": "http", "port": 80, "protocol": "TCP"}]
SERVICES = {
    "web": service("web", clusterIP="10.64.0.5", ports=HTTP),
    "bare": service("bare", clusterIP="None", ports=HTTP),
    "early": service("early", clusterIP="None", publishNotReadyAddresses=True),
    "away": service("away", type="ExternalName", externalName="example.org"),
}
SLICES = {
    "bare": [
        {
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.128.0.2"], "hostname": "web-0", "conditions": {"ready": True}},
                {"addresses": ["10.128.0.3"], "conditions": {"ready": True}},
                {"addresses": ["10.128.0.4"], "conditions": {"ready": False}},
            ],
        }
    ],
    "early": [{"endpoints": [{"addresses": ["10.128.0.9"], "conditions": {"ready": False}}]}],
}
ZONE = Zone(
    "cluster.local", lambda namespace, name: SERVICES.get(name) if namespace == "ns" else None, lambda namespace,
    name: SLICES.get(name, []), SERVICES.values, lambda name: name == "ns",
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web.ns.svc", [("A", "10.64.0.5")]),
        ("_http._tcp.web.ns.svc", [("SRV", "0 100 80 web.ns.svc.cluster.local.")]),
        ("bare.ns.svc", [("A", "10.128.0.2"), ("A", "10.128.0.3")]),
        ("web-0.bare.ns.svc", [("A", "10.128.0.2")]),
        ("10-128-0-3.bare.ns.svc", [("A", "10.128.0.3")]),
        (
            "_http._tcp.bare.ns.svc",
            [
                ("SRV", "0 100 8080 web-0.bare.ns.svc.cluster.local."),
                ("SRV", "0 100 8080 10-128-0-3.bare.ns.svc.cluster.local."),
            ],
        ),
        ("early.ns.svc", [("A", "10.128.0.9")]),
        ("away.ns.svc", [("CNAME", "example.org.")]),
        ("10-128-0-7.ns.pod", [("A", "10.128.0.7")]),
        ("dns-version", [("TXT", '"1.1.0"')]),
        ("ns.svc", []),
    ],
)
def test_names_that_exist(name: str, expected: list[tuple[str, str]]) -> None:
    assert ZONE.lookup(f"{name}.cluster.local") == [Record(k, d) for k, d in expected]


@pytest.mark.parametrize(
    "name",
    ["none.ns.svc", "web.other.svc", "x.web.ns.svc", "_https._tcp.web.ns.svc", "_http._udp.web.ns.svc",
     "10-128-0-4.bare.ns.svc", "10-1.ns.pod", "10-128-0-7.other.pod", "other.svc", "nonsense"],
)  # fmt: skip
def test_names_that_do_not(name: str) -> None:
    assert ZONE.lookup(f"{name}.cluster.local") is None


def test_reverse() -> None:
    assert ZONE.reverse("10.64.0.5") == [Record("PTR", "web.ns.svc.cluster.local.")]
    assert ZONE.reverse("10.128.0.2") == [Record("PTR", "web-0.bare.ns.svc.cluster.local.")]
    assert ZONE.reverse("10.128.0.77") == []
