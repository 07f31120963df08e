"""The link between the nodes of a local cluster, while nodes die and come back."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from tests.node.leaks import none_left

from podwright.cluster import node_link
from podwright.cluster.registry import Ranges

CLUSTER = "t-node-link"
RANGES = Ranges(61)
NODES = ("node-1", "node-2", "node-3")

_TALK = """
import socket, sys
for address in sys.argv[1:]:
    with socket.socket() as tried:
        tried.settimeout(60)
        assert tried.connect_ex((address, 9)) == 111, address
"""
"""Nobody listens there: who can be reached refuses."""


@pytest.fixture
def link() -> Iterator[None]:
    with none_left([CLUSTER], link_prefixes=[RANGES.bridge]):
        node_link.ensure(CLUSTER, RANGES, NODES)
        try:
            yield
        finally:
            node_link.remove(CLUSTER, RANGES, NODES)


def inside(node: str, *command: str) -> str:
    namespace = node_link.namespace(CLUSTER, node)
    return subprocess.run(
        ["ip", "netns", "exec", namespace, *command], capture_output=True, text=True, check=True
    ).stdout


def known(node: str) -> dict[str, str]:
    """Hardware addresses by IP address, as this node remembers them."""
    lines = [line.split() for line in inside(node, "ip", "neigh", "show", "dev", "eth0").splitlines()]
    return {words[0]: words[words.index("lladdr") + 1] for words in lines if "lladdr" in words}


def test_who_stays_need_not_learn_anew_who_goes_and_comes(link: None) -> None:
    others = [RANGES.bridge_address, RANGES.node_address(1), RANGES.node_address(2)]
    inside("node-3", "python3", "-c", _TALK, *others)
    before = known("node-3")
    assert sorted(before) == sorted(others) and len(set(before.values())) == 3
    for node in ("node-1", "node-2"):
        node_link.remove_node(CLUSTER, node)
        inside("node-3", "python3", "-c", _TALK, RANGES.bridge_address)
    node_link.ensure(CLUSTER, RANGES, NODES)
    for node in NODES:
        peers = [RANGES.node_address(i) for i, other in enumerate(NODES, start=1) if other != node]
        inside(node, "python3", "-c", _TALK, RANGES.bridge_address, *peers)
    assert known("node-3") == before
