"""Clusters and Pods made by chance: the scheduler and its plain statement agree on where a Pod may go and, up to ties,
where it goes. PODWRIGHT_ORACLE_CASES=100000 is the long run."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.scheduler.oracle import PREFERRED, REQUIRED, Cluster

from podwright.api.objects import Object, labels, name
from podwright.scheduler.config import ProfileConfig
from podwright.scheduler.explanation import _handle
from podwright.scheduler.framework.evaluation import Evaluation
from podwright.scheduler.framework.profile import Profile
from podwright.scheduler.state.cluster import ClusterState
from podwright.scheduler.state.pods import PodInfo

CASES = int(os.environ.get("PODWRIGHT_ORACLE_CASES", "150"))
ZONE, HOST = "zone", "kubernetes.io/hostname"
KEYS = st.sampled_from([ZONE, HOST, "rack"])
APPS = st.sampled_from(["a", "b"])
EFFECTS = st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"])
AMOUNTS = st.sampled_from(["0", "100m", "500m", "1", "3"])
MEMORY = st.sampled_from(["0", "64Mi", "1Gi", "2Gi"])


@st.composite
def nodes(draw: Any) -> list[Object]:
    found = []
    for i in range(draw(st.integers(1, 6))):
        own = {HOST: f"n{i}"}
        for key in (ZONE, "rack", "level"):
            value = draw(st.sampled_from([None, "1", "2", "3"]))
            if value:
                own[key] = value
        room = {"cpu": draw(AMOUNTS), "memory": draw(MEMORY), "pods": draw(st.sampled_from(["0", "1", "3", "9"]))}
        if draw(st.booleans()):
            room["podwright.io/disk-read-iops"] = draw(st.sampled_from(["1", "100"]))
        taints = draw(st.lists(st.fixed_dictionaries(
            {"key": st.sampled_from(["x", "y"]), "value": st.sampled_from(["", "1", "5"]), "effect": EFFECTS}
        ), max_size=2))
        spec: Object = {"taints": taints}
        if draw(st.integers(0, 9)) == 0:
            spec["unschedulable"] = True
        found.append({"metadata": {"name": f"n{i}", "labels": own}, "spec": spec, "status": {"allocatable": room}})
    return found


@st.composite
def term(draw: Any) -> Object:
    made: Object = {"topologyKey": draw(KEYS)}
    selector = draw(st.sampled_from([None, {}, {"matchLabels": {"app": "a"}}, {"matchLabels": {"app": "b"}},
                                     {"matchExpressions": [{"key": "app", "operator": "Exists"}]}]))
    if selector is not None:
        made["labelSelector"] = selector
    spaces = draw(st.sampled_from([None, ["default"], ["other"], ["default", "other"]]))
    if spaces:
        made["namespaces"] = spaces
    return made


@st.composite
def node_term(draw: Any) -> Object:
    operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]))
    wanted: Object = {"key": draw(st.sampled_from([ZONE, "level"])), "operator": operator}
    if operator in ("In", "NotIn"):
        wanted["values"] = draw(st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=2))
    elif operator in ("Gt", "Lt"):
        wanted["values"] = [draw(st.sampled_from(["1", "2"]))]
    made: Object = {"matchExpressions": [wanted]}
    if draw(st.integers(0, 5)) == 0:
        made["matchFields"] = [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]
    return made


@st.composite
def affinities(draw: Any) -> Object:
    made: Object = {}
    if draw(st.booleans()):
        kind: Object = {}
        if draw(st.booleans()):
            kind[REQUIRED] = {"nodeSelectorTerms": draw(st.lists(node_term(), min_size=1, max_size=2))}
        kind[PREFERRED] = [
            {"weight": w, "preference": t} for w, t in draw(st.lists(st.tuples(st.integers(1, 100), node_term()),
                                                                    max_size=2))
        ]
        made["nodeAffinity"] = kind
    for field in ("podAffinity", "podAntiAffinity"):
        if draw(st.integers(0, 2)) == 0:
            made[field] = {
                REQUIRED: draw(st.lists(term(), max_size=2)),
                PREFERRED: [{"weight": w, "podAffinityTerm": t} for w, t in draw(
                    st.lists(st.tuples(st.integers(1, 100), term()), max_size=2))],
            }
    return made


@st.composite
def constraint(draw: Any) -> Object:
    made: Object = {
        "topologyKey": draw(KEYS), "maxSkew": draw(st.integers(1, 2)),
        "whenUnsatisfiable": draw(st.sampled_from(["DoNotSchedule", "ScheduleAnyway"])),
        "labelSelector": {"matchLabels": {"app": draw(APPS)}},
    }
    if made["whenUnsatisfiable"] == "DoNotSchedule" and draw(st.booleans()):
        made["minDomains"] = draw(st.integers(1, 3))
    for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        policy = draw(st.sampled_from([None, "Honor", "Ignore"]))
        if policy:
            made[field] = policy
    return made


@st.composite
def pod(draw: Any, number: int, where: str = "") -> Object:
    requests = {}
    if draw(st.booleans()):
        requests["cpu"] = draw(AMOUNTS)
    if draw(st.booleans()):
        requests["memory"] = draw(MEMORY)
    if draw(st.integers(0, 4)) == 0:
        requests["podwright.io/disk-read-iops"] = "50"
    container: Object = {"name": "c", "image": "i", "resources": {"requests": requests}}
    if draw(st.integers(0, 3)) == 0:
        port = {"containerPort": 1, "hostPort": draw(st.sampled_from([80, 81]))}
        address = draw(st.sampled_from(["", "10.0.0.1", "10.0.0.2"]))
        container["ports"] = [{**port, "hostIP": address} if address else port]
    spec: Object = {"containers": [container]}
    if draw(st.booleans()):
        spec["affinity"] = draw(affinities())
    if draw(st.booleans()):
        spec["topologySpreadConstraints"] = draw(st.lists(constraint(), max_size=2))
    if draw(st.booleans()):
        spec["tolerations"] = draw(st.lists(st.sampled_from([
            {"operator": "Exists"}, {"key": "x", "operator": "Exists"}, {"key": "y", "value": "1"},
            {"key": "x", "operator": "Gt", "value": "2"}, {"key": "y", "operator": "Lt", "value": "3"},
            {"key": "x", "operator": "Exists", "effect": "NoSchedule"},
        ]), max_size=2))
    if draw(st.integers(0, 3)) == 0:
        spec["nodeSelector"] = {ZONE: draw(st.sampled_from(["1", "2"]))}
    meta: Object = {
        "name": f"p{number}", "uid": f"u{number}", "namespace": draw(st.sampled_from(["default", "other"])),
        "labels": {"app": draw(APPS)},
    }
    if where:
        spec["nodeName"] = where
        if draw(st.integers(0, 5)) == 0:
            meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": meta, "spec": spec, "status": {}}


@st.composite
def cases(draw: Any) -> tuple[list[Object], list[Object], list[Object]]:
    made = draw(nodes())
    placed = [
        draw(pod(i, draw(st.sampled_from([name(n) for n in made])))) for i in range(draw(st.integers(0, 6)))
    ]
    return made, placed, [draw(pod(100 + i)) for i in range(draw(st.integers(1, 3)))]


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_the_scheduler_does_as_the_rules_say(case: tuple[list[Object], list[Object], list[Object]]) -> None:
    made, placed, incoming = case
    state = ClusterState()
    for each in made:
        state.nodes.put(each)
    for each in placed:
        state.put_pod(each)
    evaluation = Evaluation(Profile(ProfileConfig(), _handle(state, {})), state.nodes)
    placed = list(placed)
    # Pods are placed one after the other: answers that were kept for a class must follow what happened since.
    for each in [*incoming, *incoming]:
        here = Cluster(made, placed)
        info = PodInfo(each, state.classes.of(each))
        judgement = evaluation.judge(info)
        found = {state.nodes.name_of(int(r)) for r in judgement.feasible}
        assert found == here.feasible(each)
        if not found:
            continue
        totals = evaluation.totals(info, judgement)
        best = {state.nodes.name_of(int(r)) for r in judgement.feasible[np.flatnonzero(totals == totals.max())]}
        assert best == here.winners(each), (labels(each), totals)
        chosen = min(best)
        if state.pod(f"{each['metadata']['namespace']}/{name(each)}") is None:
            state.assume(each, info.cls, chosen)
            placed.append({**each, "spec": {**each["spec"], "nodeName": chosen}})


@pytest.mark.parametrize(("percentage", "scored"), [(100, 240), (50, 120), (10, 100)])
def test_so_many_nodes_are_scored_in_turn(percentage: int, scored: int) -> None:
    state = ClusterState()
    room = {"cpu": "4", "memory": "1Gi", "pods": "9"}
    for number in range(240):
        made = {"metadata": {"name": f"n{number}"}, "spec": {}, "status": {"allocatable": room}}
        state.nodes.put(made)
    evaluation = Evaluation(Profile(ProfileConfig(), _handle(state, {})), state.nodes, percentage)
    asked: Object = {"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": {"containers": []}}
    seen: list[int] = []
    while len(seen) < 240:
        rows = evaluation.judge(PodInfo(asked, state.classes.of(asked))).feasible
        assert len(rows) == len(set(rows)) == scored
        seen += [int(r) for r in rows]
    assert set(seen) == set(range(240)), "each node has its turn"
