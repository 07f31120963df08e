"""The Node authorizer: a kubelet may read what its own Pods use and write what is its own.

Where the rules come from: the Kubernetes documentation, "Using Node Authorization", and KEP-4601 (authorize with
selectors) for lists and watches of Nodes and Pods.
"""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.apiserver.authorization import bootstrap_policy, bootstrap_roles
from podwright.apiserver.authorization.node_graph import NodeGraph
from podwright.apiserver.authorization.rules import allows_resource, allows_verb
from podwright.apiserver.requests import Attributes, Decision, Objects, UserInfo

NODES_GROUP = "system:nodes"
NODE_PREFIX = "system:node:"
LEASE_NAMESPACE = "kube-node-lease"

_ALLOWED = Decision(True)
_SILENT = Decision(False)


def node_of(user: UserInfo) -> str | None:
    """The node's name if the user is a node; "" if it is one but its name cannot be told; None if it is none."""
    if NODES_GROUP not in user.groups or not user.name.startswith(NODE_PREFIX):
        return None
    return user.name[len(NODE_PREFIX) :]


def selects(selector: str, field: str, value: str) -> bool:
    """Whether a field selector demands that a field has a value."""
    for term in selector.split(","):
        key, sep, wanted = term.partition("=")
        if sep and key == field and wanted.removeprefix("=") == value:
            return True
    return False


class NodeAuthorizer:
    def __init__(self, objects: Objects) -> None:
        self.graph = NodeGraph(objects)
        self._rules: list[Object] = [bootstrap_policy.rule(r) for r in bootstrap_roles.CLUSTER_ROLES["system:node"]]
        self._uniform: dict[tuple[str, str, str, str], bool] = {}

    async def authorize(self, attributes: Attributes) -> Decision:
        return self.decide(attributes)

    def decide(self, a: Attributes) -> Decision:
        node = node_of(a.user)
        if node is None or not a.is_resource:
            return _SILENT
        if not node:
            return Decision(False, reason=f'unknown node for user "{a.user.name}"')
        special = _SPECIAL.get((a.group, a.resource))
        if special is not None:
            answer = special(self, node, a)
            if answer is not None:
                return answer
        key = (a.verb, a.group, a.resource, a.subresource)
        allowed = self._uniform.get(key)
        if allowed is None:
            allowed = self._uniform[key] = any(
                allows_verb(r, a.verb) and allows_resource(r, a.group, a.resource, a.subresource) for r in self._rules
            )
        return _ALLOWED if allowed else _SILENT

    def _related(self, node: str, a: Attributes) -> Decision:
        if not a.name:
            return Decision(False, reason="No Object name found")
        if self.graph.uses(node, a.resource, a.namespace, a.name):
            return _ALLOWED
        return Decision(False, reason=f"no relationship found between node '{node}' and this object")

    def _read(self, node: str, a: Attributes) -> Decision:
        if a.verb not in ("get", "list", "watch"):
            return Decision(False, reason="can only read resources of this type")
        if a.subresource:
            return Decision(False, reason="cannot read subresource")
        if not a.namespace:
            return Decision(False, reason="can only read namespaced object of this type")
        return self._related(node, a)

    def _get(self, node: str, a: Attributes) -> Decision:
        if a.verb != "get":
            return Decision(False, reason="can only get individual resources of this type")
        if a.subresource:
            return Decision(False, reason="cannot get subresource")
        return self._related(node, a)

    def _claim(self, node: str, a: Attributes) -> Decision:
        if a.subresource != "status":
            return self._get(node, a)
        if a.verb not in ("update", "patch"):
            return Decision(False, reason="can only get/update/patch this type")
        return self._related(node, a)

    def _service_account(self, node: str, a: Attributes) -> Decision:
        if a.verb == "get" and not a.subresource:
            return self._related(node, a)
        if a.verb != "create" or not a.name:
            return Decision(False, reason="can only create tokens for individual service accounts")
        if a.subresource != "token":
            return Decision(False, reason="can only create token subresource of serviceaccount")
        return self._related(node, a)

    def _lease(self, node: str, a: Attributes) -> Decision:
        if a.verb not in ("get", "create", "update", "patch", "delete"):
            return Decision(False, reason="can only get, create, update, patch, or delete a node lease")
        if a.namespace != LEASE_NAMESPACE:
            return Decision(False, reason=f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
        if a.verb != "create" and a.name != node:
            return Decision(False, reason="can only access node lease with the same name as the requesting node")
        return _ALLOWED

    def _csi_node(self, node: str, a: Attributes) -> Decision:
        if a.verb not in ("get", "create", "update", "patch", "delete"):
            return Decision(False, reason="can only get, create, update, patch, or delete a CSINode")
        if a.subresource:
            return Decision(False, reason="cannot authorize CSINode subresources")
        if a.verb != "create" and a.name != node:
            return Decision(False, reason="can only access CSINode with the same name as the requesting node")
        return _ALLOWED

    def _slice(self, node: str, a: Attributes) -> Decision:
        if a.subresource:
            return Decision(False, reason="cannot authorize ResourceSlice subresources")
        if a.verb == "create":
            return _ALLOWED
        if a.verb in ("get", "update", "patch", "delete"):
            return self._related(node, a)
        if a.verb in ("list", "watch", "deletecollection"):
            if selects(a.field_selector, "spec.nodeName", node):
                return _ALLOWED
            return Decision(
                False, reason="can only list/watch/deletecollection resourceslices with spec.nodeName field selector"
            )
        return Decision(
            False,
            reason="only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch,"
            " delete, deletecollection",
        )

    def _node(self, node: str, a: Attributes) -> Decision | None:
        if a.subresource == "":
            if a.verb in ("create", "update", "patch"):
                return None  # the name is checked by NodeRestriction, which sees the object
            if a.verb == "get":
                if a.name == node:
                    return _ALLOWED
                return Decision(False, reason=f"node '{node}' cannot read '{a.name}', only its own Node object")
            if a.verb in ("list", "watch"):
                if a.name == node or selects(a.field_selector, "metadata.name", node):
                    return _ALLOWED
                return Decision(False, reason=f"node '{node}' cannot read all nodes, only its own Node object")
        elif a.subresource == "status" and a.verb in ("update", "patch"):
            return None
        return None

    def _pod(self, node: str, a: Attributes) -> Decision | None:
        if a.subresource == "":
            if a.verb == "get":
                return self._related(node, a)
            if a.verb in ("list", "watch"):
                if selects(a.field_selector, "spec.nodeName", node):
                    return _ALLOWED
                if a.name:
                    return self._related(node, a)
                return Decision(False, reason="can only list/watch pods with spec.nodeName field selector")
        return None


_SPECIAL = {
    ("", "secrets"): NodeAuthorizer._read,
    ("", "configmaps"): NodeAuthorizer._read,
    ("", "persistentvolumeclaims"): NodeAuthorizer._claim,
    ("", "persistentvolumes"): NodeAuthorizer._get,
    ("resource.k8s.io", "resourceclaims"): NodeAuthorizer._get,
    ("storage.k8s.io", "volumeattachments"): NodeAuthorizer._get,
    ("", "serviceaccounts"): NodeAuthorizer._service_account,
    ("coordination.k8s.io", "leases"): NodeAuthorizer._lease,
    ("storage.k8s.io", "csinodes"): NodeAuthorizer._csi_node,
    ("resource.k8s.io", "resourceslices"): NodeAuthorizer._slice,
    ("", "nodes"): NodeAuthorizer._node,
    ("", "pods"): NodeAuthorizer._pod,
}
