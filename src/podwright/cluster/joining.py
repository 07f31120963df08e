"""What a cluster holds ready for machines that join it: rights for bootstrap tokens under kubeadm's names, and a
ConfigMap with what a node must know beyond its certificate."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CLUSTERROLEBINDINGS, CONFIGMAPS, ROLEBINDINGS, ROLES, Resource
from podwright.apiserver.server import ApiServer
from podwright.cluster.registry import Ranges
from podwright.cluster.spec import ClusterSpec
from podwright.cluster.tokens import GROUP

NODE_CONFIG = "podwright-node-config"
NAMESPACE = "kube-system"

_RBAC = "rbac.authorization.k8s.io"
_CSRS = "system:certificates.k8s.io:certificatesigningrequests"
_BINDINGS = (
    ("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", GROUP),
    ("kubeadm:node-autoapprove-bootstrap", f"{_CSRS}:nodeclient", GROUP),
    ("kubeadm:node-autoapprove-certificate-rotation", f"{_CSRS}:selfnodeclient", "system:nodes"),
)
"""(name, ClusterRole, group): who may ask for a node's certificate, and whose requests are approved unseen."""


async def ensure(server: ApiServer, spec: ClusterSpec, ranges: Ranges) -> None:
    """Makes what is missing."""
    for name, role, group in _BINDINGS:
        binding = _binding("ClusterRoleBinding", {"name": name}, "ClusterRole", role, group)
        await _make(server, CLUSTERROLEBINDINGS, binding)
    meta: Object = {"name": NODE_CONFIG, "namespace": NAMESPACE}
    data = {"cluster": spec.name, "index": str(ranges.index), "nodeGrace": str(spec.node_grace)}
    await _make(server, CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [NODE_CONFIG], "verbs": ["get"]}
    await _make(
        server, ROLES, {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": dict(meta), "rules": [rule]}
    )
    await _make(server, ROLEBINDINGS, _binding("RoleBinding", dict(meta), "Role", NODE_CONFIG, GROUP))


def _binding(kind: str, meta: Object, role_kind: str, role: str, group: str) -> Object:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": kind,
        "metadata": meta,
        "roleRef": {"apiGroup": _RBAC, "kind": role_kind, "name": role},
        "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group}],
    }


async def _make(server: ApiServer, resource: Resource, obj: Object) -> None:
    if server.objects.get(resource, objects.namespace(obj), objects.name(obj)) is None:
        await server.writer.create(resource, obj)
