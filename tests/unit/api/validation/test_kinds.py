"""Rules of all kinds but Pods: a right object of each kind, and what is wrong with changed ones."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from podwright.api import defaulting, validation
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import BUILTIN, Resource
from podwright.api.status import FieldError
from podwright.api.validation import names, reviews
from podwright.api.validation.field_errors import duplicate, forbidden, invalid, not_supported, required

IMMUTABLE = "field is immutable"
TEMPLATE = {
    "metadata": {"labels": {"app": "a"}},
    "spec": {"containers": [{"name": "c", "image": "busybox:1.36"}]},
}
WORKLOAD = {"selector": {"matchLabels": {"app": "a"}}, "template": TEMPLATE}
JOB_TEMPLATE = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}  # type: ignore[dict-item]
SCHEMA = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}
HOOK = {
    "name": "a.b.c",
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "clientConfig": {"url": "https://x/y"},
    "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}],
}
POLICY = {"matchConstraints": {"resourceRules": HOOK["rules"]}, "validations": [{"expression": "true"}]}
ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
EVENT = {"involvedObject": {"namespace": "default"}}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
DEVICES = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}
NAMES = {"plural": "foos", "kind": "Foo"}
CRD = {
    "group": "a.b",
    "scope": "Namespaced",
    "names": NAMES,
    "versions": [{"name": "v1", "served": True, "storage": True, "schema": SCHEMA}],
}

PARENT = {"resource": "services", "name": "s"}

RIGHT: dict[str, Object] = {
    "v1/ConfigMap": {"data": {"k": "v"}},
    "v1/Secret": {"data": {"k": "dg=="}},
    "v1/ServiceAccount": {},
    "v1/Pod": {"spec": TEMPLATE["spec"]},
    "v1/Namespace": {},
    "v1/Node": {"spec": {"podCIDRs": ["10.0.0.0/24"]}, "status": {"capacity": {"cpu": "2"}}},
    "v1/Service": {"spec": {"ports": [{"port": 80}]}},
    "v1/Endpoints": {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]},
    "v1/Event": EVENT,
    "v1/LimitRange": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}}]}},
    "v1/ResourceQuota": {"spec": {"hard": {"pods": "10", "count/deployments.apps": "3"}}},
    "v1/PersistentVolume": {
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    },
    "v1/PersistentVolumeClaim": {"spec": CLAIM},
    "v1/PodTemplate": {"template": TEMPLATE},
    "v1/ReplicationController": {"spec": {"template": TEMPLATE}},
    "apps/v1/Deployment": {"spec": WORKLOAD},
    "apps/v1/ReplicaSet": {"spec": WORKLOAD},
    "apps/v1/StatefulSet": {"spec": {**WORKLOAD, "serviceName": "s"}},
    "apps/v1/DaemonSet": {"spec": WORKLOAD},
    "apps/v1/ControllerRevision": {"data": {}, "revision": 1},
    "batch/v1/Job": {"spec": {"template": JOB_TEMPLATE}},
    "batch/v1/CronJob": {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}}},
    "autoscaling/v2/HorizontalPodAutoscaler": {
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 3}
    },
    "policy/v1/PodDisruptionBudget": {"spec": {"minAvailable": 1}},
    "networking.k8s.io/v1/NetworkPolicy": {"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}},
    "networking.k8s.io/v1/Ingress": {
        "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}
    },
    "networking.k8s.io/v1/IngressClass": {"spec": {"controller": "a.b/c"}},
    "networking.k8s.io/v1/IPAddress": {"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": PARENT}},
    "networking.k8s.io/v1/ServiceCIDR": {"spec": {"cidrs": ["10.0.0.0/16"]}},
    "discovery.k8s.io/v1/EndpointSlice": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]},
    "rbac.authorization.k8s.io/v1/Role": {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]},
    "rbac.authorization.k8s.io/v1/ClusterRole": {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]},
    "rbac.authorization.k8s.io/v1/RoleBinding": {"roleRef": ROLE_REF, "subjects": [{"kind": "User", "name": "u"}]},
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding": {"roleRef": ROLE_REF},
    "storage.k8s.io/v1/StorageClass": {"provisioner": "a.b/c"},
    "storage.k8s.io/v1/CSIDriver": {"spec": {}},
    "storage.k8s.io/v1/CSINode": {"spec": {"drivers": [{"name": "a.b", "nodeID": "n", "topologyKeys": []}]}},
    "storage.k8s.io/v1/CSIStorageCapacity": {"storageClassName": "s"},
    "storage.k8s.io/v1/VolumeAttachment": {
        "spec": {"attacher": "a.b", "nodeName": "n", "source": {"persistentVolumeName": "p"}}
    },
    "storage.k8s.io/v1/VolumeAttributesClass": {"driverName": "a.b", "parameters": {"x": "y"}},
    "coordination.k8s.io/v1/Lease": {"spec": {"leaseDurationSeconds": 10}},
    "node.k8s.io/v1/RuntimeClass": {"handler": "runc"},
    "scheduling.k8s.io/v1/PriorityClass": {"value": 10},
    "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration": {"webhooks": [HOOK]},
    "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration": {"webhooks": [HOOK]},
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy": {"spec": POLICY},
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding": {
        "spec": {"policyName": "p", "validationActions": ["Deny"]}
    },
    "flowcontrol.apiserver.k8s.io/v1/FlowSchema": {"spec": {"priorityLevelConfiguration": {"name": "p"}}},
    "flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration": {
        "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}
    },
    "apiextensions.k8s.io/v1/CustomResourceDefinition": {"metadata": {"name": "foos.a.b"}, "spec": CRD},
    "apiregistration.k8s.io/v1/APIService": {
        "metadata": {"name": "v1.a.b"},
        "spec": {"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1},
    },
    "resource.k8s.io/v1/ResourceClaim": {"spec": DEVICES},
    "resource.k8s.io/v1/ResourceClaimTemplate": {"spec": {"spec": DEVICES}},
    "resource.k8s.io/v1/DeviceClass": {"spec": {"selectors": [{"cel": {"expression": "true"}}]}},
    "resource.k8s.io/v1/ResourceSlice": {
        "spec": {
            "driver": "a.b",
            "nodeName": "n",
            "pool": {"name": "p", "resourceSliceCount": 1},
            "devices": [{"name": "d"}],
        }
    },
    "authentication.k8s.io/v1/TokenReview": {"spec": {"token": "t"}},
    "authorization.k8s.io/v1/SubjectAccessReview": {"spec": {"user": "u", "resourceAttributes": {"verb": "get"}}},
}


def row(kind: str) -> Resource:
    found = BUILTIN.by_kind(*kind.rsplit("/", 1))
    assert found is not None, kind
    return found


def new(kind: str, **changes: Any) -> Object:
    """A right object, with fields changed by dotted path (a number is an index)."""
    obj = deepcopy(RIGHT[kind])
    meta = {"name": "a", "uid": "u", **obj.get("metadata", {})}
    if row(kind).namespaced:
        meta["namespace"] = "default"
    obj["metadata"] = meta
    for path, value in changes.items():
        put(obj, path, value)
    return obj


def put(obj: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        obj = obj[int(part)] if part.isdigit() else obj.setdefault(part, {})
    if last.isdigit():
        obj[int(last)] = value
    elif value is None:
        obj.pop(last, None)
    else:
        obj[last] = value


def made(kind: str, obj: Object) -> list[FieldError]:
    defaulting.apply(row(kind), obj)
    validation.prepare_for_create(row(kind), obj)
    return validation.validate_create(row(kind), obj)


def stored(kind: str, **changes: Any) -> Object:
    obj = new(kind, **changes)
    obj["metadata"]["resourceVersion"] = "1"
    assert made(kind, obj) == []
    return obj


def test_reviews_have_no_metadata() -> None:
    spec = {"nonResourceAttributes": {"verb": "get", "path": "/"}, "user": "u"}
    for rule in (reviews.subject_access, reviews.self_subject_access):
        errs: list[FieldError] = []
        rule(errs, {"metadata": {"managedFields": [{}]}, "spec": spec})
        assert errs == []
        rule(errs, {"metadata": {"labels": {"a": "b"}}, "spec": spec})
        assert errs == [invalid("metadata", {"labels": {"a": "b"}}, "must be empty")]


@pytest.mark.parametrize("kind", [k for k in RIGHT if not k.startswith("authorization.k8s.io/")])
def test_a_right_object_is_made_and_updated(kind: str) -> None:
    old = stored(kind)
    again = deepcopy(old)
    validation.prepare_for_update(row(kind), again, old)
    assert validation.validate_update(row(kind), again, old) == []
    assert again["metadata"].get("generation") == old["metadata"].get("generation")


D, S, J, CRON = "apps/v1/Deployment", "v1/Service", "batch/v1/Job", "batch/v1/CronJob"
ING, NP = "networking.k8s.io/v1/Ingress", "networking.k8s.io/v1/NetworkPolicy"
HPA, CRDS = "autoscaling/v2/HorizontalPodAutoscaler", "apiextensions.k8s.io/v1/CustomResourceDefinition"
RB, SLICE = "rbac.authorization.k8s.io/v1/RoleBinding", "discovery.k8s.io/v1/EndpointSlice"
VWC = "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration"
STS, DS, PV, PVC = "apps/v1/StatefulSet", "apps/v1/DaemonSet", "v1/PersistentVolume", "v1/PersistentVolumeClaim"
BACKEND = "spec.defaultBackend"
V1 = "spec.versions[0].schema.openAPIV3Schema"

FLOW = "flowcontrol.apiserver.k8s.io/v1/FlowSchema"
LEVEL = "flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration"
URLS = {"verbs": ["post"], "nonResourceURLs": ["/a"]}
EVERYBODY = {"kind": "Group", "group": {"name": "*"}}
FLOW_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"]

WRONG: dict[str, tuple[str, Object, FieldError]] = {
    "flow distinguisher": (
        FLOW,
        {"spec.distinguisherMethod": {"type": "X"}},
        not_supported("spec.distinguisherMethod.type", "X", ["ByNamespace", "ByUser"]),
    ),
    "flow verb of a URL": (
        FLOW,
        {"spec.rules": [{"subjects": [EVERYBODY], "nonResourceRules": [URLS]}]},
        not_supported("spec.rules[0].nonResourceRules[0].verbs", ["post"], FLOW_VERBS),
    ),
    "flow double slash": (
        FLOW,
        {"spec.rules": [
            {"subjects": [EVERYBODY], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/a//b"]}]}
        ]},
        invalid("spec.rules[0].nonResourceRules[0].nonResourceURLs[0]", "/a//b", "must not contain double slash"),
    ),
    "flow subject of two kinds": (
        FLOW,
        {"spec.rules": [{
            "subjects": [{**EVERYBODY, "user": {"name": "u"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }]},
        forbidden("spec.rules[0].subjects[0].user", "user is forbidden when subject kind is not 'User'"),
    ),
    "flow namespace": (
        FLOW,
        {"spec.rules": [{
            "subjects": [EVERYBODY],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": [""]}],
        }]},
        invalid(
            "spec.rules[0].resourceRules[0].namespaces[0]", "",
            "each member of this list must be '*' or a DNS-1123 label; "
            + names.dns_label("")[0],
        ),
    ),
    "level hand": (
        LEVEL,
        {"spec.limited.limitResponse": {
            "type": "Queue", "queuing": {"queues": 10_000_000, "handSize": 9_999_999, "queueLengthLimit": 1}
        }},
        invalid(
            "spec.limited.limitResponse.queuing.handSize", 9_999_999,
            "required entropy bits of deckSize 10000000 and handSize 9999999 should not be greater than 60",
        ),
    ),
    "system priority class": (
        "scheduling.k8s.io/v1/PriorityClass",
        {"metadata.name": "system-node-critical", "value": 2_000_001_000, "globalDefault": True},
        forbidden(
            "metadata.name",
            "priority class names with 'system-' prefix are reserved for system use only. error: globalDefault of "
            "system-node-critical PriorityClass must be false",
        ),
    ),
    "config map key": (
        "v1/ConfigMap",
        {"data": {"..": "x"}},
        invalid("data[..]", "..", "must not be '..'"),
    ),
    "config map twice": (
        "v1/ConfigMap",
        {"data": {"k": "x"}, "binaryData": {"k": "eA=="}},
        invalid("data[k]", "k", "duplicate of key present in binaryData"),
    ),
    "tls secret": ("v1/Secret", {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}, required("data[tls.key]")),
    "docker secret": (
        "v1/Secret",
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": base64.b64encode(b"[]").decode()}},
        invalid(
            "data[.dockerconfigjson]",
            "<secret contents redacted>",
            "json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
    ),
    "docker secret that is no JSON": (
        "v1/Secret",
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": base64.b64encode(b"Uu").decode()}},
        invalid(
            "data[.dockerconfigjson]",
            "<secret contents redacted>",
            "invalid character 'U' looking for beginning of value",
        ),
    ),
    "token secret": (
        "v1/Secret",
        {"type": "kubernetes.io/service-account-token"},
        required("metadata.annotations[kubernetes.io/service-account.name]"),
    ),
    "taint effect": (
        "v1/Node",
        {"spec.taints": [{"key": "k", "effect": "X"}]},
        not_supported("metadata.taints[0].effect", "X", ["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ),
    "service without ports": (S, {"spec.ports": []}, required("spec.ports")),
    "service type": (
        S,
        {"spec.type": "X"},
        not_supported("spec.type", "X", ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]),
    ),
    "service port names": (S, {"spec.ports": [{"port": 1}, {"port": 2}]}, required("spec.ports[0].name")),
    "service node port": (
        S,
        {"spec.ports": [{"port": 1, "nodePort": 30000}]},
        forbidden("spec.ports[0].nodePort", "may not be used when `type` is 'ClusterIP'"),
    ),
    "service address": (
        S,
        {"spec.clusterIP": "x"},
        invalid("spec.clusterIPs[0]", "x", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
    ),
    "external name": (S, {"spec.type": "ExternalName", "spec.ports": []}, required("spec.externalName")),
    "headless node port": (
        S,
        {"spec.type": "NodePort", "spec.clusterIP": "None"},
        invalid("spec.clusterIPs[0]", "None", "may not be set to 'None' for NodePort services"),
    ),
    "source ranges": (
        S,
        {"spec.loadBalancerSourceRanges": ["10.0.0.0/8"]},
        forbidden("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'"),
    ),
    "endpoint address": (
        "v1/Endpoints",
        {"subsets.0.addresses.0.ip": "127.0.0.1"},
        invalid(
            "subsets[0].addresses[0].ip", "127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"
        ),
    ),
    "event elsewhere": (
        "v1/Event",
        {"involvedObject.namespace": "x"},
        invalid("involvedObject.namespace", "x", "does not match event.namespace"),
    ),
    "limits": (
        "v1/LimitRange",
        {"spec.limits.0.min.cpu": "3"},
        invalid("spec.limits[0].min[cpu]", "3", "min value 3 is greater than max value 2"),
    ),
    "quota": (
        "v1/ResourceQuota",
        {"spec.hard": {"disk": "1"}},
        invalid("spec.hard[disk]", "disk", "must be a standard resource type or fully qualified"),
    ),
    "quota scope": (
        "v1/ResourceQuota",
        {"spec.scopes": ["X"]},
        invalid("spec.scopes", ["X"], "unsupported scope"),
    ),
    "volume of nothing": (PV, {"spec.hostPath": None}, required("spec", "must specify a volume type")),
    "volume modes": (PV, {"spec.accessModes": []}, required("spec.accessModes")),
    "claim size": (PVC, {"spec.resources": {}}, required("spec.resources[storage]")),
    "claim modes": (
        PVC,
        {"spec.accessModes": ["ReadWriteOnce", "ReadWriteOncePod"]},
        forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes"),
    ),
    "no selector": (D, {"spec.selector": None}, required("spec.selector")),
    "no selector, so no label matches": (
        D,
        {"spec.selector": None},
        invalid("spec.template.metadata.labels", {"app": "a"}, "`selector` does not match template `labels`"),
    ),
    "empty selector": (
        D,
        {"spec.selector": {}},
        invalid("spec.selector", {}, "empty selector is invalid for deployment"),
    ),
    "other labels": (
        D,
        {"spec.template.metadata.labels": {"app": "b"}},
        invalid(
            "spec.template.metadata.labels", {"app": "b"}, "`selector` does not match template `labels`"
        ),
    ),
    "template restart": (
        D,
        {"spec.template.spec.restartPolicy": "Never"},
        not_supported("spec.template.spec.restartPolicy", "Never", ["Always"]),
    ),
    "template container": (
        D,
        {"spec.template.spec.containers.0.image": ""},
        required("spec.template.spec.containers[0].image"),
    ),
    "recreate": (
        D,
        {"spec.strategy": {"type": "Recreate", "rollingUpdate": {}}},
        forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"),
    ),
    "no progress": (
        D,
        {"spec.strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
        invalid("spec.strategy.rollingUpdate.maxUnavailable", 0, "may not be 0 when `maxSurge` is 0"),
    ),
    "percent": (
        D,
        {"spec.strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
        invalid("spec.strategy.rollingUpdate.maxUnavailable", "101%", "must not be greater than 100%"),
    ),
    "progress deadline": (
        D,
        {"spec.progressDeadlineSeconds": 5, "spec.minReadySeconds": 5},
        invalid("spec.progressDeadlineSeconds", 5, "must be greater than minReadySeconds"),
    ),
    "negative replicas": (
        D,
        {"spec.replicas": -1},
        invalid("spec.replicas", -1, "must be greater than or equal to 0"),
    ),
    "stateful policy": (
        STS,
        {"spec.podManagementPolicy": "X"},
        invalid("spec.podManagementPolicy", "X", "must be 'OrderedReady' or 'Parallel'"),
    ),
    "daemon surge": (
        DS,
        {"spec.updateStrategy": {"rollingUpdate": {"maxSurge": 1}}},
        invalid(
            "spec.updateStrategy.rollingUpdate.maxSurge", 1, "may not be set when maxUnavailable is non-zero"
        ),
    ),
    "revision data": ("apps/v1/ControllerRevision", {"data": None}, required("data", "data is mandatory")),
    "job restart": (
        J,
        {"spec.template.spec.restartPolicy": "Always"},
        required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"'),
    ),
    "job indexes": (
        J,
        {"spec.completionMode": "Indexed", "spec.parallelism": 1},
        required("spec.completions", "when completion mode is Indexed"),
    ),
    "job rule": (
        J,
        {"spec.podFailurePolicy": {"rules": [{"action": "Count", "onExitCodes": {"operator": "In", "values": [0]}}]}},
        invalid("spec.podFailurePolicy.rules[0].onExitCodes.values[0]", 0, "must not be 0 for the In operator"),
    ),
    "cron schedule": (
        CRON,
        {"spec.schedule": "x"},
        invalid("spec.schedule", "x", "expected exactly 5 fields, found 1: [x]"),
    ),
    "cron zone": (
        CRON,
        {"spec.timeZone": "Mars/Base"},
        invalid("spec.timeZone", "Mars/Base", "unknown time zone Mars/Base"),
    ),
    "cron policy": (
        CRON,
        {"spec.concurrencyPolicy": "X"},
        not_supported("spec.concurrencyPolicy", "X", ["Allow", "Forbid", "Replace"]),
    ),
    "cron name": (
        CRON,
        {"metadata.name": "a" * 53},
        invalid("metadata.name", "a" * 53, "must be no more than 52 characters"),
    ),
    "hpa bounds": (
        HPA,
        {"spec.minReplicas": 5},
        invalid("spec.maxReplicas", 3, "must be greater than or equal to `minReplicas`"),
    ),
    "budget of both": (
        "policy/v1/PodDisruptionBudget",
        {"spec.maxUnavailable": 1},
        invalid(
            "spec",
            {"minAvailable": 1, "maxUnavailable": 1},
            "minAvailable and maxUnavailable cannot be both set",
        ),
    ),
    "policy port": (
        NP,
        {"spec.ingress": [{"ports": [{"port": 5, "endPort": 4}]}]},
        invalid("spec.ingress[0].ports[0].endPort", 5, "must be greater than or equal to `port`"),
    ),
    "policy peer": (
        NP,
        {"spec.ingress": [{"from": [{}]}]},
        required("spec.ingress[0].from[0]", "must specify a peer"),
    ),
    "policy except": (
        NP,
        {"spec.ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/24", "except": ["10.0.1.0/25"]}}]}]},
        invalid(
            "spec.ingress[0].from[0].ipBlock.except[0]", "10.0.1.0/25", "must be a strict subset of `cidr`"
        ),
    ),
    "ingress of nothing": (
        ING,
        {BACKEND: None},
        invalid("spec", None, "either `defaultBackend` or `rules` must be specified"),
    ),
    "ingress path": (
        ING,
        {
            "spec.rules": [
                {
                    "http": {
                        "paths": [
                            {
                                "path": "x",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "s", "port": {"number": 1}}},
                            }
                        ]
                    }
                }
            ]
        },
        invalid("spec.rules[0].http.paths[0].path", "x", "must be an absolute path"),
    ),
    "ingress port": (
        ING,
        {"spec.defaultBackend.service.port": {}},
        required(BACKEND, "port name or number is required"),
    ),
    "class controller": (
        "networking.k8s.io/v1/IngressClass",
        {"spec.controller": "x"},
        invalid("spec.controller", "x", 'must be a domain-prefixed path (such as "acme.io/foo")'),
    ),
    "slice type": (
        SLICE,
        {"addressType": "X", "endpoints": []},
        not_supported("addressType", "X", ["FQDN", "IPv4", "IPv6"]),
    ),
    "slice addresses": (
        SLICE,
        {"endpoints": [{"addresses": []}]},
        required("endpoints[0].addresses", "must contain at least 1 address"),
    ),
    "role verbs": (
        "rbac.authorization.k8s.io/v1/Role",
        {"rules": [{"apiGroups": [""], "resources": ["x"]}]},
        required("rules[0].verbs", "verbs must contain at least one value"),
    ),
    "binding role": (
        RB,
        {"roleRef.kind": "X"},
        not_supported("roleRef.kind", "X", ["Role", "ClusterRole"]),
    ),
    "binding subject": (
        RB,
        {"subjects": [{"kind": "X", "name": "u"}]},
        not_supported("subjects[0].kind", "X", ["ServiceAccount", "User", "Group"]),
    ),
    "storage binding": (
        "storage.k8s.io/v1/StorageClass",
        {"volumeBindingMode": "X"},
        not_supported("volumeBindingMode", "X", ["Immediate", "WaitForFirstConsumer"]),
    ),
    "attachment": (
        "storage.k8s.io/v1/VolumeAttachment",
        {"spec.source": {}},
        required("spec.source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName"),
    ),
    "lease": (
        "coordination.k8s.io/v1/Lease",
        {"spec.leaseDurationSeconds": 0},
        invalid("spec.leaseDurationSeconds", 0, "must be greater than 0"),
    ),
    "priority": (
        "scheduling.k8s.io/v1/PriorityClass",
        {"value": 1_000_000_001},
        forbidden("value", "maximum allowed value of a user defined priority is 1000000000"),
    ),
    "webhook name": (
        VWC,
        {"webhooks.0.name": "a"},
        invalid(
            "webhooks[0].name", "a", "should be a domain with at least three segments separated by dots"
        ),
    ),
    "webhook scheme": (
        VWC,
        {"webhooks.0.clientConfig.url": "http://x"},
        invalid(
            "webhooks[0].clientConfig.url",
            "http",
            "'https' is the only allowed URL scheme; desired format: https://host[/path]",
        ),
    ),
    "webhook time": (
        VWC,
        {"webhooks.0.timeoutSeconds": 31},
        invalid("webhooks[0].timeoutSeconds", 31, "the timeout value must be between 1 and 30 seconds"),
    ),
    "webhook twice": (VWC, {"webhooks": [HOOK, HOOK]}, duplicate("webhooks[1].name", "a.b.c")),
    "policy actions": (
        "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding",
        {"spec.validationActions": []},
        required("spec.validationActions", "at least one validation action is required"),
    ),
    "crd name": (
        CRDS,
        {"metadata.name": "x"},
        invalid("metadata.name", "x", 'must be spec.names.plural+"."+spec.group'),
    ),
    "crd scope": (CRDS, {"spec.scope": "X"}, not_supported("spec.scope", "X", ["Cluster", "Namespaced"])),
    "crd schema": (CRDS, {"spec.versions.0.schema": None}, required(V1)),
    "crd type": (
        CRDS,
        {"spec.versions.0.schema.openAPIV3Schema.properties.spec": {}},
        required(f"{V1}.properties[spec].type", "must not be empty for specified object fields"),
    ),
    "crd pattern": (
        CRDS,
        {"spec.versions.0.schema.openAPIV3Schema.properties.spec": {"type": "string", "pattern": "(?<=a)b"}},
        invalid(
            f"{V1}.properties[spec].pattern",
            "(?<=a)b",
            "must be a valid regular expression, but isn't: error parsing regexp: invalid or unsupported Perl syntax: "
            "`(?<=`",
        ),
    ),
    "crd root": (
        CRDS,
        {"spec.versions.0.schema.openAPIV3Schema.type": "string"},
        invalid(f"{V1}.type", "string", "must be object at the root"),
    ),
    "crd nested": (
        CRDS,
        {"spec.versions.0.schema.openAPIV3Schema.properties.spec": {"type": "object", "anyOf": [{"type": "object"}]}},
        forbidden(f"{V1}.properties[spec].anyOf[0].type", "must be empty to be structural"),
    ),
    "crd map keys": (
        CRDS,
        {
            "spec.versions.0.schema.openAPIV3Schema.properties.spec": {
                "type": "array",
                "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
            }
        },
        required(
            f"{V1}.properties[spec].items.properties[k].default",
            "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
    ),
    "crd protected": (
        CRDS,
        {"spec.group": "x.k8s.io", "metadata.name": "foos.x.k8s.io"},
        required(
            "metadata.annotations[api-approved.kubernetes.io]",
            'protected groups must have approval annotation "api-approved.kubernetes.io", see '
            "https://github.com/kubernetes/enhancements/pull/1111",
        ),
    ),
    "api service priority": (
        "apiregistration.k8s.io/v1/APIService",
        {"spec.versionPriority": 0},
        invalid("spec.versionPriority", 0, "must be positive and less than 1000"),
    ),
    "claim mode": (
        "resource.k8s.io/v1/ResourceClaim",
        {"spec.devices.requests.0.exactly.allocationMode": "X"},
        not_supported("spec.devices.requests[0].exactly.allocationMode", "X", ["All", "ExactCount"]),
    ),
    "review of both": (
        "authorization.k8s.io/v1/SubjectAccessReview",
        {"spec.nonResourceAttributes": {"path": "/"}},
        invalid(
            "spec.nonResourceAttributes",
            {"path": "/"},
            "cannot be specified in combination with resourceAttributes",
        ),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_create_says_what_is_wrong(case: str) -> None:
    kind, changes, expected = WRONG[case]
    assert expected in made(kind, new(kind, **changes))


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"])
def test_a_template_that_is_missing_has_the_defaults_of_an_empty_one(kind: str) -> None:
    found = {error.field for error in made(f"apps/v1/{kind}", {"metadata": {"name": "a"}})}
    assert not {f for f in found if f.endswith(("restartPolicy", "dnsPolicy", "terminationGracePeriodSeconds"))}


UPDATES: dict[str, tuple[str, Object, Object, FieldError]] = {
    "secret type": ("v1/Secret", {}, {"type": "x"}, invalid("type", "x", IMMUTABLE)),
    "frozen map": (
        "v1/ConfigMap",
        {"immutable": True},
        {"data": {"k": "w"}},
        forbidden("data", "field is immutable when `immutable` is set"),
    ),
    "selector": (
        D,
        {},
        {"spec.selector": {"matchLabels": {"x": "y"}}},
        invalid("spec.selector", {"matchLabels": {"x": "y"}}, IMMUTABLE),
    ),
    "stateful": (
        STS,
        {},
        {"spec.serviceName": "x"},
        forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ),
    ),
    "job mode": (
        J,
        {},
        {"spec.completionMode": "Indexed"},
        invalid("spec.completionMode", "Indexed", IMMUTABLE),
    ),
    "role ref": (
        RB,
        {},
        {"roleRef.name": "x"},
        invalid("roleRef", {**ROLE_REF, "name": "x"}, "cannot change roleRef"),
    ),
    "provisioner": (
        "storage.k8s.io/v1/StorageClass",
        {},
        {"provisioner": "x"},
        invalid("provisioner", "x", IMMUTABLE),
    ),
    "priority": (
        "scheduling.k8s.io/v1/PriorityClass",
        {},
        {"value": 11},
        forbidden("value", "may not be changed in an update."),
    ),
    "handler": ("node.k8s.io/v1/RuntimeClass", {}, {"handler": "x"}, invalid("handler", "x", IMMUTABLE)),
    "address type": (
        SLICE,
        {"endpoints": []},
        {"addressType": "IPv6"},
        invalid("addressType", "IPv6", IMMUTABLE),
    ),
    "node range": (
        "v1/Node",
        {},
        {"spec.podCIDRs": ["10.1.0.0/24"]},
        forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'),
    ),
    "crd group": (CRDS, {}, {"spec.group": "c.d"}, invalid("spec.group", "c.d", IMMUTABLE)),
}


@pytest.mark.parametrize("case", UPDATES)
def test_update_says_what_is_wrong(case: str) -> None:
    kind, before, changes, expected = UPDATES[case]
    old = stored(kind, **before)
    obj = deepcopy(old)
    for path, value in changes.items():
        put(obj, path, value)
    validation.prepare_for_update(row(kind), obj, old)
    assert expected in validation.validate_update(row(kind), obj, old)


def test_a_service_keeps_its_address() -> None:
    old = stored(S)
    old["spec"] |= {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}
    again = new(S)
    again["metadata"]["resourceVersion"] = "1"
    defaulting.apply(row(S), again)
    validation.prepare_for_update(row(S), again, old)
    assert again["spec"]["clusterIP"] == "10.0.0.1"
    assert validation.validate_update(row(S), again, old) == []
    other = deepcopy(old)
    other["spec"] |= {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}
    said = "may not change once set"
    assert validation.validate_update(row(S), other, old) == [invalid("spec.clusterIPs[0]", ["10.0.0.2"], said)]


def test_a_namespace_waits_for_its_contents() -> None:
    obj = {"metadata": {"name": "a"}}
    validation.prepare_for_create(row("v1/Namespace"), obj)
    assert obj == {
        "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def test_a_job_selects_its_own_pods() -> None:
    job = stored(J)
    expected = {
        "batch.kubernetes.io/controller-uid": "u",
        "controller-uid": "u",
        "batch.kubernetes.io/job-name": "a",
        "job-name": "a",
    }
    assert job["spec"]["template"]["metadata"]["labels"] == {"app": "a"} | expected
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}


def test_string_data_joins_data() -> None:
    obj = new("v1/Secret", stringData={"s": "x"})
    validation.prepare_for_create(row("v1/Secret"), obj)
    assert obj["data"] == {"k": "dg==", "s": "eA=="}
    assert "stringData" not in obj


def _generation(kind: str, change: Callable[[Object], None], subresource: str = "") -> int:
    old = stored(kind)
    obj = deepcopy(old)
    change(obj)
    validation.prepare_for_update(row(kind), obj, old, subresource)
    return int(obj["metadata"]["generation"])


def test_the_generation_counts_changes_of_what_is_wanted() -> None:
    assert _generation(D, lambda o: o["spec"].update(replicas=5)) == 2
    assert _generation(D, lambda o: o["metadata"].update(labels={"x": "y"})) == 1
    assert _generation(D, lambda o: o["metadata"].update(annotations={"x": "y"})) == 2
    assert _generation(D, lambda o: o["spec"].update(replicas=5), "status") == 1


def test_a_new_object_brings_no_status_but_a_node_does() -> None:
    obj = new(D, status={"replicas": 3})
    validation.prepare_for_create(row(D), obj)
    assert obj["status"] == {}
    node = new("v1/Node")
    validation.prepare_for_create(row("v1/Node"), node)
    assert node["status"] == {"capacity": {"cpu": "2"}}


def test_every_kind_can_be_checked_with_nothing_in_it() -> None:
    for resource in BUILTIN:
        obj: Object = {"metadata": {"name": "a"}}
        defaulting.apply(resource, obj)
        validation.prepare_for_create(resource, obj)
        validation.validate_create(resource, obj)
        for subresource in ("", *(s.name for s in resource.subresources)):
            other = deepcopy(obj)
            validation.prepare_for_update(resource, other, obj, subresource)
            validation.validate_update(resource, other, obj, subresource)
        validation.warnings(resource, obj)


@pytest.mark.parametrize(
    ("kind", "field", "said"),
    [
        ("apps/v1/Deployment", "updatedReplicas", "cannot be greater than status.replicas"),
        ("apps/v1/StatefulSet", "readyReplicas", "cannot be greater than status.replicas"),
        ("apps/v1/ReplicaSet", "fullyLabeledReplicas", "cannot be greater than status.replicas"),
    ],
)
def test_counts_are_within_the_replicas_even_below_zero(kind: str, field: str, said: str) -> None:
    old = stored(kind)
    obj = deepcopy(old)
    obj["status"] = {"replicas": -1}
    validation.prepare_for_update(row(kind), obj, old, "status")
    errs = validation.validate_update(row(kind), obj, old, "status")
    negative = invalid("status.replicas", -1, "must be greater than or equal to 0")
    assert negative in errs
    assert invalid(f"status.{field}", 0, said) in errs


def test_an_approval_is_written_to_the_status_and_nothing_else() -> None:
    requests = BUILTIN.by_kind("certificates.k8s.io/v1", "CertificateSigningRequest")
    assert requests is not None
    old: Object = {"metadata": {"name": "r"}, "spec": {"signerName": "a/b"}, "status": {"certificate": "eA=="}}
    approved = [{"type": "Approved", "status": "True"}]
    new: Object = {"metadata": {"name": "r"}, "spec": {"signerName": "c/d"}, "status": {"conditions": approved}}
    validation.prepare_for_update(requests, new, old, "approval")
    assert new["spec"] == old["spec"]
    assert new["status"] == {"conditions": approved, "certificate": "eA=="}
