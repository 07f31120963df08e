"""ServiceAccount tokens bound to a Pod, from the TokenRequest API, renewed before they expire."""

from __future__ import annotations

import random
from dataclasses import dataclass

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import SERVICEACCOUNTS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.transport import ServerUnreachable

_LONGEST_USE = 24 * 3600.0
_JITTER = 10.0

_Key = tuple[str, str, str, str, int]


@dataclass(frozen=True, slots=True)
class Token:
    """`renew_at` and `expires_at` are seconds since the epoch."""

    value: str
    renew_at: float
    expires_at: float


class ServiceAccountTokens:
    """Tokens are kept until they are due: at 80 % of their life, or after a day."""

    def __init__(self, client: Client, clock: Clock, rng: random.Random | None = None) -> None:
        self._client = client
        self._clock = clock
        self._random = rng or random.Random()
        self._tokens: dict[_Key, Token] = {}

    async def get(self, pod: Object, audience: str, expiration_seconds: int) -> Token:
        """A token of the Pod's ServiceAccount that is good for now.

        Raises:
            ApiError: it was refused.
            ServerUnreachable: no server, and there is no token that still holds.
        """
        account = str(pod["spec"].get("serviceAccountName") or "default")
        key = (objects.uid(pod), objects.namespace(pod), account, audience, expiration_seconds)
        known = self._tokens.get(key)
        now = self._clock.now()
        if known is not None and now < known.renew_at:
            return known
        try:
            token = await self._request(pod, account, audience, expiration_seconds)
        except (ApiError, ServerUnreachable):
            if known is not None and now < known.expires_at:
                return known
            raise
        self._tokens[key] = token
        return token

    async def _request(self, pod: Object, account: str, audience: str, seconds: int) -> Token:
        request: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {},
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": objects.name(pod),
                    "uid": objects.uid(pod),
                },
            },
        }
        answer = await self._client.create(
            SERVICEACCOUNTS, request, namespace=objects.namespace(pod), name=account, subresource="token"
        )
        now = self._clock.now()
        expires = objects.parse_time(answer["status"]["expirationTimestamp"])
        use = min(max(0.0, expires - now) * 0.8, _LONGEST_USE)
        early = self._random.random() * min(_JITTER, use / 10)
        return Token(str(answer["status"]["token"]), now + use - early, expires)

    def next_renewal(self, uid: str) -> float | None:
        """When the first token of the Pod is due, None if it has none."""
        return min((token.renew_at for key, token in self._tokens.items() if key[0] == uid), default=None)

    def forget(self, uid: str) -> None:
        for key in [k for k in self._tokens if k[0] == uid]:
            del self._tokens[key]
