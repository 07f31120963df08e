"""Who may call the kubelet: the API server (and whoever holds a certificate of its groups) by client certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

from aiohttp import web

OPEN_PATHS = frozenset({"/healthz"})
_GROUPS = frozenset({"system:masters", "system:kubelet-api-admins"})


def tls_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """Serves with the certificate and checks client certificates against the CA, if one is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(certificate), str(key))
    context.load_verify_locations(str(client_ca))
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def refusal(request: web.BaseRequest) -> web.Response | None:
    """None if the request may pass, else the answer that it may not."""
    if request.path in OPEN_PATHS:
        return None
    subject = _subject(request)
    if subject is None:
        return web.Response(status=401, text="Unauthorized")
    user, groups = subject
    if groups & _GROUPS:
        return None
    return web.Response(status=403, text=f"Forbidden (user={user}, verb={request.method.lower()}, resource=nodes)")


def _subject(request: web.BaseRequest) -> tuple[str, set[str]] | None:
    transport = request.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    certificate = tls.getpeercert() if tls is not None else None
    if not certificate:
        return None
    entries = [(key, str(value)) for part in certificate.get("subject", ()) for key, value in part]
    user = next((value for key, value in entries if key == "commonName"), "")
    return user, {value for key, value in entries if key == "organizationName"}
