"""CertificateSigningRequests: who asked is written down by the server, and an approval stays."""

from __future__ import annotations

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


def request(name: str, **spec: Any) -> dict[str, Any]:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    built = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(
        ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()
    )
    pem = built.public_bytes(serialization.Encoding.PEM)
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(pem).decode(), "signerName": "example.com/signer", "usages": ["client auth"],
            **spec,
        },
    }


async def test_nobody_asks_in_the_name_of_another(api: Any) -> None:
    made = await api.post(PATH, request("mine", username="system:admin", groups=["system:masters"], uid="7"))
    assert made.status == 201
    spec = made.json["spec"]
    assert spec["username"] == "admin" and spec["uid"] == "1"
    assert spec["groups"] == ["system:masters", "system:authenticated"]


async def test_an_approval_stays_and_cannot_be_taken_back(api: Any) -> None:
    made = (await api.post(PATH, request("asked"))).json
    condition = {"type": "Approved", "status": "True", "reason": "Seen", "message": "by hand"}
    approved = await api.put(f"{PATH}/asked/approval", {**made, "status": {"conditions": [condition]}})
    assert approved.status == 200, approved.text
    stands = (await api.get(f"{PATH}/asked")).json
    assert stands["status"]["conditions"][0]["type"] == "Approved"
    again = {**stands, "status": {}}
    assert (await api.put(f"{PATH}/asked", again)).json["status"] == stands["status"], "the main path keeps it"
    refused = await api.put(f"{PATH}/asked/approval", {**stands, "status": {"conditions": []}})
    assert refused.status == 422, refused.text
