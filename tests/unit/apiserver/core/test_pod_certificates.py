"""PodCertificateRequests: whose they may be, what keys they may have, and what may be issued."""

from __future__ import annotations

import base64
import datetime
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from podwright.apiserver.requests import Credentials, UserInfo

from .conftest import BOB, Api, Pki, config_for, pod, running, service_account

NS = "/api/v1/namespaces/default"
PATH = "/apis/certificates.k8s.io/v1/namespaces/default/podcertificaterequests"
KEY = ed25519.Ed25519PrivateKey.generate()
NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


def stub(key: Any = KEY) -> bytes:
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, digest)
    return request.public_bytes(serialization.Encoding.DER)


class Nodes:
    """Authenticates nodes and others by their names alone."""

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        name = credentials.headers.get("authorization", "").removeprefix("Bearer ")
        if name.startswith("node-"):
            return UserInfo(f"system:node:{name}", groups=("system:nodes", "system:authenticated"))
        groups = ("system:authenticated",) if name == BOB else ("system:masters", "system:authenticated")
        return UserInfo(name, groups=groups)


@pytest.fixture
async def api(pki: Pki) -> AsyncIterator[Api]:
    async with running(config_for(pki), authenticator=Nodes(), now=NOW.timestamp) as api:
        await service_account(api)
        for name in ("node-1", "node-2"):
            body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
            assert (await api.post("/api/v1/nodes", body)).status == 201
        assert (await api.post(f"{NS}/pods", pod("mine", nodeName="node-1"))).status == 201
        yield api


async def asked(api: Api, key: bytes = b"", **changes: Any) -> dict[str, Any]:
    uids = [(await api.get(path)).json["metadata"]["uid"] for path in (
        f"{NS}/pods/mine", f"{NS}/serviceaccounts/default", "/api/v1/nodes/node-1"
    )]  # fmt: skip
    spec = {
        "signerName": "example.com/signer", "podName": "mine", "podUID": uids[0], "serviceAccountName": "default",
        "serviceAccountUID": uids[1], "nodeName": "node-1", "nodeUID": uids[2], "maxExpirationSeconds": 7200,
        "stubPKCS10Request": base64.b64encode(key or stub()).decode(), **changes,
    }
    return {
        "apiVersion": "certificates.k8s.io/v1", "kind": "PodCertificateRequest", "metadata": {"generateName": "r-"},
        "spec": spec,
    }


async def test_a_node_asks_for_its_own_pods_alone(api: Api) -> None:
    assert (await api.post(PATH, await asked(api), token="node-1")).status == 201
    for code, said, changes in (
        (403, 'NodeName="node-2", which is not the requesting node "node-1"', {"nodeName": "node-2"}),
        (500, 'names node UID "x", inconsistent with the running node', {"nodeUID": "x"}),
        (500, 'while retrieving pod "default/other" named in the PodCertificateRequest', {"podName": "other"}),
        (500, 'contains pod UID ("x") which differs from running pod', {"podUID": "x"}),
        (403, 'serviceAccountName ("x") that differs from running pod ("default")', {"serviceAccountName": "x"}),
        (500, 'names service account UID "x", which differs from', {"serviceAccountUID": "x"}),
    ):
        answer = await api.post(PATH, await asked(api, **changes), token="node-1")
        assert answer.status == code and said in answer.json["message"], answer.text
    second = (await api.get("/api/v1/nodes/node-2")).json["metadata"]["uid"]
    answer = await api.post(PATH, await asked(api, nodeName="node-2", nodeUID=second), token="node-2")
    said = 'pod "default/mine" is not running on node "node-2" named in the PodCertificateRequest'
    assert answer.status == 403 and said in answer.json["message"]


async def test_keys_that_a_pod_may_have(api: Api) -> None:
    changed = bytearray(stub())
    changed[-1] ^= 1
    for key, said in (
        (stub(ec.generate_private_key(ec.SECP521R1())), ""),
        (b"no request", "must be a valid PKCS#10 CSR"),
        (stub(rsa.generate_private_key(65537, 2048)), "RSA keys must have modulus size 3072 or 4096"),
        (stub(ec.generate_private_key(ec.SECP256K1())), "elliptic public keys must use curve P256 or P384"),
        (bytes(changed), "could not verify proof-of-possession signature"),
        (b"0" * 10241, "may not be more than 10240 bytes"),
    ):
        answer = await api.post(PATH, await asked(api, key))
        assert answer.status == (422 if said else 201)
        if said:
            (cause,) = answer.json["details"]["causes"]
            assert cause["field"] == "spec.stubPKCS10Request" and said in cause["message"]


def issued(key: Any = KEY, *names: x509.GeneralName, begins: datetime.datetime = NOW) -> dict[str, Any]:
    signer = ec.generate_private_key(ec.SECP256R1())
    ends = begins + datetime.timedelta(hours=2)
    builder = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([])).serial_number(7)
        .public_key(key.public_key()).not_valid_before(begins).not_valid_after(ends)
    )  # fmt: skip
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    chain = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    stamps = {"notBefore": begins, "notAfter": ends, "beginRefreshAt": begins + datetime.timedelta(hours=1)}
    return {
        "conditions": [{"type": "Issued", "status": "True", "reason": "Test", "message": ""}],
        "certificateChain": chain, **{field: at.strftime("%Y-%m-%dT%H:%M:%SZ") for field, at in stamps.items()},
    }  # fmt: skip


async def test_what_may_be_issued(api: Api) -> None:
    made = (await api.post(PATH, await asked(api))).json
    path = f"{PATH}/{made['metadata']['name']}/status"
    other = ed25519.Ed25519PrivateKey.generate()
    chain = issued()
    junk = "-----BEGIN CERTIFICATE-----\nanVuaw==\n-----END CERTIFICATE-----\n"
    broken = {**chain, "certificateChain": chain["certificateChain"] + junk}
    for status, field, said in (
        (issued(other), "certificateChain", "leaf certificate was not issued to the requested public key"),
        (issued(KEY, x509.DNSName("a..b")), "certificateChain", "DNSName should not contain '..'"),
        (issued(KEY, x509.RFC822Name("nobody")), "certificateChain", "should not contain invalid EmailAddress"),
        (issued(begins=NOW - datetime.timedelta(minutes=6)), "notBefore", "to within 5 minutes of kube-apiserver's"),
        ({**chain, "certificateChain": "x" * 102401}, "certificateChain", "may not be more than 102400 bytes"),
        (broken, "certificateChain", "intermediate certificate does not parse as valid X.509"),
    ):
        answer = await api.put(path, {**made, "status": status})
        assert answer.status == 422, said
        assert [(c["field"], said in c["message"]) for c in answer.json["details"]["causes"]] == [
            (f"status.{field}", True)
        ], answer.text
    group = "rbac.authorization.k8s.io"
    certificates = {"apiGroups": ["certificates.k8s.io"]}
    named = {"apiVersion": f"{group}/v1", "metadata": {"name": "writer"}}
    rules = [{**certificates, "resources": ["podcertificaterequests/status"], "verbs": ["update"]}]
    role = {**named, "kind": "ClusterRole", "rules": rules}
    binding = {
        **named, "kind": "ClusterRoleBinding", "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "writer"},
        "subjects": [{"kind": "User", "apiGroup": group, "name": BOB}],
    }
    for body in (role, binding):
        plural = f"{body['kind'].lower()}s"
        assert (await api.post(f"/apis/rbac.authorization.k8s.io/v1/{plural}", body)).status == 201
    answer = await api.put(path, {**made, "status": chain}, token=BOB)
    assert answer.status == 422 and answer.json["details"]["causes"] == [{
        "reason": "FieldValueForbidden", "field": "spec.signerName",
        "message": f'Forbidden: User "{BOB}" is not permitted to "sign" for signer "example.com/signer"',
    }]  # fmt: skip
    rules.append({**certificates, "resources": ["signers"], "verbs": ["sign"], "resourceNames": ["example.com/*"]})
    assert (await api.put("/apis/rbac.authorization.k8s.io/v1/clusterroles/writer", role)).status == 200
    answer = await api.put(path, {**made, "status": chain}, token=BOB)
    assert answer.status == 200, answer.text
    assert answer.json["status"]["conditions"][0]["lastTransitionTime"] == "2030-01-01T00:00:00Z"
    assert (await api.put(path.removesuffix("/status"), made | {"metadata": {"name": made["metadata"]["name"]}})
            ).status == 422, "an update names the version that it is of"


async def test_conditions_of_a_signing_request_are_dated(api: Api) -> None:
    requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    pem = x509.load_der_x509_csr(stub()).public_bytes(serialization.Encoding.PEM)
    body = {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "a"},
        "spec": {"request": base64.b64encode(pem).decode(), "signerName": "example.com/s", "usages": ["client auth"]},
    }
    made = (await api.post(requests, body)).json
    approved = {"type": "Approved", "status": "True", "reason": "Seen", "message": "by hand"}
    made = (await api.put(f"{requests}/a/approval", {**made, "status": {"conditions": [approved]}})).json
    now = "2030-01-01T00:00:00Z"
    assert made["status"]["conditions"] == [{**approved, "lastUpdateTime": now, "lastTransitionTime": now}]
    changed = [{**approved, "message": "another"}, {"type": "Failed", "status": "True", "reason": "No"}]
    answer = await api.put(f"{requests}/a/status", {**made, "status": {"conditions": changed}})
    assert answer.status == 200, answer.text
    first, second = answer.json["status"]["conditions"]
    assert first == made["status"]["conditions"][0], "by its status nobody changes what was decided"
    assert second["lastUpdateTime"] == second["lastTransitionTime"] == now
