from __future__ import annotations

import subprocess
from pathlib import Path

from cryptography import x509

from podwright.cluster.pki import Pki, ca_hash


def test_certificates_verify_against_the_ca_and_name_what_was_asked(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    pki.ensure_ca()
    server = pki.server("apiserver", "kube-apiserver", ["127.0.0.1", "kubernetes"])
    client = pki.client("admin", "kubernetes-admin", ["system:masters"])
    for pair, purpose in ((server, "sslserver"), (client, "sslclient")):
        subprocess.run(
            ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", pki.ca.certificate, pair.certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        assert pair.key.stat().st_mode & 0o777 == 0o600
    subject = x509.load_pem_x509_certificate(client.certificate.read_bytes()).subject.rfc4514_string()
    assert subject == "CN=kubernetes-admin,O=system:masters"


def test_certificates_are_kept_until_they_name_too_little(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    pki.ensure_ca()
    first = pki.server("apiserver", "kube-apiserver", ["127.0.0.1"]).certificate.read_bytes()
    assert pki.server("apiserver", "kube-apiserver", ["127.0.0.1"]).certificate.read_bytes() == first
    assert pki.server("apiserver", "kube-apiserver", ["127.0.0.1", "10.0.0.1"]).certificate.read_bytes() != first
    ca = pki.ca.certificate.read_bytes()
    pki.ensure_ca()
    assert pki.ca.certificate.read_bytes() == ca


def test_ca_hash_is_kubeadms(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    pki.ensure_ca()
    pipeline = (
        f"openssl x509 -pubkey -in {pki.ca.certificate} | openssl pkey -pubin -outform der | "
        "openssl dgst -sha256 -hex | sed 's/^.* //'"
    )
    expected = subprocess.run(["sh", "-c", pipeline], capture_output=True, text=True, check=True).stdout.strip()
    assert ca_hash(pki.ca.certificate) == f"sha256:{expected}"
