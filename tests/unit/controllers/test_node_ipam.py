"""Pod ranges for nodes."""

from __future__ import annotations

import ipaddress

from controller_harness import Harness, make_node

from podwright.api.resources import NODES
from podwright.controllers.config import ControllerConfig
from podwright.controllers.node_ipam import CidrSet, NodeIpamController


async def test_every_node_gets_its_own_range_of_each_family() -> None:
    config = ControllerConfig(cluster_cidr=("10.244.0.0/16", "fd00::/48"))
    async with Harness(config).running(NodeIpamController) as h:
        for name in ("a", "b"):
            h.api.add(NODES, make_node(name))
        await h.settle()
        specs = [h.api.read(NODES, n)["spec"] for n in ("a", "b")]
        assert specs[0]["podCIDRs"] == ["10.244.0.0/24", "fd00::/64"]
        assert specs[0]["podCIDR"] == "10.244.0.0/24"
        assert specs[1]["podCIDRs"] == ["10.244.1.0/24", "fd00:0:0:1::/64"]


async def test_ranges_that_stand_are_kept_and_those_given_back_are_used_again() -> None:
    config = ControllerConfig(cluster_cidr=("10.0.0.0/23",))
    h = Harness(config)
    async with h.running():
        h.api.add(NODES, make_node("old", podCIDR="10.0.0.0/24", podCIDRs=["10.0.0.0/24"]))
        h.start(NodeIpamController)
        h.api.add(NODES, make_node("new"))
        await h.settle()
        assert h.api.read(NODES, "new")["spec"]["podCIDR"] == "10.0.1.0/24"
        h.api.add(NODES, make_node("third"))
        await h.settle()
        assert "podCIDR" not in h.api.read(NODES, "third")["spec"]
        assert "CIDRNotAvailable" in h.event_reasons("third")
        h.api.remove(NODES, "old")
        await h.advance(60)
        assert h.api.read(NODES, "third")["spec"]["podCIDR"] == "10.0.0.0/24"


def test_occupy_marks_wider_and_narrower_ranges() -> None:
    cidrs = CidrSet(ipaddress.ip_network("10.0.0.0/22"), 24)
    cidrs.occupy(ipaddress.ip_network("10.0.0.0/23"))
    assert str(cidrs.allocate()) == "10.0.2.0/24"
    cidrs.occupy(ipaddress.ip_network("10.0.3.128/25"))
    cidrs.release(ipaddress.ip_network("10.0.1.0/24"))
    assert str(cidrs.allocate()) == "10.0.1.0/24"
