"""What an object reads back with, beyond what its author wrote."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.api import defaulting
from podwright.api.defaulting.images import pull_policy
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import BUILTIN


def defaulted(kind: str, obj: Object) -> Object:
    row = BUILTIN.by_kind(*kind.rsplit("/", 1))
    assert row is not None
    obj = deepcopy(obj)
    defaulting.apply(row, obj)
    return obj


def pod(container: Object | None = None, **spec: Any) -> Object:
    spec = {"containers": [{"name": "c", "image": "busybox:1.36", **(container or {})}], **spec}
    found: Object = defaulted("v1/Pod", {"metadata": {"name": "a"}, "spec": spec})["spec"]
    return found


def container(**fields: Any) -> Object:
    found: Object = pod(fields)["containers"][0]
    return found


def test_a_plain_pod() -> None:
    assert pod() == {
        "containers": [
            {
                "name": "c",
                "image": "busybox:1.36",
                "imagePullPolicy": "IfNotPresent",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1.36", "IfNotPresent"),
        ("localhost:5000/a/b", "Always"),
        ("localhost:5000/a/b:1", "IfNotPresent"),
        ("busybox@sha256:" + "a" * 64, "IfNotPresent"),
        ("busybox:latest@sha256:" + "a" * 64, "Always"),
        ("BusyBox", "IfNotPresent"),
        ("", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


@pytest.mark.parametrize(
    ("given", "canonical"),
    [("1024Mi", "1Gi"), ("0.5", "500m"), (1, "1"), (0.5, "500m"), ("1000", "1k"), ("100u", "1m"), ("x", "x")],
)
def test_quantities_are_canonical(given: Any, canonical: str) -> None:
    resources = container(resources={"requests": {"cpu": given}})["resources"]
    assert resources == {"requests": {"cpu": canonical}}


def test_requests_follow_limits() -> None:
    resources = container(resources={"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}})["resources"]
    assert resources["requests"] == {"cpu": "1", "memory": "1Gi"}
    spec = {"containers": [{"resources": {"limits": {"cpu": "2"}}}]}
    template = defaulted("apps/v1/Deployment", {"spec": {"template": {"spec": spec}}})
    assert template["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "2"}}


def test_a_negative_grace_is_a_second_for_pods_but_not_for_templates() -> None:
    spec: Object = {"terminationGracePeriodSeconds": -1, "containers": []}
    assert defaulted("v1/Pod", {"spec": dict(spec)})["spec"]["terminationGracePeriodSeconds"] == 1
    template = defaulted("apps/v1/Deployment", {"spec": {"template": {"spec": spec}}})
    assert template["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == -1


def test_pod_level_requests() -> None:
    spec = pod({"resources": {"requests": {"cpu": "100m"}}}, resources={"limits": {"cpu": "2", "memory": "1Gi"}})
    assert spec["resources"] == {
        "limits": {"cpu": "2", "memory": "1Gi"},
        "requests": {"cpu": "100m", "memory": "1Gi"},
    }


def test_probes_and_hooks() -> None:
    ctr = container(
        livenessProbe={"httpGet": {"port": 80}},
        readinessProbe={"grpc": {"port": 1}, "periodSeconds": 3},
        lifecycle={"preStop": {"httpGet": {"port": 80}}},
    )
    assert ctr["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert ctr["readinessProbe"]["grpc"] == {"port": 1, "service": ""}
    assert ctr["readinessProbe"]["periodSeconds"] == 3
    assert ctr["lifecycle"]["preStop"]["httpGet"] == {"port": 80, "path": "/", "scheme": "HTTP"}


def test_environment() -> None:
    env = [
        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "C", "valueFrom": {"fileKeyRef": {"key": "k"}}},
    ]
    found = [e["valueFrom"] for e in container(env=env)["env"]]
    assert found == [
        {"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}},
        {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}},
        {"fileKeyRef": {"key": "k", "optional": False}},
    ]


def test_ports() -> None:
    assert container(ports=[{"containerPort": 80}])["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    spec = pod({"ports": [{"containerPort": 80}]}, hostNetwork=True)
    assert spec["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]


def test_the_service_account_has_two_names() -> None:
    for given in ({"serviceAccountName": "a"}, {"serviceAccount": "a"}):
        spec = pod(**given)
        assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("a", "a")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"emptyDir": {}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 420}}),
        ({"configMap": {"name": "m"}}, {"configMap": {"name": "m", "defaultMode": 420}}),
        ({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
        ({"hostPath": {"path": "/x"}}, {"hostPath": {"path": "/x", "type": ""}}),
        (
            {"downwardAPI": {"items": [{"fieldRef": {"fieldPath": "x"}}]}},
            {"downwardAPI": {"defaultMode": 420, "items": [{"fieldRef": {"fieldPath": "x", "apiVersion": "v1"}}]}},
        ),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {
                "projected": {
                    "defaultMode": 420,
                    "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                }
            },
        ),
        ({"image": {"reference": "a:1"}}, {"image": {"reference": "a:1", "pullPolicy": "IfNotPresent"}}),
        ({"iscsi": {}}, {"iscsi": {"iscsiInterface": "default"}}),
        ({"rbd": {}}, {"rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}}),
        (
            {"azureDisk": {}},
            {"azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"}},
        ),
        ({"scaleIO": {}}, {"scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"}}),
        (
            {"ephemeral": {"volumeClaimTemplate": {}}},
            {"ephemeral": {"volumeClaimTemplate": {"spec": {"volumeMode": "Filesystem"}}}},
        ),
    ],
)
def test_volumes(given: Object, expected: Object) -> None:
    assert pod(volumes=[{"name": "v", **given}])["volumes"] == [{"name": "v", **expected}]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (
            "apps/v1/Deployment",
            {"spec": {}},
            {
                "replicas": 1,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
            },
        ),
        ("apps/v1/ReplicaSet", {"spec": {}}, {"replicas": 1}),
        (
            "apps/v1/DaemonSet",
            {"spec": {}},
            {
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
                "revisionHistoryLimit": 10,
            },
        ),
        (
            "batch/v1/Job",
            {"spec": {}},
            {
                "completions": 1,
                "parallelism": 1,
                "backoffLimit": 6,
                "completionMode": "NonIndexed",
                "suspend": False,
                "podReplacementPolicy": "TerminatingOrFailed",
                "manualSelector": False,
            },
        ),
        (
            "batch/v1/CronJob",
            {"spec": {}},
            {
                "concurrencyPolicy": "Allow",
                "suspend": False,
                "successfulJobsHistoryLimit": 3,
                "failedJobsHistoryLimit": 1,
            },
        ),
        (
            "v1/Service",
            {"spec": {"ports": [{"port": 80}]}},
            {
                "type": "ClusterIP",
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            },
        ),
        (
            "v1/Service",
            {"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}},
            {
                "type": "LoadBalancer",
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                "internalTrafficPolicy": "Cluster",
                "externalTrafficPolicy": "Cluster",
                "allocateLoadBalancerNodePorts": True,
            },
        ),
        ("networking.k8s.io/v1/NetworkPolicy", {"spec": {"egress": [{}]}}, {
            "podSelector": {}, "egress": [{}], "policyTypes": ["Ingress", "Egress"],
        }),
        ("v1/PersistentVolumeClaim", {"spec": {}}, {"volumeMode": "Filesystem"}),
        (
            "autoscaling/v2/HorizontalPodAutoscaler",
            {"spec": {}},
            {
                "minReplicas": 1,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
                    }
                ],
            },
        ),
        (
            "apiextensions.k8s.io/v1/CustomResourceDefinition",
            {"spec": {"names": {"kind": "Foo"}}},
            {"names": {"kind": "Foo", "singular": "foo", "listKind": "FooList"}, "conversion": {"strategy": "None"}},
        ),
        (
            "v1/LimitRange",
            {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2000m"}, "min": {"memory": "1"}}]}},
            {
                "limits": [
                    {
                        "type": "Container",
                        "max": {"cpu": "2"},
                        "min": {"memory": "1"},
                        "default": {"cpu": "2"},
                        "defaultRequest": {"cpu": "2", "memory": "1"},
                    }
                ]
            },
        ),
    ],
)
def test_specs(kind: str, given: Object, expected: Object) -> None:
    made = defaulted(kind, given)["spec"]
    if kind.startswith(("apps/v1/", "batch/v1/")) and "template" not in expected:
        # A template that is left out has its defaults all the same; that it is missing is validation's to say.
        job = made.pop("jobTemplate")["spec"] if kind == "batch/v1/CronJob" else made
        assert job.pop("template")["spec"]["restartPolicy"] == "Always"
    assert made == expected


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("v1/Secret", {}, {"type": "Opaque"}),
        (
            "v1/Namespace",
            {"metadata": {"name": "a"}},
            {"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}}, "status": {"phase": "Active"}},
        ),
        (
            "v1/Node",
            {"status": {"capacity": {"memory": "1024Mi"}}},
            {"spec": {}, "status": {"capacity": {"memory": "1Gi"}, "allocatable": {"memory": "1Gi"}}},
        ),
        (
            "rbac.authorization.k8s.io/v1/RoleBinding",
            {"roleRef": {"kind": "Role"}, "subjects": [{"kind": "User"}, {"kind": "ServiceAccount"}]},
            {
                "roleRef": {"kind": "Role", "apiGroup": "rbac.authorization.k8s.io"},
                "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io"}, {"kind": "ServiceAccount"}],
            },
        ),
        (
            "storage.k8s.io/v1/StorageClass",
            {"provisioner": "p"},
            {"provisioner": "p", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
        ),
        (
            "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration",
            {"webhooks": [{"rules": [{}]}]},
            {
                "webhooks": [
                    {
                        "rules": [{"scope": "*"}],
                        "failurePolicy": "Fail",
                        "matchPolicy": "Equivalent",
                        "namespaceSelector": {},
                        "objectSelector": {},
                        "timeoutSeconds": 10,
                        "reinvocationPolicy": "Never",
                    }
                ]
            },
        ),
        (
            "discovery.k8s.io/v1/EndpointSlice",
            {"ports": [{"port": 1}]},
            {"ports": [{"port": 1, "name": "", "protocol": "TCP"}]},
        ),
        ("coordination.k8s.io/v1/Lease", {"spec": {}}, {"spec": {}}),
    ],
)
def test_objects(kind: str, given: Object, expected: Object) -> None:
    assert defaulted(kind, given) == expected


def test_defaults_are_stable() -> None:
    """Defaulting what was defaulted changes nothing."""
    for row in BUILTIN:
        once: Object = {"metadata": {"name": "a"}}
        defaulting.apply(row, once)
        twice = deepcopy(once)
        defaulting.apply(row, twice)
        assert twice == once, row.qualified


def test_limits_of_a_pod_that_says_what_it_requests_are_those_of_its_containers() -> None:
    spec = pod({"resources": {"limits": {"cpu": "2", "example.com/x": "1"}}}, resources={"requests": {"cpu": "3"}})
    assert spec["resources"] == {"requests": {"cpu": "3"}, "limits": {"cpu": "2"}}
    spec = pod({"resources": {"limits": {"cpu": "2"}}}, resources={"requests": {"cpu": "3"}}, initContainers=[{}])
    assert spec["resources"] == {"requests": {"cpu": "3"}}
