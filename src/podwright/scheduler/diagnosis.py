"""Saying why a Pod fits nowhere, in upstream's words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from podwright.scheduler.framework.evaluation import Evaluation, Judgement
from podwright.scheduler.state.nodes import Mask, NodeTable
from podwright.scheduler.state.pods import PodInfo

NO_NODES = "no nodes available to schedule pods"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(slots=True)
class Diagnosis:
    """Messages with how many nodes gave each; `plugins` refused; `resolvable` says for each row whether removing Pods
    might make room there."""

    counts: Counter[str] = field(default_factory=Counter)
    plugins: set[str] = field(default_factory=set)
    resolvable: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))


def diagnose(evaluation: Evaluation, pod: PodInfo, judgement: Judgement, nodes: NodeTable) -> Diagnosis:
    found = Diagnosis(resolvable=np.zeros(nodes.size, np.bool_))
    for index, plugin in enumerate(evaluation.filters, 1):
        rows = np.flatnonzero(judgement.code == index)
        if not len(rows):
            continue
        found.plugins.add(plugin.name)
        resolvable = np.ones(len(rows), np.bool_)
        for reason in plugin.reasons(pod, rows):
            count = int(np.count_nonzero(reason.mask))
            if count:
                found.counts[reason.message] += count
                if not reason.resolvable:
                    resolvable &= ~reason.mask
        found.resolvable[rows] = resolvable
    for row, (name, messages) in judgement.taken.items():
        found.plugins.add(name)
        for message in messages:
            found.counts[message] += 1
        found.resolvable[row] = True
    return found


def fit_error(total: int, counts: Counter[str], before: str = "") -> str:
    """"0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s)." `before` is what a PreFilter
    said."""
    said = f"0/{total} nodes are available"
    if before:
        return f"{said}: {before}."
    parts = sorted(f"{count} {message}" for message, count in counts.items())
    return f"{said}: {', '.join(parts)}." if parts else f"{said}:"


def preemption_error(total: int, unhelpful: int, without_victims: int) -> str:
    counts: Counter[str] = Counter()
    if unhelpful:
        counts[NOT_HELPFUL] = unhelpful
    if without_victims:
        counts[NO_VICTIMS] = without_victims
    return f"preemption: {fit_error(total, counts)}"
