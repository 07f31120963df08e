"""A joined node's certificates, asked for with CertificateSigningRequests (Kubernetes documentation, "TLS
bootstrapping"): the keys never leave the machine."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections.abc import Sequence
from contextlib import aclosing

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CERTIFICATESIGNINGREQUESTS
from podwright.client.client import Client
from podwright.cluster.files import write_atomically
from podwright.cluster.pki import KeyPair

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
_USAGES = {CLIENT_SIGNER: "client auth", SERVING_SIGNER: "server auth"}
_PATIENCE = 60.0


class NoCertificate(Exception):
    """The cluster denied the request, could not sign it, or left it alone for too long."""


async def obtain(client: Client, node: str, signer: str, pair: KeyPair, *, hosts: Sequence[str] = ()) -> None:
    """Makes a key, has the cluster sign it for ``system:node:NODE``, and writes both files.

    Raises:
        NoCertificate, ApiError, ServerUnreachable.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    request = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": base64.b64encode(_request(key, node, hosts)).decode(),
            "signerName": signer,
            "usages": ["digital signature", _USAGES[signer]],
        },
    }
    made = await client.create(CERTIFICATESIGNINGREQUESTS, request)
    try:
        async with asyncio.timeout(_PATIENCE):
            certificate = await _signed(client, objects.name(made))
    except TimeoutError:
        raise NoCertificate(
            f"nobody approved certificate request {objects.name(made)} within {_PATIENCE:.0f} s; look at it with "
            f"kubectl get csr {objects.name(made)}"
        ) from None
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_atomically(pair.key, private, mode=0o600)
    write_atomically(pair.certificate, certificate)


async def _signed(client: Client, name: str) -> bytes:
    watch = client.watch(CERTIFICATESIGNINGREQUESTS, field_selector=f"metadata.name={name}")
    async with aclosing(watch) as events:  # type: ignore[type-var]
        async for _, csr in events:
            status: Object = csr.get("status") or {}
            if status.get("certificate"):
                return base64.b64decode(status["certificate"])
            for condition in status.get("conditions") or ():
                if condition["type"] in ("Denied", "Failed"):
                    raise NoCertificate(f"certificate request {name}: {condition['type']}: {condition.get('message')}")
    raise NoCertificate(f"the watch of certificate request {name} ended")


def _request(key: ec.EllipticCurvePrivateKey, node: str, hosts: Sequence[str]) -> bytes:
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}"),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if hosts:
        names: list[x509.GeneralName] = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
