"""TaintToleration (Kubernetes documentation: "Taints and Tolerations")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from podwright.api import taints
from podwright.api.objects import Object
from podwright.scheduler.framework.events import NODE, Action, ClusterEvent, Interest
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.scores import normalized
from podwright.scheduler.framework.verdicts import Reason
from podwright.scheduler.state.nodes import Ints, Mask, Rows, Taint
from podwright.scheduler.state.pods import PodClass, PodInfo

MESSAGE = "node(s) had untolerated taint(s)"


def _as_objects(listed: tuple[Taint, ...]) -> list[Object]:
    return [{"key": key, "value": value, "effect": effect} for key, value, effect in listed]


class TaintToleration:
    """Refuses untolerated NoSchedule and NoExecute taints; of those left, fewer untolerated PreferNoSchedule taints
    score higher."""

    name = "TaintToleration"
    row_local = True
    ignores_pods = True

    def __init__(self, handle: Handle, args: Mapping[str, Any]) -> None:
        self._nodes = handle.nodes

    def _by_set(self, cls: PodClass) -> tuple[Mask, Ints]:
        """For each taint set: whether it lets the Pod in, and how many soft taints it does not tolerate."""
        fits, soft = cls.memo.get(self.name) or (np.ones(0, np.bool_), np.zeros(0, np.int64))
        sets = self._nodes.taint_sets
        if len(fits) < len(sets):
            more = [_as_objects(listed) for listed in sets[len(fits) :]]
            preferring = [t for t in cls.tolerations if not t.get("effect") or t["effect"] == taints.PREFER_NO_SCHEDULE]
            fits = np.append(fits, [taints.untolerated(listed, cls.tolerations) is None for listed in more])
            soft = np.append(
                soft,
                [
                    sum(t["effect"] == taints.PREFER_NO_SCHEDULE and not taints.is_tolerated(t, preferring) for t in s)
                    for s in more
                ],
            )
            cls.memo[self.name] = fits, soft
        return fits, soft

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        fits: Mask = self._by_set(pod.cls)[0][self._nodes.taint_set.of(rows)]
        return fits

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        return (Reason(MESSAGE, ~self.filter(pod, rows), resolvable=False),)

    def score(self, pod: PodInfo, rows: Rows) -> Ints:
        scores: Ints = self._by_set(pod.cls)[1][self._nodes.taint_set.of(rows)]
        return scores

    def normalize(self, pod: PodInfo, scores: Ints) -> Ints:
        return normalized(scores, reverse=True)

    def interests(self) -> Sequence[Interest]:
        return (Interest(NODE, Action.ADD | Action.UPDATE_TAINTS),)

    def helps(self, pod: PodInfo, event: ClusterEvent) -> bool:
        listed = ((event.new or {}).get("spec") or {}).get("taints") or ()
        return taints.untolerated(listed, pod.cls.tolerations) is None
