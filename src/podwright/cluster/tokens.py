"""Bootstrap tokens, with which new nodes ask for their certificate: Secrets of kube-system in the form that kubeadm and
the token cleaner know."""

from __future__ import annotations

import asyncio
import base64
import datetime
import re
import secrets
import string
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import SECRETS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.cluster.admin import admin_client
from podwright.cluster.down import find_cluster
from podwright.cluster.host import primary_address
from podwright.cluster.pki import Pki, ca_hash

T = TypeVar("T")

NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
GROUP = "system:bootstrappers:kubeadm:default-node-token"
"""The group of kubeadm's tokens; system:bootstrappers comes with every one."""

_PREFIX = "bootstrap-token-"
_ALPHABET = string.digits + string.ascii_lowercase
_TOKEN = re.compile(r"([a-z0-9]{6})(?:\.[a-z0-9]{16})?")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_TIMEOUT = 10.0


class BadToken(ValueError):
    """The message says what a token, its id or its time to live may be."""


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    """`expires` is RFC 3339, empty if never."""

    token: str
    expires: str
    usages: tuple[str, ...]
    groups: str


@dataclass(frozen=True, slots=True)
class JoinLine:
    """What a machine needs to join."""

    token: BootstrapToken
    server: str
    ca_hash: str

    @property
    def command(self) -> str:
        return f"podwright node join --server {self.server} --token {self.token.token} --ca-hash {self.ca_hash}"


def time_to_live(text: str) -> datetime.timedelta:
    """A duration as Go writes it, such as 24h or 1h30m; 0 is "for ever". Raises BadToken."""
    if text == "0":
        return datetime.timedelta()
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise BadToken(f"time to live {text!r}: write it as 24h, 1h30m or 90s; 0 means for ever")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    try:
        return datetime.timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise BadToken(f"time to live {text!r}: too long") from None


def token_secret(token: str, ttl: datetime.timedelta, now: datetime.datetime) -> Object:
    """The Secret of a token; a `ttl` of zero has no end. Raises BadToken if the end is past the year 9999."""
    identity, _, secret = token.partition(".")
    data = {
        "token-id": identity,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": GROUP,
    }
    if ttl:
        try:
            data["expiration"] = (now + ttl).strftime("%Y-%m-%dT%H:%M:%SZ")
        except OverflowError:
            raise BadToken("time to live: too long") from None
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": _PREFIX + identity, "namespace": NAMESPACE},
        "type": SECRET_TYPE,
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def token_of(secret: Object) -> BootstrapToken:
    """What a Secret of the type says."""
    data = {key: base64.b64decode(value).decode(errors="replace") for key, value in (secret.get("data") or {}).items()}
    usage = "usage-bootstrap-"
    usages = (key.removeprefix(usage) for key, on in data.items() if key.startswith(usage) and on == "true")
    return BootstrapToken(
        f"{data.get('token-id', '')}.{data.get('token-secret', '')}",
        data.get("expiration", ""),
        tuple(sorted(usages)),
        data.get("auth-extra-groups", ""),
    )


def create(name: str, ttl: datetime.timedelta) -> JoinLine:
    """Raises NoSuchCluster, ApiError, ServerUnreachable, TimeoutError."""
    spec, layout, _ = find_cluster(name)
    secret = token_secret(f"{_random(6)}.{_random(16)}", ttl, datetime.datetime.now(datetime.UTC))

    async def call(client: Client) -> None:
        await client.create(SECRETS, secret)

    _ask(name, call)
    server = f"https://{spec.address or primary_address()}:{spec.port}"
    return JoinLine(token_of(secret), server, ca_hash(Pki(layout.pki).ca.certificate))


def listing(name: str) -> list[BootstrapToken]:
    """Raises as `create` does."""

    async def call(client: Client) -> list[BootstrapToken]:
        found = await client.items(SECRETS, namespace=NAMESPACE, field_selector=f"type={SECRET_TYPE}")
        return [token_of(secret) for secret in found if objects.name(secret).startswith(_PREFIX)]

    return _ask(name, call)


def delete(name: str, token: str) -> str:
    """Deletes the token, given whole or by its id, and gives the id. Raises BadToken, and as `create` does."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise BadToken("a token is 6 characters, a dot and 16 characters of a-z and 0-9; its id is the first 6")
    identity = match.group(1)

    async def call(client: Client) -> None:
        try:
            await client.delete(SECRETS, _PREFIX + identity, namespace=NAMESPACE)
        except ApiError as refused:
            if refused.code == 404:
                raise BadToken(f"cluster {name} has no token {identity}") from refused
            raise

    _ask(name, call)
    return identity


def _ask(name: str, call: Callable[[Client], Awaitable[T]]) -> T:
    spec, layout, _ = find_cluster(name)

    async def run() -> T:
        async with admin_client(spec, Pki(layout.pki)) as client, asyncio.timeout(_TIMEOUT):
            return await call(client)

    return asyncio.run(run())


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
