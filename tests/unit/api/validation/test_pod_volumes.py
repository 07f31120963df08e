"""One case for each rule of a storage system's volume and of a projected source."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.api import defaulting, validation
from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.api.status import FieldError
from podwright.api.validation.field_errors import forbidden, invalid, not_supported, required, too_long

V = "spec.volumes[0]"
SOURCE = f"{V}.projected.sources[0]"
BYTE = "must be between 0 and 255, inclusive"
IQN = "iqn.2001-04.com.example:disk"
TOKEN = {"serviceAccountToken": {"path": "t"}}
BLOB = "https://a.blob.core.windows.net/c/d.vhd"


def errors(source: Object) -> list[FieldError]:
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {
            "serviceAccountName": "default",
            "containers": [{"name": "c", "image": "x"}],
            "volumes": [{"name": "v", **source}],
        },
    }
    defaulting.apply(PODS, pod)
    validation.prepare_for_create(PODS, pod)
    return validation.validate_create(PODS, pod)


def projected(**source: Any) -> Object:
    return {"projected": {"sources": [source]}}


RIGHT: dict[str, Object] = {
    "gitRepo": {"repository": "r", "directory": "d"},
    "iscsi": {"targetPortal": "h:3260", "iqn": IQN, "initiatorName": "eui.0123456789abcdef", "lun": 255},
    "fc": {"targetWWNs": ["w"], "lun": 2},
    "gcePersistentDisk": {"pdName": "d", "partition": 1},
    "awsElasticBlockStore": {"volumeID": "d"},
    "nfs": {"server": "s", "path": "/p"},
    "quobyte": {"registry": "h:1,g:2", "volume": "v"},
    "glusterfs": {"endpoints": "e", "path": "p"},
    "flocker": {"datasetName": "d"},
    "rbd": {"monitors": ["m"], "image": "i"},
    "cephfs": {"monitors": ["m"]},
    "cinder": {"volumeID": "v", "secretRef": {"name": "s"}},
    "flexVolume": {"driver": "d/e", "options": {"example.com/x": "y"}},
    "azureFile": {"secretName": "s", "shareName": "t"},
    "azureDisk": {"diskName": "d", "diskURI": BLOB},
    "vsphereVolume": {"volumePath": "p"},
    "photonPersistentDisk": {"pdID": "p"},
    "portworxVolume": {"volumeID": "v"},
    "scaleIO": {"gateway": "g", "system": "s", "volumeName": "v", "secretRef": {"name": "s"}},
    "storageos": {"volumeName": "v", "volumeNamespace": "n", "secretRef": {"name": "s"}},
    "csi": {"driver": "a.example.com", "nodePublishSecretRef": {"name": "s"}},
    "persistentVolumeClaim": {"claimName": "c"},
    "image": {"reference": "r"},
    "ephemeral": {
        "volumeClaimTemplate": {
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        }
    },
    "projected": {
        "sources": [
            TOKEN,
            {"clusterTrustBundle": {"name": "example.com:s:n", "path": "b"}},
            {"clusterTrustBundle": {"signerName": "example.com/s", "labelSelector": {}, "path": "d"}},
            {"podCertificate": {"signerName": "example.com/s", "keyType": "ED25519", "keyPath": "k"}},
            {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ]
    },
}


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_right_passes(kind: str) -> None:
    assert errors({kind: RIGHT[kind]}) == []


def changed(kind: str, /, *without: str, **fields: Any) -> Object:
    return {kind: {k: v for k, v in {**RIGHT[kind], **fields}.items() if k not in without}}


MISSING = [
    *(("gitRepo", f) for f in ("repository",)),
    *(("iscsi", f) for f in ("targetPortal", "iqn")),
    ("gcePersistentDisk", "pdName"),
    ("awsElasticBlockStore", "volumeID"),
    ("nfs", "server"),
    ("quobyte", "volume"),
    *(("glusterfs", f) for f in ("endpoints", "path")),
    *(("rbd", f) for f in ("monitors", "image")),
    ("cephfs", "monitors"),
    ("cinder", "volumeID"),
    ("flexVolume", "driver"),
    *(("azureFile", f) for f in ("secretName", "shareName")),
    ("azureDisk", "diskName"),
    ("vsphereVolume", "volumePath"),
    ("photonPersistentDisk", "pdID"),
    ("portworxVolume", "volumeID"),
    *(("scaleIO", f) for f in ("gateway", "system", "volumeName")),
    ("storageos", "volumeName"),
    ("csi", "driver"),
]


@pytest.mark.parametrize(("kind", "field"), MISSING)
def test_what_a_system_needs(kind: str, field: str) -> None:
    named = "persistentDisk" if kind == "gcePersistentDisk" else kind
    assert required(f"{V}.{named}.{field}") in errors(changed(kind, field))


CASES: dict[str, tuple[Object, FieldError]] = {
    "git directory": (
        changed("gitRepo", directory="/d"),
        invalid(f"{V}.gitRepo.directory", "/d", "must be a relative path"),
    ),
    "git backsteps": (
        changed("gitRepo", directory="../d"),
        invalid(f"{V}.gitRepo.directory", "../d", "must not contain '..'"),
    ),
    "iqn format": (changed("iscsi", iqn="iqn.x"), invalid(f"{V}.iscsi.iqn", "iqn.x", "must be valid format")),
    "eui format": (changed("iscsi", iqn="eui.1"), invalid(f"{V}.iscsi.iqn", "eui.1", "must be valid format")),
    "naa format": (changed("iscsi", iqn="naa.1"), invalid(f"{V}.iscsi.iqn", "naa.1", "must be valid format")),
    "iscsi lun": (changed("iscsi", lun=256), invalid(f"{V}.iscsi.lun", 256, BYTE)),
    "iscsi secret": (changed("iscsi", chapAuthSession=True), required(f"{V}.iscsi.secretRef")),
    "iscsi initiator": (
        changed("iscsi", initiatorName="x"),
        invalid(f"{V}.iscsi.initiatorname", "x", "must be valid format starting with iqn, eui, or naa"),
    ),
    "iscsi length": (
        changed("iscsi", targetPortal="h" * 63),
        invalid(
            f"{V}.name",
            "v",
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
            "iscsi.initiatorName is specified.",
        ),
    ),
    "fc nothing": (
        {"fc": {}},
        required(f"{V}.fc.targetWWNs", "must specify either targetWWNs or wwids, but not both"),
    ),
    "fc both": (
        changed("fc", wwids=["i"]),
        invalid(f"{V}.fc.targetWWNs", ["w"], "targetWWNs and wwids can not be specified simultaneously"),
    ),
    "fc without lun": (
        changed("fc", "lun"),
        required(f"{V}.fc.lun", "lun is required if targetWWNs is specified"),
    ),
    "fc lun": (changed("fc", lun=-1), invalid(f"{V}.fc.lun", -1, BYTE)),
    "gce partition": (
        changed("gcePersistentDisk", partition=256),
        invalid(f"{V}.persistentDisk.partition", 256, "must be between 1 and 255, inclusive"),
    ),
    "aws partition": (
        changed("awsElasticBlockStore", partition=-1),
        invalid(f"{V}.awsElasticBlockStore.partition", -1, "must be between 1 and 255, inclusive"),
    ),
    "quobyte registry": (
        changed("quobyte", "registry"),
        required(f"{V}.quobyte.registry", "must be a host:port pair or multiple pairs separated by commas"),
    ),
    "quobyte pair": (
        changed("quobyte", registry="h"),
        invalid(f"{V}.quobyte.registry", "h", "must be a host:port pair or multiple pairs separated by commas"),
    ),
    "quobyte tenant": (
        changed("quobyte", tenant="t" * 65),
        required(f"{V}.quobyte.tenant", "must be a UUID and may not exceed a length of 64 characters"),
    ),
    "flocker nothing": (
        {"flocker": {}},
        required(f"{V}.flocker", "one of datasetName and datasetUUID is required"),
    ),
    "flocker both": (
        changed("flocker", datasetUUID="u"),
        invalid(f"{V}.flocker", "resource", "datasetName and datasetUUID can not be specified simultaneously"),
    ),
    "flocker slash": (
        changed("flocker", datasetName="a/b"),
        invalid(f"{V}.flocker.datasetName", "a/b", "must not contain '/'"),
    ),
    "cinder secret": (changed("cinder", secretRef={}), required(f"{V}.cinder.secretRef.name")),
    "flex reserved": (
        changed("flexVolume", options={"a.k8s.io/x": "y"}),
        invalid(
            f"{V}.flexVolume.options[a.k8s.io/x]",
            "a.k8s.io/x",
            "kubernetes.io and k8s.io namespaces are reserved",
        ),
    ),
    "azure caching": (
        changed("azureDisk", cachingMode="x"),
        not_supported(f"{V}.azureDisk.cachingMode", "x", ["None", "ReadOnly", "ReadWrite"]),
    ),
    "azure kind": (
        changed("azureDisk", kind="x"),
        not_supported(f"{V}.azureDisk.kind", "x", ["Dedicated", "Managed", "Shared"]),
    ),
    "azure managed": (
        changed("azureDisk", kind="Managed"),
        not_supported(
            f"{V}.azureDisk.diskURI",
            BLOB,
            [
                "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
            ],
        ),
    ),
    "azure blob": (
        changed("azureDisk", diskURI="x"),
        not_supported(
            f"{V}.azureDisk.diskURI",
            "x",
            ["https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"],
        ),
    ),
    "storageos secret": (changed("storageos", secretRef={}), required(f"{V}.storageos.secretRef.name")),
    "csi driver length": (changed("csi", driver="d" * 64), too_long(f"{V}.csi.driver", 63)),
    "csi secret": (
        changed("csi", nodePublishSecretRef={}),
        required(f"{V}.csi.nodePublishSecretRef.name"),
    ),
    "image policy": (
        changed("image", pullPolicy="x"),
        not_supported(f"{V}.image.pullPolicy", "x", ["Always", "IfNotPresent", "Never"]),
    ),
    "host path": ({"hostPath": {}}, required(f"{V}.hostPath.path")),
    "secret item mode": (
        {"secret": {"secretName": "s", "items": [{"key": "k", "path": "p", "mode": 512}]}},
        invalid(f"{V}.secret.items[0].mode", 512, "must be a number between 0 and 0777 (octal), both inclusive"),
    ),
    "downward field": (
        {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "spec.nodeName"}}]}},
        not_supported(
            f"{V}.downwardAPI.fieldRef.fieldPath",
            "spec.nodeName",
            [
                "metadata.annotations",
                "metadata.labels",
                "metadata.name",
                "metadata.namespace",
                "metadata.uid",
            ],
        ),
    ),
    "downward resource": (
        {"downwardAPI": {"items": [{"path": "p", "resourceFieldRef": {"resource": "limits.cpu"}}]}},
        required(f"{V}.downwardAPI.resourceFieldRef.containerName"),
    ),
    "downward both": (
        {
            "downwardAPI": {
                "items": [
                    {
                        "path": "p",
                        "fieldRef": {"fieldPath": "metadata.uid"},
                        "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"},
                    }
                ]
            }
        },
        invalid(
            f"{V}.downwardAPI",
            "resource",
            "fieldRef and resourceFieldRef can not be specified simultaneously",
        ),
    ),
    "downward path": (
        {"downwardAPI": {"items": [{"fieldRef": {"fieldPath": "metadata.uid"}}]}},
        required(f"{V}.downwardAPI.path"),
    ),
    "projected name": (projected(configMap={}), required(f"{SOURCE}.configMap.name")),
    "projected key": (
        projected(secret={"name": "s", "items": [{"path": "p"}]}),
        required(f"{SOURCE}.secret.items[0].key"),
    ),
    "token path": (projected(serviceAccountToken={}), required(f"{V}.projected.path")),
    "token too long": (
        projected(serviceAccountToken={"path": "t", "expirationSeconds": 2**32 + 1}),
        invalid(
            f"{SOURCE}.serviceAccountToken.expirationSeconds",
            2**32 + 1,
            "may not specify a duration larger than 2^32 seconds",
        ),
    ),
    "two sources": (
        projected(secret={"name": "s"}, **TOKEN),
        forbidden(SOURCE, "may not specify more than 1 volume type per source"),
    ),
    "bundle nothing": (
        projected(clusterTrustBundle={"path": "p"}),
        required(f"{SOURCE}.clusterTrustBundle", "either name or signerName must be specified"),
    ),
    "bundle both": (
        projected(clusterTrustBundle={"path": "p", "name": "n", "signerName": "example.com/s"}),
        invalid(
            f"{SOURCE}.clusterTrustBundle",
            {"name": "n", "path": "p", "signerName": "example.com/s"},
            "only one of name and signerName may be used",
        ),
    ),
    "bundle path": (projected(clusterTrustBundle={"name": "n"}), required(f"{SOURCE}.clusterTrustBundle.path")),
    "bundle selector": (
        projected(clusterTrustBundle={"path": "p", "name": "n", "labelSelector": {"matchLabels": {"a": "b"}}}),
        invalid(
            f"{SOURCE}.clusterTrustBundle.labelSelector",
            {"matchLabels": {"a": "b"}},
            "labelSelector must be unset if name is specified",
        ),
    ),
    "bundle signer": (
        projected(clusterTrustBundle={"path": "p", "signerName": "x.y/a/b"}),
        invalid(
            f"{SOURCE}.clusterTrustBundle.signerName",
            "x.y/a/b",
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ),
    ),
    "signer path": (
        projected(clusterTrustBundle={"path": "p", "signerName": "x"}),
        invalid(
            f"{SOURCE}.clusterTrustBundle.signerName",
            "x",
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ),
    ),
    "signer domain": (
        projected(clusterTrustBundle={"path": "p", "signerName": "x/y"}),
        invalid(
            f"{SOURCE}.clusterTrustBundle.signerName",
            "x",
            "should be a domain with at least two segments separated by dots",
        ),
    ),
    "certificate key type": (
        projected(podCertificate={"signerName": "example.com/s", "keyType": "x", "keyPath": "k"}),
        not_supported(
            f"{SOURCE}.podCertificate.keyType",
            "x",
            ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"],
        ),
    ),
    "certificate nowhere": (
        projected(podCertificate={"signerName": "example.com/s", "keyType": "ED25519"}),
        required(
            f"{SOURCE}.podCertificate",
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        ),
    ),
    "certificate too short": (
        projected(
            podCertificate={
                "signerName": "example.com/s",
                "keyType": "ED25519",
                "keyPath": "k",
                "maxExpirationSeconds": 3599,
            }
        ),
        invalid(
            f"{SOURCE}.podCertificate.maxExpirationSeconds",
            3599,
            "if provided, maxExpirationSeconds must be >= 3600",
        ),
    ),
    "certificate too long": (
        projected(
            podCertificate={
                "signerName": "kubernetes.io/s",
                "keyType": "ED25519",
                "keyPath": "k",
                "maxExpirationSeconds": 86401,
            }
        ),
        invalid(
            f"{SOURCE}.podCertificate.maxExpirationSeconds",
            86401,
            "if provided, maxExpirationSeconds must be <= 86400",
        ),
    ),
    "certificate over certificate": (
        projected(
            podCertificate={
                "signerName": "example.com/s",
                "keyType": "ED25519",
                "keyPath": "k",
                "certificateChainPath": "k",
            }
        ),
        invalid(f"{V}.projected", "k", "conflicting duplicate paths"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_said(case: str) -> None:
    source, expected = CASES[case]
    assert errors(source) == [expected]
