"""Inter-Pod affinity and topology spreading, evaluated without a server."""

from __future__ import annotations

from typing import Any

from tests.unit.scheduler.test_scheduler import node, pod

from podwright.api.objects import Object
from podwright.api.resources import NAMESPACES
from podwright.api.selectors.labels import parse
from podwright.scheduler.explanation import Placement, explain
from podwright.scheduler.state.cluster import ClusterState

ZONE = "topology.kubernetes.io/zone"
NODES = [node(f"{zone}{i}", labels={ZONE: zone}) for zone in "ab" for i in range(2)]


def term(key: str = ZONE, app: str = "web", **more: Any) -> Object:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}, **more}


def made(name: str, app: str, where: str = "", **spec: Any) -> Object:
    found = pod(name, **spec)
    found["metadata"].update(uid=name, labels={"app": app})
    if where:
        found["spec"]["nodeName"] = where
    return found


def asked(incoming: Object, *existing: Object, nodes: list[Object] = NODES, **more: Any) -> dict[str, Placement]:
    return {a.node: a for a in explain(incoming, nodes, existing, **more)}


def fitting(answers: dict[str, Placement]) -> set[str]:
    return {name for name, answer in answers.items() if not answer.refusals}


def required(kind: str, *terms: Object) -> Object:
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def test_affinity_goes_where_the_others_are() -> None:
    incoming = made("p", "client", affinity=required("podAffinity", term()))
    answers = asked(incoming, made("w", "web", "a0"))
    assert fitting(answers) == {"a0", "a1"}
    assert answers["b0"].refusals == ["node(s) didn't match pod affinity rules"]
    assert fitting(asked(incoming)) == set()


def test_the_first_of_a_group_may_go_anywhere() -> None:
    incoming = made("p", "web", affinity=required("podAffinity", term()))
    assert fitting(asked(incoming)) == {"a0", "a1", "b0", "b1"}
    assert fitting(asked(incoming, nodes=[node("bare")])) == set()


def test_anti_affinity_holds_in_both_directions() -> None:
    shy = required("podAntiAffinity", term(app="loud"))
    answers = asked(made("p", "quiet", affinity=shy), made("l", "loud", "a0"))
    assert fitting(answers) == {"b0", "b1"}
    assert answers["a1"].refusals == ["node(s) didn't match pod anti-affinity rules"]
    answers = asked(made("l", "loud"), made("p", "quiet", "a0", affinity=shy))
    assert fitting(answers) == {"b0", "b1"}
    assert answers["a1"].refusals == ["node(s) didn't satisfy existing pods anti-affinity rules"]


def test_namespaces_and_label_keys_narrow_terms() -> None:
    elsewhere = made("w", "web", "a0")
    elsewhere["metadata"]["namespace"] = "other"
    spaces = {NAMESPACES: [{"metadata": {"name": "other", "labels": {"team": "x"}}}, {"metadata": {"name": "default"}}]}
    shy = required("podAntiAffinity", term())
    assert len(fitting(asked(made("p", "c", affinity=shy), elsewhere, others=spaces))) == 4
    chosen = required("podAntiAffinity", term(namespaceSelector={"matchLabels": {"team": "x"}}))
    assert fitting(asked(made("p", "c", affinity=chosen), elsewhere, others=spaces)) == {"b0", "b1"}
    every = required("podAntiAffinity", term(namespaceSelector={}))
    assert fitting(asked(made("p", "c", affinity=every), elsewhere, others=spaces)) == {"b0", "b1"}
    keyed = required("podAntiAffinity", term(matchLabelKeys=["version"]))
    incoming = made("p", "web", affinity=keyed)
    incoming["metadata"]["labels"]["version"] = "2"
    assert len(fitting(asked(incoming, made("w", "web", "a0")))) == 4


def test_preferences_decide_among_equals() -> None:
    preferred = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "podAffinityTerm": term()}]}}
    answers = asked(made("p", "client", affinity=preferred), made("w", "web", "a0"))
    assert {n: a.plugins["InterPodAffinity"] for n, a in answers.items()} == {"a0": 100, "a1": 100, "b0": 0, "b1": 0}


def spread(**more: Any) -> Object:
    return {"topologyKey": ZONE, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}, **more}


def test_skew_is_bounded() -> None:
    incoming = made("p", "web", topologySpreadConstraints=[spread()])
    answers = asked(incoming, made("w", "web", "a0"), nodes=[*NODES, node("bare")])
    assert fitting(answers) == {"b0", "b1"}
    assert answers["a0"].refusals == ["node(s) didn't match pod topology spread constraints"]
    assert answers["bare"].refusals == [
        "node(s) didn't match pod topology spread constraints (missing required label)"
    ]
    leaving = made("w", "web", "a0")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert len(fitting(asked(incoming, leaving))) == 4


def test_min_domains_and_policies() -> None:
    few = made("p", "web", topologySpreadConstraints=[spread(minDomains=3)])
    placed = [made("w", "web", "a0"), made("x", "web", "b0")]
    assert fitting(asked(few, *placed)) == set()
    only_a = {ZONE: "a"}
    counted = made("p", "web", topologySpreadConstraints=[spread()], nodeSelector=only_a)
    assert fitting(asked(counted, placed[0])) == {"a0", "a1"}
    ignoring = made("p", "web", topologySpreadConstraints=[spread(nodeAffinityPolicy="Ignore")], nodeSelector=only_a)
    assert fitting(asked(ignoring, placed[0])) == set()


def test_soft_spreading_prefers_the_emptier_zone() -> None:
    soft = spread(whenUnsatisfiable="ScheduleAnyway")
    answers = asked(made("p", "web", topologySpreadConstraints=[soft]), made("w", "web", "a0"))
    scores = {n: a.plugins["PodTopologySpread"] for n, a in answers.items()}
    assert scores["a0"] == scores["a1"] < scores["b0"] == scores["b1"] == 100


def test_counts_follow_labels_whatever_the_selector() -> None:
    state = ClusterState()
    state.nodes.put({"metadata": {"name": "n"}, "status": {}})
    texts = ("app=a", "app,app in (a)", "app in (a,b)", "app!=a", "zone=z,app=a", "")
    selectors = [parse(text) for text in texts]

    def counts() -> list[int]:
        return [int(state.counts.selected((None, s)).sum()) for s in selectors]

    assert counts() == [0] * 6
    one = {"metadata": {"name": "p", "namespace": "d", "uid": "u", "labels": {"app": "a"}}, "spec": {"nodeName": "n"}}
    state.put_pod(one)
    assert counts() == [1, 1, 1, 0, 0, 1]
    state.put_pod({**one, "metadata": {**one["metadata"], "labels": {"app": "a", "zone": "z"}}})
    assert counts() == [1, 1, 1, 0, 1, 1]
    state.put_pod({**one, "metadata": {**one["metadata"], "labels": {"app": "b"}}})
    assert counts() == [0, 0, 1, 1, 0, 1]
    state.remove_pod(one)
    assert counts() == [0] * 6
