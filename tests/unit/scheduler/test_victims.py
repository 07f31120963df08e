"""Victims found by arithmetic, and kept, are those that trying the filters one Pod after the other finds."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.scheduler.test_oracle import CASES, nodes, pod

from podwright.api.objects import Object, name
from podwright.api.resources import PODDISRUPTIONBUDGETS
from podwright.scheduler.config import ProfileConfig
from podwright.scheduler.explanation import _handle
from podwright.scheduler.framework.evaluation import Evaluation, Refused
from podwright.scheduler.framework.profile import Profile
from podwright.scheduler.plugins.victims import VictimSearch
from podwright.scheduler.preemption import Nominations
from podwright.scheduler.state.cluster import ClusterState
from podwright.scheduler.state.pods import PodInfo

_STARTS = (None, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
_PLAIN = ("affinity", "topologySpreadConstraints")


@st.composite
def ranked(draw: Any, number: int, where: str = "") -> Object:
    made: Object = draw(pod(number, where))
    if draw(st.booleans()):
        made["spec"] = {k: v for k, v in made["spec"].items() if k not in _PLAIN}
    made["spec"]["priority"] = draw(st.sampled_from([0, 1, 1, 5]))
    started = draw(st.sampled_from(_STARTS))
    if where and started:
        made["status"] = {"startTime": started}
    return made


@st.composite
def clusters(draw: Any) -> tuple[list[Object], list[Object], list[Object], Object, list[int]]:
    made = draw(nodes())
    names = [name(n) for n in made]
    placed = [draw(ranked(i, draw(st.sampled_from(names)))) for i in range(draw(st.integers(2, 9)))]
    incoming = [draw(ranked(100 + i)) for i in range(3)]
    budget = {
        "metadata": {"name": "b", "namespace": "default", "resourceVersion": "1"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}},
        "status": {"disruptionsAllowed": draw(st.integers(0, 2))},
    }
    return made, placed, incoming, budget, draw(st.lists(st.integers(0, 8), max_size=3))


@settings(max_examples=CASES // 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(clusters())
def test_counting_agrees_with_trying(case: tuple[list[Object], list[Object], list[Object], Object, list[int]]) -> None:
    made, placed, incoming, budget, leaving = case
    state = ClusterState()
    for each in (*made, *placed):
        (state.nodes.put if "allocatable" in each.get("status", {}) else state.put_pod)(each)
    handle = _handle(state, {PODDISRUPTIONBUDGETS: [budget]})
    evaluation = Evaluation(Profile(ProfileConfig(), handle), state.nodes)
    nominations = Nominations(state)
    handle.fits = lambda pod, row: nominations.fits(pod, evaluation, row)
    handle.beside = nominations.beside
    room = evaluation.room
    keeping, trying = VictimSearch(handle), VictimSearch(handle)
    infos = [PodInfo(each, state.classes.of(each)) for each in incoming]
    for step in range(3):
        for info in infos:
            rows = np.array([entry.row for entry in state.nodes.entries()], np.intp)
            handle.room = room
            try:
                counted = keeping.candidates(info, rows, len(rows))
            except Refused:
                continue
            handle.room = lambda pod, rows: None
            tried = trying.candidates(info, rows, len(rows))
            assert [(c.order, [v.key for v in c.victims]) for c in counted] == [
                (c.order, [v.key for v in c.victims]) for c in tried
            ]
        # What is kept must follow Pods that go, Pods that start, and Pods that get room promised.
        if step < len(leaving) and leaving[step] < len(placed):
            state.remove_pod(placed[leaving[step]])
        remaining = state.pods()
        if remaining:
            started = {**remaining[-1].pod, "status": {"startTime": "2025-01-01T00:00:00Z"}}
            state.put_pod(started)
        nominations.put(infos[step], name(made[step % len(made)]))
