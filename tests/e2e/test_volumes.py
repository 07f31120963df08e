"""Persistent and projected volumes on a real cluster: from the claim to the directory on the node and back."""

from __future__ import annotations

import base64
import datetime
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.csi_driver import CsiDriver, in_thread
from tests.e2e.harness import Cluster, busybox, pod, until

STAY = "trap 'exit 0' TERM; sleep 1000 & wait"


def claim(name: str, *modes: str, **spec: Any) -> dict[str, Any]:
    size = {"requests": {"storage": "1Mi"}}
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": list(modes) or ["ReadWriteOnce"], "resources": size, **spec},
    }  # fmt: skip


def user_of(name: str, claim_name: str, script: str = "", **spec: Any) -> dict[str, Any]:
    main = busybox("main", f"{script or 'true'}; {STAY}", volumeMounts=[{"name": "v", "mountPath": "/v"}])
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}]
    return pod(name, main, volumes=volumes, **spec)


def event(cluster: Cluster, name: str, part: str, timeout: float = 60) -> None:
    until(lambda: any(part in message for _, message in cluster.events(name)), f"{name}: {part}", timeout)


def volume_of(cluster: Cluster, name: str) -> dict[str, Any]:
    bound = cluster.get("pvc", name)
    return dict(cluster.get("pv", bound["spec"]["volumeName"]))


def test_local_path_from_first_consumer_to_deletion(cluster: Cluster) -> None:
    cluster.apply(claim("data"))
    event(cluster, "data", "waiting for first consumer to be created before binding")
    assert cluster.get("pvc", "data")["status"]["phase"] == "Pending"
    nobody = {"runAsUser": 1000, "runAsNonRoot": True, "fsGroup": 2000}
    cluster.apply(user_of("writer", "data", "echo kept > /v/f", securityContext=nobody))
    cluster.running("writer")
    volume = volume_of(cluster, "data")
    path = Path(volume["spec"]["hostPath"]["path"])
    assert (path / "f").stat().st_uid == 1000 and (path / "f").stat().st_gid == 2000
    assert (path / "f").read_text() == "kept\n" and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    cluster.kubectl("patch", "pvc", "data", "-p", '{"spec":{"resources":{"requests":{"storage":"3Mi"}}}}')
    until(lambda: cluster.get("pvc", "data")["status"]["capacity"]["storage"] == "3Mi", "grown")
    assert volume_of(cluster, "data")["spec"]["capacity"]["storage"] == "3Mi"
    # A claim that is used is protected; the next Pod with it finds what the first one wrote.
    cluster.kubectl("delete", "pvc", "data", "--wait=false")
    assert cluster.get("pvc", "data")["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    cluster.kubectl("delete", "pod", "writer")
    cluster.gone("pvc", "data")
    cluster.gone("pv", volume["metadata"]["name"])
    assert not path.exists()


def test_retain_keeps_the_directory(cluster: Cluster) -> None:
    cluster.apply({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "keep"},
        "provisioner": "podwright.io/local-path", "reclaimPolicy": "Retain", "volumeBindingMode": "Immediate",
    }, claim("kept", storageClassName="keep"), user_of("keeper", "kept", "echo 1 > /v/f"))  # fmt: skip
    cluster.running("keeper")
    volume = volume_of(cluster, "kept")
    cluster.kubectl("delete", "pod", "keeper")
    cluster.kubectl("delete", "pvc", "kept")
    name = volume["metadata"]["name"]
    until(lambda: cluster.get("pv", name)["status"]["phase"] == "Released", "released")
    assert (Path(volume["spec"]["hostPath"]["path"]) / "f").exists()
    cluster.kubectl("delete", "pv", name)


def test_one_pod_only_and_modes_that_a_directory_cannot_have(cluster: Cluster) -> None:
    cluster.apply(claim("single", "ReadWriteOncePod"), user_of("first", "single"), claim("many", "ReadWriteMany"))
    cluster.running("first")
    cluster.apply(user_of("second", "single"), user_of("sharer", "many"))
    said = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    event(cluster, "second", said)
    event(cluster, "many", "only ReadWriteOnce and ReadWriteOncePod volumes are supported")
    cluster.kubectl("delete", "pod", "first", "sharer", "--wait=false")
    cluster.running("second")
    cluster.kubectl("delete", "pod/second", "pvc/single", "pvc/many", "--wait=false")


def test_a_generic_ephemeral_volume_goes_with_its_pod(cluster: Cluster) -> None:
    template = {"spec": claim("x")["spec"]}
    main = busybox("main", f"echo 1 > /v/f; {STAY}", volumeMounts=[{"name": "v", "mountPath": "/v"}])
    cluster.apply(pod("brief", main, volumes=[{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]))
    cluster.running("brief")
    path = Path(volume_of(cluster, "brief-v")["spec"]["hostPath"]["path"])
    assert (path / "f").exists()
    cluster.kubectl("delete", "pod", "brief")
    cluster.gone("pvc", "brief-v")
    until(lambda: not path.exists(), "its directory gone")


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "disk"
    image.write_bytes(b"block" + bytes(1 << 20))
    done = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=True)
    yield done.stdout.strip()
    subprocess.run(["losetup", "-d", done.stdout.strip()], check=True)


def throttled(cluster: Cluster, name: str) -> str:
    """The devices that control groups of the Pod limit reads of, in the kernel's words."""
    top, file = Path("/sys/fs/cgroup"), "io.max"
    if not (top / "cgroup.controllers").exists():
        top, file = top / "blkio", "blkio.throttle.read_bps_device"
    uid = cluster.pod(name)["metadata"]["uid"]
    return "".join(f.read_text() for f in (top / "podwright" / cluster.name).rglob(file) if f"pod{uid}" in str(f))


def test_a_block_volume_is_a_device(cluster: Cluster, loop_device: str) -> None:
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}]}]}}  # fmt: skip
    spec = {
        "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "disks",
        "volumeMode": "Block", "local": {"path": loop_device}, "nodeAffinity": affinity,
    }  # fmt: skip
    cluster.apply(
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"}, "spec": spec},
        claim("disk", storageClassName="disks", volumeMode="Block"),
    )
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "disk"}}]
    amounts = {"podwright.io/disk-read-bps": "8Mi"}
    main = busybox(
        "main", STAY, volumeDevices=[{"name": "v", "devicePath": "/dev/xvda"}],
        resources={"requests": amounts, "limits": amounts},
    )  # fmt: skip
    plain = busybox("plain", STAY)
    cluster.apply(pod("blocks", main, plain, volumes=volumes))
    cluster.running("blocks")
    assert cluster.kubectl("exec", "blocks", "-c", "main", "--", "head", "-c5", "/dev/xvda") == "block"
    write = "printf BLOCK | dd of=/dev/xvda conv=notrunc 2>/dev/null; sync; head -c5 /dev/xvda"
    assert cluster.kubectl("exec", "blocks", "-c", "main", "--", "sh", "-c", write) == "BLOCK"
    number = Path(loop_device).stat().st_rdev & 0xFF
    assert f"7:{number}" in throttled(cluster, "blocks"), "a limit of the disk holds for it too"
    attempt = f"mknod /tmp/d b 7 {number} && head -c5 /tmp/d"
    assert "BLOCK" not in cluster.try_kubectl("exec", "blocks", "-c", "plain", "--", "sh", "-c", attempt).stdout
    cluster.kubectl("delete", "pod/blocks", "pvc/disk", "pv/disk")


def test_an_nfs_server_that_does_not_answer_is_told(cluster: Cluster) -> None:
    main = busybox("main", STAY, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    cluster.apply(pod("remote", main, volumes=[{"name": "v", "nfs": {"server": "127.0.0.1", "path": "/nowhere"}}]))
    event(cluster, "remote", 'MountVolume.SetUp failed for volume "v" : mount failed: exit status 32\nMounting ')
    cluster.kubectl("delete", "pod", "remote")


# --- a CSI driver, its sidecars played by the test ---


@pytest.fixture
def driver(cluster: Cluster, tmp_path: Path) -> Iterator[CsiDriver]:
    made = CsiDriver("e2e.csi.test", Path("/var/lib/podwright") / cluster.name / "nodes/node-1", tmp_path / "backing")
    with in_thread(made):
        yield made


def test_a_csi_volume_is_provisioned_attached_used_and_given_back(cluster: Cluster, driver: CsiDriver) -> None:
    until(lambda: cluster.get("csinode", "node-1")["spec"]["drivers"][0]["name"] == driver.name, "registered")
    cluster.apply({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "csi"},
        "provisioner": driver.name, "volumeBindingMode": "WaitForFirstConsumer",
    }, claim("csi", storageClassName="csi"), user_of("csi", "csi", "echo here > /v/f"))  # fmt: skip

    def asked() -> dict[str, Any] | None:
        found = cluster.get("pvc", "csi")
        annotations = found["metadata"]["annotations"]
        told = [annotations[f"volume.kubernetes.io/{what}"] for what in ("selected-node", "storage-provisioner")]
        return found if told == ["node-1", driver.name] else None

    wanted = until(asked, "the provisioner is asked")
    spec = {
        "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "csi",
        "persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": driver.name, "volumeHandle": "e2e-1"},
        "claimRef": {"namespace": "default", "name": "csi", "uid": wanted["metadata"]["uid"]},
    }  # fmt: skip
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "csi-1"}, "spec": spec})
    attachment = until(lambda: cluster.get("volumeattachments")["items"], "an attachment")[0]
    assert attachment["spec"] == {
        "attacher": driver.name, "nodeName": "node-1", "source": {"persistentVolumeName": "csi-1"}
    }  # fmt: skip
    assert "NodeStageVolume" not in driver.names()
    name = attachment["metadata"]["name"]
    cluster.kubectl("patch", "volumeattachment", name, "--subresource=status", "--type=merge", "-p",
                    '{"status":{"attached":true,"attachmentMetadata":{"lun":"1"}}}')  # fmt: skip
    cluster.running("csi")
    assert driver.last("NodeStageVolume")["publish_context"] == {"lun": "1"}
    assert (driver.backing / "e2e-1" / "f").read_text() == "here\n"
    assert ("SuccessfulAttachVolume", 'AttachVolume.Attach succeeded for volume "csi-1" ') in [
        (reason, message) for reason, message in cluster.events("csi")
    ]
    cluster.kubectl("delete", "pod", "csi")
    cluster.gone("volumeattachment", name)
    assert driver.names()[-2:] == ["NodeUnpublishVolume", "NodeUnstageVolume"]
    cluster.kubectl("delete", "pvc/csi", "pv/csi-1")


# --- projected credentials ---


def _authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())
    )  # fmt: skip
    return key, made


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def test_trust_bundles_by_name_and_by_signer(cluster: Cluster) -> None:
    one, two = _pem(_authority("one")[1]), _pem(_authority("two")[1])

    def bundle(name: str, text: str, signer: str = "") -> dict[str, Any]:
        spec = {"trustBundle": text, **({"signerName": signer} if signer else {})}
        return {
            "apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle",
            "metadata": {"name": name, "labels": {"use": "test"}}, "spec": spec,
        }  # fmt: skip

    cluster.apply(bundle("plain", f"noise\n{one}"))
    sources = [
        {"clusterTrustBundle": {"name": "plain", "path": "named.pem"}},
        {"clusterTrustBundle": {
            "signerName": "example.com/ca", "labelSelector": {"matchLabels": {"use": "test"}}, "path": "signed.pem",
            "optional": True}},
    ]  # fmt: skip
    main = busybox("main", STAY, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    cluster.apply(pod("trusting", main, volumes=[{"name": "v", "projected": {"sources": sources}}]))
    cluster.running("trusting")
    assert cluster.kubectl("exec", "trusting", "--", "cat", "/v/named.pem") == one
    assert cluster.kubectl("exec", "trusting", "--", "cat", "/v/signed.pem") == ""
    cluster.apply(*(bundle(f"example.com:ca:{n}", pem, "example.com/ca") for n, pem in (("one", one), ("two", two))))
    both = "".join(sorted((one, two)))
    until(lambda: cluster.kubectl("exec", "trusting", "--", "cat", "/v/signed.pem") == both, "both anchors")
    cluster.kubectl("delete", "pod", "trusting")


def test_a_pod_certificate_is_asked_for_and_projected(cluster: Cluster) -> None:
    key, authority = _authority("signer")
    source = {"signerName": "example.com/pods", "keyType": "ED25519", "credentialBundlePath": "bundle.pem",
              "userAnnotations": {"example.com/for": "test"}}  # fmt: skip
    main = busybox("main", STAY, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    projected = {"sources": [{"podCertificate": source}]}
    cluster.apply(pod("certified", main, volumes=[{"name": "v", "projected": projected}]))
    path = "/apis/certificates.k8s.io/v1/namespaces/default/podcertificaterequests"
    (asked,) = until(lambda: cluster.request("GET", path)[1]["items"], "a request")
    spec = asked["spec"]
    assert (spec["podName"], spec["nodeName"], spec["serviceAccountName"]) == ("certified", "node-1", "default")
    assert spec["unverifiedUserAnnotations"] == {"example.com/for": "test"}
    stub = x509.load_der_x509_csr(base64.b64decode(spec["stubPKCS10Request"]))
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    ends = now + datetime.timedelta(hours=2)
    issued = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(authority.subject)
        .public_key(stub.public_key()).serial_number(7).not_valid_before(now).not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    asked["status"] = {
        "conditions": [{"type": "Issued", "status": "True", "reason": "Test", "message": "",
                        "lastTransitionTime": now.strftime(stamp)}],
        "certificateChain": _pem(issued) + _pem(authority), "notBefore": now.strftime(stamp),
        "notAfter": ends.strftime(stamp),
        "beginRefreshAt": (now + datetime.timedelta(hours=1)).strftime(stamp),
    }  # fmt: skip
    code, answer = cluster.request("PUT", f"{path}/{asked['metadata']['name']}/status", asked)
    assert code == 200, answer
    cluster.running("certified")
    bundle = cluster.kubectl("exec", "certified", "--", "cat", "/v/bundle.pem")
    assert bundle.startswith("-----BEGIN PRIVATE KEY-----") and bundle.endswith(_pem(issued) + _pem(authority))
    cluster.kubectl("delete", "pod", "certified")
