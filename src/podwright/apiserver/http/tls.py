"""The server's side of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path


def server_context(certificate: Path, key: Path, *authorities: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or later. A client certificate is asked for, not demanded; one that none of the authorities signed ends
    the handshake (upstream answers 401: see docs/differences.md)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    for authority in filter(None, authorities):
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
