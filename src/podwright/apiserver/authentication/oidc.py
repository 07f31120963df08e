"""OpenID Connect issuers, as an AuthenticationConfiguration (apiserver.config.k8s.io/v1) names them.

Keys come from the issuer's discovery document and are read again when a token names a key that is not known, at most
every ten seconds.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import jwt
import orjson

from podwright.api.objects import Object
from podwright.api.status import unauthorized
from podwright.apiserver.authentication.claims import ClaimsMapper, Unacceptable
from podwright.apiserver.requests import UserInfo

_log = logging.getLogger(__name__)
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
REFRESH_INTERVAL = 10.0
TIMEOUT = 30.0


class OpenIDConnect:
    """One JWT authenticator of the configuration, which has been checked."""

    def __init__(self, entry: Object, *, clock: Callable[[], float] = time.time) -> None:
        issuer = entry["issuer"]
        self._url: str = issuer["url"]
        self._discovery = issuer.get("discoveryURL") or self._url.rstrip("/") + "/.well-known/openid-configuration"
        self._audiences: list[str] = issuer["audiences"]
        self._mapper = ClaimsMapper(entry)
        self._clock = clock
        self._keys: dict[str, Any] = {}
        self._read_at = float("-inf")
        self._tls = ssl.create_default_context(cadata=issuer.get("certificateAuthority") or None)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> UserInfo | None:
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError):
            return None
        if unverified.get("iss") != self._url:
            return None
        key_id = str(header.get("kid") or "")
        if key_id not in self._keys and self._clock() - self._read_at >= REFRESH_INTERVAL:
            await self.read_keys()
        key = self._keys.get(key_id) or (next(iter(self._keys.values())) if len(self._keys) == 1 else None)
        if key is None:
            raise unauthorized()
        try:
            claims: Object = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._audiences,
                options={"require": ["exp", "iss", "aud"], "verify_exp": False, "verify_nbf": False},
            )
        except (jwt.PyJWTError, ValueError):
            raise unauthorized() from None
        if not self._is_valid(claims):
            raise unauthorized()
        try:
            return self._mapper.user(claims)
        except Unacceptable as why:
            _log.info("a token of %s gives no user: %s", self._url, why)
            raise unauthorized() from None

    def _is_valid(self, claims: Object) -> bool:
        try:
            return float(claims.get("nbf") or 0) <= self._clock() + 60 and self._clock() <= float(claims["exp"])
        except (TypeError, ValueError):
            return False

    async def read_keys(self) -> None:
        """Raises ApiError (401) if the issuer does not give them."""
        self._read_at = self._clock()
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:
                async with session.get(self._discovery, ssl=self._tls) as response:
                    response.raise_for_status()
                    document = orjson.loads(await response.read())
                if document.get("issuer") != self._url:
                    raise unauthorized()
                async with session.get(document["jwks_uri"], ssl=self._tls) as response:
                    response.raise_for_status()
                    keys = jwt.PyJWKSet.from_json((await response.read()).decode())
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, jwt.PyJWTError):
            raise unauthorized() from None
        self._keys = {key.key_id or "": key for key in keys.keys}
