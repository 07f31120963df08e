"""The least that must go from a node so that a Pod of higher priority fits there.

If all that the Pod asks of what other Pods leave is room, the answer is arithmetic, and is kept for Pods like it until
the node changes. If ports, affinity or the like play a part, the filters themselves are tried on the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PODDISRUPTIONBUDGETS
from podwright.api.selectors.labels import InvalidSelector, from_label_selector
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.state.nodes import Ints
from podwright.scheduler.state.pods import PodInfo, PodRecord
from podwright.scheduler.state.row_answers import AnswersByQuestion

_OFFSET = 2**31

Budget = tuple[str, Any, Object]
"""A namespace, the selector, and the PodDisruptionBudget."""


class Candidate:
    """The Pods to evict from a node, highest priority first, and how many of them break a disruption budget.

    The lesser `order` is chosen: fewest broken budgets, lowest highest priority, lowest sum of priorities, fewest
    victims, and the latest start of the most important ones."""

    __slots__ = ("node", "order", "row", "victims", "violations")

    def __init__(self, node: str, row: int, victims: list[PodRecord], violations: int) -> None:
        self.node = node
        self.row = row
        self.victims = victims
        self.violations = violations
        most = victims[0].priority
        first = min(start(v.pod) for v in victims if v.priority == most)
        total = sum(v.priority + _OFFSET for v in victims)
        self.order = (violations, most, total, len(victims), -first, row)


def start(pod: Object) -> float:
    text = (pod.get("status") or {}).get("startTime")
    return objects.parse_time(text) if text else float("inf")


def importance(victim: PodRecord) -> tuple[int, float, str]:
    """The lesser is more important: of higher priority, or running for longer."""
    return -victim.priority, start(victim.pod), victim.key


class VictimSearch:
    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._state = handle.state
        self._kept: AnswersByQuestion[Candidate | None] = AnswersByQuestion(self._state.nodes)

    def candidates(self, pod: PodInfo, rows: Ints, wanted: int) -> list[Candidate]:
        """The first `wanted` nodes of `rows` on which evictions make room."""
        budgets = self._budgets()
        room = self._handle.room(pod, rows)
        versions = tuple(str(b["metadata"].get("resourceVersion")) for _, _, b in budgets)
        answers = self._kept.current((pod.cls, pod.priority), versions) if room is not None else {}
        found: list[Candidate] = []
        for at, row in enumerate(rows.tolist()):
            if room is None:
                answer = self._tried(pod, row, budgets)
            elif not room.open[at]:
                continue
            elif row in answers:
                answer = answers[row]
            else:
                answer = answers[row] = self._counted(pod, row, room.needs, budgets)
            if answer is not None:
                found.append(answer)
                if len(found) >= wanted:
                    break
        return found

    def _budgets(self) -> list[Budget]:
        found = []
        for budget in self._handle.objects_of(PODDISRUPTIONBUDGETS):
            try:
                selector = from_label_selector((budget.get("spec") or {}).get("selector"))
            except InvalidSelector:
                continue
            found.append((objects.namespace(budget), selector, budget))
        return found

    def _counted(
        self, pod: PodInfo, row: int, needs: Mapping[str, int], budgets: Sequence[Budget]
    ) -> Candidate | None:
        """By what is free of each resource."""
        entry = self._state.nodes.node_at(row)
        priority = pod.priority
        lower = [p for p in entry.pods.values() if p.priority < priority]
        if not lower:
            return None
        beside = self._handle.beside(pod, row)
        if any("affinity" in other.cls.spec for other in beside):
            return self._tried(pod, row, budgets)
        # What is over in each resource if all of them go.
        over = []
        for resource, need in needs.items():
            left = entry.free(resource, beside) - need + sum(p.amount(resource) for p in lower)
            if left < 0:
                return None
            over.append((resource, left))
        lower.sort(key=importance)
        breaking, others = _by_budget(lower, budgets)
        victims, violations = [], 0
        for at, victim in enumerate((*breaking, *others)):
            after = [(resource, left - victim.amount(resource)) for resource, left in over]
            if all(left >= 0 for _, left in after):
                over = after
            else:
                victims.append(victim)
                violations += at < len(breaking)
        return Candidate(entry.name, row, sorted(victims, key=importance), violations) if victims else None

    def _tried(self, pod: PodInfo, row: int, budgets: Sequence[Budget]) -> Candidate | None:
        """By the filters, on the state itself, which is as before afterwards."""
        entry = self._state.nodes.node_at(row)
        lower = sorted((p for p in entry.pods.values() if p.priority < pod.priority), key=importance)
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
        return Candidate(entry.name, row, sorted(victims, key=importance), violations)


def _by_budget(
    victims: Sequence[PodRecord], budgets: Sequence[Budget]
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
