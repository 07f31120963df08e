"""The cluster's certificates and keys: one CA, server and client certificates, the key that signs ServiceAccount
tokens. File names follow kubeadm's (``ca.crt``, ``apiserver.crt``, ``sa.key`` …)."""

from __future__ import annotations

import datetime
import ipaddress
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from podwright.cluster.files import write_atomically

_CA_YEARS = 10
_LEAF_YEARS = 1
_CLOCK_SKEW = datetime.timedelta(minutes=5)
_RENEW_AT = 0.7


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Paths of a certificate and its key, both PEM."""

    certificate: Path
    key: Path

    @property
    def renewal(self) -> float:
        """When it is to be made anew, in seconds since the epoch: after 70 % of its time; 0 if it is not there."""
        if not (self.certificate.exists() and os.access(self.key, os.R_OK)):
            return 0.0
        certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        return begin + (end - begin) * _RENEW_AT


class Pki:
    """Certificates below one directory, made when first asked for and made anew when most of their time is over; `now`
    gives seconds since the epoch."""

    def __init__(self, directory: Path, *, now: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._now = now
        self._asked: dict[str, Callable[[], KeyPair]] = {}
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def ca(self) -> KeyPair:
        return KeyPair(self.directory / "ca.crt", self.directory / "ca.key")

    @property
    def service_account_key(self) -> Path:
        return self.directory / "sa.key"

    @property
    def service_account_public_key(self) -> Path:
        return self.directory / "sa.pub"

    def ensure_ca(self) -> KeyPair:
        pair = self.ca
        if not pair.certificate.exists() or not pair.key.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name("kubernetes", ())
            now = datetime.datetime.now(datetime.UTC)
            certificate = (
                x509.CertificateBuilder()
                .subject_name(name)
                .issuer_name(name)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - _CLOCK_SKEW)
                .not_valid_after(now + datetime.timedelta(days=365 * _CA_YEARS))
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .add_extension(_key_usage(ca=True), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                .sign(key, hashes.SHA256())
            )
            self._write(pair, key, certificate)
        return pair

    def ensure_service_account_key(self) -> Path:
        path = self.service_account_key
        if not path.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            write_atomically(self.service_account_public_key, public)
            write_atomically(path, _private_pem(key), mode=0o600)
        return path

    def server(self, name: str, common_name: str, hosts: Sequence[str], organizations: Sequence[str] = ()) -> KeyPair:
        """A serving certificate for host names and addresses; made anew if `hosts` has one it does not name."""
        self._asked[name] = partial(self.server, name, common_name, hosts, organizations)
        pair = self.pair(name)
        wanted = set(hosts)
        if pair.renewal <= self._now() or not _names(pair, wanted):
            alternatives: list[x509.GeneralName] = []
            for host in sorted(wanted):
                try:
                    alternatives.append(x509.IPAddress(ipaddress.ip_address(host)))
                except ValueError:
                    alternatives.append(x509.DNSName(host))
            self._issue(pair, common_name, organizations, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)
        return pair

    def client(self, name: str, common_name: str, organizations: Sequence[str] = ()) -> KeyPair:
        """A client certificate for user `common_name` in groups `organizations`."""
        self._asked[name] = partial(self.client, name, common_name, organizations)
        pair = self.pair(name)
        if pair.renewal <= self._now():
            self._issue(pair, common_name, organizations, ExtendedKeyUsageOID.CLIENT_AUTH, ())
        return pair

    def renewal(self) -> float:
        """When the first of those that were asked for is to be made anew, in seconds since the epoch."""
        return min((self.pair(name).renewal for name in self._asked), default=float("inf"))

    def renew(self) -> None:
        """Makes those anew that were asked for and whose time it is."""
        for ask in list(self._asked.values()):
            ask()

    def pair(self, name: str) -> KeyPair:
        return KeyPair(self.directory / f"{name}.crt", self.directory / f"{name}.key")

    def _issue(
        self,
        pair: KeyPair,
        common_name: str,
        organizations: Sequence[str],
        usage: x509.ObjectIdentifier,
        alternatives: Sequence[x509.GeneralName],
    ) -> None:
        ca = self.ensure_ca()
        ca_certificate = x509.load_pem_x509_certificate(ca.certificate.read_bytes())
        ca_key = serialization.load_pem_private_key(ca.key.read_bytes(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.fromtimestamp(self._now(), datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name, organizations))
            .issuer_name(ca_certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + datetime.timedelta(days=365 * _LEAF_YEARS))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
            )
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        # A server shows its CA too: a machine that joins knows that by its hash alone.
        chain = (ca_certificate,) if usage == ExtendedKeyUsageOID.SERVER_AUTH else ()
        self._write(pair, key, builder.sign(ca_key, hashes.SHA256()), *chain)

    def _write(self, pair: KeyPair, key: ec.EllipticCurvePrivateKey, *certificates: x509.Certificate) -> None:
        write_atomically(pair.key, _private_pem(key), mode=0o600)
        write_atomically(
            pair.certificate, b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)
        )


def ca_hash(certificate: Path) -> str:
    """"sha256:HEX" of the CA's public key, as kubeadm's ``--discovery-token-ca-cert-hash`` has it."""
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    public = loaded.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public)
    return "sha256:" + digest.finalize().hex()


def _name(common_name: str, organizations: Sequence[str]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _names(pair: KeyPair, hosts: set[str]) -> bool:
    """Whether the certificate is for all of `hosts`."""
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return not hosts
    named = set(names.get_values_for_type(x509.DNSName))
    named |= {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return hosts <= named
