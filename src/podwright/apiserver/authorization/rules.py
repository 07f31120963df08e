"""RBAC PolicyRules as a small algebra: what a rule allows, and whether some rules cover others.

Rules come as API objects; see the Kubernetes documentation, "Using RBAC Authorization", "Referring to resources".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from podwright.api.objects import Object


def allows_verb(rule: Object, verb: str) -> bool:
    verbs = rule.get("verbs") or ()
    return verb in verbs or "*" in verbs


def allows_resource(rule: Object, group: str, resource: str, subresource: str) -> bool:
    """Whether the rule speaks of a resource, whatever its resource names are."""
    groups = rule.get("apiGroups") or ()
    if group not in groups and "*" not in groups:
        return False
    resources = rule.get("resources") or ()
    full = f"{resource}/{subresource}" if subresource else resource
    return full in resources or "*" in resources or (bool(subresource) and f"*/{subresource}" in resources)


def allows_path(rule: Object, path: str) -> bool:
    for url in rule.get("nonResourceURLs") or ():
        if url in ("*", path) or (url.endswith("*") and path.startswith(url.rstrip("*"))):
            return True
    return False


def _atoms(rule: Object) -> Iterable[Object]:
    """The rule as rules of one verb and one resource (and one name) or one URL each."""
    for url, verb in product(rule.get("nonResourceURLs") or (), rule.get("verbs") or ()):
        yield {"verbs": [verb], "nonResourceURLs": [url]}
    for group, resource, verb in product(
        rule.get("apiGroups") or (), rule.get("resources") or (), rule.get("verbs") or ()
    ):
        atom = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
        if rule.get("resourceNames"):
            for name in rule["resourceNames"]:
                yield {**atom, "resourceNames": [name]}
        else:
            yield atom


def _covers(rule: Object, atom: Object) -> bool:
    if not allows_verb(rule, atom["verbs"][0]):
        return False
    if "nonResourceURLs" in atom:
        wanted = atom["nonResourceURLs"][0]
        return any(
            url == wanted or (url.endswith("*") and wanted.startswith(url.rstrip("*")))
            for url in rule.get("nonResourceURLs") or ()
        )
    if atom["apiGroups"][0] not in (groups := rule.get("apiGroups") or ()) and "*" not in groups:
        return False
    names = rule.get("resourceNames") or ()
    if names and ("resourceNames" not in atom or atom["resourceNames"][0] not in names):
        return False
    wanted, resources = atom["resources"][0], rule.get("resources") or ()
    if wanted in resources or "*" in resources:
        return True
    _, slash, subresource = wanted.partition("/")
    return bool(slash) and f"*/{subresource}" in resources


def uncovered(owner: Sequence[Object], wanted: Iterable[Object]) -> list[Object]:
    """The parts of `wanted` that no rule of `owner` allows, as rules of one verb each merged where only verbs
    differ; empty if the owner may do all of it."""
    merged: dict[tuple[str, ...], Object] = {}
    for rule in wanted:
        for atom in _atoms(rule):
            if any(_covers(have, atom) for have in owner):
                continue
            key = tuple(
                "\0".join(atom.get(part) or ("\1",))
                for part in ("apiGroups", "resources", "resourceNames", "nonResourceURLs")
            )
            into = merged.setdefault(key, {**atom, "verbs": []})
            if atom["verbs"][0] not in into["verbs"]:
                into["verbs"].append(atom["verbs"][0])
    return list(merged.values())


def compact_text(rule: Object) -> str:
    """A rule as upstream's escalation messages print it: ``{APIGroups:[""], Resources:["pods"], Verbs:["get"]}``."""
    parts = []
    for field, label in (
        ("resourceNames", "ResourceNames"), ("nonResourceURLs", "NonResourceURLs"), ("resources", "Resources"),
        ("apiGroups", "APIGroups"), ("verbs", "Verbs"),
    ):
        if rule.get(field):
            quoted = " ".join(f'"{value}"' for value in rule[field])
            parts.append((label, f"{label}:[{quoted}]"))
    order = ("APIGroups", "Resources", "NonResourceURLs", "ResourceNames", "Verbs")
    parts.sort(key=lambda part: order.index(part[0]))
    return "{" + ", ".join(text for _, text in parts) + "}"
