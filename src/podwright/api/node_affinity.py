"""Node selectors and node affinity (Kubernetes documentation: "Assigning Pods to Nodes")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from podwright.api.objects import Object, labels, name
from podwright.api.selectors.labels import (
    DOES_NOT_EXIST,
    EXISTS,
    GREATER_THAN,
    IN,
    LESS_THAN,
    NOT_IN,
    InvalidSelector,
    Requirement,
    requirement,
)

_OPERATORS = {
    "In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST, "Gt": GREATER_THAN, "Lt": LESS_THAN,
}
_FIELD = "metadata.name"


@dataclass(frozen=True, slots=True)
class Term:
    """One nodeSelectorTerm: all requirements on labels and on the node's name. A ``broken`` term matches nothing."""

    requirements: tuple[Requirement, ...] = ()
    names: tuple[tuple[str, bool], ...] = ()
    broken: bool = False

    def matches(self, node_labels: Mapping[str, str], node_name: str) -> bool:
        if self.broken:
            return False
        for wanted in self.requirements:
            if not wanted.matches(node_labels):
                return False
        for value, is_wanted in self.names:  # noqa: SIM110 (a generator costs twice as much here)
            if (value == node_name) is not is_wanted:
                return False
        return True


@dataclass(frozen=True, slots=True)
class NodeSelector:
    """Any of some terms; empty ones match no node."""

    terms: tuple[Term, ...] = ()

    def matches(self, node: Object) -> bool:
        return self.matches_labels(labels(node), name(node))

    def matches_labels(self, node_labels: Mapping[str, str], node_name: str) -> bool:
        return any(term.matches(node_labels, node_name) for term in self.terms)

    def node_names(self) -> frozenset[str] | None:
        """The only nodes that can match, if every term names some: as of DaemonSet Pods."""
        found: set[str] = set()
        for term in self.terms:
            wanted = {value for value, is_wanted in term.names if is_wanted}
            if not wanted:
                return None
            if len(wanted) == 1:
                found |= wanted
        return frozenset(found)


def term(raw: Object) -> Term | None:
    """A compiled nodeSelectorTerm; None if it is empty, which matches nothing. Requirements that validation would have
    refused break their term, not the whole selector."""
    expressions, names = raw.get("matchExpressions") or (), raw.get("matchFields") or ()
    if not expressions and not names:
        return None
    try:
        return Term(tuple([_requirement(e) for e in expressions]), tuple([_name(n) for n in names]))
    except InvalidSelector:
        return Term(broken=True)


def _requirement(raw: Object) -> Requirement:
    operator = _OPERATORS.get(raw.get("operator") or "")
    if operator is None:
        raise InvalidSelector(f"unsupported operator {raw.get('operator')}")
    return requirement(raw.get("key") or "", operator, raw.get("values") or ())


def _name(raw: Object) -> tuple[str, bool]:
    values: list[str] = raw.get("values") or []
    if raw.get("key") != _FIELD or raw.get("operator") not in ("In", "NotIn") or len(values) != 1:
        raise InvalidSelector(f"unsupported field requirement {raw}")
    return values[0], raw["operator"] == "In"


def _terms(raws: Iterable[Object]) -> tuple[Term, ...]:
    return tuple(t for raw in raws if (t := term(raw)) is not None)


def compile(node_selector: Object | None) -> NodeSelector:
    """A ``core/v1`` NodeSelector. Without terms it matches no node."""
    return NodeSelector(_terms((node_selector or {}).get("nodeSelectorTerms") or ()))


@dataclass(frozen=True, slots=True)
class RequiredAffinity:
    """What a Pod requires of its node by spec.nodeSelector and its required node affinity."""

    pairs: tuple[tuple[str, str], ...] = ()
    affinity: NodeSelector | None = None

    def matches(self, node: Object) -> bool:
        return self.matches_labels(labels(node), name(node))

    def matches_labels(self, node_labels: Mapping[str, str], node_name: str) -> bool:
        for key, value in self.pairs:
            if node_labels.get(key) != value:
                return False
        return self.affinity is None or self.affinity.matches_labels(node_labels, node_name)


def required(pod: Object) -> RequiredAffinity:
    """Compiled once, for many nodes."""
    spec = pod.get("spec") or {}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    raw = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    pairs = tuple((spec.get("nodeSelector") or {}).items())
    return RequiredAffinity(pairs, None if raw is None else compile(raw))


def preferred(pod: Object) -> tuple[tuple[int, Term], ...]:
    """The preferred terms with their weights; those without a requirement count for nothing."""
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    found = []
    for raw in affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
        compiled = term(raw.get("preference") or {})
        if compiled is not None and not compiled.broken and raw.get("weight"):
            found.append((int(raw["weight"]), compiled))
    return tuple(found)


def pod_matches_node(pod: Object, node: Object) -> bool:
    """Whether the node fulfils the Pod's nodeSelector and required node affinity."""
    return required(pod).matches(node)
