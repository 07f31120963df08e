"""Certificate signing requests of kubelets and others."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from controller_harness import Harness
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CERTIFICATESIGNINGREQUESTS, SUBJECTACCESSREVIEWS, Resource
from podwright.controllers.certificates import CertificateApprover, CertificateCleaner, CertificateSigner, requests
from podwright.controllers.config import ControllerConfig

KEY = ec.generate_private_key(ec.SECP256R1())
CLIENT_USAGES = ["digital signature", "client auth"]


def subject(common: str, organization: str = "system:nodes") -> x509.Name:
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, common),
    ])  # fmt: skip


def csr(
    common: str = "system:node:n", *, signer: str = requests.KUBELET_CLIENT, usages: list[str] | None = None,
    user: str = "system:bootstrap:abc", dns: tuple[str, ...] = (), organization: str = "system:nodes",
) -> Object:  # fmt: skip
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject(common, organization))
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(d) for d in dns]), critical=False)
    pem = builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {
        "metadata": {"name": "r"},
        "spec": {
            "request": base64.b64encode(pem).decode(), "signerName": signer,
            "usages": CLIENT_USAGES if usages is None else usages, "username": user, "groups": ["system:bootstrappers"],
        },
    }


@pytest.fixture
def authority(tmp_path: Path) -> ControllerConfig:
    name = subject("ca", "podwright")
    start = datetime(2024, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(KEY.public_key()).serial_number(1)
        .not_valid_before(start).not_valid_after(start + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(KEY, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (tmp_path / "ca.key").write_bytes(pem)
    return ControllerConfig(signing_ca_certificate=tmp_path / "ca.crt", signing_ca_key=tmp_path / "ca.key")


def allow(h: Harness, *subresources: str) -> None:
    def answer(verb: str, resource: Resource, name: str, obj: Object | None) -> None:
        if resource is SUBJECTACCESSREVIEWS and obj is not None:
            asked = obj["spec"]["resourceAttributes"]["subresource"]
            obj["status"] = {"allowed": asked in subresources}
            obj.setdefault("metadata", {})["name"] = f"review-{h.api.total}"

    h.api.reactors.append(answer)


def approve(h: Harness) -> None:
    now = objects.format_time(h.clock.now())
    condition = {"type": "Approved", "status": "True", "lastUpdateTime": now}
    h.api.change(CERTIFICATESIGNINGREQUESTS, "r", {"status": {"conditions": [condition]}})


async def test_a_bootstrapping_kubelet_gets_its_certificate(authority: ControllerConfig) -> None:
    async with Harness(authority).running(CertificateApprover, CertificateSigner) as h:
        allow(h, "nodeclient")
        h.api.add(CERTIFICATESIGNINGREQUESTS, csr())
        await h.settle()
        status = h.api.read(CERTIFICATESIGNINGREQUESTS, "r")["status"]
        assert status["conditions"][0]["type"] == "Approved"
        made = x509.load_pem_x509_certificate(base64.b64decode(status["certificate"]))
        assert made.subject == subject("system:node:n")
        usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
        made.verify_directly_issued_by(x509.load_pem_x509_certificate(
            authority.signing_ca_certificate.read_bytes()))  # type: ignore[union-attr]  # fmt: skip


async def test_a_renewal_needs_the_right_of_its_own_name(authority: ControllerConfig) -> None:
    for user, approved in (("system:node:n", True), ("system:node:other", False)):
        async with Harness(authority).running(CertificateApprover) as h:
            allow(h, "selfnodeclient")
            h.api.add(CERTIFICATESIGNINGREQUESTS, csr(user=user))
            await h.settle()
            found = h.api.read(CERTIFICATESIGNINGREQUESTS, "r")
            assert requests.has_condition(found, "Approved") == approved


@pytest.mark.parametrize(
    "bad",
    [
        csr(organization="system:masters"), csr("admin"), csr(dns=("evil.example",)),
        csr(usages=["server auth", "digital signature"]),
    ],
)
async def test_odd_kubelet_requests_are_not_approved(bad: Object, authority: ControllerConfig) -> None:
    async with Harness(authority).running(CertificateApprover) as h:
        allow(h, "nodeclient", "selfnodeclient")
        h.api.add(CERTIFICATESIGNINGREQUESTS, bad)
        await h.settle()
        assert not requests.has_condition(h.api.read(CERTIFICATESIGNINGREQUESTS, "r"), "Approved")


async def test_only_what_is_approved_is_signed_and_rules_are_kept(authority: ControllerConfig) -> None:
    async with Harness(authority).running(CertificateSigner) as h:
        h.api.add(CERTIFICATESIGNINGREQUESTS, csr("me", signer=requests.CLIENT, organization="dev"))
        await h.settle()
        assert "status" not in h.api.read(CERTIFICATESIGNINGREQUESTS, "r")
        approve(h)
        await h.settle()
        assert h.api.read(CERTIFICATESIGNINGREQUESTS, "r")["status"]["certificate"]
    async with Harness(authority).running(CertificateSigner) as h:
        h.api.add(CERTIFICATESIGNINGREQUESTS, csr(signer=requests.KUBELET_SERVING))
        approve(h)
        await h.settle()
        assert requests.has_condition(h.api.read(CERTIFICATESIGNINGREQUESTS, "r"), "Failed")


async def test_serving_certificates_keep_their_names_and_asked_duration(authority: ControllerConfig) -> None:
    async with Harness(authority).running(CertificateSigner) as h:
        usages = ["server auth", "digital signature"]
        request = csr(signer=requests.KUBELET_SERVING, usages=usages, dns=("n",))
        request["spec"]["expirationSeconds"] = 3600
        h.api.add(CERTIFICATESIGNINGREQUESTS, request)
        approve(h)
        await h.settle()
        text = h.api.read(CERTIFICATESIGNINGREQUESTS, "r")["status"]["certificate"]
        made = x509.load_pem_x509_certificate(base64.b64decode(text))
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["n"]
        assert (made.not_valid_after_utc - made.not_valid_before_utc).total_seconds() == 3600 + 300


async def test_certificate_for_client_auth_alone_can_be_loaded(authority: ControllerConfig, tmp_path: Path) -> None:
    async with Harness(authority).running(CertificateSigner) as h:
        h.api.add(CERTIFICATESIGNINGREQUESTS, csr("me", signer=requests.CLIENT, usages=["client auth"]))
        approve(h)
        await h.settle()
        text = h.api.read(CERTIFICATESIGNINGREQUESTS, "r")["status"]["certificate"]
    both = tmp_path / "me.pem"
    secret = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both.write_bytes(base64.b64decode(text) + secret)
    ssl.create_default_context().load_cert_chain(both)


async def test_signers_of_others_are_left_alone(authority: ControllerConfig) -> None:
    async with Harness(authority).running(CertificateSigner) as h:
        h.api.add(CERTIFICATESIGNINGREQUESTS, csr(signer="acme.com/signer"))
        approve(h)
        await h.settle()
        assert "certificate" not in h.api.read(CERTIFICATESIGNINGREQUESTS, "r")["status"]


async def test_old_requests_are_cleared_away() -> None:
    async with Harness().running(CertificateCleaner) as h:
        h.api.add(CERTIFICATESIGNINGREQUESTS, csr())
        await h.advance(86000)
        assert h.api.find(CERTIFICATESIGNINGREQUESTS, "r") is not None
        approve(h)
        await h.advance(3500)
        assert h.api.find(CERTIFICATESIGNINGREQUESTS, "r") is not None
        await h.advance(200)
        assert h.api.find(CERTIFICATESIGNINGREQUESTS, "r") is None
