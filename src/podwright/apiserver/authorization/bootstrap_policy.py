"""Brings the default RBAC objects into the cluster and keeps them whole.

Reconciled at every start as upstream does ("Auto-reconciliation" in the RBAC documentation): missing objects are
made, missing rules and subjects put back, nothing that an administrator added is taken away; an object whose
annotation ``rbac.authorization.kubernetes.io/autoupdate`` is "false" is left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from podwright.api.objects import Object, deepcopy, labels, name, namespace
from podwright.api.resources import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    NAMESPACES,
    ROLEBINDINGS,
    ROLES,
    Resource,
)
from podwright.api.status import ApiError
from podwright.apiserver.authorization import bootstrap_roles as data
from podwright.apiserver.authorization.rules import uncovered
from podwright.apiserver.requests import Objects, Writer

GROUP = "rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
BOOTSTRAPPING = "kubernetes.io/bootstrapping"
CONTROLLER_PREFIX = "system:controller:"


def rule(line: str) -> Object:
    """The PolicyRule of one line of :mod:`bootstrap_roles`."""
    parts = [part.split() for part in line.split("|")]
    if parts[0] == ["url"]:
        return {"verbs": parts[1], "nonResourceURLs": parts[2]}
    made: Object = {
        "verbs": parts[0],
        "apiGroups": ["" if group == "core" else group for group in parts[1]],
        "resources": parts[2],
    }
    if len(parts) > 3:
        made["resourceNames"] = parts[3]
    return made


def _subject(text: str) -> Object:
    kind, _, called = text.partition(" ")
    if kind == "ServiceAccount":
        ns, _, nm = called.partition("/")
        return {"kind": kind, "namespace": ns, "name": nm}
    return {"kind": kind, "apiGroup": GROUP, "name": called}


def _object(kind: str, nm: str, ns: str = "", more_labels: dict[str, str] | None = None) -> Object:
    metadata: Object = {
        "name": nm,
        "labels": {BOOTSTRAPPING: "rbac-defaults", **(more_labels or {})},
        "annotations": {AUTOUPDATE: "true"},
    }
    if ns:
        metadata["namespace"] = ns
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata}


def _binding(kind: str, nm: str, ns: str, role_kind: str, role: str, subjects: Iterable[str]) -> Object:
    made = _object(kind, nm, ns)
    made["roleRef"] = {"apiGroup": GROUP, "kind": role_kind, "name": role}
    found = [_subject(text) for text in subjects]
    if found:
        made["subjects"] = found
    return made


def selected_by(role: Object, selectors: Iterable[Object]) -> bool:
    """Whether a ClusterRole's labels match one of an aggregationRule's selectors (matchLabels and matchExpressions)."""
    own = labels(role)
    for selector in selectors:
        exact = all(own.get(k) == v for k, v in (selector.get("matchLabels") or {}).items())
        if exact and all(_matches(own, e) for e in selector.get("matchExpressions") or []):
            return True
    return False


def _matches(own: dict[str, str], expression: Object) -> bool:
    key, operator = str(expression["key"]), str(expression["operator"])
    if operator == "In":
        return own.get(key) in (expression.get("values") or [])
    if operator == "NotIn":
        return own.get(key) not in (expression.get("values") or [])
    return (key in own) == (operator == "Exists")


def aggregate(role: Object, roles: Iterable[Object]) -> list[Object]:
    """The rules of an aggregated ClusterRole: those of every role its selectors choose, by name, each once."""
    selectors = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
    rules: list[Object] = []
    for other in sorted(roles, key=name):
        if name(other) != name(role) and selected_by(other, selectors):
            rules.extend(r for r in other.get("rules") or [] if r not in rules)
    return rules


def cluster_roles() -> list[Object]:
    """The default ClusterRoles, the aggregated ones with their rules worked out."""
    made = []
    for nm, lines in data.CLUSTER_ROLES.items():
        label = data.LABELS.get(nm)
        role = _object("ClusterRole", nm, more_labels={label: "true"} if label else None)
        if nm in data.AGGREGATES:
            role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {data.AGGREGATES[nm]: "true"}}]}
        role["rules"] = [rule(line) for line in lines]
        made.append(role)
    for nm, lines in data.CONTROLLER_ROLES.items():
        role = _object("ClusterRole", CONTROLLER_PREFIX + nm)
        role["rules"] = [rule(line) for line in lines]
        made.append(role)
    by_name = {name(role): role for role in made}
    for nm in ("view", "edit", "admin"):  # each takes in the one before
        by_name[nm]["rules"] = aggregate(by_name[nm], made)
    return made


def cluster_role_bindings() -> list[Object]:
    made = [
        _binding("ClusterRoleBinding", nm, "", "ClusterRole", nm, subjects)
        for nm, subjects in data.CLUSTER_ROLE_BINDINGS.items()
    ]
    for nm in data.CONTROLLER_ROLES:
        full = CONTROLLER_PREFIX + nm
        made.append(
            _binding("ClusterRoleBinding", full, "", "ClusterRole", full, (f"ServiceAccount kube-system/{nm}",))
        )
    return made


def roles() -> list[Object]:
    made = []
    for (ns, nm), lines in data.ROLES.items():
        role = _object("Role", nm, ns)
        role["rules"] = [rule(line) for line in lines]
        made.append(role)
    return made


def role_bindings() -> list[Object]:
    return [
        _binding("RoleBinding", nm, ns, "Role", role, subjects)
        for (ns, nm), (role, subjects) in data.ROLE_BINDINGS.items()
    ]


def _with_metadata(present: Object, wanted: Object) -> Object | None:
    """A copy of `present` that has the labels and annotations of `wanted`, or None if it has them."""
    missing = False
    for part in ("labels", "annotations"):
        have = (present.get("metadata") or {}).get(part) or {}
        missing = missing or any(have.get(k) != v for k, v in wanted["metadata"].get(part, {}).items())
    if not missing:
        return None
    changed = deepcopy(present)
    for part in ("labels", "annotations"):
        changed["metadata"][part] = {**(changed["metadata"].get(part) or {}), **wanted["metadata"].get(part, {})}
    return changed


def _reconciled_role(present: Object, wanted: Object) -> Object | None:
    changed = _with_metadata(present, wanted)
    if "aggregationRule" in wanted:
        if present.get("aggregationRule") != wanted["aggregationRule"]:
            changed = changed or deepcopy(present)
            changed["aggregationRule"] = wanted["aggregationRule"]
        return changed  # its rules are the aggregation controller's
    missing = uncovered(present.get("rules") or [], wanted.get("rules") or [])
    if missing:
        changed = changed or deepcopy(present)
        changed["rules"] = [*(changed.get("rules") or []), *missing]
    return changed


def _reconciled_binding(present: Object, wanted: Object) -> Object | None:
    changed = _with_metadata(present, wanted)
    have = present.get("subjects") or []
    missing = [s for s in wanted.get("subjects") or [] if s not in have]
    if missing:
        changed = changed or deepcopy(present)
        changed["subjects"] = [*have, *missing]
    return changed


async def _ensure_one(
    writer: Writer,
    objects: Objects,
    resource: Resource,
    wanted: Object,
    reconciled: Callable[[Object, Object], Object | None],
) -> bool:
    present = objects.get(resource, namespace(wanted), name(wanted))
    try:
        if present is None:
            await writer.create(resource, wanted)
            return True
        if (present["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false":
            return False
        changed = reconciled(present, wanted)
        if changed is None:
            return False
        await writer.update(resource, changed)
    except ApiError as error:
        if error.code != 409:
            raise
        return False  # another API server was faster
    return True


async def ensure(writer: Writer, objects: Objects) -> int:
    """Makes and mends every default RBAC object, all at once so that the store commits them together; gives the
    number of objects written. The namespaces of Roles must exist before: Roles whose namespace is missing are skipped,
    and another call makes them."""
    wanted = [
        *((CLUSTERROLES, role, _reconciled_role) for role in cluster_roles()),
        *((CLUSTERROLEBINDINGS, binding, _reconciled_binding) for binding in cluster_role_bindings()),
        *((ROLES, role, _reconciled_role) for role in roles()),
        *((ROLEBINDINGS, binding, _reconciled_binding) for binding in role_bindings()),
    ]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_ensure_one(writer, objects, resource, obj, reconciled))
            for resource, obj, reconciled in wanted
            if not namespace(obj) or objects.get(NAMESPACES, "", namespace(obj)) is not None
        ]
    return sum(task.result() for task in tasks)
