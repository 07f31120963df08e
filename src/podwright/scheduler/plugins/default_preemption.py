"""DefaultPreemption: makes room for a Pod by evicting Pods of lower priority (Kubernetes documentation: "Pod Priority
and Preemption")."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.api.resources import PODDISRUPTIONBUDGETS
from podwright.api.selectors.labels import InvalidSelector, from_label_selector
from podwright.scheduler import metrics
from podwright.scheduler.diagnosis import NO_VICTIMS, preemption_error
from podwright.scheduler.framework.events import ASSIGNED_POD, Action, ClusterEvent, Interest
from podwright.scheduler.framework.extenders import Extender, ExtenderFailed
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.state.nodes import Mask
from podwright.scheduler.state.pods import PodInfo, PodRecord

NEVER = "not eligible due to preemptionPolicy=Never."
TERMINATING = "not eligible due to a terminating pod on the nominated node."
_OFFSET = 2**31


@dataclass(slots=True)
class Candidate:
    """The Pods to evict from a node, highest priority first, and how many of them break a disruption budget."""

    node: str
    row: int
    victims: list[PodRecord]
    violations: int

    def order(self) -> tuple[int, int, int, int, float, int]:
        """The lesser is chosen: fewest broken budgets, lowest highest priority, lowest sum of priorities, fewest
        victims, and the latest start of the most important ones."""
        priorities = [pods.priority(v.pod) for v in self.victims]
        most = priorities[0]
        first = min((_start(v.pod) for v in self.victims if pods.priority(v.pod) == most), default=0.0)
        return self.violations, most, sum(p + _OFFSET for p in priorities), len(priorities), -first, self.row


def _start(pod: Object) -> float:
    text = (pod.get("status") or {}).get("startTime")
    return objects.parse_time(text) if text else float("inf")


def _importance(victim: PodRecord) -> tuple[int, float]:
    return -pods.priority(victim.pod), _start(victim.pod)


class DefaultPreemption:
    """Arguments: ``minCandidateNodesPercentage`` (default 10) and ``minCandidateNodesAbsolute`` (default 100) bound how
    many candidates are compared."""

    name = "DefaultPreemption"

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._handle = handle
        self._state = handle.state
        self._percentage = int(args.get("minCandidateNodesPercentage", 10))
        self._absolute = int(args.get("minCandidateNodesAbsolute", 100))
        if not 0 <= self._percentage <= 100:
            raise ValueError(f"minCandidateNodesPercentage: Invalid value: {self._percentage}: not in [0, 100]")
        if self._absolute < 0 or self._absolute + self._percentage == 0:
            raise ValueError(f"minCandidateNodesAbsolute: Invalid value: {self._absolute}")

    def post_filter(self, pod: PodInfo, resolvable: Mask) -> tuple[str, str]:
        refused = self._not_eligible(pod)
        if refused:
            return "", f"preemption: {refused}"
        metrics.preemptions.inc()
        nodes = self._state.nodes
        rows = np.flatnonzero(resolvable)
        budgets = self._budgets()
        wanted = max(self._absolute, nodes.count * self._percentage // 100)
        offset = int(self._handle.random.randrange(len(rows))) if len(rows) else 0
        candidates: list[Candidate] = []
        failed: Counter[str] = Counter()
        for row in np.roll(rows, -offset):
            found = self._candidate(pod, int(row), budgets)
            if found is None:
                failed[NO_VICTIMS] += 1
                continue
            candidates.append(found)
            if len(candidates) >= wanted:
                break
        if not candidates:
            total = nodes.count
            return "", preemption_error(total, total - len(rows), failed[NO_VICTIMS])
        for extender in self._handle.extenders:
            if extender.config.preempt_verb and extender.cares_for(pod.pod):
                try:
                    candidates = self._left_by(extender, pod, candidates)
                except ExtenderFailed as refused:
                    if extender.config.ignorable:
                        continue
                    return "", f"preemption: {refused}"
        if not candidates:
            return "", preemption_error(nodes.count, nodes.count - len(rows), len(rows))
        chosen = min(candidates, key=Candidate.order)
        metrics.victims.observe(len(chosen.victims))
        self._handle.evict(pod, chosen.node, [v.pod for v in chosen.victims])
        return chosen.node, ""

    def _left_by(self, extender: Extender, pod: PodInfo, candidates: Sequence[Candidate]) -> list[Candidate]:
        asked = {c.node: ([v.pod for v in c.victims], c.violations) for c in candidates}
        left = extender.preempt(pod, asked)
        found = []
        for candidate in candidates:
            uids = left.get(candidate.node)
            if uids is None:
                continue
            there = {v.uid: v for v in self._state.nodes.node_at(candidate.row).pods.values()}
            missing = next((u for u in uids if u not in there), None)
            if missing is not None:
                raise ExtenderFailed(f"extender: {extender.name} claims to preempt pod (UID: {missing}) on node: "
                                     f"{candidate.node}, but the pod is not found on that node")  # fmt: skip
            victims = sorted((there[u] for u in uids), key=_importance)
            if victims:
                found.append(replace(candidate, victims=victims))
        return found

    def _not_eligible(self, pod: PodInfo) -> str:
        if pod.cls.spec.get("preemptionPolicy") == "Never" or (
            (pod.pod.get("spec") or {}).get("preemptionPolicy") == "Never"
        ):
            return NEVER
        entry = self._state.nodes.get(pod.nominated_node) if pod.nominated_node else None
        if entry is not None and any(p.deleting and pods.priority(p.pod) < pod.priority for p in entry.pods.values()):
            return TERMINATING
        return ""

    def _budgets(self) -> list[tuple[str, Any, Object]]:
        found = []
        for budget in self._handle.objects_of(PODDISRUPTIONBUDGETS):
            try:
                selector = from_label_selector((budget.get("spec") or {}).get("selector"))
            except InvalidSelector:
                continue
            found.append((objects.namespace(budget), selector, budget))
        return found

    def _candidate(self, pod: PodInfo, row: int, budgets: Sequence[tuple[str, Any, Object]]) -> Candidate | None:
        """The least that must go from one node, tried on the state itself, which is as before afterwards."""
        entry = self._state.nodes.node_at(row)
        lower = sorted((p for p in entry.pods.values() if pods.priority(p.pod) < pod.priority), key=_importance)
        if not lower:
            return None
        state = self._state
        fits = self._handle.fits
        gone = list(lower)
        for victim in lower:
            state.take_out(victim)
        try:
            if not fits(pod, row):
                return None
            breaking, others = _by_budget(lower, budgets)
            victims = []
            for victim in (*breaking, *others):
                state.put_back(victim)
                gone.remove(victim)
                if not fits(pod, row):
                    state.take_out(victim)
                    gone.append(victim)
                    victims.append(victim)
        finally:
            for victim in gone:
                state.put_back(victim)
        if not victims:
            return None
        violations = sum(v in breaking for v in victims)
        return Candidate(entry.name, row, sorted(victims, key=_importance), violations)

    def interests(self) -> Sequence[Interest]:
        return (Interest(ASSIGNED_POD, Action.DELETE),)

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        return True


def _by_budget(
    victims: Sequence[PodRecord], budgets: Sequence[tuple[str, Any, Object]]
) -> tuple[list[PodRecord], list[PodRecord]]:
    """Those whose eviction, in this order, would break a budget, and the others."""
    left = [int((b.get("status") or {}).get("disruptionsAllowed") or 0) for _, _, b in budgets]
    breaking: list[PodRecord] = []
    others: list[PodRecord] = []
    for victim in victims:
        breaks = False
        for i, (namespace, selector, budget) in enumerate(budgets):
            if namespace != victim.namespace or not victim.labels or not selector.matches(victim.labels):
                continue
            if objects.name(victim.pod) in ((budget.get("status") or {}).get("disruptedPods") or {}):
                continue
            left[i] -= 1
            breaks = breaks or left[i] < 0
        (breaking if breaks else others).append(victim)
    return breaking, others
