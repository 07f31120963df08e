"""Pods and nodes that say strange things: they are judged like others, and harm nobody."""

from __future__ import annotations

from typing import Any

from tests.unit.scheduler.test_scheduler import node, pod
from tests.unit.scheduler.test_volumes import refusals

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def near(**term: Any) -> dict[str, Any]:
    return {"podAffinity": {REQUIRED: [{"topologyKey": "kubernetes.io/hostname", **term}]}}


def test_affinity_to_namespaces_that_do_not_exist() -> None:
    nowhere = pod("p", affinity=near(labelSelector={}, namespaces=["missing"]))
    assert refusals(nowhere, [node("a")]) == {"a": ["node(s) didn't match pod affinity rules"]}
    unselected = pod("p", affinity=near(labelSelector={}, namespaceSelector={"matchLabels": {"no": "where"}}))
    assert refusals(unselected, [node("a")]) == {"a": ["node(s) didn't match pod affinity rules"]}


def test_nonsense_selectors_match_nothing() -> None:
    selector = {"matchExpressions": [{"key": "a", "operator": "Nonsense", "values": ["x"]}]}
    other = pod("other", nodeName="a")
    other["metadata"]["uid"] = "other"
    assert refusals(pod("p", affinity=near(labelSelector=selector)), [node("a")], [other])["a"]
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Gt", "values": ["not a number"]}]}]
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}
    assert refusals(pod("p", affinity=affinity), [node("a")])["a"] == [
        "node(s) didn't match Pod's node affinity/selector"]


def test_quantities_at_the_edge_of_64_bits() -> None:
    most = str(2**63 - 1)
    vast = node("vast")
    vast["status"]["allocatable"]["example.com/x"] = most

    def wanting(name: str, amount: str, where: str = "") -> dict[str, Any]:
        made = pod(name, nodeName=where)
        made["metadata"]["uid"] = name
        made["spec"]["containers"][0]["resources"] = {"requests": {"example.com/x": amount, "cpu": "1"}}
        return made

    assert refusals(wanting("p", most), [vast, node("small")]) == {
        "vast": [], "small": ["Insufficient example.com/x"]}
    there = [wanting("q", most, "vast")]
    assert refusals(wanting("p", "1"), [vast], there) == {"vast": ["Insufficient example.com/x"]}
    # Two of them add up past 64 bits; nobody wraps around into having room.
    there.append(wanting("r", most, "vast"))
    assert refusals(wanting("p", "1"), [vast], there) == {"vast": ["Insufficient example.com/x"]}
    odd = node("odd")
    odd["status"]["allocatable"]["cpu"] = "a lot"
    assert "Insufficient cpu" in refusals(wanting("p", "0"), [odd])["odd"]
