"""How many Pods of a kind each node holds, kept up to date Pod by Pod: what inter-Pod affinity and topology spreading
add up by topology domain, so that their cost does not grow with the number of bound Pods."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import numpy as np

from podwright.api.selectors.labels import LabelSelector
from podwright.scheduler.state.affinity_terms import NO_TERMS, AffinityTerm
from podwright.scheduler.state.nodes import Column, Ints, NodeTable
from podwright.scheduler.state.pods import PodRecord

_SELECTORS = 1024

Chosen = tuple[frozenset[str] | None, LabelSelector]
"""Namespaces (None: any) and a selector of Pods in them."""

REQUIRED = "required"
ANTI = "anti"
PREFERRED = "preferred"


Label = tuple[str, str]


class _Selected:
    __slots__ = ("chosen", "column", "label", "living")

    def __init__(self, column: Column, chosen: tuple[Chosen, ...], living: bool) -> None:
        self.column = column
        self.chosen = chosen
        self.living = living
        self.label: Label | None = next(
            ((r.key, value) for _, s in chosen for r in s.requirements if (value := s.exact(r.key)) is not None), None
        )
        """A label that a Pod must have, if there is one: what the selectors are found by."""

    def matches(self, pod: PodRecord) -> bool:
        if self.living and pod.deleting:
            return False
        return all((spaces is None or pod.namespace in spaces) and s.matches(pod.labels) for spaces, s in self.chosen)


class Carried:
    """A term that Pods on nodes carry: how many on each node, and on all."""

    __slots__ = ("column", "kind", "term", "total", "weight")

    def __init__(self, column: Column, kind: str, term: AffinityTerm, weight: int) -> None:
        self.column = column
        self.kind = kind
        self.term = term
        self.weight = weight
        self.total = 0


class PodCounts:
    """Columns of counts. Those of :meth:`selected` are made when first asked for."""

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._selected: dict[Hashable, _Selected] = {}
        self._by_label: dict[Label | None, dict[Hashable, _Selected]] = {}
        self._carried: dict[tuple[str, int, AffinityTerm], Carried] = {}
        self._pods: dict[str, tuple[PodRecord, int]] = {}
        self._labelled: dict[Label, dict[str, None]] = {}
        """The keys of the Pods that have a label."""

    def selected(self, *chosen: Chosen, living: bool = False) -> Ints:
        """For each row, how many of its Pods all of `chosen` select; `living`: but not those being deleted."""
        key = (chosen, living)
        known = self._selected.get(key)
        if known is None:
            if len(self._selected) >= _SELECTORS:
                self._forget(next(iter(self._selected)))
            known = self._selected[key] = _Selected(self._nodes.column(np.int64), chosen, living)
            self._by_label.setdefault(known.label, {})[key] = known
            keys = self._pods if known.label is None else self._labelled.get(known.label, ())
            for pod, row in map(self._pods.__getitem__, keys):
                if known.matches(pod):
                    known.column.array[row] += 1
        return known.column.of()

    def _forget(self, key: Hashable) -> None:
        gone = self._selected.pop(key)
        self._nodes.drop_column(gone.column)
        found = self._by_label[gone.label]
        del found[key]
        if not found:
            del self._by_label[gone.label]

    def _counting(self, pod: PodRecord) -> Iterator[_Selected]:
        """The selectors that may select a Pod, each once."""
        for label in (None, *pod.labels.items()):
            found = self._by_label.get(label)
            if found:
                yield from found.values()

    def carried(self) -> Iterator[Carried]:
        """The affinity terms of Pods on nodes."""
        return iter(self._carried.values())

    def add(self, pod: PodRecord, row: int) -> None:
        self._pods[pod.key] = (pod, row)
        for label in pod.labels.items():
            self._labelled.setdefault(label, {})[pod.key] = None
        self._count(pod, row, 1)

    def remove(self, pod: PodRecord, row: int) -> None:
        del self._pods[pod.key]
        for label in pod.labels.items():
            keys = self._labelled[label]
            del keys[pod.key]
            if not keys:
                del self._labelled[label]
        self._count(pod, row, -1)

    def _count(self, pod: PodRecord, row: int, sign: int) -> None:
        for selected in self._counting(pod):
            if selected.matches(pod):
                selected.column.array[row] += sign
        terms = pod.cls.terms.of(pod.namespace, pod.labels)
        if terms is not NO_TERMS:
            for term in terms.affinity:
                self._carry(REQUIRED, 0, term, row, sign)
            for term in terms.anti_affinity:
                self._carry(ANTI, 0, term, row, sign)
            for weight, term in terms.preferred:
                self._carry(PREFERRED, weight, term, row, sign)

    def _carry(self, kind: str, weight: int, term: AffinityTerm, row: int, sign: int) -> None:
        key = (kind, weight, term)
        known = self._carried.get(key)
        if known is None:
            known = self._carried[key] = Carried(self._nodes.column(np.int64), kind, term, weight)
        known.column.array[row] += sign
        known.total += sign
        if not known.total:
            self._nodes.drop_column(known.column)
            del self._carried[key]
