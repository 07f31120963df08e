"""Node selector terms, as the node checks them against its own labels (documentation page "Assigning Pods to
Nodes")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from podwright.api.objects import Object


def matches_term(term: Object, labels: Mapping[str, str], node_name: str) -> bool:
    """Every requirement of the term; a term without any matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    named = {"metadata.name": node_name}
    return all(_matches(e, labels) for e in expressions) and all(_matches(f, named) for f in fields)


def _matches(requirement: Object, labels: Mapping[str, str]) -> bool:
    key, operator = requirement["key"], requirement["operator"]
    values: Sequence[str] = requirement.get("values") or ()
    present = key in labels
    if operator == "Exists":
        return present
    if operator == "DoesNotExist":
        return not present
    if operator == "In":
        return present and labels[key] in values
    if operator == "NotIn":
        return not present or labels[key] not in values
    if not present or len(values) != 1:
        return False
    try:
        have, want = int(labels[key]), int(values[0])
    except ValueError:
        return False
    return have > want if operator == "Gt" else operator == "Lt" and have < want


def node_matches(pod: Object, labels: Mapping[str, str], node_name: str) -> bool:
    """nodeSelector and required node affinity."""
    for key, value in (pod["spec"].get("nodeSelector") or {}).items():
        if labels.get(key) != value:
            return False
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(matches_term(term, labels, node_name) for term in required.get("nodeSelectorTerms") or ())


def tolerates(tolerations: object, taint: Object) -> bool:
    """Whether one of the tolerations covers the taint."""
    for toleration in tolerations if isinstance(tolerations, list | tuple) else ():
        if toleration.get("effect") and toleration["effect"] != taint["effect"]:
            continue
        if toleration.get("key") and toleration["key"] != taint["key"]:
            continue
        operator = toleration.get("operator") or "Equal"
        if operator == "Exists" or (toleration.get("key") and toleration.get("value", "") == taint.get("value", "")):
            return True
    return False
