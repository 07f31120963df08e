"""Answers about nodes that are kept for as long as they hold."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from podwright.scheduler.state.nodes import NodeTable

T = TypeVar("T")
_KEPT = 64


class RowAnswers(Generic[T]):
    """Answers by row. One is forgotten when its node, or anything about the Pods on it or promised to it, changes."""

    __slots__ = ("_answers", "_besides", "_epoch", "_nodes", "_pods_position", "_position")

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._answers: dict[int, T] = {}
        self._besides: Hashable = None
        self._epoch = -1
        self._position = self._pods_position = 0

    def current(self, besides: Hashable = None) -> dict[int, T]:
        """Those that still hold, to be looked up and added to. `besides` is whatever else they depend on: if it is not
        what it was, none holds."""
        nodes = self._nodes
        changed, pods_changed = nodes.log.since(self._position), nodes.pods_log.since(self._pods_position)
        if self._epoch != nodes.epoch or self._besides != besides or changed is None or pods_changed is None:
            self._answers.clear()
            self._epoch, self._besides = nodes.epoch, besides
        else:
            for row in (*changed, *pods_changed):
                self._answers.pop(row, None)
        self._position, self._pods_position = nodes.log.end, nodes.pods_log.end
        return self._answers


class AnswersByQuestion(Generic[T]):
    """Row answers to several questions; those that were not asked for longest are forgotten."""

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._kept: OrderedDict[Hashable, RowAnswers[T]] = OrderedDict()

    def current(self, question: Hashable, besides: Hashable = None) -> dict[int, T]:
        """As :meth:`RowAnswers.current`."""
        kept = self._kept.get(question)
        if kept is None:
            kept = self._kept[question] = RowAnswers(self._nodes)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(question)
        return kept.current(besides)
