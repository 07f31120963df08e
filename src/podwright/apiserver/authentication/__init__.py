"""Authentication: who asks.

Kinds of credentials are tried in upstream's order: a proxy's word, client certificate, then bearer token (static,
service account, bootstrap, OIDC). Credentials that nobody accepts are 401; none at all is None, for which the caller
asks :func:`podwright.apiserver.authentication.anonymous.user_for`.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from podwright.api.objects import Object
from podwright.api.status import ApiError, unauthorized
from podwright.apiserver.authentication.bootstrap_tokens import BootstrapTokens
from podwright.apiserver.authentication.front_proxy import FrontProxies, authorities
from podwright.apiserver.authentication.issuers import Issuers
from podwright.apiserver.authentication.service_account import ServiceAccountTokens, load_keys
from podwright.apiserver.authentication.static_tokens import StaticTokens
from podwright.apiserver.authentication.x509 import ClientCertificates
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.requests import Credentials, Objects, UserInfo

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
_BEARER = "bearer "
_WEBSOCKET_BEARER = "base64url.bearer.authorization.k8s.io."


class TokenAuthenticator(Protocol):
    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> UserInfo | None:
        """None: not a token of this kind. Raises ApiError (401) if it is one and does not hold."""


def with_authenticated_group(user: UserInfo) -> UserInfo:
    """Every user that proved who they are is in system:authenticated."""
    if AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups:
        return user
    return UserInfo(user.name, user.uid, (*user.groups, AUTHENTICATED), user.extra)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates count: those of `clients` name users (None: of all that TLS trusts), those of `proxies` may
    say who asks."""

    clients: frozenset[bytes] | None = None
    proxies: FrontProxies | None = None

    @classmethod
    def of(cls, config: ApiServerConfig) -> Trust:
        """Raises OSError, ValueError."""
        clients = authorities(config.client_ca) if config.client_ca is not None else None
        if config.requestheader_client_ca is None:
            return cls(clients)
        proxies = FrontProxies(config.requestheader_client_ca, config.requestheader_allowed_names)
        return cls(clients or frozenset(), proxies)


class Union:
    """``trust`` may be replaced: it counts for connections that are open too."""

    def __init__(
        self, certificates: ClientCertificates, tokens: Sequence[TokenAuthenticator], trust: Trust = Trust(),
    ) -> None:
        self._certificates = certificates
        self._tokens = tuple(tokens)
        self.trust = trust

    async def authenticate(self, credentials: Credentials) -> UserInfo | None:
        trust = self.trust
        if trust.proxies is not None and (proxied := trust.proxies.authenticate(credentials)) is not None:
            return with_authenticated_group(proxied)
        others = trust.clients is not None and credentials.authority not in trust.clients
        if credentials.certificate is not None and not others:
            user = self._certificates.authenticate_certificate(credentials.certificate)
            if user is not None:
                return user
        token = bearer_token(credentials)
        if token is None:
            if credentials.certificate is not None and others:
                raise unauthorized()
            return None
        return await self.authenticate_token(token)

    async def authenticate_token(self, token: str, audiences: Sequence[str] = ()) -> UserInfo:
        """The user of a bearer token, for these audiences (none: the API server's own). Raises ApiError (401)."""
        problem: ApiError | None = None
        for authenticator in self._tokens:
            try:
                user = await authenticator.authenticate_token(token, audiences)
            except ApiError as error:
                problem = error
                continue
            if user is not None:
                return with_authenticated_group(user)
        raise problem or unauthorized()


def bearer_token(credentials: Credentials) -> str | None:
    """The token of the Authorization header, or of a WebSocket subprotocol (which browsers must use)."""
    header = credentials.headers.get("authorization", "")
    if header[: len(_BEARER)].lower() == _BEARER:
        return header[len(_BEARER) :].strip() or None
    if credentials.headers.get("upgrade", "").lower() == "websocket":
        for protocol in credentials.headers.get("sec-websocket-protocol", "").split(","):
            encoded = protocol.strip()
            if encoded.startswith(_WEBSOCKET_BEARER):
                text = encoded[len(_WEBSOCKET_BEARER) :]
                try:
                    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
                except (binascii.Error, ValueError):
                    raise unauthorized() from None
    return None


def build(
    config: ApiServerConfig, objects: Objects, *, clock: Callable[[], float] = time.time,
    used: Callable[[Object], None] = lambda secret: None, issuers: Issuers | None = None,
) -> Union:
    """The authenticators that the configuration asks for. `used`: see ServiceAccountTokens. Raises OSError,
    ValueError."""
    tokens: list[TokenAuthenticator] = []
    if config.token_file is not None:
        tokens.append(StaticTokens.from_file(config.token_file))
    if config.service_account_signing_key is not None or config.service_account_keys:
        tokens.append(
            ServiceAccountTokens(
                load_keys(config),
                issuer=config.service_account_issuer,
                audiences=tuple(config.api_audiences) or (config.service_account_issuer,),
                objects=objects,
                clock=clock,
                used=used,
            )
        )
    if config.bootstrap_tokens:
        tokens.append(BootstrapTokens(objects, clock=clock))
    tokens.append(issuers or Issuers(config, clock=clock))
    return Union(ClientCertificates(clock=clock), tokens, Trust.of(config))
