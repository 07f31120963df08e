"""Making ServiceAccount tokens: the TokenRequest API, and the two documents by which others verify them.

Kubernetes documentation, "Managing Service Accounts", "TokenRequest API" and "Service account issuer discovery".
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import rsa

from podwright.api.objects import Object, deepcopy, format_time, is_deleting, uid
from podwright.api.resources import NODES, PODS, SECRETS, SERVICEACCOUNTS, Resource
from podwright.api.status import bad_request, conflict, invalid, not_found
from podwright.api.validation import field_errors
from podwright.apiserver.authentication.service_account import (
    PublicKey,
    algorithm_of,
    key_id,
    load_keys,
    load_private_key,
)
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.requests import Objects

DEFAULT_SECONDS = 3600
MIN_SECONDS = 600
MAX_SECONDS = 1 << 32
KUBELET_SECONDS = 3607
"""What ServiceAccount admission asks for in Pods: such tokens of the API server's own audience live a year (clients
that never read the file again keep working, as long as the Pod lives)."""
EXTENDED_SECONDS = 365 * 24 * 3600
JWKS_PATH = "/openid/v1/jwks"
_ALGORITHMS = {"secp256r1": ("P-256", 32), "secp384r1": ("P-384", 48), "secp521r1": ("P-521", 66)}


class TokenIssuer:
    """Signs with one key; publishes all keys whose tokens the server accepts."""

    def __init__(self, config: ApiServerConfig, objects: Objects, *, clock: Callable[[], float] = time.time) -> None:
        """Raises ValueError if the configuration names no signing key, OSError if it cannot be read."""
        if config.service_account_signing_key is None:
            raise ValueError("service_account_signing_key is not set")
        self._key = load_private_key(config.service_account_signing_key)
        self._key_id = key_id(self._key.public_key())
        self._algorithm = algorithm_of(self._key)
        self._issuer = config.service_account_issuer
        self._audiences = tuple(config.api_audiences) or (config.service_account_issuer,)
        self._max_seconds = config.service_account_max_token_seconds
        self._public = load_keys(config)
        self._objects = objects
        self._clock = clock

    def create(self, namespace: str, account_name: str, request: Object) -> Object:
        """The TokenRequest with its status. Raises ApiError: 400, 404, 409 or 422."""
        answer = deepcopy(request)
        spec = answer.get("spec") or {}
        answer["spec"] = spec
        spec["audiences"] = list(spec.get("audiences") or ()) or list(self._audiences)
        if spec.get("expirationSeconds") is None:
            spec["expirationSeconds"] = DEFAULT_SECONDS
        _validate(account_name, spec)
        account = self._objects.get(SERVICEACCOUNTS, namespace, account_name)
        if account is None or is_deleting(account):
            raise not_found("", "serviceaccounts", account_name)
        private: Object = {
            "namespace": namespace, "serviceaccount": {"name": account_name, "uid": uid(account)},
            **self._bound(namespace, account_name, spec.get("boundObjectRef")),
        }
        seconds = int(spec["expirationSeconds"])
        if self._max_seconds and seconds > self._max_seconds:
            seconds = spec["expirationSeconds"] = self._max_seconds
        now = int(self._clock())
        expiry = now + seconds
        if seconds == KUBELET_SECONDS and set(spec["audiences"]) <= set(self._audiences):
            private["warnafter"] = expiry
            expiry = now + EXTENDED_SECONDS
        claims = {
            "aud": spec["audiences"], "exp": expiry, "iat": now, "iss": self._issuer, "jti": str(uuid.uuid4()),
            "kubernetes.io": private, "nbf": now, "sub": f"system:serviceaccount:{namespace}:{account_name}",
        }
        answer["metadata"] = {
            **(answer.get("metadata") or {}), "name": account_name, "namespace": namespace,
            "creationTimestamp": format_time(now),
        }
        answer["status"] = {
            "token": jwt.encode(claims, self._key, algorithm=self._algorithm, headers={"kid": self._key_id}),
            "expirationTimestamp": format_time(now + seconds),
        }
        return answer

    def _bound(self, namespace: str, account_name: str, reference: Object | None) -> Object:
        if not reference:
            return {}
        kind = (reference.get("apiVersion"), reference.get("kind"))
        nm, wanted = str(reference.get("name") or ""), reference.get("uid")
        if kind == ("v1", "Pod"):
            pod = self._existing(PODS, namespace, nm, wanted)
            if ((pod.get("spec") or {}).get("serviceAccountName") or "") != account_name:
                raise bad_request(
                    f'cannot bind token for serviceaccount "{account_name}" to pod running with different'
                    " serviceaccount name."
                )
            private: Object = {"pod": {"name": nm, "uid": uid(pod)}}
            node_name = (pod.get("spec") or {}).get("nodeName")
            if node_name:
                node = self._objects.get(NODES, "", node_name)
                private["node"] = {"name": node_name, **({"uid": uid(node)} if node is not None else {})}
            return private
        if kind == ("v1", "Secret"):
            return {"secret": {"name": nm, "uid": uid(self._existing(SECRETS, namespace, nm, wanted))}}
        if kind == ("v1", "Node"):
            return {"node": {"name": nm, "uid": uid(self._existing(NODES, "", nm, wanted))}}
        raise bad_request(f"cannot bind token to object of type {kind[0]}, Kind={kind[1]}")

    def _existing(self, resource: Resource, namespace: str, nm: str, wanted: Any) -> Object:
        obj = self._objects.get(resource, namespace, nm)
        if obj is None:
            raise not_found("", resource.plural, nm)
        if wanted and uid(obj) != wanted:
            raise conflict(
                "",
                resource.plural,
                nm,
                f"the UID in the bound object reference ({wanted}) does not match the UID in record. The object might"
                " have been deleted and then recreated",
            )
        return obj

    def jwks(self) -> bytes:
        """The body of ``/openid/v1/jwks`` (application/jwk-set+json)."""
        return orjson.dumps({"keys": [_jwk(kid, key) for kid, key in self._public.items()]})

    def openid_configuration(self, external_address: str) -> bytes:
        """The body of ``/.well-known/openid-configuration``; `external_address` is host:port of this server."""
        return orjson.dumps(
            {
                "issuer": self._issuer,
                "jwks_uri": f"https://{external_address}{JWKS_PATH}",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": sorted({algorithm_of(k) for k in self._public.values()}),
            }
        )


def _validate(account_name: str, spec: Object) -> None:
    seconds, field = spec["expirationSeconds"], "spec.expirationSeconds"
    errors = []
    if not isinstance(seconds, int) or seconds < MIN_SECONDS:
        errors.append(field_errors.invalid(field, seconds, "may not specify a duration less than 10 minutes"))
    elif seconds > MAX_SECONDS:
        errors.append(field_errors.invalid(field, seconds, "may not specify a duration larger than 2^32 seconds"))
    if errors:
        raise invalid("authentication.k8s.io", "TokenRequest", account_name, errors)


def _number(value: int, size: int = 0) -> str:
    data = value.to_bytes(size or (value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _jwk(kid: str, key: PublicKey) -> Object:
    made: Object = {"use": "sig", "kid": kid, "alg": algorithm_of(key)}
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {**made, "kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    curve, size = _ALGORITHMS[key.curve.name]
    point = key.public_numbers()
    return {**made, "kty": "EC", "crv": curve, "x": _number(point.x, size), "y": _number(point.y, size)}
