"""Bootstrap tokens ``id.secret``, kept in Secrets ``bootstrap-token-ID`` of kube-system (Kubernetes documentation,
"Authenticating with Bootstrap Tokens")."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import time
from collections.abc import Callable, Sequence

from podwright.api.objects import Object, is_deleting, parse_time
from podwright.api.resources import SECRETS
from podwright.apiserver.requests import Objects, UserInfo

SECRET_TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
GROUP = "system:bootstrappers"
_TOKEN = re.compile(r"\A([a-z0-9]{6})\.([a-z0-9]{16})\Z")
_GROUP = re.compile(r"\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\Z")


class BootstrapTokens:
    def __init__(self, objects: Objects, *, clock: Callable[[], float] = time.time) -> None:
        self._objects = objects
        self._clock = clock

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> UserInfo | None:
        match = _TOKEN.match(token)
        if match is None:
            return None
        token_id, token_secret = match.groups()
        secret = self._objects.get(SECRETS, NAMESPACE, f"bootstrap-token-{token_id}")
        if secret is None or is_deleting(secret) or secret.get("type") != SECRET_TYPE:
            return None
        data = _decoded(secret)
        if not hmac.compare_digest(data.get("token-secret", "").encode(), token_secret.encode()):
            return None
        if data.get("token-id") != token_id or data.get("usage-bootstrap-authentication") != "true":
            return None
        if expiration := data.get("expiration"):
            try:
                if parse_time(expiration) <= self._clock():
                    return None
            except ValueError:
                return None
        groups = [g.strip() for g in data.get("auth-extra-groups", "").split(",") if g.strip()]
        if not all(_GROUP.match(g) for g in groups):
            return None
        return UserInfo(f"system:bootstrap:{token_id}", groups=tuple(dict.fromkeys((GROUP, *groups))))


def _decoded(secret: Object) -> dict[str, str]:
    data: dict[str, str] = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            data[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            continue  # such a key is as good as missing
    return data
