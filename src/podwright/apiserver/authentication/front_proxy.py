"""Authenticating proxies: who shows a certificate of their own authority is believed about who asks (Kubernetes
documentation, "Authenticating", "Authenticating Proxy")."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from podwright.api.status import unauthorized
from podwright.apiserver.requests import Credentials, UserInfo

_USER = "x-remote-user"
_UID = "x-remote-uid"
_GROUP = "x-remote-group"
_EXTRA = "x-remote-extra-"


def authorities(bundle: Path) -> frozenset[bytes]:
    """The certificates of a PEM file, in DER."""
    return frozenset(c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(bundle.read_bytes()))


class FrontProxies:
    """`names` are the common names that count; none: any. Only certificates that lead to `bundle` do."""

    def __init__(self, bundle: Path, names: Sequence[str]) -> None:
        self._authorities = authorities(bundle)
        self._names = frozenset(names)

    def authenticate(self, credentials: Credentials) -> UserInfo | None:
        """The user that a proxy names; None if no proxy does. Raises ApiError (401): a proxy of a wrong name."""
        if credentials.certificate is None or credentials.authority not in self._authorities:
            return None
        if self._names:
            subject = x509.load_der_x509_certificate(credentials.certificate).subject
            if not self._names & {str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)}:
                raise unauthorized()
        user = credentials.headers.get(_USER)
        if not user:
            return None
        groups, extra = [], dict[str, list[str]]()
        for name, value in credentials.fields:
            lower = name.lower()
            if lower == _GROUP and value:
                groups.append(value)
            elif lower.startswith(_EXTRA):
                extra.setdefault(unquote(lower[len(_EXTRA) :]), []).append(value)
        return UserInfo(user, credentials.headers.get(_UID, ""), tuple(groups), extra)
