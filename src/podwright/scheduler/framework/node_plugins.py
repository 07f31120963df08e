"""Plugins that look at one node at a time, made to look like those that look at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from podwright.api.objects import Object
from podwright.scheduler.framework.handle import Handle
from podwright.scheduler.framework.protocols import MAX_SCORE, NodeFilter, NodeScore
from podwright.scheduler.framework.verdicts import Reason
from podwright.scheduler.state.nodes import Ints, Mask, Rows
from podwright.scheduler.state.pods import PodInfo


def _nodes(handle: Handle, rows: Rows) -> list[tuple[Object, list[Object]] | None]:
    found: list[tuple[Object, list[Object]] | None] = []
    for row in np.arange(handle.nodes.size)[rows]:
        entry = handle.nodes.rows[row]
        if entry is None or entry.node is None:
            found.append(None)
        else:
            found.append((entry.node, [p.pod for p in entry.pods.values()]))
    return found


class NodeFilterAdapter:
    """Asks a :class:`NodeFilter` about each node in turn."""

    row_local = False

    def __init__(self, plugin: NodeFilter, handle: Handle) -> None:
        self.name: str = plugin.name  # type: ignore[attr-defined]
        self._plugin = plugin
        self._handle = handle

    def _ask(self, pod: PodInfo, rows: Rows) -> list[str | None]:
        return [
            "node(s) not found" if known is None else self._plugin.filter_node(pod.pod, *known)
            for known in _nodes(self._handle, rows)
        ]

    def filter(self, pod: PodInfo, rows: Rows) -> Mask:
        return np.array([answer is None for answer in self._ask(pod, rows)], np.bool_)

    def reasons(self, pod: PodInfo, rows: Rows) -> Sequence[Reason]:
        answers = self._ask(pod, rows)
        return [Reason(m, np.array([a == m for a in answers], np.bool_)) for m in sorted({a for a in answers if a})]


class NodeScoreAdapter:
    """Asks a :class:`NodeScore` about each node in turn."""

    row_local = False

    def __init__(self, plugin: NodeScore, handle: Handle) -> None:
        self.name: str = plugin.name  # type: ignore[attr-defined]
        self._plugin = plugin
        self._handle = handle

    def score(self, pod: PodInfo, rows: Rows) -> Ints:
        scores = [
            0 if known is None else self._plugin.score_node(pod.pod, *known) for known in _nodes(self._handle, rows)
        ]
        if any(not 0 <= s <= MAX_SCORE for s in scores):
            raise ValueError(f"a score is outside 0 to {MAX_SCORE}")
        return np.array(scores, np.int64)
