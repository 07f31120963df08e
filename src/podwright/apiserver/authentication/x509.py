"""Client certificates: the common name is the user, each organization a group (Kubernetes documentation,
"Authenticating", "X509 client certificates")."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from podwright.api.status import unauthorized
from podwright.apiserver.requests import UserInfo

AUTHENTICATED = "system:authenticated"
UID_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")
"""The subject attribute by which a certificate may carry the user's uid."""
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class _Known:
    user: UserInfo | None
    not_before: float
    not_after: float


class ClientCertificates:
    """Reads certificates that the TLS layer has verified against the client CA; checks validity again, because a
    connection may outlive its certificate."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: dict[bytes, _Known] = {}

    def authenticate_certificate(self, der: bytes) -> UserInfo | None:
        """None if the certificate names no user. Raises ApiError (401): expired, not yet valid, not for client
        authentication, or no certificate."""
        known = self._known.get(der)
        if known is None:
            known = _read(der)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[der] = known
        if not known.not_before <= self._clock() <= known.not_after:
            raise unauthorized()
        return known.user


def _read(der: bytes) -> _Known:
    try:
        certificate = x509.load_der_x509_certificate(der)
        try:
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            usage = None
        subject = certificate.subject
    except ValueError:
        raise unauthorized() from None
    if usage is not None:
        if not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage):
            raise unauthorized()
    names = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    uids = [str(a.value) for a in subject.get_attributes_for_oid(UID_OID)]
    user = None
    if names and names[0]:
        fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
        user = UserInfo(
            names[0],
            uids[0] if uids else "",
            groups if AUTHENTICATED in groups else (*groups, AUTHENTICATED),
            {"authentication.kubernetes.io/credential-id": (f"X509SHA256={fingerprint}",)},
        )
    return _Known(user, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp())
