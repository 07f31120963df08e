"""What is refused, kind by kind: a right object, the change, and the errors as "Type field" (upstream's tables)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.api.validation.test_kinds import made, new, put, row, stored

from podwright.api import validation
from podwright.api.objects import deepcopy
from podwright.api.status import FieldError

Case = tuple[str, dict[str, Any], str]

CLAIM = "resource.k8s.io/v1/ResourceClaim"
SLICE = "resource.k8s.io/v1/ResourceSlice"
CLASS = "resource.k8s.io/v1/DeviceClass"
NETWORK = "networking.k8s.io/v1/NetworkPolicy"
INGRESS = "networking.k8s.io/v1/Ingress"
ENDPOINTS = "discovery.k8s.io/v1/EndpointSlice"
LEASE = "coordination.k8s.io/v1/Lease"
SCALER = "autoscaling/v2/HorizontalPodAutoscaler"
QUOTA = "v1/ResourceQuota"
VOLUME = "v1/PersistentVolume"
PVC = "v1/PersistentVolumeClaim"
HOOKS = "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration"
POLICIES = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"
OS = "kubernetes.io/os"
BETA = "volume.beta.kubernetes.io/storage-class"
IN_POD, POD = "spec.template.spec", "v1/Pod"
CLAIM_SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
BLOCK = "spec.egress[0].to[0].ipBlock"
HINTS = "endpoints[0].hints"
RULE, R = "webhooks.0.rules.0", "webhooks[0].rules[0].resources"
HOOK_AT = "webhooks[0].matchConditions"
REQUEST = "spec.devices.requests.0"
AT = "spec.devices.requests[0]"
DEVICE, DEV = "spec.devices.0", "spec.devices[0]"
POLICY = f"{DEV}.capacity[mem].requestPolicy"
TIE = "spec.devices.constraints[0]"
ONE = {"deviceClassName": "c"}
RANGE = {"default": "2", "validRange": {"min": "1", "max": "3", "step": "1"}}
RESULT = {"request": "r", "driver": "d.io", "pool": "p", "device": "dev"}
CONDITION = {"type": "A", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def shared(policy: dict[str, Any]) -> dict[str, Any]:
    device = {"allowMultipleAllocations": True, "capacity": {"mem": {"value": "3", "requestPolicy": policy}}}
    return {DEVICE: {"name": "d", **device}}


def block(cidr: str, less: str = "11.0.0.0/8") -> dict[str, Any]:
    return {"to": [{"ipBlock": {"cidr": cidr, "except": [less]}}]}


def on(key: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": key, "operator": "Exists"}]}
    return {"required": {"nodeSelectorTerms": [term]}}


MADE: list[Case] = [
    (CLAIM, {f"{REQUEST}.name": "A"}, f"Invalid {AT}.name"),
    (CLAIM, {f"{REQUEST}.exactly": None}, f"Required {AT}"),
    (CLAIM, {f"{REQUEST}.firstAvailable": [{"name": "x", **ONE}]}, f"Invalid {AT}"),
    (CLAIM, {REQUEST: {"name": "r", "firstAvailable": [ONE | {"name": "x"}] * 2}}, f"Duplicate {AT}.firstAvailable[1]"),
    (CLAIM, {REQUEST: {"name": "r", "firstAvailable": [ONE] * 9}}, f"TooMany {AT}.firstAvailable"),
    (CLAIM, {f"{REQUEST}.exactly": ONE | {"allocationMode": "All", "count": 1}}, f"Invalid {AT}.exactly.count"),
    (CLAIM, {f"{REQUEST}.exactly": ONE | {"allocationMode": "X"}}, f"NotSupported {AT}.exactly.allocationMode"),
    (CLAIM, {f"{REQUEST}.exactly": {"deviceClassName": ""}}, f"Required {AT}.exactly.deviceClassName"),
    (CLAIM, {f"{REQUEST}.exactly.selectors": [{}]}, f"Required {AT}.exactly.selectors[0].cel"),
    (CLAIM, {f"{REQUEST}.exactly.tolerations": [{"operator": "Exists", "effect": "None"}]}, ""),
    (CLAIM, {f"{REQUEST}.exactly.tolerations": [{"effect": "X"}]}, f"NotSupported {AT}.exactly.tolerations[0].effect"),
    (CLAIM, {"spec.devices.constraints": [{}]}, f"Required {TIE}"),
    (CLAIM, {"spec.devices.constraints": [{"matchAttribute": "a"}]}, f"Invalid {TIE}.matchAttribute"),
    (
        CLAIM,
        {"spec.devices.constraints": [{"requests": ["r", "r", "x/y/z"], "matchAttribute": "a/b"}]},
        f"Invalid {TIE}.requests[2]; Duplicate {TIE}.requests[1]",
    ),
    (CLAIM, {"spec.devices.config": [{}]}, "Required spec.devices.config[0].opaque"),
    (
        CLAIM,
        {"spec.devices.config": [{"opaque": {"driver": "", "parameters": [1]}}]},
        "Required spec.devices.config[0].opaque.driver; Invalid spec.devices.config[0].opaque.parameters",
    ),
    (CLASS, {"spec.extendedResourceName": "cpu"}, "Invalid spec.extendedResourceName"),
    ("resource.k8s.io/v1/ResourceClaimTemplate", {"spec.metadata": {"name": "x"}}, "Forbidden spec.metadata.name"),
    (SLICE, {"spec.pool.name": "a//b"}, "Invalid spec.pool.name"),
    (SLICE, {"spec.allNodes": True}, "Invalid spec"),
    (SLICE, {"spec.nodeName": None, "spec.allNodes": False}, "Invalid spec.allNodes; Required spec"),
    (SLICE, {"spec.sharedCounters": [{"name": "c", "counters": {"x": {"value": "1"}}}]}, "Invalid spec"),
    (SLICE, {"spec.devices": None, "spec.sharedCounters": [{"name": "c"}]}, "Required spec.sharedCounters[0].counters"),
    (SLICE, {f"{DEVICE}.nodeName": "n"}, "Invalid spec.devices[0]"),
    (SLICE, {"spec.nodeName": None, "spec.perDeviceNodeSelection": True}, "Required spec.devices[0]"),
    (SLICE, {f"{DEVICE}.attributes": {"a/b/c": {"int": 1}}}, "Invalid spec.devices[0].attributes"),
    (SLICE, {f"{DEVICE}.attributes": {"a": {"int": 1, "bool": True}}}, "Invalid spec.devices[0].attributes[a]"),
    (SLICE, {f"{DEVICE}.attributes": {"a": {"version": "01.0.0"}}}, "Invalid spec.devices[0].attributes[a].version"),
    (SLICE, {f"{DEVICE}.bindingConditions": ["a"]}, "Invalid spec.devices[0].bindingFailureConditions"),
    (SLICE, {f"{DEVICE}.consumesCounters": [{"counterSet": "c"}]}, f"Required {DEV}.consumesCounters[0].counters"),
    (SLICE, {f"{DEVICE}.taints": [{"key": "k", "effect": ""}]}, "Required spec.devices[0].taints[0].effect"),
    (SLICE, {DEVICE: {"name": "d", "capacity": {"mem": {"value": "1", "requestPolicy": {}}}}},
     f"Forbidden {POLICY}"),
    (SLICE, shared(RANGE), ""),
    (SLICE, shared(RANGE | {"default": None}), f"Required {POLICY}.default"),
    (SLICE, shared(RANGE | {"default": "4"}), f"Invalid {POLICY}.validRange.default"),
    (SLICE, shared({"default": "1", "validRange": {"min": "1", "step": "0"}}),
     f"Invalid {POLICY}.validRange.step"),
    (SLICE, shared({"default": "1.5", "validRange": {"min": "1", "step": "1"}}),
     f"Invalid {POLICY}.validRange.step"),
    (SLICE, shared({"default": "1", "validValues": ["2", "1"]}),
     f"Invalid {POLICY}.validValues[1]"),
    (SLICE, shared({"default": "1", "validValues": ["2", "4"]}),
     f"Invalid {POLICY}.validValues[1]; "
     f"Invalid {POLICY}.validValues"),
    (SLICE, {DEVICE: {"name": "d", "capacity": {"m": {"value": "x"}}}}, "Invalid spec.devices[0].capacity[m]"),
    (NETWORK, {"spec.ingress": [{"from": [{}]}]}, "Required spec.ingress[0].from[0]"),
    (NETWORK, {"spec.egress": [{"ports": [{"endPort": 1}]}]}, "Invalid spec.egress[0].ports[0].endPort"),
    (NETWORK, {"spec.egress": [block("10.0.0.1/8")]}, f"Invalid {BLOCK}.cidr; Invalid {BLOCK}.except[0]"),
    (NETWORK, {"spec.egress": [block("")]}, f"Required {BLOCK}.cidr"),
    (NETWORK, {"spec.egress": [block("::ffff:1.2.3.0/120", "1::/16")]},
     f"Invalid {BLOCK}.cidr; Invalid {BLOCK}.except[0]"),
    ("networking.k8s.io/v1/IPAddress", {"metadata.name": "2001:DB8::1"}, "Invalid metadata.name"),
    ("networking.k8s.io/v1/IPAddress", {"spec.parentRef.name": ""}, "Required spec.parentRef.name"),
    ("networking.k8s.io/v1/ServiceCIDR", {"spec.cidrs": ["10.0.0.0/8", "11.0.0.0/8"]}, "Invalid spec.cidrs"),
    ("networking.k8s.io/v1/ServiceCIDR", {"spec.cidrs": ["10.0.0.0/8", "x"]}, "Invalid spec.cidrs"),
    ("networking.k8s.io/v1/ServiceCIDR", {"spec.cidrs": ["10.0.0.0/08"]}, "Invalid spec.cidrs[0]"),
    (INGRESS, {"spec.defaultBackend": None, "spec.rules": None}, "Invalid spec"),
    (INGRESS, {"spec.defaultBackend": {"service": {"name": "s"}}}, "Required spec.defaultBackend"),
    (INGRESS, {"spec.defaultBackend": {"resource": {"kind": "K"}}}, "Required spec.defaultBackend.resource.name"),
    ("networking.k8s.io/v1/IngressClass", {"spec.parameters": {"kind": "K", "name": "n", "scope": "Namespace"}},
     "Required spec.parameters.namespace"),
    (ENDPOINTS, {"endpoints.0.hostname": ""}, "Invalid endpoints[0].hostname"),
    (ENDPOINTS, {"endpoints.0.deprecatedTopology": {"topology.kubernetes.io/zone": "z"}}, ""),
    (ENDPOINTS, {"endpoints.0.hints": {"forZones": [{"name": "-"}] * 2, "forNodes": [{"name": "n"}] * 9}},
     f"Duplicate {HINTS}.forZones[1].name; Invalid {HINTS}.forZones[0].name; Invalid {HINTS}.forZones[1].name; "
     f"TooMany {HINTS}.forNodes"),
    (ENDPOINTS, {"endpoints.0.addresses": ["010.0.0.1", "::1", "x"]}, "Invalid endpoints[0].addresses[0]; "
     "Invalid endpoints[0].addresses[1]; Invalid endpoints[0].addresses[1]; Invalid endpoints[0].addresses[2]"),
    (ENDPOINTS, {"ports": [{"protocol": ""}]}, "NotSupported ports[0].protocol"),
    (LEASE, {"spec.strategy": "X", "spec.leaseTransitions": -1}, "Invalid spec.leaseTransitions"),
    ("v1/Event", {"metadata.name": "A_b"}, ""),
    ("node.k8s.io/v1/RuntimeClass", {"handler": ""}, "Required handler"),
    ("node.k8s.io/v1/RuntimeClass", {"overhead": {"podFixed": {"cpu": "-1"}}}, "Invalid overhead.limits[cpu]"),
    ("node.k8s.io/v1/RuntimeClass", {"scheduling": {"tolerations": [
        {"key": "k", "operator": "Exists", "tolerationSeconds": 1, "effect": "NoExecute"},
        {"key": "k", "operator": "Exists", "effect": "NoExecute"}]}}, "Duplicate scheduling.tolerations[1]"),
    (SCALER, {"spec.maxReplicas": 0}, "Required spec.maxReplicas; Invalid spec.maxReplicas"),
    (SCALER, {"spec.minReplicas": 0}, "Invalid spec.minReplicas; Forbidden spec.metrics"),
    (SCALER, {"spec.scaleTargetRef": {"apiVersion": "v1", "kind": "ReplicationController", "name": "d"}}, ""),
    (SCALER, {"spec.scaleTargetRef.apiVersion": "v1"}, "Invalid spec.scaleTargetRef.apiVersion"),
    ("apps/v1/StatefulSet", {f"{IN_POD}.containers.0.volumeMounts": [{"name": "data", "mountPath": "/d"}],
                             f"{IN_POD}.volumes": [{"name": "data", "nfs": {}}, {"name": "v", "emptyDir": {}}],
                             "spec.volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": CLAIM_SPEC}]}, ""),
    ("apps/v1/StatefulSet", {"spec.volumeClaimTemplates": [{"spec": {}}]},
     f"Required {IN_POD}.volumes[0].name; Required {IN_POD}.volumes[0].persistentVolumeClaim.claimName; "
     "Required spec.volumeClaimTemplates[0].spec.accessModes; "
     "Required spec.volumeClaimTemplates[0].spec.resources[storage]"),
    (SCALER, {"spec.metrics": [{"type": "X"}]}, "NotSupported spec.metrics[0].type; NotSupported spec.metrics[0].type"),
    ("policy/v1/PodDisruptionBudget", {"metadata.name": "A_b", "spec.maxUnavailable": "101%"},
     "Invalid spec; Invalid spec.maxUnavailable"),
    ("apps/v1/StatefulSet", {"metadata.name": "a.b"}, "Invalid metadata.name"),
    ("apps/v1/Deployment", {"spec.strategy": {"type": "X"}}, "NotSupported spec.strategy"),
    ("apps/v1/Deployment", {"spec.selector": {"matchLabels": {"-": "x"}}, "spec.template.spec.containers": []},
     "Invalid spec.selector.matchLabels; Invalid spec.selector"),
    ("apps/v1/StatefulSet", {"spec.selector": {"matchExpressions": [{"key": "a", "operator": "X"}]}},
     "Invalid spec.selector.matchExpressions[0].operator; Invalid spec.selector"),
    (QUOTA, {"spec": {"scopes": ["BestEffort"], "hard": {"cpu": "1", "count/x": "1", "a.b/c": "1"}}},
     "Invalid spec.scopes"),
    (QUOTA, {"spec": {"scopes": ["Terminating"], "hard": {"services": "1"}}}, "Invalid spec.scopes"),
    (QUOTA, {"spec": {"scopes": ["X"], "hard": {"services": "1"}}}, "Invalid spec.scopes"),
    ("v1/Node", {"status.declaredFeatures": ["B", "A", "A", "b"]},
     "Duplicate status.declaredFeatures[2]; Invalid status.declaredFeatures[3]; Invalid status.declaredFeatures"),
    ("v1/Node", {"status.nodeInfo": {"swap": {"capacity": 0}}}, "Invalid metadata.nodeSwapStatus.capacity"),
    (VOLUME, {"spec.cephfs": {"monitors": ["m"]}, "spec.nfs": {"server": "s", "path": "/"}}, "Forbidden spec.nfs; "
     "Forbidden spec.cephFS"),
    (HOOKS, {f"{RULE}.resources": ["a/x", "a/*", "a/y", "*", "b"]}, f"Invalid {R}[2]; Invalid {R}"),
    (HOOKS, {f"{RULE}.resources": ["*/*", "*/x"]}, f"Invalid {R}[1]; Invalid {R}"),
    (HOOKS, {"webhooks.0.matchConditions": [{"name": "", "expression": "1"}] * 2},
     "".join(f"Required {HOOK_AT}[{i}].name; Invalid {HOOK_AT}[{i}].expression; " for i in range(2))),
    (POLICIES, {"spec.paramKind": {"apiVersion": "/", "kind": "K"}}, "Invalid spec.paramKind.apiVersion"),
    (POLICIES, {"spec.variables": [{"name": "in", "expression": "1"}]}, "Invalid spec.variables[0].name"),
    (POLICIES, {"spec.variables": [{"name": "a", "expression": "1"}] * 2}, ""),
    (POLICIES, {"spec.validations": None}, "Required spec.validations; Required spec.auditAnnotations"),
    (POLICIES, {"spec.validations": [{"expression": "true\n&& true", "message": "a\rb", "reason": "Unauthorized"}]},
     "Invalid spec.validations[0].message; NotSupported spec.validations[0].reason"),
    (POLICIES, {"spec.auditAnnotations": [{"key": "k", "valueExpression": f"'{'x' * 5120}'"}, {"key": "k"}]},
     "Required spec.auditAnnotations[0].valueExpression; Required spec.auditAnnotations[1].valueExpression; "
     "Duplicate spec.auditAnnotations[1].key"),
]

CHANGED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (CLAIM, {}, {f"{REQUEST}.name": "other"}, "Invalid spec"),
    (CLASS, {}, {"spec.selectors": [{}]}, "Required spec.selectors[0].cel"),
    (SLICE, {}, {"spec.driver": "other.io"}, "Invalid spec.driver"),
    (SLICE, {}, {"spec.pool.name": "other"}, "Invalid spec.pool.name"),
    (NETWORK, {"spec.egress": [block("10.0.0.1/8", "10.0.0.0/9")]}, {"metadata.labels": {"a": "b"}}, ""),
    (NETWORK, {"spec.egress": [block("10.0.0.1/8", "10.0.0.0/9")]}, {"spec.ingress": [{"from": [
        {"ipBlock": {"cidr": "010.0.0.0/8"}}]}]}, "Invalid spec.ingress[0].from[0].ipBlock.cidr"),
    ("networking.k8s.io/v1/ServiceCIDR", {}, {"spec.cidrs": ["10.0.0.0/16", "fd00::/64"]}, ""),
    ("networking.k8s.io/v1/ServiceCIDR", {}, {"spec.cidrs": ["10.1.0.0/16"]}, "Invalid spec.cidrs"),
    ("networking.k8s.io/v1/IPAddress", {}, {"spec.parentRef.name": "x"}, "Invalid spec.parentRef"),
    (ENDPOINTS, {"endpoints": []}, {"addressType": "IPv6"}, "Invalid addressType"),
    ("apps/v1/StatefulSet", {}, {"spec.serviceName": "x"}, "Forbidden spec"),
    (VOLUME, {"spec.nodeAffinity": on("beta." + OS)}, {"spec.nodeAffinity": on(OS)}, ""),
    (VOLUME, {"spec.nodeAffinity": on("beta." + OS)}, {"spec.nodeAffinity": on("x")}, "Invalid nodeAffinity"),
    (PVC, {"metadata.annotations": {BETA: "s"}}, {"metadata.annotations": {}, "spec.storageClassName": "s"}, ""),
    (PVC, {"metadata.annotations": {BETA: "s"}}, {"spec.storageClassName": "t"}, "Forbidden spec"),
    (PVC, {"spec.storageClassName": None}, {"spec.storageClassName": "s"}, ""),
    (PVC, {}, {"spec.accessModes": []}, "Required spec.accessModes; Forbidden spec"),
]

WRONG_VALUES = {"matchExpressions": [{"key": "k", "operator": "In", "values": ["-"]}]}
SPREAD = {"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}
SCHEMA = "spec.versions.0.schema.openAPIV3Schema.properties.spec"
LISTED = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"],
          "items": {"type": "object", "properties": {"a": {"type": "string"}}}}
WILD = {"host": "*.a.b", "http": {"paths": [{"path": "x", "pathType": "Prefix", "backend": {"service": {
    "name": "s", "port": {"number": 1}}}}]}}

STAYS: list[tuple[str, dict[str, Any]]] = [
    (POD, {"spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "k", "labelSelector": WRONG_VALUES}]}),
    (POD, {"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [WRONG_VALUES]}}),
    (POD, {"spec.topologySpreadConstraints": [SPREAD | {"labelSelector": WRONG_VALUES}]}),
    (POD, {"spec.topologySpreadConstraints": [SPREAD | {"matchLabelKeys": ["a"]}]}),
    (POD, {"metadata.annotations": {"controller.kubernetes.io/pod-deletion-cost": "x"}}),
    (POD, {"spec.serviceAccountName": "a", "spec.volumes": [
        {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "../x"}}]}}]}),
    (POD, {"spec.hostNetwork": True, "spec.securityContext": {"sysctls": [{"name": "net.a", "value": "1"}]}}),
    (POD, {"spec.containers.0.resources": {
        "limits": {"cpu": "1", "hugepages-2Mi": "3Mi"}, "requests": {"cpu": "1", "hugepages-2Mi": "3Mi"}}}),
    ("apps/v1/Deployment", {f"{IN_POD}.topologySpreadConstraints": [SPREAD | {"labelSelector": WRONG_VALUES}]}),
    ("apps/v1/StatefulSet", {"spec.serviceName": "a.b"}),
    ("apps/v1/StatefulSet", {f"{IN_POD}.containers.0.volumeMounts": [{"name": "data", "mountPath": "/d"}]}),
    ("apps/v1/StatefulSet", {"spec.volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}),
    ("batch/v1/CronJob", {"spec.schedule": ""}),
    ("v1/ReplicationController", {"spec.minReadySeconds": -1}),
    (NETWORK, {"spec.podSelector": WRONG_VALUES}),
    (NETWORK, {"spec.egress": [block("")]}),
    ("policy/v1/PodDisruptionBudget", {"spec.selector": WRONG_VALUES}),
    (INGRESS, {"spec.tls": [{"secretName": "A"}]}),
    (INGRESS, {"spec.rules": [WILD]}),
    (SCALER, {"spec.minReplicas": 0, "spec.metrics": [
        {"type": "External", "external": {"metric": {"name": "m"}, "target": {"type": "Value", "value": "1"}}}]}),
    (SCALER, {"spec.scaleTargetRef.apiVersion": "a/b/c"}),
    (SCALER, {"spec.scaleTargetRef.apiVersion": None}),
    (PVC, {"spec.dataSource": {"apiGroup": "-", "kind": "K", "name": "n"}}),
    (PVC, {"spec.selector": WRONG_VALUES}),
    (VOLUME, {"spec.nodeAffinity": {"required": {"nodeSelectorTerms": [WRONG_VALUES]}}}),
    (HOOKS, {"webhooks.0.objectSelector": WRONG_VALUES}),
    (HOOKS, {"webhooks.0.sideEffects": "Unknown", "webhooks.0.admissionReviewVersions": ["v2"]}),
    (HOOKS, {"webhooks.0.matchConditions": [{"name": "a", "expression": "none"}]}),
    (POLICIES, {"spec.validations": [{"expression": "object.x ="}]}),
    ("rbac.authorization.k8s.io/v1/ClusterRole", {"aggregationRule": {"clusterRoleSelectors": [WRONG_VALUES]}}),
    ("rbac.authorization.k8s.io/v1/Role", {"rules": [{"apiGroups": ["*"], "resources": ["*"]}]}),
    (CLASS, {"spec.selectors": [{"cel": {"expression": "none"}}]}),
    (SLICE, {f"{DEVICE}.taints": [{"key": "k", "effect": ""}]}),
    ("apiextensions.k8s.io/v1/CustomResourceDefinition", {f"{SCHEMA}.properties.a": LISTED}),
    (ENDPOINTS, {"endpoints.0.addresses": ["010.0.0.1"]}),
]

STATUS: list[Case] = [
    (CLAIM, {"status": {"reservedFor": [{"resource": "pods", "name": "a", "uid": ""}]}},
     "Required status.reservedFor[0].uid; Forbidden status.reservedFor"),
    (CLAIM, {"status": {"allocation": {"devices": {"results": [RESULT]}}, "devices": [RESULT]}}, ""),
    (CLAIM, {"status": {"allocation": {"devices": {"results": [RESULT | {"request": "x"}]}}}},
     "Invalid status.allocation.devices.results[0].request"),
    (CLAIM, {"status": {"allocation": {"devices": {"config": [{"opaque": {"driver": "d.io", "parameters": {}}}]}}}},
     "Required status.allocation.devices.config[0].source"),
    (CLAIM, {"status": {"devices": [RESULT]}}, "Invalid status.devices[0]"),
    (
        CLAIM,
        {"status": {"allocation": {"devices": {"results": [RESULT]}}, "devices": [
            RESULT | {"conditions": [CONDITION, CONDITION | {"reason": "no blank"}], "data": [],
                      "networkData": {"ips": ["10.0.0.1", "10.0.0.1/024"]}},
        ]}},
        "Duplicate status.devices[0].conditions[1]; Invalid status.devices[0].conditions[1].reason; "
        "Invalid status.devices[0].data; Invalid status.devices[0].networkData.ips[0]; "
        "Invalid status.devices[0].networkData.ips[1]",
    ),
]


GATED: list[Case] = [
    (SLICE, {"spec.devices": [{"name": "d", "attributes": {"a": {"string": "x"}}}]}, "attributes.a.ints"),
    ("batch/v1/CronJob", {}, "spec.jobTemplate.spec.template.spec.schedulingGroup"),
]


def said(errs: list[FieldError]) -> list[str]:
    return sorted(f"{err.reason.removeprefix('FieldValue')} {err.field}" for err in errs)


def expected(text: str) -> list[str]:
    return sorted(filter(None, text.split("; ")))


@pytest.mark.parametrize(("kind", "changes", "wrong"), MADE)
def test_a_new_object(kind: str, changes: dict[str, Any], wrong: str) -> None:
    assert said(made(kind, new(kind, **changes))) == expected(wrong)


@pytest.mark.parametrize(("kind", "before", "changes", "wrong"), CHANGED)
def test_a_changed_object(kind: str, before: dict[str, Any], changes: dict[str, Any], wrong: str) -> None:
    old = stored(kind)
    for path, value in before.items():
        put(old, path, value)
    obj = deepcopy(old)
    for path, value in changes.items():
        put(obj, path, value)
    validation.prepare_for_update(row(kind), obj, old)
    assert said(validation.validate_update(row(kind), obj, old)) == expected(wrong)


@pytest.mark.parametrize(("kind", "changes"), STAYS)
def test_what_is_stored_wrong_may_stay(kind: str, changes: dict[str, Any]) -> None:
    """It is refused in a new object and in one that was right."""
    broken, right = new(kind, **changes), stored(kind)
    assert made(kind, broken)
    broken["metadata"]["resourceVersion"] = "1"
    labelled = deepcopy(broken)
    labelled["metadata"]["labels"] = {"a": "b"}
    assert said(validation.validate_update(row(kind), labelled, broken)) == []
    assert validation.validate_update(row(kind), broken, right)


@pytest.mark.parametrize(("kind", "changes", "path"), GATED)
def test_what_a_gate_holds_back(kind: str, changes: dict[str, Any], path: str) -> None:
    """It is dropped, unless it was there before."""
    given, field = new(kind, **changes), path.rpartition(".")[2]
    put(given["spec"]["devices"][0] if kind == SLICE else given, path, [1])
    dropped = deepcopy(given)
    validation.prepare_for_create(row(kind), dropped)
    assert field not in str(dropped)
    kept = deepcopy(given)
    validation.prepare_for_update(row(kind), kept, given)
    assert kept == given
    validation.prepare_for_update(row(kind), kept, dropped)
    assert field not in str(kept)


@pytest.mark.parametrize(("kind", "changes", "wrong"), STATUS)
def test_a_status(kind: str, changes: dict[str, Any], wrong: str) -> None:
    old = stored(kind)
    obj = deepcopy(old)
    for path, value in changes.items():
        put(obj, path, value)
    validation.prepare_for_update(row(kind), obj, old, "status")
    assert said(validation.validate_update(row(kind), obj, old, "status")) == expected(wrong)
