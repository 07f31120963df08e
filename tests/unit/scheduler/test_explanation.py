from __future__ import annotations

from tests.unit.scheduler.test_scheduler import node, pod

from podwright.scheduler.explanation import explain


def bound(name: str, where: str, cpu: str) -> dict:
    made = pod(name, cpu=cpu)
    made["metadata"]["uid"] = name
    made["spec"]["nodeName"] = where
    return made


def test_each_node_says_why_not_or_how_good() -> None:
    asked = bound("asked", "roomy", "600m")
    nodes = [node("busy", cpu="1"), node("roomy", cpu="4"), node("cordoned", unschedulable=True)]
    answers = explain(asked, nodes, [asked, bound("other", "busy", "800m")])
    assert [a.node for a in answers] == ["roomy", "busy", "cordoned"]
    assert answers[0].chosen and answers[0].refusals == [] and 0 < answers[0].score < 1
    assert set(answers[0].plugins) >= {"NodeResourcesFit", "TaintToleration"}
    assert answers[2].refusals == ["node(s) were unschedulable"]
    assert answers[1].refusals == ["Insufficient cpu"]
