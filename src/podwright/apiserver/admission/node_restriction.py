"""NodeRestriction: a kubelet writes its own Node, Lease and CSINode, mirror Pods of its own, and the status of Pods
bound to it (Kubernetes documentation, "Admission Controllers", "NodeRestriction")."""

from __future__ import annotations

from podwright.api.objects import Object, deepcopy, labels, name, uid
from podwright.api.objects import annotations as annotations_of
from podwright.api.pod_references import used_by
from podwright.api.resources import NODES, PODS, SERVICEACCOUNTS, Resource
from podwright.api.status import internal, not_found
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.authorization.node import LEASE_NAMESPACE, node_of
from podwright.apiserver.requests import AdmissionRequest, Objects

MIRROR = "kubernetes.io/config.mirror"
_KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type",
        "node.kubernetes.io/windows-build", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
    }
)
_KUBELET_LABEL_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESTRICTED = "node-restriction.kubernetes.io"
_RESOURCES = frozenset(
    {
        ("", "pods"), ("", "nodes"), ("", "persistentvolumeclaims"), ("", "serviceaccounts"),
        ("coordination.k8s.io", "leases"), ("storage.k8s.io", "csinodes"), ("resource.k8s.io", "resourceslices"),
        ("certificates.k8s.io", "podcertificaterequests"),
    }
)


class NodeRestriction(Plugin):
    name = "NodeRestriction"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def handles(self, request: AdmissionRequest) -> bool:
        return request.operation in ("CREATE", "UPDATE", "DELETE") and (
            (request.resource.group, request.resource.plural) in _RESOURCES
        )

    async def admit(self, request: AdmissionRequest) -> None:
        node = node_of(request.user)
        if node is None:
            return
        if not node:
            raise forbidden(request, f'could not determine node from user "{request.user.name}"')
        plural = request.resource.plural
        if plural == "pods":
            self._pod(node, request)
        elif plural == "nodes":
            _check_node(node, request)
        elif plural == "persistentvolumeclaims":
            _check_claim(node, request)
        elif plural == "serviceaccounts":
            self._token(node, request)
        elif plural == "leases":
            if request.namespace != LEASE_NAMESPACE:
                raise forbidden(request, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
            if _asked_name(request) != node:
                raise forbidden(request, "can only access node lease with the same name as the requesting node")
        elif plural == "csinodes":
            if _asked_name(request) != node:
                raise forbidden(request, "can only access CSINode with the same name as the requesting node")
        elif plural == "podcertificaterequests":
            self._pod_certificate(node, request)
        else:
            _check_slice(node, request)

    def _pod(self, node: str, request: AdmissionRequest) -> None:
        operation, subresource = request.operation, request.subresource
        if subresource == "status":
            _check_pod_status(node, request)
        elif subresource == "eviction":
            pod = self._existing(request, request.name or name(request.object or {}))
            if pod["spec"].get("nodeName") != node:
                raise forbidden(request, f"node {node} can only evict pods with spec.nodeName set to itself")
        elif subresource:
            raise forbidden(
                request, f'unexpected pod subresource "{subresource}", only \'status\' and \'eviction\' are allowed'
            )
        elif operation == "CREATE":
            self._mirror_pod(node, request)
        elif operation == "DELETE":
            if self._existing(request, request.name)["spec"].get("nodeName") != node:
                raise forbidden(request, f'node "{node}" can only delete pods with spec.nodeName set to itself')
        else:
            raise forbidden(
                request, f'unexpected operation "{operation}", node "{node}" can only create and delete mirror pods'
            )

    def _existing(self, request: AdmissionRequest, pod_name: str) -> Object:
        pod = self._objects.get(PODS, request.namespace, pod_name)
        if pod is None:
            raise not_found("", "pods", pod_name)
        return pod

    def _mirror_pod(self, node: str, request: AdmissionRequest) -> None:
        pod = request.object or {}
        metadata, spec = pod["metadata"], pod["spec"]
        if MIRROR not in (metadata.get("annotations") or {}):
            raise forbidden(
                request, f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
            )
        if spec.get("nodeName") != node:
            raise forbidden(request, f'node "{node}" can only create pods with spec.nodeName set to itself')
        self._owner(node, request, metadata.get("ownerReferences") or [])
        if spec.get("serviceAccountName"):
            raise forbidden(request, f'node "{node}" can not create pods that reference a service account')
        kinds = {kind for kind, _, _ in used_by(pod)}
        for kind in ("secrets", "configmaps"):
            if kind in kinds:
                raise forbidden(request, f'node "{node}" can not create pods that reference {kind}')
        for volume in spec.get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if "clusterTrustBundle" in source:
                    raise forbidden(request, f'node "{node}" can not create pods that reference clustertrustbundles')
            if volume.get("persistentVolumeClaim") is not None:
                raise forbidden(request, f'node "{node}" can not create pods that reference persistentvolumeclaims')
        if spec.get("resourceClaims"):
            raise forbidden(request, f'node "{node}" can not create pods that reference resourceclaims')

    def _owner(self, node: str, request: AdmissionRequest, owners: list[Object]) -> None:
        if len(owners) > 1:
            raise forbidden(request, f'node "{node}" can only create pods with a single owner reference set to itself')
        own = f'node "{node}" can only create pods with an owner reference set to itself'
        if not owners:
            raise forbidden(request, own)
        (owner,) = owners
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise forbidden(request, own)
        if not owner.get("controller"):
            raise forbidden(
                request, f'node "{node}" can only create pods with a controller owner reference set to itself'
            )
        if owner.get("blockOwnerDeletion"):
            raise forbidden(request, f'node "{node}" must not set blockOwnerDeletion on an owner reference')
        present = self._objects.get(NODES, "", node)
        if present is None:
            raise not_found("", "nodes", node)
        if owner.get("uid") != uid(present):
            raise forbidden(request, f"node {node} UID mismatch: expected {owner.get('uid')} got {uid(present)}")

    def _token(self, node: str, request: AdmissionRequest) -> None:
        if request.operation != "CREATE" or request.subresource != "token":
            return
        reference = ((request.object or {}).get("spec") or {}).get("boundObjectRef") or {}
        if (reference.get("apiVersion"), reference.get("kind")) != ("v1", "Pod") or not reference.get("name"):
            raise forbidden(request, "node requested token not bound to a pod")
        if not reference.get("uid"):
            raise forbidden(request, "node requested token with a pod binding without a uid")
        pod = self._existing(request, reference["name"])
        if uid(pod) != reference["uid"]:
            raise forbidden(
                request,
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. The"
                " object might have been deleted and then recreated",
            )
        if pod["spec"].get("nodeName") != node:
            raise forbidden(request, "node requested token bound to a pod scheduled on a different node")


    def _pod_certificate(self, node: str, request: AdmissionRequest) -> None:
        """Asked for only for a Pod of its own, which is who the request says. What may come from a cache that is behind
        is an error, not a refusal."""
        if request.operation != "CREATE":
            raise forbidden(request, f"unexpected operation {request.operation}")
        if request.subresource:
            raise forbidden(request, f"unexpected subresource {request.subresource}")
        spec = (request.object or {}).get("spec") or {}
        called, account = spec.get("podName") or "", spec.get("serviceAccountName") or ""
        pod_key, account_key = (f'"{request.namespace}/{one}"' for one in (called, account))
        if (named := spec.get("nodeName") or "") != node:
            said = f'PodCertificateRequest.Spec.NodeName="{named}", which is not the requesting node "{node}"'
            raise forbidden(request, said)
        asks = f"PodCertificateRequest for pod {pod_key}"
        found = self._named(NODES, "", node, f'node "{node}"')
        if uid(found) != spec.get("nodeUID"):
            given = f'names node UID "{spec.get("nodeUID")}", inconsistent with the running node ("{uid(found)}")'
            raise internal(f"{asks} {given}")
        pod = self._named(PODS, request.namespace, called, f"pod {pod_key}")
        if uid(pod) != spec.get("podUID"):
            given = f'contains pod UID ("{spec.get("podUID")}") which differs from running pod "{uid(pod)}"'
            raise internal(f"{asks} {given}")
        if pod["spec"].get("nodeName") != node:
            said = f'pod {pod_key} is not running on node "{node}" named in the PodCertificateRequest'
            raise forbidden(request, said)
        if MIRROR in annotations_of(pod):
            raise forbidden(request, f"pod {pod_key} is a mirror pod")
        if (own := pod["spec"].get("serviceAccountName") or "") != account:
            said = f'{asks} contains serviceAccountName ("{account}") that differs from running pod ("{own}")'
            raise forbidden(request, said)
        found = self._named(SERVICEACCOUNTS, request.namespace, account, f"service account {account_key}")
        if uid(found) != spec.get("serviceAccountUID"):
            given = f'"{spec.get("serviceAccountUID")}", which differs from the running service account'
            raise internal(f'{asks} names service account UID {given} ("{uid(found)}")')

    def _named(self, resource: Resource, ns: str, called: str, text: str) -> Object:
        found = self._objects.get(resource, ns, called)
        if found is None:
            said = f'{resource.kind.lower()} "{called}" not found'
            raise internal(f"while retrieving {text} named in the PodCertificateRequest: {said}")
        return found


def _asked_name(request: AdmissionRequest) -> str:
    if request.operation == "CREATE" and request.object is not None:
        return name(request.object)
    return request.name


def _check_node(node: str, request: AdmissionRequest) -> None:
    asked = _asked_name(request)
    if asked != node:
        raise forbidden(request, f'node "{node}" is not allowed to modify node "{asked}"')
    new, old = request.object or {}, request.old_object or {}
    spec, old_spec = new.get("spec") or {}, old.get("spec") or {}
    if request.operation == "CREATE":
        if spec.get("configSource"):
            raise forbidden(request, f'node "{node}" is not allowed to create pods with a non-nil configSource')
        if bad := _forbidden_labels(labels(new), {}):
            raise forbidden(request, f'node "{node}" is not allowed to set the following labels: {", ".join(bad)}')
    elif request.operation == "UPDATE":
        if spec.get("configSource") and spec["configSource"] != old_spec.get("configSource"):
            raise forbidden(
                request, f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
            )
        if (spec.get("taints") or []) != (old_spec.get("taints") or []):
            raise forbidden(request, f'node "{node}" is not allowed to modify taints')
        if bad := _forbidden_labels(labels(new), labels(old)):
            raise forbidden(request, f"is not allowed to modify labels: {', '.join(bad)}")
        owners = (new.get("metadata") or {}).get("ownerReferences") or []
        if owners != ((old.get("metadata") or {}).get("ownerReferences") or []):
            raise forbidden(request, f'node "{node}" is not allowed to modify ownerReferences')


def _forbidden_labels(new: dict[str, str], old: dict[str, str]) -> list[str]:
    """The changed labels that a node may not set on itself."""
    changed = {k for k in {**new, **old} if new.get(k) != old.get(k) or (k in new) != (k in old)}
    bad = []
    for key in sorted(changed):
        prefix = key.partition("/")[0] if "/" in key else ""
        if _within(prefix, _RESTRICTED) or (
            (_within(prefix, "kubernetes.io") or _within(prefix, "k8s.io"))
            and key not in _KUBELET_LABELS
            and not any(_within(prefix, space) for space in _KUBELET_LABEL_NAMESPACES)
        ):
            bad.append(key)
    return bad


def _within(prefix: str, domain: str) -> bool:
    return prefix == domain or prefix.endswith("." + domain)


def _check_pod_status(node: str, request: AdmissionRequest) -> None:
    old, new = request.old_object or {}, request.object or {}
    if request.operation != "UPDATE":
        raise forbidden(request, f'unexpected operation "{request.operation}"')
    if (old.get("spec") or {}).get("nodeName") != node:
        raise forbidden(request, f'node "{node}" can only update pod status for pods with spec.nodeName set to itself')
    if labels(old) != labels(new):
        raise forbidden(request, f'node "{node}" cannot update labels through pod status')
    claims = [(o.get("status") or {}).get("resourceClaimStatuses") or [] for o in (old, new)]
    if claims[0] != claims[1]:
        raise forbidden(request, f'node "{node}" cannot update resource claim statuses')


def _check_claim(node: str, request: AdmissionRequest) -> None:
    if request.subresource != "status":
        raise forbidden(request, "may only update PVC status")
    kept = []
    for claim in (request.old_object or {}, request.object or {}):
        copy = deepcopy(claim)
        for field in ("resourceVersion", "managedFields"):
            (copy.get("metadata") or {}).pop(field, None)
        for field in ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"):
            (copy.get("status") or {}).pop(field, None)
        kept.append({k: v for k, v in copy.items() if v})
    if kept[0] != kept[1]:
        raise forbidden(
            request, f'node "{node}" is not allowed to update fields other than status.capacity and status.conditions'
        )


def _check_slice(node: str, request: AdmissionRequest) -> None:
    found = request.object if request.operation == "CREATE" else request.old_object
    if found is not None and (found.get("spec") or {}).get("nodeName") != node:
        raise forbidden(request, "can only modify ResourceSlices with spec.nodeName set to the requesting node")
