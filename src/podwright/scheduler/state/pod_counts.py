"""How many Pods of a kind each node holds, kept up to date Pod by Pod: what inter-Pod affinity and topology spreading
add up by topology domain, so that their cost does not grow with the number of bound Pods."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from podwright.api.selectors.labels import LabelSelector
from podwright.scheduler.state.nodes import Column, NodeTable
from podwright.scheduler.state.pods import PodRecord

_SELECTORS = 1024


class _Selected:
    __slots__ = ("column", "namespaces", "selectors", "skip_deleting")

    def __init__(
        self, column: Column, namespaces: frozenset[str] | None, selectors: tuple[LabelSelector, ...], skip: bool
    ) -> None:
        self.column = column
        self.namespaces = namespaces
        self.selectors = selectors
        self.skip_deleting = skip

    def matches(self, pod: PodRecord) -> bool:
        return (self.namespaces is None or pod.namespace in self.namespaces) and all(
            s.matches(pod.labels) for s in self.selectors
        )


class PodCounts:
    """Columns of counts, made when first asked for.

    ``selected`` counts the Pods that a selector matches; ``carried`` those that carry a term of their own
    (:mod:`podwright.scheduler.state.affinity_terms` says which)."""

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._selected: dict[Hashable, _Selected] = {}
        self._pods: dict[str, tuple[PodRecord, int]] = {}

    def selected(
        self, namespaces: frozenset[str] | None, *selectors: LabelSelector, skip_deleting: bool = False
    ) -> NDArray[np.int64]:
        """For each row, how many of its Pods are in the namespaces (None: any) and match every selector."""
        key = (namespaces, selectors, skip_deleting)
        known = self._selected.get(key)
        if known is None:
            if len(self._selected) >= _SELECTORS:
                oldest = next(iter(self._selected))
                self._nodes.drop_column(self._selected.pop(oldest).column)
            known = _Selected(self._nodes.column(np.int64), namespaces, selectors, skip_deleting)
            self._selected[key] = known
            for pod, row in self._pods.values():
                if known.matches(pod) and not (skip_deleting and pod.deleting):
                    known.column.array[row] += 1
        return known.column.of()

    def add(self, pod: PodRecord, row: int) -> None:
        self._pods[pod.key] = (pod, row)
        self._count(pod, row, 1)

    def remove(self, pod: PodRecord, row: int) -> None:
        del self._pods[pod.key]
        self._count(pod, row, -1)

    def _count(self, pod: PodRecord, row: int, sign: int) -> None:
        for selected in self._selected.values():
            if selected.matches(pod) and not (selected.skip_deleting and pod.deleting):
                selected.column.array[row] += sign
