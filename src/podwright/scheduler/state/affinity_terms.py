"""Pod affinity terms, compiled (Kubernetes documentation: "Inter-pod affinity and anti-affinity")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from podwright.api.objects import Object
from podwright.api.selectors.labels import (
    EVERYTHING,
    IN,
    NOT_IN,
    NOTHING,
    InvalidSelector,
    LabelSelector,
    Requirement,
    from_label_selector,
)

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_KEPT = 64

NamespaceLabels = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """Pods of the `namespaces`, and of namespaces that `namespace_selector` matches, which `selector` matches."""

    topology_key: str
    selector: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector = NOTHING

    def matches(self, namespace: str, labels: Mapping[str, str], labels_of: NamespaceLabels) -> bool:
        if not self.selector.matches(labels):
            return False
        return namespace in self.namespaces or (
            self.namespace_selector is not NOTHING and self.namespace_selector.matches(labels_of(namespace))
        )

    def resolved(self, every: Mapping[str, Mapping[str, str]]) -> frozenset[str] | None:
        """The names of all namespaces meant, None for any, given the labels of `every` namespace."""
        if self.namespace_selector.empty:
            return None
        if self.namespace_selector is NOTHING:
            return self.namespaces
        return self.namespaces | {name for name, labels in every.items() if self.namespace_selector.matches(labels)}


@dataclass(frozen=True, slots=True)
class PodTerms:
    """All affinity terms of a Pod. Preferred ones have their weight, below 0 for anti-affinity."""

    affinity: tuple[AffinityTerm, ...] = ()
    anti_affinity: tuple[AffinityTerm, ...] = ()
    preferred: tuple[tuple[int, AffinityTerm], ...] = ()


NO_TERMS = PodTerms()


def with_label_keys(
    selector: LabelSelector, labels: Mapping[str, str], keys: Iterable[str], mismatched: Iterable[str] = ()
) -> LabelSelector:
    """The selector with matchLabelKeys and mismatchLabelKeys filled in from a Pod's labels. The API server writes them
    into the selector too: a requirement twice is no other."""
    if selector is NOTHING:
        return selector
    more = [Requirement(k, IN, (labels[k],)) for k in keys if k in labels]
    more += [Requirement(k, NOT_IN, (labels[k],)) for k in mismatched if k in labels]
    more = [r for r in more if r not in selector.requirements]
    return LabelSelector((*selector.requirements, *more)) if more else selector


def _term(raw: Object, namespace: str, labels: Mapping[str, str]) -> AffinityTerm:
    try:
        selector = from_label_selector(raw.get("labelSelector"))
        spaces = raw.get("namespaceSelector")
        chosen = NOTHING if spaces is None else from_label_selector(spaces)
    except InvalidSelector:
        selector, chosen = NOTHING, NOTHING
    selector = with_label_keys(selector, labels, raw.get("matchLabelKeys") or (), raw.get("mismatchLabelKeys") or ())
    named = frozenset(raw.get("namespaces") or ())
    if not named and raw.get("namespaceSelector") is None:
        named = frozenset((namespace,))
    return AffinityTerm(str(raw.get("topologyKey") or ""), selector, named, EVERYTHING if chosen.empty else chosen)


class TermsOfSpec:
    """The affinity terms of Pods of one spec. They differ by namespace and by the labels that terms name by key."""

    __slots__ = ("_affinity", "_anti_affinity", "_keys", "_known", "_preferred")

    def __init__(self, spec: Object) -> None:
        affinity = spec.get("affinity") or {}
        to, away = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
        self._affinity: Sequence[Object] = to.get(_REQUIRED) or ()
        self._anti_affinity: Sequence[Object] = away.get(_REQUIRED) or ()
        self._preferred: list[tuple[int, Object]] = [
            (sign * int(raw.get("weight") or 0), raw.get("podAffinityTerm") or {})
            for listed, sign in ((to.get(_PREFERRED) or (), 1), (away.get(_PREFERRED) or (), -1))
            for raw in listed
        ]
        every = (*self._affinity, *self._anti_affinity, *(raw for _, raw in self._preferred))
        self._keys = [k for raw in every for f in ("matchLabelKeys", "mismatchLabelKeys") for k in raw.get(f) or ()]
        self._known: dict[tuple[str | None, ...], PodTerms] | None = {} if every else None

    def of(self, namespace: str, labels: Mapping[str, str]) -> PodTerms:
        if self._known is None:
            return NO_TERMS
        key = (namespace, *(labels.get(k) for k in self._keys))
        terms = self._known.get(key)
        if terms is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            terms = self._known[key] = PodTerms(
                tuple(_term(raw, namespace, labels) for raw in self._affinity),
                tuple(_term(raw, namespace, labels) for raw in self._anti_affinity),
                tuple((weight, _term(raw, namespace, labels)) for weight, raw in self._preferred),
            )
        return terms
