"""Bootstrap token Secrets (Kubernetes documentation, "Authenticating with Bootstrap Tokens")."""

from __future__ import annotations

import base64
import binascii

from podwright.api import objects
from podwright.api.objects import Object

TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
FIELD_SELECTOR = f"type={TYPE}"


def value(secret: Object, key: str) -> str:
    """The decoded value, "" if it is missing or no text."""
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def expires_at(secret: Object) -> float | None:
    """None if it never does; a time that cannot be read has passed."""
    text = value(secret, "expiration")
    if not text:
        return None
    try:
        return objects.parse_time(text)
    except ValueError:
        return 0.0


def signing_key(secret: Object, now: float) -> tuple[str, str] | None:
    """(token id, whole token) if the Secret is sound, has not expired and may sign."""
    name, secret_part = value(secret, "token-id"), value(secret, "token-secret")
    if secret.get("type") != TYPE or not name or not secret_part or objects.name(secret) != f"bootstrap-token-{name}":
        return None
    expiry = expires_at(secret)
    if value(secret, "usage-bootstrap-signing") != "true" or (expiry is not None and expiry <= now):
        return None
    return name, f"{name}.{secret_part}"
