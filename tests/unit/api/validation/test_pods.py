"""One case for each rule of a Pod: what is wrong, and the field, reason and message that say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from podwright.api import defaulting, validation
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import BINDINGS, PODS
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import (
    duplicate,
    forbidden,
    invalid,
    not_found,
    not_supported,
    required,
    too_long,
)

PORTS = "must be between 1 and 65535, inclusive"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
C = "spec.containers[0]"


def pod(spec: Object | None = None, container: Object | None = None, **metadata: Any) -> Object:
    base = {"name": "c", "image": "busybox:1.36", **(container or {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "default", **metadata},
        "spec": {"containers": [base], "serviceAccountName": "default", **(spec or {})},
    }


def created(obj: Object) -> list[FieldError]:
    obj = deepcopy(obj)
    defaulting.apply(PODS, obj)
    validation.prepare_for_create(PODS, obj)
    return validation.validate_create(PODS, obj)


def ctr(**fields: Any) -> Object:
    return pod(container=fields)


def probe(**fields: Any) -> Object:
    return ctr(livenessProbe={"exec": {"command": ["x"]}, **fields})


def volume(**source: Any) -> Object:
    return pod({"volumes": [{"name": "v", **source}]})


def affinity(**kinds: Any) -> Object:
    return pod({"affinity": kinds})


def pod_term(**term: Any) -> Object:
    base = {"topologyKey": "k", "labelSelector": {}, **term}
    return affinity(podAffinity={"requiredDuringSchedulingIgnoredDuringExecution": [base]})


def node_term(**requirement: Any) -> Object:
    terms = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "k", **requirement}]}]}
    return affinity(nodeAffinity={"requiredDuringSchedulingIgnoredDuringExecution": terms})


def spread(**constraint: Any) -> Object:
    base = {"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule", **constraint}
    return pod({"topologySpreadConstraints": [base]})


TERM = "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
NODE = (
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0]"
)
SPREAD = "spec.topologySpreadConstraints[0]"
ENV = f"{C}.env[0].valueFrom"
MIRROR = "kubernetes.io/config.mirror"
AND_CLAIM = {"name": "v", "emptyDir": {}}

CASES: dict[str, tuple[Object, FieldError]] = {
    "no name": (pod(name=""), required("metadata.name", "name or generateName is required")),
    "bad name": (pod(name="A"), invalid("metadata.name", "A", SUBDOMAIN)),
    "no namespace": (pod(namespace=""), required("metadata.namespace")),
    "no containers": (pod({"containers": []}), required("spec.containers")),
    "no container name": (ctr(name=""), required(f"{C}.name")),
    "bad container name": (ctr(name="A"), invalid(f"{C}.name", "A", LABEL)),
    "dots in container name": (ctr(name="a.b"), invalid(f"{C}.name", "a.b", "must not contain dots")),
    "no image": (ctr(image=""), required(f"{C}.image")),
    "spaces about image": (
        ctr(image=" x"),
        invalid(f"{C}.image", " x", "must not have leading or trailing whitespace"),
    ),
    "same container twice": (
        pod({"containers": [{"name": "c", "image": "x"}, {"name": "c", "image": "x"}]}),
        duplicate("spec.containers[1].name", "c"),
    ),
    "pull policy": (
        ctr(imagePullPolicy="Maybe"),
        not_supported(f"{C}.imagePullPolicy", "Maybe", ["Always", "IfNotPresent", "Never"]),
    ),
    "message policy": (
        ctr(terminationMessagePolicy="No"),
        not_supported(f"{C}.terminationMessagePolicy", "No", ["File", "FallbackToLogsOnError"]),
    ),
    "no port": (ctr(ports=[{}]), required(f"{C}.ports[0].containerPort")),
    "port too high": (
        ctr(ports=[{"containerPort": 65536}]),
        invalid(f"{C}.ports[0].containerPort", 65536, PORTS),
    ),
    "host port too high": (
        ctr(ports=[{"containerPort": 1, "hostPort": 70000}]),
        invalid(f"{C}.ports[0].hostPort", 70000, PORTS),
    ),
    "port protocol": (
        ctr(ports=[{"containerPort": 1, "protocol": "tcp"}]),
        not_supported(f"{C}.ports[0].protocol", "tcp", ["SCTP", "TCP", "UDP"]),
    ),
    "port name": (
        ctr(ports=[{"containerPort": 1, "name": "a--b"}]),
        invalid(f"{C}.ports[0].name", "a--b", "must not contain consecutive hyphens"),
    ),
    "port name twice": (
        ctr(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
        duplicate(f"{C}.ports[1].name", "a"),
    ),
    "host port twice": (
        ctr(ports=[{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 80}]),
        duplicate(f"{C}.ports[1].hostPort", "TCP//80"),
    ),
    "host network ports": (
        pod({"hostNetwork": True}, {"ports": [{"containerPort": 1, "hostPort": 2}]}),
        invalid(f"{C}.ports[0].hostPort", 2, "must match `containerPort` when `hostNetwork` is true"),
    ),
    "env without name": (ctr(env=[{"name": ""}]), required(f"{C}.env[0].name")),
    "env name": (
        ctr(env=[{"name": "a=b"}]),
        invalid(
            f"{C}.env[0].name",
            "a=b",
            "a valid environment variable name must consist only of printable ASCII characters other than '='",
        ),
    ),
    "env value and valueFrom": (
        ctr(env=[{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        invalid(ENV, "", "may not be specified when `value` is not empty"),
    ),
    "env of nothing": (
        ctr(env=[{"name": "A", "valueFrom": {}}]),
        invalid(
            ENV,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
    ),
    "env of two": (
        ctr(
            env=[
                {
                    "name": "A",
                    "valueFrom": {
                        "fieldRef": {"fieldPath": "metadata.name"},
                        "secretKeyRef": {"name": "s", "key": "k"},
                    },
                }
            ]
        ),
        invalid(ENV, "", "may not have more than one field specified at a time"),
    ),
    "env field": (
        ctr(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]),
        not_supported(
            f"{ENV}.fieldRef.fieldPath",
            "status.phase",
            [
                "metadata.name",
                "metadata.namespace",
                "metadata.uid",
                "spec.nodeName",
                "spec.serviceAccountName",
                "status.hostIP",
                "status.hostIPs",
                "status.podIP",
                "status.podIPs",
            ],
        ),
    ),
    "env field unknown": (
        ctr(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}}]),
        invalid(
            f"{ENV}.fieldRef.fieldPath",
            "spec.nope",
            "error converting fieldPath: field label not supported: spec.nope",
        ),
    ),
    "env subscript": (
        ctr(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name['x']"}}}]),
        invalid(f"{ENV}.fieldRef", "metadata.name", "does not support subscript"),
    ),
    "env resource": (
        ctr(env=[{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.disk"}}}]),
        not_supported(
            f"{ENV}.resourceFieldRef.resource",
            "limits.disk",
            [
                "limits.cpu",
                "limits.ephemeral-storage",
                "limits.memory",
                "requests.cpu",
                "requests.ephemeral-storage",
                "requests.memory",
            ],
        ),
    ),
    "env divisor": (
        ctr(env=[{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}]),
        invalid(
            f"{ENV}.resourceFieldRef.divisor",
            "limits.cpu",
            "only divisor's values 1m and 1 are supported with the cpu resource",
        ),
    ),
    "env key": (
        ctr(env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m"}}}]),
        required(f"{ENV}.configMapKeyRef.key"),
    ),
    "env file volume": (
        ctr(env=[{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "K"}}}]),
        not_found(f"{ENV}.fileKeyRef.volumeName", "v"),
    ),
    "envFrom of nothing": (
        ctr(envFrom=[{}]),
        invalid(f"{C}.envFrom", "", "must specify one of: `configMapRef` or `secretRef`"),
    ),
    "envFrom of two": (
        ctr(envFrom=[{"configMapRef": {"name": "m"}, "secretRef": {"name": "s"}}]),
        invalid(f"{C}.envFrom", "", "may not have more than one field specified at a time"),
    ),
    "mount of no volume": (
        ctr(volumeMounts=[{"name": "v", "mountPath": "/x"}]),
        not_found(f"{C}.volumeMounts[0].name", "v"),
    ),
    "mount path twice": (
        pod(
            {"volumes": [AND_CLAIM]},
            {"volumeMounts": [{"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}]},
        ),
        invalid(f"{C}.volumeMounts[1].mountPath", "/x", "must be unique"),
    ),
    "subPath absolute": (
        pod({"volumes": [AND_CLAIM]}, {"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "/a"}]}),
        invalid(f"{C}.volumeMounts.subPath", "/a", "must be a relative path"),
    ),
    "subPath backsteps": (
        pod({"volumes": [AND_CLAIM]}, {"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "a/../b"}]}),
        invalid(f"{C}.volumeMounts.subPath", "a/../b", "must not contain '..'"),
    ),
    "subPath and subPathExpr": (
        pod(
            {"volumes": [AND_CLAIM]},
            {"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "a", "subPathExpr": "b"}]},
        ),
        invalid(f"{C}.volumeMounts[0].subPathExpr", "b", "subPathExpr and subPath are mutually exclusive"),
    ),
    "propagation unprivileged": (
        pod(
            {"volumes": [AND_CLAIM]},
            {"volumeMounts": [{"name": "v", "mountPath": "/x", "mountPropagation": "Bidirectional"}]},
        ),
        forbidden(
            f"{C}.volumeMounts.mountPropagation",
            "Bidirectional mount propagation is available only to privileged containers",
        ),
    ),
    "recursive read-only": (
        pod(
            {"volumes": [AND_CLAIM]},
            {"volumeMounts": [{"name": "v", "mountPath": "/x", "recursiveReadOnly": "Enabled"}]},
        ),
        forbidden(f"{C}.volumeMounts.recursiveReadOnly", "may only be specified when readOnly is true"),
    ),
    "device of no claim": (
        pod({"volumes": [AND_CLAIM]}, {"volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]}),
        invalid(
            f"{C}.volumeDevices[0].name",
            "v",
            "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
        ),
    ),
    "probe without handler": (ctr(livenessProbe={}), required(f"{C}.livenessProbe", "must specify a handler type")),
    "probe with two handlers": (
        probe(tcpSocket={"port": 1}),
        forbidden(f"{C}.livenessProbe.tcpSocket", "may not specify more than 1 handler type"),
    ),
    "probe command": (ctr(livenessProbe={"exec": {}}), required(f"{C}.livenessProbe.exec.command")),
    "liveness success": (
        probe(successThreshold=2),
        invalid(f"{C}.livenessProbe.successThreshold", 2, "must be 1"),
    ),
    "probe negative": (
        probe(initialDelaySeconds=-1),
        invalid(f"{C}.livenessProbe.initialDelaySeconds", -1, "must be greater than or equal to 0"),
    ),
    "probe grace": (
        probe(terminationGracePeriodSeconds=0),
        invalid(f"{C}.livenessProbe.terminationGracePeriodSeconds", 0, "must be greater than 0"),
    ),
    "readiness grace": (
        ctr(readinessProbe={"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 5}),
        invalid(f"{C}.readinessProbe.terminationGracePeriodSeconds", 5, "must not be set for readinessProbes"),
    ),
    "probe port": (
        ctr(readinessProbe={"httpGet": {"port": 0}}),
        invalid(f"{C}.readinessProbe.httpGet.port", 0, PORTS),
    ),
    "probe scheme": (
        ctr(readinessProbe={"httpGet": {"port": 1, "scheme": "ftp"}}),
        not_supported(f"{C}.readinessProbe.httpGet.scheme", "ftp", ["HTTP", "HTTPS"]),
    ),
    "hook too long": (
        ctr(lifecycle={"preStop": {"sleep": {"seconds": 31}}}),
        invalid(
            f"{C}.lifecycle.preStop.sleep",
            31,
            "must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
    ),
    "stop signal without os": (
        ctr(lifecycle={"stopSignal": "SIGTERM"}),
        forbidden(f"{C}.lifecycle.stopSignal", "may not be set for containers with empty `spec.os.name`"),
    ),
    "user id": (
        ctr(securityContext={"runAsUser": -1}),
        invalid(f"{C}.securityContext.runAsUser", -1, "must be between 0 and 2147483647, inclusive"),
    ),
    "privileged without escalation": (
        ctr(securityContext={"privileged": True, "allowPrivilegeEscalation": False}),
        invalid(
            f"{C}.securityContext",
            {"privileged": True, "allowPrivilegeEscalation": False},
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
    ),
    "unmasked proc": (
        ctr(securityContext={"procMount": "Unmasked"}),
        invalid(f"{C}.securityContext.procMount", "Unmasked", "`hostUsers` must be false to use `Unmasked`"),
    ),
    "seccomp type": (
        ctr(securityContext={"seccompProfile": {"type": "X"}}),
        not_supported(
            f"{C}.securityContext.seccompProfile.type", "X", ["Localhost", "RuntimeDefault", "Unconfined"]
        ),
    ),
    "seccomp file": (
        ctr(securityContext={"seccompProfile": {"type": "Localhost"}}),
        required(
            f"{C}.securityContext.seccompProfile.localhostProfile", "must be set when seccomp type is Localhost"
        ),
    ),
    "apparmor": (
        ctr(securityContext={"appArmorProfile": {"type": "RuntimeDefault", "localhostProfile": "x"}}),
        invalid(
            f"{C}.securityContext.appArmorProfile.localhostProfile",
            "x",
            "can only be set when AppArmor type is Localhost",
        ),
    ),
    "sysctl name": (
        pod({"securityContext": {"sysctls": [{"name": "", "value": "1"}]}}),
        required("spec.securityContext.sysctls[0].name"),
    ),
    "sysctl on host network": (
        pod({"hostNetwork": True, "securityContext": {"sysctls": [{"name": "net.core.x", "value": "1"}]}}),
        invalid(
            "spec.securityContext.sysctls[0].name", "net.core.x", "may not be specified when 'hostNetwork' is true"
        ),
    ),
    "shared and host pids": (
        pod({"hostPID": True, "shareProcessNamespace": True}),
        invalid(
            "spec.shareProcessNamespace",
            True,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ),
    ),
    "host users": (
        pod({"hostUsers": False, "hostNetwork": True}),
        forbidden("spec.hostNetwork", "when `hostUsers` is false"),
    ),
    "request above limit": (
        ctr(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
        invalid(f"{C}.resources.requests", "2", "must be less than or equal to cpu limit of 1"),
    ),
    "extended request and limit": (
        ctr(resources={"requests": {"example.com/x": "1"}, "limits": {"example.com/x": "2"}}),
        invalid(f"{C}.resources.requests", "1", "must be equal to example.com/x limit of 2"),
    ),
    "extended without limit": (
        ctr(resources={"requests": {"example.com/x": "1"}}),
        required(f"{C}.resources.limits", "Limit must be set for non overcommitable resources"),
    ),
    "extended fraction": (
        ctr(resources={"limits": {"example.com/x": "1500m"}}),
        invalid(f"{C}.resources.limits[example.com/x]", "1500m", "must be an integer"),
    ),
    "negative": (
        ctr(resources={"requests": {"cpu": "-1"}}),
        invalid(f"{C}.resources.requests[cpu]", "-1", "must be greater than or equal to 0"),
    ),
    "unknown resource": (
        ctr(resources={"requests": {"disk": "1"}}),
        invalid(f"{C}.resources.requests[disk]", "disk", "must be a standard resource for containers"),
    ),
    "huge pages alone": (
        ctr(resources={"limits": {"hugepages-2Mi": "4Mi"}}),
        forbidden(f"{C}.resources", "HugePages require cpu or memory"),
    ),
    "huge pages divided": (
        ctr(resources={"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}}),
        invalid(
            f"{C}.resources.limits[hugepages-2Mi]", "3Mi", "3Mi is not positive integer multiple of hugepages-2Mi"
        ),
    ),
    "claim of no name": (
        ctr(resources={"claims": [{"name": "x"}]}),
        not_found(
            f"{C}.resources.claims[0]", "x", "must be one of the names in pod.spec.resourceClaims which is empty"
        ),
    ),
    "pod resource": (
        pod({"resources": {"requests": {"ephemeral-storage": "1"}}}),
        not_supported(
            "spec.resources.requests[ephemeral-storage]", "ephemeral-storage", ["cpu", "hugepages-", "memory"]
        ),
    ),
    "processes of a Pod": (
        pod({"resources": {"limits": {"pids": "100"}}}),
        invalid("spec.resources.limits[pids]", "100", "must be an integer between 128 and 16384"),
    ),
    "requested processes": (
        pod({"resources": {"limits": {"pids": "128"}, "requests": {"pids": "128"}}}),
        forbidden("spec.resources.requests[pids]", "pids may only be specified in limits"),
    ),
    "pod below containers": (
        pod({"resources": {"requests": {"cpu": "1"}}}, {"resources": {"requests": {"cpu": "2"}}}),
        invalid(
            "spec.resources.requests[cpu]", "1", "must be greater than or equal to aggregate container requests of 2"
        ),
    ),
    "container limit above pod": (
        pod({"resources": {"limits": {"cpu": "3"}}}, {"resources": {"limits": {"cpu": "4"}, "requests": {"cpu": "1"}}}),
        invalid("spec.resources.containers[0][cpu].limits", "4", "must be less than or equal to pod limits of 3"),
    ),
    "resize policy": (
        pod(
            {"restartPolicy": "Never"},
            {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]},
        ),
        invalid(
            f"{C}.resizePolicy", "RestartContainer", "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
        ),
    ),
    "restart rules": (
        ctr(restartPolicyRules=[{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]),
        required(f"{C}.restartPolicy", "must specify restartPolicy when restart rules are used"),
    ),
    "restart rule action": (
        ctr(restartPolicy="Never", restartPolicyRules=[{"action": "X", "exitCodes": {"operator": "In"}}]),
        not_supported(f"{C}.restartPolicyRules[0].action", "X", ["Restart", "RestartAllContainers"]),
    ),
    "init probe": (
        pod({"initContainers": [{"name": "i", "image": "x", "readinessProbe": {"tcpSocket": {"port": 1}}}]}),
        forbidden(
            "spec.initContainers[0].readinessProbe",
            "may not be set for init containers without restartPolicy=Always",
        ),
    ),
    "init of same name": (
        pod({"initContainers": [{"name": "c", "image": "x"}]}),
        duplicate("spec.initContainers[0].name", "c"),
    ),
    "ephemeral at creation": (
        pod({"ephemeralContainers": [{"name": "e", "image": "x"}]}),
        forbidden("spec.ephemeralContainers", "cannot be set on create"),
    ),
    "ephemeral ports": (
        pod({"ephemeralContainers": [{"name": "e", "image": "x", "ports": [{"containerPort": 1}]}]}),
        forbidden("spec.ephemeralContainers[0].ports", "cannot be set for an Ephemeral Container"),
    ),
    "restart policy": (
        pod({"restartPolicy": "X"}),
        not_supported("spec.restartPolicy", "X", ["Always", "OnFailure", "Never"]),
    ),
    "dns policy": (
        pod({"dnsPolicy": "X"}),
        not_supported("spec.dnsPolicy", "X", ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]),
    ),
    "dns none": (
        pod({"dnsPolicy": "None"}),
        required("spec.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None"),
    ),
    "dns servers": (
        pod({"dnsConfig": {"nameservers": ["x"]}}),
        invalid(
            "spec.dnsConfig.nameservers[0]",
            "x",
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
    ),
    "dns option": (
        pod({"dnsConfig": {"options": [{"value": "1"}]}}),
        required("spec.dnsConfig.options[0]", "must not be empty"),
    ),
    "deadline": (
        pod({"activeDeadlineSeconds": 0}),
        invalid("spec.activeDeadlineSeconds", 0, "must be between 1 and 2147483647, inclusive"),
    ),
    "hostname": (pod({"hostname": "A"}), invalid("spec.hostname", "A", LABEL)),
    "subdomain": (pod({"subdomain": "A"}), invalid("spec.subdomain", "A", LABEL)),
    "hostname override": (
        pod({"hostnameOverride": "a", "hostNetwork": True}),
        forbidden("spec.hostnameOverride", "may not be specified when hostNetwork is true"),
    ),
    "long override": (pod({"hostnameOverride": "a" * 65}), too_long("spec.hostnameOverride", 64)),
    "host alias": (
        pod({"hostAliases": [{"ip": "x", "hostnames": ["h"]}]}),
        invalid("spec.hostAliases[0].ip", "x", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
    ),
    "priority class": (pod({"priorityClassName": "A"}), invalid("spec.priorityClassName", "A", SUBDOMAIN)),
    "runtime class": (pod({"runtimeClassName": "A"}), invalid("spec.runtimeClassName", "A", SUBDOMAIN)),
    "node name": (pod({"nodeName": "A"}), invalid("spec.nodeName", "A", SUBDOMAIN)),
    "preemption": (
        pod({"preemptionPolicy": "X"}),
        not_supported("spec.preemptionPolicy", "X", ["PreemptLowerPriority", "Never"]),
    ),
    "readiness gate": (
        pod({"readinessGates": [{"conditionType": "/x"}]}),
        invalid("spec.readinessGates[0].conditionType", "/x", "prefix part must be non-empty"),
    ),
    "gate twice": (
        pod({"schedulingGates": [{"name": "a"}, {"name": "a"}]}),
        duplicate("spec.schedulingGates[1]", "a"),
    ),
    "gate and node": (
        pod({"schedulingGates": [{"name": "a"}], "nodeName": "n"}),
        forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"),
    ),
    "toleration's number": (
        pod({"tolerations": [{"key": "a", "operator": "Gt", "value": "0950"}]}),
        invalid("spec.tolerations[0].value", "0950", "must be a valid decimal integer in canonical form"),
    ),
    "toleration operator": (
        pod({"tolerations": [{"key": "a", "operator": "X"}]}),
        not_supported("spec.tolerations[0].operator", "X", ["Equal", "Exists"]),
    ),
    "toleration of all": (
        pod({"tolerations": [{"operator": "Equal"}]}),
        invalid(
            "spec.tolerations[0].operator",
            "Equal",
            'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        ),
    ),
    "toleration seconds": (
        pod({"tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 1, "effect": "NoSchedule"}]}),
        invalid(
            "spec.tolerations[0].effect", "NoSchedule", "effect must be 'NoExecute' when `tolerationSeconds` is set"
        ),
    ),
    "toleration value": (
        pod({"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]}),
        invalid("spec.tolerations[0].operator", "x", "value must be empty when `operator` is 'Exists'"),
    ),
    "toleration effect": (
        pod({"tolerations": [{"key": "a", "effect": "X"}]}),
        not_supported("spec.tolerations[0].effect", "X", ["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ),
    "node selector": (
        pod({"nodeSelector": {"k": "a b"}}),
        invalid(
            "spec.nodeSelector",
            "a b",
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
            "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex "
            "used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
    ),
    "node affinity values": (
        node_term(operator="In"),
        required(f"{NODE}.values", "must be specified when `operator` is 'In' or 'NotIn'"),
    ),
    "node affinity one value": (
        node_term(operator="Gt", values=["1", "2"]),
        required(f"{NODE}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"),
    ),
    "node affinity operator": (
        node_term(operator="X"),
        invalid(f"{NODE}.operator", "X", "not a valid selector operator"),
    ),
    "node affinity terms": (
        affinity(nodeAffinity={"requiredDuringSchedulingIgnoredDuringExecution": {}}),
        required(
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
            "must have at least one node selector term",
        ),
    ),
    "node affinity weight": (
        affinity(nodeAffinity={"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}]}),
        invalid(
            "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight",
            0,
            "must be in the range 1-100",
        ),
    ),
    "pod affinity topology": (pod_term(topologyKey=""), required(f"{TERM}.topologyKey", "can not be empty")),
    "pod affinity selector": (
        pod_term(labelSelector={"matchExpressions": [{"key": "a", "operator": "X"}]}),
        invalid(f"{TERM}.labelSelector.matchExpressions[0].operator", "X", "not a valid selector operator"),
    ),
    "pod affinity namespace": (pod_term(namespaces=["A"]), invalid(f"{TERM}.namespace", "A", LABEL)),
    "pod affinity keys": (
        pod_term(matchLabelKeys=["a"], mismatchLabelKeys=["a"]),
        invalid(f"{TERM}.matchLabelKeys[0]", "a", "exists in both matchLabelKeys and mismatchLabelKeys"),
    ),
    "spread skew": (spread(maxSkew=0), invalid(f"{SPREAD}.maxSkew", 0, "must be greater than zero")),
    "spread key": (spread(topologyKey=""), required(f"{SPREAD}.topologyKey", "can not be empty")),
    "spread action": (
        spread(whenUnsatisfiable="X"),
        not_supported(f"{SPREAD}.whenUnsatisfiable", "X", ["DoNotSchedule", "ScheduleAnyway"]),
    ),
    "spread domains": (
        spread(whenUnsatisfiable="ScheduleAnyway", minDomains=1),
        invalid(
            f"{SPREAD}.minDomains",
            1,
            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
        ),
    ),
    "spread policy": (
        spread(nodeTaintsPolicy="X"),
        not_supported(f"{SPREAD}.nodeTaintsPolicy", "X", ["Honor", "Ignore"]),
    ),
    "volume name": (pod({"volumes": [{"name": "A", "emptyDir": {}}]}), invalid("spec.volumes[0].name", "A", LABEL)),
    "volume twice": (pod({"volumes": [AND_CLAIM, AND_CLAIM]}), duplicate("spec.volumes[1].name", "v")),
    "volume of two": (
        volume(emptyDir={}, hostPath={"path": "/x"}),
        forbidden("spec.volumes[0].hostPath", "may not specify more than 1 volume type"),
    ),
    "empty dir size": (
        volume(emptyDir={"sizeLimit": "-1"}),
        forbidden("spec.volumes[0].emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity"),
    ),
    "host path": (
        volume(hostPath={"path": "/a/.."}),
        invalid("spec.volumes[0].hostPath.path", "/a/..", "must not contain '..'"),
    ),
    "host path type": (
        volume(hostPath={"path": "/a", "type": "X"}),
        not_supported(
            "spec.volumes[0].hostPath.type",
            "X",
            [
                "",
                "BlockDevice",
                "CharDevice",
                "Directory",
                "DirectoryOrCreate",
                "File",
                "FileOrCreate",
                "Socket",
            ],
        ),
    ),
    "secret name": (volume(secret={}), required("spec.volumes[0].secret.secretName")),
    "secret mode": (
        volume(secret={"secretName": "s", "defaultMode": 512}),
        invalid(
            "spec.volumes[0].secret.defaultMode", 512, "must be a number between 0 and 0777 (octal), both inclusive"
        ),
    ),
    "config map key": (
        volume(configMap={"name": "m", "items": [{"path": "p"}]}),
        required("spec.volumes[0].configMap.items[0].key"),
    ),
    "config map path": (
        volume(configMap={"name": "m", "items": [{"key": "k", "path": "..x"}]}),
        invalid("spec.volumes[0].configMap.items[0].path", "..x", "must not start with '..'"),
    ),
    "claim name": (volume(persistentVolumeClaim={}), required("spec.volumes[0].persistentVolumeClaim.claimName")),
    "nfs path": (
        volume(nfs={"server": "s", "path": "x"}),
        invalid("spec.volumes[0].nfs.path", "x", "must be an absolute path"),
    ),
    "iscsi name": (
        volume(iscsi={"targetPortal": "p", "iqn": "x", "lun": 0}),
        invalid("spec.volumes[0].iscsi.iqn", "x", "must be valid format starting with iqn, eui, or naa"),
    ),
    "downward file": (
        volume(downwardAPI={"items": [{"path": "p"}]}),
        required("spec.volumes[0].downwardAPI", "one of fieldRef and resourceFieldRef is required"),
    ),
    "projected twice": (
        volume(
            projected={
                "sources": [
                    {"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}},
                    {"configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}},
                ]
            }
        ),
        invalid("spec.volumes[0].projected", "m", "conflicting duplicate paths"),
    ),
    "projected of two": (
        volume(projected={"sources": [{"secret": {"name": "s"}, "configMap": {"name": "m"}}]}),
        forbidden("spec.volumes[0].projected.sources[0]", "may not specify more than 1 volume type per source"),
    ),
    "token seconds": (
        volume(projected={"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 1}}]}),
        invalid(
            "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds",
            1,
            "may not specify a duration less than 10 minutes",
        ),
    ),
    "image reference": (volume(image={}), required("spec.volumes[0].image.reference")),
    "ephemeral template": (volume(ephemeral={}), required("spec.volumes[0].ephemeral.volumeClaimTemplate")),
    "csi driver": (volume(csi={}), required("spec.volumes[0].csi.driver")),
    "resource claim of none": (
        pod({"resourceClaims": [{"name": "x"}]}),
        invalid(
            "spec.resourceClaims[0]",
            {"name": "x"},
            "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
        ),
    ),
    "overhead": (
        pod({"overhead": {"disk": "1"}}),
        invalid("spec.overhead.limits[disk]", "disk", "must be a standard resource for containers"),
    ),
    "os": (pod({"os": {"name": "X"}}), not_supported("spec.os", "X", ["linux", "windows"])),
    "windows on linux": (
        pod({"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}}),
        forbidden("spec.securityContext.windowsOptions", "windows options cannot be set for a linux pod"),
    ),
    "linux on windows": (
        pod({"os": {"name": "windows"}, "securityContext": {"runAsUser": 1}}),
        forbidden("spec.securityContext.runAsUser", "cannot be set for a windows pod"),
    ),
    "mirror": (
        pod(annotations={MIRROR: "x"}),
        invalid(
            f"metadata.annotations[{MIRROR}]", "x", "must set spec.nodeName if mirror pod annotation is set"
        ),
    ),
    "deletion cost": (
        pod(annotations={"controller.kubernetes.io/pod-deletion-cost": "x"}),
        invalid("metadata.annotations[controller.kubernetes.io/pod-deletion-cost]", "x", "must be a 32bit integer"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_create_says_what_is_wrong(case: str) -> None:
    obj, expected = CASES[case]
    assert expected in created(obj)


def test_a_plain_pod_is_right() -> None:
    assert created(pod()) == []


def test_tokens_need_a_service_account() -> None:
    obj = volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]})
    del obj["spec"]["serviceAccountName"]
    field = "spec.volumes[0].projected.sources[0].serviceAccountToken"
    assert created(obj) == [forbidden(field, "must not be specified when serviceAccountName is not set")]


def test_disk_io_may_be_requested_below_its_limit() -> None:
    amounts = {"requests": {"podwright.io/disk-read-bps": "1M"}, "limits": {"podwright.io/disk-read-bps": "2M"}}
    assert created(ctr(resources=amounts)) == []
    assert created(pod({"resources": amounts})) == []


def stored(obj: Object) -> Object:
    obj = deepcopy(obj)
    obj["metadata"] |= {"uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    defaulting.apply(PODS, obj)
    validation.prepare_for_create(PODS, obj)
    assert validation.validate_create(PODS, obj) == []
    return obj


def changed(
    old: Object, change: Callable[[Object], None], subresource: str = ""
) -> tuple[Object, list[FieldError]]:
    new = deepcopy(old)
    change(new)
    validation.prepare_for_update(PODS, new, old, subresource)
    return new, validation.validate_update(PODS, new, old, subresource)


def _set(**fields: Any) -> Callable[[Object], None]:
    return lambda obj: obj["spec"].update(fields)


def test_the_image_may_change() -> None:
    new, errs = changed(stored(pod()), lambda o: o["spec"]["containers"][0].update(image="busybox:2"))
    assert errs == []
    assert new["metadata"]["generation"] == 2


def test_nothing_else_may_change() -> None:
    _, errs = changed(stored(pod()), lambda o: o["spec"]["containers"][0].update(command=["x"]))
    assert [e.field for e in errs] == ["spec"]
    assert errs[0].reason == "FieldValueForbidden"
    assert errs[0].message.startswith(
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
    )


def test_containers_may_not_be_added() -> None:
    def append(o: Object) -> None:
        o["spec"]["containers"].append({**o["spec"]["containers"][0], "name": "d"})

    _, errs = changed(stored(pod()), append)
    assert errs == [forbidden("spec.containers", "pod updates may not add or remove containers")]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, 5, []),
        (5, 4, []),
        (5, 6, [invalid("spec.activeDeadlineSeconds", 6, "must be less than or equal to previous value")]),
    ],
)
def test_the_deadline_may_only_come_nearer(before: int | None, after: int, expected: list[FieldError]) -> None:
    old = stored(pod({"activeDeadlineSeconds": before} if before else {}))
    assert changed(old, _set(activeDeadlineSeconds=after))[1] == expected


def test_tolerations_may_be_added_but_not_taken() -> None:
    old = stored(pod({"tolerations": [{"key": "a", "operator": "Exists"}]}))
    more = [*old["spec"]["tolerations"], {"key": "b", "operator": "Exists"}]
    assert changed(old, _set(tolerations=more))[1] == []
    expected = forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    assert changed(old, _set(tolerations=[]))[1] == [expected]


def test_gates_may_be_taken_but_not_added() -> None:
    old = stored(pod({"schedulingGates": [{"name": "a"}]}))
    assert changed(old, _set(schedulingGates=[]))[1] == []
    expected = forbidden(
        "spec.schedulingGates[1].name", "only deletion is allowed, but found new scheduling gate 'b'"
    )
    assert changed(old, _set(schedulingGates=[{"name": "a"}, {"name": "b"}]))[1] == [expected]


def test_a_gated_pod_may_be_steered_more_strictly() -> None:
    old = stored(pod({"schedulingGates": [{"name": "a"}], "nodeSelector": {"x": "1"}}))
    assert changed(old, _set(nodeSelector={"x": "1", "y": "2"}))[1] == []
    said = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
    assert changed(old, _set(nodeSelector={"y": "2"}))[1] == [invalid("spec.nodeSelector", {"y": "2"}, said)]


def test_an_update_keeps_the_status() -> None:
    old = stored(pod())
    new, errs = changed(old, lambda o: o.update(status={"phase": "Running"}))
    assert errs == []
    assert new["status"] == old["status"]


def test_a_status_update_keeps_the_spec() -> None:
    old = stored(pod())

    def change(obj: Object) -> None:
        obj["spec"]["containers"] = []
        obj["status"] = {"phase": "Running"}

    new, errs = changed(old, change, "status")
    assert errs == []
    assert new["spec"] == old["spec"]
    assert new["status"] == {"phase": "Running", "qosClass": "BestEffort"}
    assert new["metadata"]["generation"] == 1


def test_what_ended_does_not_run_again() -> None:
    old = stored(pod({"restartPolicy": "Never"}))
    ended = {"name": "c", "state": {"terminated": {"exitCode": 1}}}
    old["status"]["containerStatuses"] = [ended]
    running = {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}
    _, errs = changed(old, lambda o: o["status"].update(running), "status")
    field = "status.containerStatuses[0].state"
    assert errs == [forbidden(field, "may not be transitioned to non-terminated state")]


def test_pod_ips_are_addresses() -> None:
    _, errs = changed(stored(pod()), lambda o: o["status"].update(podIPs=[{"ip": "x"}]), "status")
    said = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    assert errs == [invalid("status.podIPs[0]", "x", said)]


def test_ephemeral_containers_join_by_their_subresource() -> None:
    old = stored(pod())
    debug = {
        "name": "e",
        "image": "x",
        "imagePullPolicy": "Always",
        "terminationMessagePolicy": "File",
        "targetContainerName": "c",
    }
    new, errs = changed(old, _set(ephemeralContainers=[debug], hostname="z"), "ephemeralcontainers")
    assert errs == []
    assert new["spec"]["ephemeralContainers"] == [debug]
    assert "hostname" not in new["spec"]
    new["metadata"]["resourceVersion"] = "2"
    _, errs = changed(new, _set(ephemeralContainers=[]), "ephemeralcontainers")
    said = 'existing ephemeral containers "e" may not be removed\n'
    assert errs == [forbidden("spec.ephemeralContainers", said)]


SMALL = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}


def _resize(**amounts: dict[str, str]) -> Callable[[Object], None]:
    return lambda o: o["spec"]["containers"][0]["resources"].update(amounts)


def test_a_resize_changes_cpu_and_memory_only() -> None:
    old = stored(ctr(resources=deepcopy(SMALL)))
    new, errs = changed(old, _resize(requests={"cpu": "500m", "memory": "1Gi"}), "resize")
    assert errs == []
    assert new["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "500m"
    assert new["metadata"]["generation"] == 2
    _, errs = changed(old, _resize(requests={"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"}), "resize")
    assert forbidden("spec", "only cpu and memory resources are mutable") in errs
    _, errs = changed(old, _resize(requests={"memory": "1Gi"}), "resize")
    assert forbidden("spec.containers[0].resources.requests", "resource requests cannot be removed") in errs


def test_a_resize_keeps_the_class() -> None:
    old = stored(ctr(resources=deepcopy(SMALL)))
    _, errs = changed(old, _resize(requests={"cpu": "2", "memory": "2Gi"}), "resize")
    said = "Pod QOS Class may not change as a result of resizing"
    assert errs == [invalid("spec", "Burstable", said)]


def test_a_whole_pod_may_be_resized() -> None:
    amounts = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    old = stored(pod({"resources": amounts}))
    assert changed(old, lambda o: o["spec"]["resources"]["requests"].update(cpu="1500m"), "resize")[1] == []


def test_static_pods_are_left_alone() -> None:
    old = stored(pod({"nodeName": "n"}, annotations={MIRROR: "x"}))
    assert changed(old, lambda o: None, "resize")[1] == [forbidden("[]", "static pods cannot be resized")]
    path = "metadata.annotations[kubernetes.io/config.mirror]"
    expected = forbidden(path, "may not remove or update mirror pod annotation")
    assert expected in changed(old, lambda o: o["metadata"].pop("annotations"))[1]


def test_a_binding_names_a_node() -> None:
    binding = {"metadata": {"name": "a", "namespace": "default"}, "target": {"kind": "Pod"}}
    assert validation.validate_create(BINDINGS, binding) == [
        not_supported("target.kind", "Pod", ["Node", "<empty>"]),
        required("target.name"),
    ]


def test_creation_fills_in_the_status() -> None:
    obj = pod({"schedulingGates": [{"name": "a"}]})
    obj["status"] = {"phase": "Running"}
    validation.prepare_for_create(PODS, obj)
    assert obj["metadata"]["generation"] == 1
    assert obj["status"] == {
        "phase": "Pending",
        "qosClass": "BestEffort",
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ],
    }


def test_match_label_keys_join_the_selector() -> None:
    obj = spread(labelSelector={}, matchLabelKeys=["app"])
    obj["metadata"]["labels"] = {"app": "x"}
    validation.prepare_for_create(PODS, obj)
    assert obj["spec"]["topologySpreadConstraints"][0]["labelSelector"] == {
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}]
    }


WARNINGS: dict[str, tuple[Object, str]] = {
    "node label": (
        pod({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
    ),
    "annotation": (
        pod(annotations={"security.alpha.kubernetes.io/sysctls": "x"}),
        "metadata.annotations[security.alpha.kubernetes.io/sysctls]: non-functional in v1.11+; use the "
        "\"sysctls\" field "
        "instead",
    ),
    "volume": (
        volume(gitRepo={"repository": "x"}),
        "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
    ),
    "environment": (
        ctr(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
        'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
    ),
    "grace": (
        pod({"terminationGracePeriodSeconds": -1}),
        "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
    ),
    "fraction": (
        ctr(resources={"requests": {"memory": "100m"}}),
        'spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer',
    ),
    "ports": (
        ctr(ports=[{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 1, "protocol": "TCP"}]),
        "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
    ),
    "selector": (
        spread(),
        "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings(case: str) -> None:
    obj, expected = WARNINGS[case]
    assert validation.warnings(PODS, obj) == [expected]
