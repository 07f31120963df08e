"""Who may call the kubelet: by client certificate or by a token that the API server knows, as far as that lets them
(documentation page "Kubelet authentication/authorization": both webhook modes)."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Generic, TypeVar

from aiohttp import web

from podwright.api.objects import Object
from podwright.api.resources import SUBJECTACCESSREVIEWS, TOKENREVIEWS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.transport import ServerUnreachable

_GROUPS = frozenset({"system:masters", "system:kubelet-api-admins"})
_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCES = {
    "stats": ("stats",), "metrics": ("metrics",), "logs": ("log",), "configz": ("configz", "proxy"),
    "healthz": ("healthz", "proxy"), "pods": ("pods", "proxy"), "runningpods": ("pods", "proxy"),
}  # fmt: skip
"""By the first part of the path, what of nodes/… opens it (the API server's answer to one of them is enough)."""
_TOKEN_KEPT, _ALLOWED_KEPT, _DENIED_KEPT = 120.0, 300.0, 30.0
"""Seconds; upstream's defaults."""
_REMEMBERED = 1000

T = TypeVar("T")


def tls_context(certificate: Path, key: Path, client_ca: Path) -> ssl.SSLContext:
    """Serves with the certificate and checks client certificates against the CA, if one is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(certificate), str(key))
    context.load_verify_locations(str(client_ca))
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


class _Memory(Generic[T]):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, T]] = {}

    def get(self, key: str) -> T | None:
        until, value = self._kept.get(key, (0.0, None))
        return value if until > self._clock.monotonic() else None

    def put(self, key: str, value: T, seconds: float) -> None:
        if len(self._kept) >= _REMEMBERED:
            self._kept.clear()
        self._kept[key] = self._clock.monotonic() + seconds, value


class Access:
    """Judges requests to the kubelet of `node`. What the API server said is remembered for a while."""

    def __init__(self, client: Client, node: str, clock: Clock) -> None:
        self._client = client
        self._node = node
        self._users: _Memory[Object] = _Memory(clock)
        self._answers: _Memory[bool] = _Memory(clock)

    async def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """None if the request may pass, else the answer that it may not."""
        try:
            user = _by_certificate(request) or await self._by_token(request)
        except (ApiError, ServerUnreachable):
            user = None
        if user is None:
            return web.Response(status=401, text="Unauthorized")
        if not _GROUPS.isdisjoint(user.get("groups") or ()):
            return None
        verb = _VERBS.get(request.method, "")
        wanted = _SUBRESOURCES.get(request.path.strip("/").split("/")[0], ("proxy",))
        said = f"user={user['username']}, verb={verb}, resource=nodes, subresource(s)=[{' '.join(wanted)}]"
        try:
            for subresource in wanted:
                if await self._is_allowed(user, verb, subresource):
                    return None
        except (ApiError, ServerUnreachable):
            return web.Response(status=500, text=f"Authorization error ({said})")
        return web.Response(status=403, text=f"Forbidden ({said})")

    async def _by_token(self, request: web.BaseRequest) -> Object | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        user = self._users.get(token)
        if user is None:
            review = {**_kind("authentication.k8s.io/v1", "TokenReview"), "spec": {"token": token}}
            status = (await self._client.create(TOKENREVIEWS, review)).get("status") or {}
            if not status.get("authenticated"):
                return None
            user = dict(status["user"])
            self._users.put(token, user, _TOKEN_KEPT)
        return user

    async def _is_allowed(self, user: Object, verb: str, subresource: str) -> bool:
        key = f"{user!r} {verb} {subresource}"
        known = self._answers.get(key)
        if known is None:
            wanted = {"verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource}
            who = {"user": user["username"], **{k: user[k] for k in ("groups", "uid", "extra") if user.get(k)}}
            review = {
                **_kind("authorization.k8s.io/v1", "SubjectAccessReview"),
                "spec": {**who, "resourceAttributes": {**wanted, "name": self._node}},
            }  # fmt: skip
            answer = await self._client.create(SUBJECTACCESSREVIEWS, review)
            known = bool((answer.get("status") or {}).get("allowed"))
            self._answers.put(key, known, _ALLOWED_KEPT if known else _DENIED_KEPT)
        return known


def _kind(version: str, kind: str) -> Object:
    return {"apiVersion": version, "kind": kind}


def _by_certificate(request: web.BaseRequest) -> Object | None:
    transport = request.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    certificate = tls.getpeercert() if tls is not None else None
    if not certificate:
        return None
    entries = [(key, str(value)) for part in certificate.get("subject", ()) for key, value in part]
    name = next((value for key, value in entries if key == "commonName"), "")
    groups = [value for key, value in entries if key == "organizationName"]
    return {"username": name, "groups": [*groups, "system:authenticated"]}
