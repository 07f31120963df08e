"""Signs approved requests with the cluster's CA."""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CERTIFICATESIGNINGREQUESTS
from podwright.controllers.certificates import requests
from podwright.controllers.frame import Context, Controller

_BACKDATE = 300.0
"""Seconds that a certificate is valid before it was made, for clocks that are late."""
_EXTENDED = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH, "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING, "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING, "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
_KEY_USAGES = frozenset((
    "digital signature", "signing", "content commitment", "key encipherment", "data encipherment", "key agreement",
    "cert sign", "crl sign",
))  # fmt: skip


class CertificateSigner(Controller):
    """Without a CA in the configuration it signs nothing: somebody else may."""

    name = "certificatesigningrequest-signing-controller"
    account = "certificate-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._authority: tuple[x509.Certificate, Any] | None = None
        self.csrs = self.informer(CERTIFICATESIGNINGREQUESTS, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and self.config.signing_ca_key is not None and _is_due(new):
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> None:
        csr = self.csrs.get(key)
        if csr is None or not _is_due(csr):
            return
        status = dict(csr.get("status") or {})
        try:
            asked = requests.read(csr)
            requests.check(csr, asked)
        except requests.BadRequest as fault:
            if csr["spec"]["signerName"] == requests.LEGACY:
                return
            now = objects.format_time(self.clock.now())
            failed = {
                "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": str(fault),
                "lastUpdateTime": now, "lastTransitionTime": now,
            }  # fmt: skip
            status["conditions"] = [*(status.get("conditions") or ()), failed]
        else:
            status["certificate"] = base64.b64encode(self._sign(csr, asked)).decode()
        await self.client.update_status(CERTIFICATESIGNINGREQUESTS, {**csr, "status": status})

    def _load(self) -> tuple[x509.Certificate, Any]:
        if self._authority is None:
            certificate, key = self.config.signing_ca_certificate, self.config.signing_ca_key
            assert certificate is not None and key is not None
            self._authority = (
                x509.load_pem_x509_certificate(certificate.read_bytes()),
                serialization.load_pem_private_key(key.read_bytes(), None),
            )
        return self._authority

    def _sign(self, csr: Object, asked: requests.Asked) -> bytes:
        authority, key = self._load()
        seconds = float(csr["spec"].get("expirationSeconds") or self.config.signing_duration)
        seconds = min(max(seconds, 600.0), self.config.signing_duration)
        now = datetime.fromtimestamp(self.clock.now(), UTC)
        end = min(now + timedelta(seconds=seconds), authority.not_valid_after_utc)
        wanted = requests.usages(csr)
        builder = (
            x509.CertificateBuilder()
            .subject_name(asked.request.subject)
            .issuer_name(authority.subject)
            .public_key(asked.request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(seconds=_BACKDATE))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        if usage := _key_usage(wanted):
            builder = builder.add_extension(usage, critical=True)
        extended = [_EXTENDED[u] for u in sorted(wanted) if u in _EXTENDED]
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        names: list[x509.GeneralName] = [x509.DNSName(d) for d in asked.dns]
        names += [x509.IPAddress(ipaddress.ip_address(i)) for i in asked.ips]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        try:
            identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            pass
        else:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
            )
        digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM)


def _key_usage(wanted: set[str]) -> x509.KeyUsage | None:
    """None if no use of the key is asked for: an extension without a bit is malformed, and OpenSSL refuses it."""
    if not wanted & _KEY_USAGES:
        return None
    agreement = "key agreement" in wanted
    return x509.KeyUsage(
        digital_signature=bool({"digital signature", "signing"} & wanted),
        content_commitment="content commitment" in wanted,
        key_encipherment="key encipherment" in wanted,
        data_encipherment="data encipherment" in wanted,
        key_agreement=agreement,
        key_cert_sign="cert sign" in wanted,
        crl_sign="crl sign" in wanted,
        encipher_only=agreement and "encipher only" in wanted,
        decipher_only=agreement and "decipher only" in wanted,
    )


def _is_due(csr: Object) -> bool:
    return (
        csr["spec"].get("signerName") in requests.SIGNERS
        and requests.has_condition(csr, "Approved")
        and not requests.has_condition(csr, "Denied", "Failed")
        and not (csr.get("status") or {}).get("certificate")
    )
