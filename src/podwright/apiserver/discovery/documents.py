"""The discovery documents as objects."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence, Set

from podwright.api.objects import Object
from podwright.api.resources import Resource, Subresource

_ORDER = (
    "", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
    "autoscaling", "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io",
    "storage.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io",
    "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io", "resource.k8s.io", "storagemigration.k8s.io",
    "flowcontrol.apiserver.k8s.io",
)
"""Groups in upstream's order of priority; others follow by name."""


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Sorts v2 before v1 before v1beta2 before v1beta1 before v1alpha1 before anything else (Kubernetes documentation,
    "Versions in CustomResourceDefinitions")."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match.group(2)]
    return (stage, -int(match.group(1)), -int(match.group(3) or 0), version)


def by_group(rows: Iterable[Resource]) -> dict[str, dict[str, list[Resource]]]:
    """group → version → rows; groups and versions in order of preference, rows by name."""
    found: dict[str, dict[str, list[Resource]]] = {}
    for row in rows:
        found.setdefault(row.group, {}).setdefault(row.version, []).append(row)
    ordered: dict[str, dict[str, list[Resource]]] = {}
    rank = {group: i for i, group in enumerate(_ORDER)}
    for group in sorted(found, key=lambda g: (rank.get(g, len(rank)), g)):
        versions = sorted(found[group], key=version_priority)
        ordered[group] = {v: sorted(found[group][v], key=lambda r: r.plural) for v in versions}
    return ordered


def api_versions(address: str) -> Object:
    return {
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group(name: str, versions: Sequence[str], *, standalone: bool = True) -> Object:
    entries = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    found: Object = {"kind": "APIGroup", "apiVersion": "v1"} if standalone else {}
    return {**found, "name": name, "versions": entries, "preferredVersion": entries[0]}


def group_list(groups: dict[str, dict[str, list[Resource]]]) -> Object:
    return {
        "kind": "APIGroupList", "apiVersion": "v1",
        "groups": [group(name, list(versions), standalone=False) for name, versions in groups.items() if name],
    }


def resource_list(rows: Sequence[Resource], group_version: str) -> Object:
    resources: list[Object] = []
    for row in rows:
        resources.append(_resource(row))
        for sub in row.subresources:
            resources.append(_subresource(row, sub))
    resources.sort(key=lambda r: str(r["name"]))
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


def storage_hash(row: Resource) -> str:
    """Changes when the stored form does; clients only compare it."""
    text = f"{row.group if row.storage_group is None else row.storage_group}/{row.storage_version}/{row.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def _resource(row: Resource) -> Object:
    entry: Object = {
        "name": row.plural, "singularName": row.singular, "namespaced": row.namespaced, "kind": row.kind,
        "verbs": sorted(row.verbs),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    if "create" in row.verbs and "list" in row.verbs:
        entry["storageVersionHash"] = storage_hash(row)
    return entry


def _subresource(row: Resource, sub: Subresource) -> Object:
    entry: Object = {
        "name": f"{row.plural}/{sub.name}", "singularName": "", "namespaced": row.namespaced,
        "kind": sub.kind or row.kind, "verbs": sorted(sub.verbs),
    }
    if sub.group:
        entry["group"] = sub.group
    if sub.version:
        entry["version"] = sub.version
    return entry


def aggregated(groups: dict[str, dict[str, list[Resource]]], *, core: bool) -> Object:
    """apidiscovery.k8s.io/v2 APIGroupDiscoveryList of /api (core) or /apis."""
    items: list[Object] = []
    for name, versions in groups.items():
        if (name == "") != core:
            continue
        item: Object = {
            "metadata": {"creationTimestamp": None} if not name else {"name": name, "creationTimestamp": None},
            "versions": [
                {"version": version, "resources": [_aggregated(row) for row in rows], "freshness": "Current"}
                for version, rows in versions.items()
            ],
        }
        items.append(item)
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated(row: Resource) -> Object:
    entry: Object = {
        "resource": row.plural,
        "responseKind": {"group": row.group, "version": row.version, "kind": row.kind},
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": sorted(row.verbs),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    if row.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {
                    "group": sub.group if sub.version else row.group, "version": sub.version or row.version,
                    "kind": sub.kind or row.kind,
                },
                "verbs": sorted(sub.verbs),
            }
            for sub in sorted(row.subresources, key=lambda s: s.name)
        ]
    return entry


def merge_remote(items: list[Object], learned: Mapping[tuple[str, str], Object], current: Set[tuple[str, str]]) -> None:
    """Puts what other API servers said they have (APIResourceLists by group and version) among the items of an
    APIGroupDiscoveryList. What is no longer in `current` is shown as stale."""
    by_name = {item["metadata"].get("name"): item for item in items}
    for (name, version), listed in learned.items():
        item = by_name.get(name)
        if item is None:
            item = by_name[name] = {"metadata": {"name": name, "creationTimestamp": None}, "versions": []}
            items.append(item)
        entry = {
            "version": version, "resources": _remote_resources(name, version, listed.get("resources") or ()),
            "freshness": "Current" if (name, version) in current else "Stale",
        }
        others = [v for v in item["versions"] if v["version"] != version]
        item["versions"] = sorted([*others, entry], key=lambda v: version_priority(v["version"]))


def _remote_resources(group: str, version: str, resources: Sequence[Object]) -> list[Object]:
    def response_kind(entry: Object) -> Object:
        return {
            "group": entry.get("group") or group, "version": entry.get("version") or version,
            "kind": entry.get("kind") or "",
        }

    found: dict[str, Object] = {}
    for entry in sorted(resources, key=lambda r: str(r["name"])):
        plural, _, sub = str(entry["name"]).partition("/")
        kind, verbs = response_kind(entry), list(entry.get("verbs") or ())
        if not sub:
            made = found[plural] = {
                "resource": plural, "responseKind": kind,
                "scope": "Namespaced" if entry.get("namespaced") else "Cluster",
                "singularResource": entry.get("singularName") or "", "verbs": verbs,
            }
            made.update({field: entry[field] for field in ("shortNames", "categories") if entry.get(field)})
        elif plural in found:
            found[plural].setdefault("subresources", []).append(
                {"subresource": sub, "responseKind": kind, "verbs": verbs}
            )
    return list(found.values())
