"""NodeAffinity (Kubernetes documentation: "Assigning Pods to Nodes")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podwright.api import node_affinity as rules
from podwright.api.selectors.labels import Requirement
from podwright.scheduler.framework.events import NODE, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.scores import normalized
from podwright.scheduler.framework.verdicts import SKIP, Reason, SkipType
from podwright.scheduler.state.nodes import Ints, Mask, NodeTable, Rows
from podwright.scheduler.state.pods import PodInfo

MESSAGE = "node(s) didn't match Pod's node affinity/selector"
ENFORCED = "node(s) didn't match scheduler-enforced node affinity"


def _requirement(nodes: NodeTable, wanted: Requirement, rows: Rows) -> Mask:
    labels = nodes.labels(wanted.key)
    key = wanted.key

    def test(value: str | None) -> bool:
        return wanted.matches({} if value is None else {key: value})

    found: Mask = labels.where(wanted, test)[labels.column.of(rows)]
    return found


def matching_term(nodes: NodeTable, term: rules.Term, rows: Rows) -> Mask:
    """The rows that a node selector term matches."""
    count = len(nodes.alive.of(rows))
    if term.broken:
        return np.zeros(count, np.bool_)
    fits = np.ones(count, np.bool_)
    for wanted in term.requirements:
        fits &= _requirement(nodes, wanted, rows)
    for value, is_wanted in term.names:
        named = np.zeros(nodes.size, np.bool_)
        row = nodes.row_of(value)
        if row is not None:
            named[row] = True
        fits &= named[rows] if is_wanted else ~named[rows]
    return fits


def matching_required(nodes: NodeTable, required: rules.RequiredAffinity, rows: Rows) -> Mask:
    """The rows that a Pod's nodeSelector and required node affinity allow."""
    fits = np.ones(len(nodes.alive.of(rows)), np.bool_)
    for key, value in required.pairs:
        labels = nodes.labels(key)
        wanted = labels.find(value)
        fits &= labels.column.of(rows) == (-1 if wanted is None else wanted)
    if required.affinity is not None:
        fits &= matching_selector(nodes, required.affinity, rows)
    return fits


def matching_selector(nodes: NodeTable, selector: rules.NodeSelector, rows: Rows) -> Mask:
    fits = np.zeros(len(nodes.alive.of(rows)), np.bool_)
    for term in selector.terms:
        fits |= matching_term(nodes, term, rows)
    return fits


class NodeAffinity:
    """Argument ``addedAffinity``: a NodeAffinity that every Pod of the profile must also fulfil."""

    name = "NodeAffinity"
    row_local = True
    ignores_pods = True

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._nodes = handle.nodes
        bare = {"spec": {"affinity": {"nodeAffinity": args.get("addedAffinity") or {}}}}
        added = rules.required(bare)
        self._added = added if added.affinity is not None else None
        self._added_preferred = rules.preferred(bare)

    def pre_filter(self, pod: PodInfo) -> SkipType | None:
        required = pod.cls.required_affinity
        return None if required.pairs or required.affinity is not None or self._added is not None else SKIP

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        fits = matching_required(self._nodes, pod.cls.required_affinity, rows)
        if self._added is not None:
            fits &= matching_required(self._nodes, self._added, rows)
        return fits

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        found = []
        rest = np.ones(len(self._nodes.alive.of(rows)), np.bool_)
        if self._added is not None:
            rest = matching_required(self._nodes, self._added, rows)
            found.append(Reason(ENFORCED, ~rest, resolvable=False))
        own = matching_required(self._nodes, pod.cls.required_affinity, rows)
        found.append(Reason(MESSAGE, rest & ~own, resolvable=False))
        return found

    def _preferred(self, pod: PodInfo) -> tuple[tuple[int, rules.Term], ...]:
        key = (self.name, id(self))
        known: tuple[tuple[int, rules.Term], ...] | None = pod.cls.memo.get(key)
        if known is None:
            known = pod.cls.memo[key] = rules.preferred({"spec": pod.cls.spec}) + self._added_preferred
        return known

    def pre_score(self, pod: PodInfo, feasible: Ints) -> SkipType | None:
        return None if self._preferred(pod) else SKIP

    def score(self, pod: PodInfo, rows: Rows) -> Ints:
        total = np.zeros(len(self._nodes.alive.of(rows)), np.int64)
        for weight, term in self._preferred(pod):
            total += weight * matching_term(self._nodes, term, rows)
        return total

    def normalize(self, pod: PodInfo, scores: Ints) -> Ints:
        return normalized(scores)

    def interests(self) -> Sequence[Interest]:
        return (Interest(NODE, Action.ADD | Action.UPDATE_LABELS),)

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        return event.new is not None and pod.cls.required_affinity.matches(event.new)
