"""InterPodAffinity (Kubernetes documentation: "Inter-pod affinity and anti-affinity")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podwright.api import objects
from podwright.api.resources import NAMESPACES
from podwright.scheduler.framework.events import ASSIGNED_POD, NODE, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.protocols import MAX_SCORE
from podwright.scheduler.framework.verdicts import SKIP, Reason, SkipType
from podwright.scheduler.state.affinity_terms import AffinityTerm, PodTerms, TermsOfSpec
from podwright.scheduler.state.nodes import Ints, Mask, Rows
from podwright.scheduler.state.pod_counts import ANTI, PREFERRED, REQUIRED, Chosen
from podwright.scheduler.state.pods import PodInfo
from podwright.scheduler.state.topology import by_domain

EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"
AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"


class InterPodAffinity:
    """Arguments: ``hardPodAffinityWeight`` (default 1), ``ignorePreferredTermsOfExistingPods``."""

    name = "InterPodAffinity"
    row_local = False

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._handle = handle
        self._nodes = handle.nodes
        self._counts = handle.state.counts
        weight = args.get("hardPodAffinityWeight")
        self._hard_weight = 1 if weight is None else int(weight)
        if not 0 <= self._hard_weight <= 100:
            raise ValueError(f"hardPodAffinityWeight: Invalid value: {weight}: not in valid range [0-100]")
        self._ignore_existing = bool(args.get("ignorePreferredTermsOfExistingPods"))

    def _namespace_labels(self, name: str) -> Mapping[str, str]:
        return objects.labels(self._handle.object_of(NAMESPACES, name) or {})

    def _chosen(self, term: AffinityTerm) -> Chosen:
        every: Mapping[str, Mapping[str, str]] = {}
        if term.namespace_selector.requirements:
            every = {objects.name(n): objects.labels(n) for n in self._handle.objects_of(NAMESPACES)}
        return term.resolved(every), term.selector

    def _terms(self, pod: PodInfo) -> PodTerms:
        return pod.cls.terms.of(pod.namespace, pod.labels)

    def pre_filter(self, pod: PodInfo) -> SkipType | None:
        terms = self._terms(pod)
        existing = [
            (c.term.topology_key, c.column)
            for c in self._counts.carried()
            if c.kind == ANTI and c.term.matches(pod.namespace, pod.labels, self._namespace_labels)
        ]
        pod.state[self.name + ".existing"] = existing
        return None if existing or terms.affinity or terms.anti_affinity else SKIP

    def _crowded(self, key: str, counts: Ints, rows: Rows) -> Mask:
        """The rows in a domain that has any of the Pods counted."""
        held: Mask = (by_domain(self._nodes, key, counts) > 0)[self._nodes.labels(key).column.of(rows)]
        return held

    def _affinity(self, pod: PodInfo, rows: Rows) -> Mask:
        terms = self._terms(pod).affinity
        fits = np.ones(len(self._nodes.alive.of(rows)), np.bool_)
        if not terms:
            return fits
        counts = self._counts.selected(*(self._chosen(t) for t in terms))
        keyed = fits.copy()
        anywhere = False
        for term in terms:
            sums = by_domain(self._nodes, term.topology_key, counts)
            ids = self._nodes.labels(term.topology_key).column.of(rows)
            anywhere = anywhere or bool(sums.any())
            keyed &= ids > 0
            fits &= sums[ids] > 0
        if not anywhere and all(t.matches(pod.namespace, pod.labels, self._namespace_labels) for t in terms):
            # The first of a group that only wants to be with its own kind may go anywhere.
            return keyed
        return fits & keyed

    def _own_anti(self, pod: PodInfo, rows: Rows) -> Mask:
        crowded = np.zeros(len(self._nodes.alive.of(rows)), np.bool_)
        for term in self._terms(pod).anti_affinity:
            crowded |= self._crowded(term.topology_key, self._counts.selected(self._chosen(term)), rows)
        return crowded

    def _existing_anti(self, pod: PodInfo, rows: Rows) -> Mask:
        crowded = np.zeros(len(self._nodes.alive.of(rows)), np.bool_)
        for key, column in pod.state[self.name + ".existing"]:
            crowded |= self._crowded(key, column.of(), rows)
        return crowded

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        return self._affinity(pod, rows) & ~self._own_anti(pod, rows) & ~self._existing_anti(pod, rows)

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        apart = ~self._affinity(pod, rows)
        own = self._own_anti(pod, rows) & ~apart
        existing = self._existing_anti(pod, rows) & ~own & ~apart
        return (
            Reason(AFFINITY, apart, resolvable=False), Reason(ANTI_AFFINITY, own),
            Reason(EXISTING_ANTI_AFFINITY, existing),
        )  # fmt: skip

    def pre_score(self, pod: PodInfo, feasible: Ints) -> SkipType | None:
        weighted: list[tuple[int, str, Ints]] = []
        own = self._terms(pod).preferred
        for weight, term in own:
            if weight:
                weighted.append((weight, term.topology_key, self._counts.selected(self._chosen(term))))
        if own or not self._ignore_existing:
            for carried in self._counts.carried():
                weight = {REQUIRED: self._hard_weight, PREFERRED: carried.weight}.get(carried.kind, 0)
                if weight and carried.term.matches(pod.namespace, pod.labels, self._namespace_labels):
                    weighted.append((weight, carried.term.topology_key, carried.column.of()))
        pod.state[self.name + ".weighted"] = weighted
        return None if weighted else SKIP

    def score(self, pod: PodInfo, rows: Rows) -> Ints:
        total = np.zeros(len(self._nodes.alive.of(rows)), np.int64)
        for weight, key, counts in pod.state[self.name + ".weighted"]:
            total += weight * by_domain(self._nodes, key, counts)[self._nodes.labels(key).column.of(rows)]
        return total

    def normalize(self, pod: PodInfo, scores: Ints) -> Ints:
        least, most = int(scores.min(initial=2**62)), int(scores.max(initial=-(2**62)))
        if most <= least:
            return np.zeros_like(scores)
        return (MAX_SCORE * ((scores - least) / (most - least))).astype(np.int64)

    def interests(self) -> Sequence[Interest]:
        return (
            Interest(ASSIGNED_POD, Action.ADD | Action.DELETE | Action.UPDATE_LABELS),
            Interest(NODE, Action.ADD | Action.UPDATE_LABELS | Action.UPDATE_TAINTS),
        )

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        if event.kind == NODE:
            return True
        terms = self._terms(pod)
        for changed in (event.new, event.old):
            if changed is None:
                continue
            where, what = objects.namespace(changed), objects.labels(changed)
            own = (*terms.affinity, *terms.anti_affinity)
            if any(t.matches(where, what, self._namespace_labels) for t in own):
                return True
            theirs = TermsOfSpec(changed.get("spec") or {}).of(where, what).anti_affinity
            if any(t.matches(pod.namespace, pod.labels, self._namespace_labels) for t in theirs):
                return True
        return False
