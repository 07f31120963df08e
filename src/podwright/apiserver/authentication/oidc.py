"""OpenID Connect issuers, as an AuthenticationConfiguration (apiserver.config.k8s.io/v1) names them.

Keys come from the issuer's discovery document and are read again when a token names a key that is not known, at most
every ten seconds.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt
import orjson

from podwright.api.objects import Object
from podwright.api.status import unauthorized
from podwright.apiserver.requests import UserInfo

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
REFRESH_INTERVAL = 10.0
TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Issuer:
    """One JWT authenticator of the configuration."""

    url: str
    audiences: Sequence[str]
    discovery_url: str = ""
    authority: str = ""
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = ""
    groups_prefix: str = ""
    uid_claim: str = ""
    required_claims: dict[str, str] = field(default_factory=dict)


def issuer_of(entry: Mapping[str, Any]) -> Issuer:
    """Reads one entry of ``jwt``. Raises ValueError, KeyError if it has what cannot be honoured."""
    issuer = entry["issuer"]
    mappings = entry.get("claimMappings") or {}
    username, groups = mappings.get("username") or {}, mappings.get("groups") or {}
    for part in (username, groups, mappings.get("uid") or {}):
        if part.get("expression"):
            raise ValueError("claim mappings by expression are not supported")
    if entry.get("userValidationRules") or any(r.get("expression") for r in entry.get("claimValidationRules") or ()):
        raise ValueError("validation rules by expression are not supported")
    if not issuer["url"].startswith("https://"):
        raise ValueError(f"issuer {issuer['url']!r}: URL scheme must be https")
    return Issuer(
        url=issuer["url"],
        audiences=tuple(issuer["audiences"]),
        discovery_url=issuer.get("discoveryURL") or "",
        authority=issuer.get("certificateAuthority") or "",
        username_claim=username.get("claim") or "sub",
        username_prefix=username.get("prefix") or "",
        groups_claim=groups.get("claim") or "",
        groups_prefix=groups.get("prefix") or "",
        uid_claim=(mappings.get("uid") or {}).get("claim") or "",
        required_claims={
            rule["claim"]: rule.get("requiredValue") or "" for rule in entry.get("claimValidationRules") or ()
        },
    )


class OpenIDConnect:
    def __init__(self, issuer: Issuer, *, clock: Callable[[], float] = time.time) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: dict[str, Any] = {}
        self._read_at = float("-inf")
        self._tls = ssl.create_default_context(cadata=issuer.authority or None)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> UserInfo | None:
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError):
            return None
        if unverified.get("iss") != self._issuer.url:
            return None
        key_id = str(header.get("kid") or "")
        if key_id not in self._keys and self._clock() - self._read_at >= REFRESH_INTERVAL:
            await self._read_keys()
        key = self._keys.get(key_id) or (next(iter(self._keys.values())) if len(self._keys) == 1 else None)
        if key is None:
            raise unauthorized()
        try:
            claims: Object = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=list(self._issuer.audiences),
                options={"require": ["exp", "iss", "aud"], "verify_exp": False, "verify_nbf": False},
            )
        except (jwt.PyJWTError, ValueError):
            raise unauthorized() from None
        return self._user(claims)

    def _user(self, claims: Object) -> UserInfo:
        issuer = self._issuer
        try:
            valid = float(claims.get("nbf") or 0) <= self._clock() + 60 and self._clock() <= float(claims["exp"])
        except (TypeError, ValueError):
            valid = False
        username = claims.get(issuer.username_claim)
        if not valid or not isinstance(username, str) or not username:
            raise unauthorized()
        if issuer.username_claim == "email" and claims.get("email_verified") is False:
            raise unauthorized()
        for claim, value in issuer.required_claims.items():
            if claims.get(claim) != value:
                raise unauthorized()
        groups = claims.get(issuer.groups_claim) or () if issuer.groups_claim else ()
        if isinstance(groups, str):
            groups = (groups,)
        if not all(isinstance(g, str) for g in groups):
            raise unauthorized()
        extra = {}
        if identifier := claims.get("jti"):
            extra["authentication.kubernetes.io/credential-id"] = (f"JTI={identifier}",)
        return UserInfo(
            issuer.username_prefix + username,
            str(claims.get(issuer.uid_claim) or "") if issuer.uid_claim else "",
            tuple(issuer.groups_prefix + g for g in groups),
            extra,
        )

    async def _read_keys(self) -> None:
        self._read_at = self._clock()
        discovery = self._issuer.discovery_url or self._issuer.url.rstrip("/") + "/.well-known/openid-configuration"
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:
                async with session.get(discovery, ssl=self._tls) as response:
                    response.raise_for_status()
                    document = orjson.loads(await response.read())
                if document.get("issuer") != self._issuer.url:
                    raise unauthorized()
                async with session.get(document["jwks_uri"], ssl=self._tls) as response:
                    response.raise_for_status()
                    keys = jwt.PyJWKSet.from_json((await response.read()).decode())
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, jwt.PyJWTError):
            raise unauthorized() from None
        self._keys = {key.key_id or "": key for key in keys.keys}
