"""Kubeconfig files that say where outside services are, and who the API server is to them."""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from podwright.api.objects import Object
from podwright.apiserver import config_files


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a kubeconfig points: URL, TLS context, and the headers that say who asks."""

    url: str
    tls: ssl.SSLContext | None
    headers: Mapping[str, str] = field(default_factory=dict)


def _file_or_data(entry: Object, field: str, base: Path) -> bytes | None:
    if entry.get(f"{field}-data"):
        return base64.b64decode(entry[f"{field}-data"])
    if entry.get(field):
        return (base / str(entry[field])).read_bytes()
    return None


def show_certificate(tls: ssl.SSLContext, user: Object, base: Path) -> None:
    """Shows the user's certificate, if there is one. Raises OSError, ValueError."""
    certificate, key = (_file_or_data(user, field, base) for field in ("client-certificate", "client-key"))
    if certificate and key:
        # OpenSSL reads certificates from files only.
        with tempfile.NamedTemporaryFile(suffix=".pem") as pem:
            pem.write(certificate + b"\n" + key)
            pem.flush()
            tls.load_cert_chain(pem.name)


def headers_of(user: Object, base: Path) -> dict[str, str]:
    """Raises OSError."""
    token = user.get("token") or ""
    if not token and user.get("tokenFile"):
        token = (base / str(user["tokenFile"])).read_text().strip()
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user.get("username"):
        basic = f"{user['username']}:{user.get('password') or ''}"
        return {"Authorization": f"Basic {base64.b64encode(basic.encode()).decode()}"}
    return {}


def endpoint_of(path: Path) -> Endpoint:
    """Of the current context of a kubeconfig file. Raises OSError, ValueError if it is of no use."""
    config = config_files.load(path)
    try:
        context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        url = str(cluster["server"])
    except (KeyError, StopIteration, TypeError) as missing:
        raise ValueError(f"{path}: no usable context: {missing!r}") from None
    user = next((u["user"] for u in config.get("users") or () if u["name"] == context.get("user")), None) or {}
    tls: ssl.SSLContext | None = None
    if url.startswith("https:"):
        authority = _file_or_data(cluster, "certificate-authority", path.parent)
        tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        show_certificate(tls, user, path.parent)
    return Endpoint(url, tls, headers_of(user, path.parent))
