from __future__ import annotations

import base64
from typing import Any

import pytest
from apiserver_fakes import FakeObjects
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from podwright.api.objects import Object, deepcopy
from podwright.api.resources import (
    CERTIFICATESIGNINGREQUESTS,
    CLUSTERROLES,
    INGRESSES,
    LEASES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    ROLEBINDINGS,
    SERVICEACCOUNTS,
    Resource,
)
from podwright.api.status import ApiError
from podwright.apiserver.admission.certificates import CertificateApproval, CertificateSubjectRestriction
from podwright.apiserver.admission.chain import Chain
from podwright.apiserver.admission.default_ingress_class import DefaultIngressClass
from podwright.apiserver.admission.node_restriction import NodeRestriction
from podwright.apiserver.admission.runtime_class import RuntimeClass
from podwright.apiserver.admission.storage import (
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from podwright.apiserver.authorization import Union
from podwright.apiserver.authorization.escalation import RBACEscalation
from podwright.apiserver.authorization.rbac import RBAC
from podwright.apiserver.requests import AdmissionRequest, Attributes, Decision, UserInfo

NODE_USER = UserInfo("system:node:n1", groups=("system:nodes",))


def request(obj: Object | None, resource: Resource, operation: str = "CREATE", **more: Any) -> AdmissionRequest:
    fields = {
        "user": UserInfo("u"), "subresource": "", "namespace": "ns" if resource.namespaced else "",
        "name": obj["metadata"].get("name", "") if obj else "", "old_object": None, **more,
    }
    return AdmissionRequest(operation=operation, resource=resource, object=obj, **fields)


async def run(plugin: Any, req: AdmissionRequest) -> Object:
    chain = Chain([plugin])
    await chain.admit(req)
    await chain.validate(req)
    return req.object or {}


async def refused(plugin: Any, req: AdmissionRequest, text: str = "") -> ApiError:
    with pytest.raises(ApiError) as error:
        await run(plugin, req)
    assert text in str(error.value), str(error.value)
    return error.value


def thing(kind: str, nm: str, spec: Object | None = None, api_version: str = "v1", **metadata: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": nm, **metadata}, "spec": spec or {}}


NODE = thing("Node", "n1", uid="u-n")
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u-n", "controller": True}


def mirror(**metadata: Any) -> Object:
    return thing(
        "Pod", "p", {"nodeName": "n1", "containers": []}, namespace="ns", ownerReferences=[OWNER],
        annotations={"kubernetes.io/config.mirror": "x"}, **metadata,
    )


async def test_nodes_create_mirror_pods_of_their_own_only() -> None:
    plugin = NodeRestriction(FakeObjects(NODE))
    await run(plugin, request(mirror(), PODS, user=NODE_USER))
    plain = mirror()
    plain["metadata"]["annotations"] = {}
    await refused(plugin, request(plain, PODS, user=NODE_USER), 'can only create mirror pods')
    other = mirror()
    other["spec"]["nodeName"] = "n2"
    await refused(plugin, request(other, PODS, user=NODE_USER), "with spec.nodeName set to itself")
    secret = mirror()
    secret["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "s"}}]
    await refused(plugin, request(secret, PODS, user=NODE_USER), "can not create pods that reference secrets")
    orphan = mirror()
    orphan["metadata"]["ownerReferences"] = []
    await refused(plugin, request(orphan, PODS, user=NODE_USER), "with an owner reference set to itself")
    await run(plugin, request(plain, PODS))


async def test_nodes_write_status_of_their_pods_and_themselves() -> None:
    plugin = NodeRestriction(FakeObjects(NODE))
    pod = thing("Pod", "p", {"nodeName": "n2"}, namespace="ns")
    req = request(deepcopy(pod), PODS, "UPDATE", old_object=pod, subresource="status", user=NODE_USER)
    await refused(plugin, req, "can only update pod status for pods with spec.nodeName set to itself")
    await refused(plugin, request(thing("Node", "n2"), NODES, user=NODE_USER), 'not allowed to modify node "n2"')
    labelled = thing("Node", "n1", labels={"node-restriction.kubernetes.io/x": "1", "kubernetes.io/os": "linux"})
    error = await refused(plugin, request(labelled, NODES, user=NODE_USER))
    assert str(error).endswith("is not allowed to set the following labels: node-restriction.kubernetes.io/x")
    tainted = thing("Node", "n1", {"taints": []})
    old = thing("Node", "n1", {"taints": [{"key": "a"}]})
    req = request(tainted, NODES, "UPDATE", old_object=old, user=NODE_USER)
    await refused(plugin, req, "not allowed to modify taints")
    lease = thing("Lease", "n2", namespace="kube-node-lease")
    req = request(lease, LEASES, namespace="kube-node-lease", user=NODE_USER)
    await refused(plugin, req, "same name as the requesting node")


async def test_nodes_ask_tokens_for_their_pods_only() -> None:
    pod = thing("Pod", "p", {"nodeName": "n1"}, namespace="ns", uid="u-p")
    plugin = NodeRestriction(FakeObjects(pod))

    def ask(**reference: str) -> AdmissionRequest:
        spec = {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", **reference}}
        return request(thing("TokenRequest", "sa", spec), SERVICEACCOUNTS, subresource="token", user=NODE_USER)

    await run(plugin, ask(name="p", uid="u-p"))
    await refused(plugin, ask(name="p"), "without a uid")
    await refused(plugin, ask(name="p", uid="z"), "does not match the UID in record")
    await refused(plugin, ask(kind="Secret", name="p", uid="u"), "not bound to a pod")


def storage_class(nm: str, made: str, **more: Any) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {
            "name": nm, "creationTimestamp": made,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "x", **more,
    }


async def test_storage() -> None:
    objects = FakeObjects(
        storage_class("old", "2020-01-01T00:00:00Z", allowVolumeExpansion=True),
        storage_class("new", "2021-01-01T00:00:00Z"),
    )
    claim = thing("PersistentVolumeClaim", "c", {"resources": {"requests": {"storage": "1Gi"}}}, namespace="ns")
    made = await run(DefaultStorageClass(objects), request(deepcopy(claim), PERSISTENTVOLUMECLAIMS))
    assert made["spec"]["storageClassName"] == "new"
    chosen = deepcopy(claim)
    chosen["spec"]["storageClassName"] = ""
    made = await run(DefaultStorageClass(objects), request(chosen, PERSISTENTVOLUMECLAIMS))
    assert made["spec"]["storageClassName"] == ""
    made = await run(StorageObjectInUseProtection(), request(deepcopy(claim), PERSISTENTVOLUMECLAIMS))
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]

    resize = PersistentVolumeClaimResize(objects)
    old = deepcopy(claim)
    old["spec"]["storageClassName"] = "old"
    old["status"] = {"phase": "Bound"}
    grown = deepcopy(old)
    grown["spec"]["resources"]["requests"]["storage"] = "2Gi"
    await run(resize, request(grown, PERSISTENTVOLUMECLAIMS, "UPDATE", old_object=old))
    grown["spec"]["storageClassName"] = "new"
    req = request(grown, PERSISTENTVOLUMECLAIMS, "UPDATE", old_object=old)
    await refused(resize, req, "only dynamically provisioned pvc can be resized")


async def test_runtime_class() -> None:
    objects = FakeObjects(
        {
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "vm"}, "handler": "vm",
            "overhead": {"podFixed": {"cpu": "1"}}, "scheduling": {"nodeSelector": {"vm": "yes"}},
        }
    )
    plugin = RuntimeClass(objects)
    made = await run(plugin, request(thing("Pod", "p", {"runtimeClassName": "vm"}), PODS))
    assert (made["spec"]["overhead"], made["spec"]["nodeSelector"]) == ({"cpu": "1"}, {"vm": "yes"})
    missing = request(thing("Pod", "p", {"runtimeClassName": "no"}), PODS)
    await refused(plugin, missing, 'pod rejected: RuntimeClass "no" not found')
    await refused(plugin, request(thing("Pod", "p", {"overhead": {"cpu": "1"}}), PODS), "Pod Overhead set without")
    clash = thing("Pod", "p", {"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}})
    await refused(plugin, request(clash, PODS), "conflict")


async def test_default_ingress_class() -> None:
    found = {
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": "d", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
    }
    made = await run(DefaultIngressClass(FakeObjects(found)), request(thing("Ingress", "i"), INGRESSES))
    assert made["spec"]["ingressClassName"] == "d"


class May:
    def __init__(self, *allowed: tuple[str, str]) -> None:
        self.allowed = set(allowed)

    async def authorize(self, attributes: Attributes) -> Decision:
        return Decision((attributes.verb, attributes.name) in self.allowed)


async def test_certificates() -> None:
    csr = thing("CertificateSigningRequest", "c", {"signerName": "example.com/a"}, "certificates.k8s.io/v1")
    req = request(deepcopy(csr), CERTIFICATESIGNINGREQUESTS, "UPDATE", old_object=csr, subresource="approval")
    await refused(CertificateApproval(May()), req, 'not permitted to approve requests with signerName "example.com/a"')
    await run(CertificateApproval(May(("approve", "example.com/*"))), req)

    def asking(group: str) -> AdmissionRequest:
        name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, group)])
        made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(
            ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()
        )
        encoded = base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()
        spec = {"signerName": "kubernetes.io/kube-apiserver-client", "request": encoded}
        return request(thing("CertificateSigningRequest", "c", spec), CERTIFICATESIGNINGREQUESTS)

    await run(CertificateSubjectRestriction(), asking("dev"))
    await refused(CertificateSubjectRestriction(), asking("system:masters"), "system:masters group is not allowed")


GROUP = "rbac.authorization.k8s.io"


async def test_nobody_grants_what_they_do_not_hold() -> None:
    held = [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]
    objects = FakeObjects(
        {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole", "metadata": {"name": "r"}, "rules": held},
        {
            "apiVersion": f"{GROUP}/v1", "kind": "ClusterRole", "metadata": {"name": "big"},
            "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        },
        {
            "apiVersion": f"{GROUP}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "b"},
            "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}],
        },
    )
    rbac = RBAC(objects)
    plugin = RBACEscalation(objects, rbac, Union([rbac], rbac))

    def role(rules: list[Object]) -> Object:
        return {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole", "metadata": {"name": "x"}, "rules": rules}

    await run(plugin, request(role(held), CLUSTERROLES))
    error = await refused(
        plugin, request(role([{"verbs": ["get", "delete"], "apiGroups": [""], "resources": ["pods"]}]), CLUSTERROLES)
    )
    assert str(error) == (
        'clusterroles.rbac.authorization.k8s.io "x" is forbidden: user "u" (groups=[]) is attempting to grant RBAC'
        ' permissions not currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}'
    )

    def binding(to: str) -> Object:
        return {
            "apiVersion": f"{GROUP}/v1", "kind": "RoleBinding", "metadata": {"name": "x", "namespace": "ns"},
            "roleRef": {"kind": "ClusterRole", "name": to}, "subjects": [],
        }

    await run(plugin, request(binding("r"), ROLEBINDINGS))
    await refused(plugin, request(binding("big"), ROLEBINDINGS), "attempting to grant RBAC permissions")
    await run(plugin, request(binding("big"), ROLEBINDINGS, user=UserInfo("root", groups=("system:masters",))))
