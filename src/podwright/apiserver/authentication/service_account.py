"""ServiceAccount tokens: JWTs that the API server signed.

Tokens of the TokenRequest API carry audiences, an expiry and the objects that they are bound to; a token dies with the
ServiceAccount, Pod, Secret or Node whose uid it names (Kubernetes documentation, "Managing Service Accounts"). Legacy
tokens live in a Secret of type ``kubernetes.io/service-account-token`` and never expire.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from podwright.api.objects import Object, labels, parse_time, uid
from podwright.api.resources import NODES, PODS, SECRETS, SERVICEACCOUNTS
from podwright.api.status import unauthorized
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.requests import Objects, UserInfo

LEGACY_ISSUER = "kubernetes/serviceaccount"
USER_PREFIX = "system:serviceaccount:"
GROUP = "system:serviceaccounts"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
EXTRA = "authentication.kubernetes.io/"
DELETION_LEEWAY = 60.0
"""Seconds that a bound object's token still holds after the object's deletion time, as upstream."""
NOT_BEFORE_LEEWAY = 60.0
_REMEMBERED = 16384

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


def algorithm_of(key: PublicKey | PrivateKey) -> str:
    """The JWS algorithm with which a key signs. Raises ValueError on a curve that JWS has no name for."""
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return "RS256"
    try:
        return _CURVES[key.curve.name]
    except KeyError:
        raise ValueError(f"curve {key.curve.name} cannot sign tokens") from None


def key_id(key: PublicKey) -> str:
    """The JWK ``kid``: the SHA-256 of the DER public key, base64url without padding."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def load_private_key(path: Path) -> PrivateKey:
    """Reads an RSA or EC private key in PEM. Raises OSError, ValueError."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path}: neither an RSA nor an EC private key")
    return key


def load_keys(config: ApiServerConfig) -> dict[str, PublicKey]:
    """Public keys by key id: the signing key's first, then those of the key files (private or public PEM)."""
    keys: list[PublicKey] = []
    if config.service_account_signing_key is not None:
        keys.append(load_private_key(config.service_account_signing_key).public_key())
    for path in config.service_account_keys:
        pem = path.read_bytes()
        key: Any
        if b"PRIVATE KEY" in pem:
            key = load_private_key(path).public_key()
        else:
            key = serialization.load_pem_public_key(pem)
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise ValueError(f"{path}: neither an RSA nor an EC key")
        keys.append(key)
    return {key_id(key): key for key in keys}


class ServiceAccountTokens:
    def __init__(
        self, keys: Mapping[str, PublicKey], *, issuer: str, audiences: Sequence[str], objects: Objects,
        clock: Callable[[], float] = time.time, used: Callable[[Object], None] = lambda secret: None,
    ) -> None:
        """`used` is told of each Secret whose token somebody came with."""
        self._keys = dict(keys)
        self._issuer = issuer
        self._audiences = tuple(audiences)
        self._objects = objects
        self._clock = clock
        self._used = used
        self._verified: dict[str, Object] = {}

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> UserInfo | None:
        claims = self._verified.get(token)
        if claims is None:
            claims = self._verify(token)
            if claims is None:
                return None
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified[token] = claims
        wanted = tuple(audiences) or self._audiences
        if claims["iss"] == LEGACY_ISSUER:
            return self._legacy(claims, token, wanted)
        return self._bound(claims, wanted)

    def _verify(self, token: str) -> Object | None:
        """The claims of a token whose signature holds; None if it is of another issuer or no JWT."""
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError):
            return None
        if not isinstance(unverified, dict) or unverified.get("iss") not in (self._issuer, LEGACY_ISSUER):
            return None
        named = self._keys.get(str(header.get("kid") or ""))
        for key in [named] if named is not None else self._keys.values():
            try:
                claims: Object = jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm_of(key)],
                    options={"verify_exp": False, "verify_nbf": False, "verify_aud": False, "verify_iat": False},
                )
            except (jwt.PyJWTError, ValueError):
                continue
            return claims
        raise unauthorized()

    def _bound(self, claims: Object, wanted: Sequence[str]) -> UserInfo:
        now = self._clock()
        audiences = claims.get("aud") or ()
        if isinstance(audiences, str):
            audiences = (audiences,)
        if not set(audiences) & set(wanted):
            raise unauthorized()
        try:
            if now > float(claims["exp"]) or now + NOT_BEFORE_LEEWAY < float(claims.get("nbf") or 0):
                raise unauthorized()
        except (KeyError, TypeError, ValueError):
            raise unauthorized() from None
        private = claims.get("kubernetes.io")
        if not isinstance(private, dict):
            raise unauthorized()
        ns = str(private.get("namespace") or "")
        account = private.get("serviceaccount") or {}
        self._alive(SERVICEACCOUNTS, ns, account, now)
        extra: dict[str, Sequence[str]] = {}
        if identifier := claims.get("jti"):
            extra[EXTRA + "credential-id"] = (f"JTI={identifier}",)
        if (secret := private.get("secret")) is not None:
            self._heed_mark(self._alive(SECRETS, ns, secret, now))
        if (pod := private.get("pod")) is not None:
            self._alive(PODS, ns, pod, now)
            extra[EXTRA + "pod-name"] = (str(pod["name"]),)
            extra[EXTRA + "pod-uid"] = (str(pod.get("uid") or ""),)
        if (node := private.get("node")) is not None:
            if pod is None:  # together with a Pod, the node is information only
                self._alive(NODES, "", node, now)
            extra[EXTRA + "node-name"] = (str(node.get("name") or ""),)
            if node.get("uid"):
                extra[EXTRA + "node-uid"] = (str(node["uid"]),)
        return service_account_user(ns, str(account["name"]), str(account.get("uid") or ""), extra)

    def _alive(self, resource: Any, ns: str, reference: Object, now: float) -> Object:
        """The object that a token is bound to. Raises ApiError (401) if it is gone, another one of its name, or
        deleted for more than the leeway."""
        obj = self._objects.get(resource, ns, str(reference.get("name") or ""))
        if obj is None or uid(obj) != reference.get("uid"):
            raise unauthorized()
        deletion = (obj.get("metadata") or {}).get("deletionTimestamp")
        if deletion and parse_time(deletion) + DELETION_LEEWAY < now:
            raise unauthorized()
        return obj

    def _legacy(self, claims: Object, token: str, wanted: Sequence[str]) -> UserInfo:
        if not set(self._audiences) & set(wanted):
            raise unauthorized()
        prefix = "kubernetes.io/serviceaccount/"
        ns = str(claims.get(prefix + "namespace") or "")
        secret = self._objects.get(SECRETS, ns, str(claims.get(prefix + "secret.name") or ""))
        if secret is None or (secret.get("metadata") or {}).get("deletionTimestamp"):
            raise unauthorized()
        kept = (secret.get("data") or {}).get("token") or ""
        if kept != base64.b64encode(token.encode()).decode():
            raise unauthorized()
        account = {
            "name": claims.get(prefix + "service-account.name"), "uid": claims.get(prefix + "service-account.uid"),
        }
        self._alive(SERVICEACCOUNTS, ns, account, self._clock())
        self._heed_mark(secret)
        return service_account_user(ns, str(account["name"]), str(account["uid"]), {})

    def _heed_mark(self, secret: Object) -> None:
        """Raises ApiError (401) if the Secret's token was not used for so long that it counts no more."""
        self._used(secret)
        if labels(secret).get(INVALID_SINCE):
            raise unauthorized()


def service_account_user(ns: str, name: str, account_uid: str, extra: Mapping[str, Sequence[str]]) -> UserInfo:
    """The user that a ServiceAccount is."""
    return UserInfo(f"{USER_PREFIX}{ns}:{name}", account_uid, (GROUP, f"{GROUP}:{ns}"), extra)
