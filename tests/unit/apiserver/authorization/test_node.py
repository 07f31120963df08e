from __future__ import annotations

from apiserver_fakes import FakeObjects

from podwright.api.resources import PODS
from podwright.apiserver.authorization.node import NodeAuthorizer
from podwright.apiserver.requests import Attributes, UserInfo

NODE = UserInfo("system:node:n1", groups=("system:nodes", "system:authenticated"))
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "ns", "uid": "u1"},
    "spec": {
        "nodeName": "n1",
        "serviceAccountName": "sa",
        "containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "s1"}}]}],
        "volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": "claim"}},
            {"name": "w", "projected": {"sources": [{"configMap": {"name": "cm"}}]}},
        ],
    },
}
PV = {
    "apiVersion": "v1",
    "kind": "PersistentVolume",
    "metadata": {"name": "pv"},
    "spec": {
        "claimRef": {"namespace": "ns", "name": "claim"},
        "csi": {"driver": "d", "nodeStageSecretRef": {"name": "stage", "namespace": "csi"}},
    },
}


def allowed(authorizer: NodeAuthorizer, verb: str, resource: str, name: str = "", **more: str) -> bool:
    return authorizer.decide(Attributes(NODE, verb, resource=resource, name=name, **more)).allowed


def test_a_node_reads_what_its_pods_use_as_long_as_they_are_there() -> None:
    objects = FakeObjects(POD, PV)
    authorizer = NodeAuthorizer(objects)
    wanted = [
        ("secrets", "s1", "ns"), ("secrets", "stage", "csi"), ("configmaps", "cm", "ns"),
        ("persistentvolumeclaims", "claim", "ns"), ("persistentvolumes", "pv", ""), ("pods", "p", "ns"),
    ]
    for resource, name, ns in wanted:
        assert allowed(authorizer, "get", resource, name, namespace=ns), resource
    assert not allowed(authorizer, "get", "secrets", "other", namespace="ns")
    assert not allowed(authorizer, "list", "secrets", namespace="ns")
    assert allowed(authorizer, "create", "serviceaccounts", "sa", namespace="ns", subresource="token")
    assert not allowed(authorizer, "create", "serviceaccounts", "sb", namespace="ns", subresource="token")
    objects.remove(PODS, "ns", "p")
    for resource, name, ns in wanted:
        assert not allowed(authorizer, "get", resource, name, namespace=ns), resource


def test_lists_need_the_nodes_own_selector() -> None:
    authorizer = NodeAuthorizer(FakeObjects())
    assert allowed(authorizer, "list", "pods", field_selector="spec.nodeName=n1")
    assert not allowed(authorizer, "list", "pods", field_selector="spec.nodeName=n2")
    assert not allowed(authorizer, "watch", "pods")
    assert allowed(authorizer, "watch", "nodes", field_selector="metadata.name=n1")
    assert not allowed(authorizer, "get", "nodes", "n2")
    assert allowed(authorizer, "list", "services")


def test_leases_and_csinodes_are_its_own() -> None:
    authorizer = NodeAuthorizer(FakeObjects())
    lease = {"group": "coordination.k8s.io", "namespace": "kube-node-lease"}
    assert allowed(authorizer, "update", "leases", "n1", **lease)
    assert not allowed(authorizer, "update", "leases", "n2", **lease)
    assert not allowed(authorizer, "get", "leases", "n1", group="coordination.k8s.io", namespace="default")
    assert allowed(authorizer, "get", "csinodes", "n1", group="storage.k8s.io")
    assert not allowed(authorizer, "get", "csinodes", "n2", group="storage.k8s.io")


def test_others_are_none_of_its_business() -> None:
    authorizer = NodeAuthorizer(FakeObjects())
    someone = Attributes(UserInfo("bob"), "list", resource="services")
    assert not authorizer.decide(someone).allowed
