"""Roles that Podwright's own node components need beyond upstream's bootstrap policy."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES
from podwright.apiserver.server import ApiServer

NODE_NETWORK_USER = "system:podwright:node-network"
"""Who a node's Service proxy, DNS, routes and NetworkPolicies are: they only read."""
SIMULATOR_USER = "system:podwright:simulated-nodes"
"""Who speaks for simulated nodes and their Pods."""

_READ = ["get", "list", "watch"]
_RULES: dict[str, list[Object]] = {
    NODE_NETWORK_USER: [
        {"apiGroups": [""], "resources": ["services", "namespaces", "nodes", "pods"], "verbs": _READ},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": _READ},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
    ],
    SIMULATOR_USER: [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": [*_READ, "create"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": [*_READ, "delete"]},
        {"apiGroups": [""], "resources": ["nodes/status", "pods/status"], "verbs": ["patch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    ],
}

_ALSO: dict[str, tuple[Object, ...]] = {
    NODE_NETWORK_USER: ({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"},),
}
"""Nodes that joined have no other certificate than their own."""


async def ensure(server: ApiServer, user: str) -> None:
    """Makes the role of that user and its binding if they are not there. A role that an earlier version made gets the
    rules of this one."""
    rbac = "rbac.authorization.k8s.io"
    known = server.objects.get(CLUSTERROLES, "", user)
    if known is not None and known.get("rules") != _RULES[user]:
        await server.writer.update(CLUSTERROLES, {**known, "rules": _RULES[user]})
    if known is None:
        role = {
            "apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": user}, "rules": _RULES[user],
        }  # fmt: skip
        await server.writer.create(CLUSTERROLES, role)
    if server.objects.get(CLUSTERROLEBINDINGS, "", user) is None:
        binding = {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": user},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": user},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}, *_ALSO.get(user, ())],
        }
        await server.writer.create(CLUSTERROLEBINDINGS, binding)
