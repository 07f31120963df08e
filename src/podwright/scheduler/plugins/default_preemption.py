"""DefaultPreemption: makes room for a Pod by evicting Pods of lower priority (Kubernetes documentation: "Pod Priority
and Preemption")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podwright.scheduler import metrics
from podwright.scheduler.diagnosis import preemption_error
from podwright.scheduler.framework.events import ASSIGNED_POD, Action, ClusterEvent, Interest
from podwright.scheduler.framework.extenders import Extender, ExtenderFailed
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.plugins.victims import Candidate, VictimSearch, importance
from podwright.scheduler.state.nodes import Mask
from podwright.scheduler.state.pods import PodInfo

NEVER = "not eligible due to preemptionPolicy=Never."
TERMINATING = "not eligible due to a terminating pod on the nominated node."


class DefaultPreemption:
    """Arguments: ``minCandidateNodesPercentage`` (default 10) and ``minCandidateNodesAbsolute`` (default 100) bound how
    many candidates are compared."""

    name = "DefaultPreemption"

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._handle = handle
        self._state = handle.state
        self._search = VictimSearch(handle)
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
        wanted = max(self._absolute, nodes.count * self._percentage // 100)
        offset = int(self._handle.random.randrange(len(rows))) if len(rows) else 0
        candidates = self._search.candidates(pod, np.roll(rows, -offset), wanted)
        if not candidates:
            total = nodes.count
            return "", preemption_error(total, total - len(rows), len(rows))
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
        chosen = min(candidates, key=lambda c: c.order)
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
            victims = sorted((there[u] for u in uids), key=importance)
            if victims:
                found.append(Candidate(candidate.node, candidate.row, victims, candidate.violations))
        return found

    def _not_eligible(self, pod: PodInfo) -> str:
        if pod.cls.spec.get("preemptionPolicy") == "Never" or (
            (pod.pod.get("spec") or {}).get("preemptionPolicy") == "Never"
        ):
            return NEVER
        entry = self._state.nodes.get(pod.nominated_node) if pod.nominated_node else None
        if entry is not None and any(p.deleting and p.priority < pod.priority for p in entry.pods.values()):
            return TERMINATING
        return ""

    def interests(self) -> Sequence[Interest]:
        return (Interest(ASSIGNED_POD, Action.DELETE),)

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        return True
