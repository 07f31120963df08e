"""Roles that Podwright's own node components need beyond upstream's bootstrap policy."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES
from podwright.apiserver.server import ApiServer

NODE_NETWORK_USER = "system:podwright:node-network"
"""Who a node's Service proxy, DNS and routes are: they only read."""

_READ = ["get", "list", "watch"]
_RULES = [
    {"apiGroups": [""], "resources": ["services", "namespaces", "nodes"], "verbs": _READ},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
]


async def ensure(server: ApiServer) -> None:
    """Makes the role and its binding if they are not there."""
    rbac = "rbac.authorization.k8s.io"
    meta: Object = {"name": NODE_NETWORK_USER}
    if server.objects.get(CLUSTERROLES, "", NODE_NETWORK_USER) is None:
        role = {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": dict(meta), "rules": _RULES}
        await server.writer.create(CLUSTERROLES, role)
    if server.objects.get(CLUSTERROLEBINDINGS, "", NODE_NETWORK_USER) is None:
        binding = {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": dict(meta),
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": NODE_NETWORK_USER},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": NODE_NETWORK_USER}],
        }
        await server.writer.create(CLUSTERROLEBINDINGS, binding)
