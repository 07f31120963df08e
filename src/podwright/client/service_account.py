"""Calls as a ServiceAccount, by whoever may ask for its tokens: how each controller of a process with one kubeconfig is
somebody of its own (kube-controller-manager's ``--use-service-account-credentials``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from podwright.api.calls import Call, WatchEvent
from podwright.api.objects import Object
from podwright.api.resources import SERVICEACCOUNTS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock, SystemClock
from podwright.client.https import HttpsTransport

_SECONDS = 3600
_RENEW_AT = 0.8


class ServiceAccountTransport:
    """`issuer` makes the account if it is not there, and asks for its tokens; `inner` carries the calls. A token is
    renewed when four fifths of its life are over."""

    def __init__(
        self, issuer: Client, inner: HttpsTransport, *, namespace: str, name: str, clock: Clock | None = None
    ) -> None:
        self._issuer = issuer
        self._inner = inner
        self._namespace = namespace
        self._name = name
        self._clock = clock or SystemClock()
        self._renew_at = float("-inf")
        self._lock = asyncio.Lock()

    async def call(self, call: Call) -> Object:
        await self._ensure_token()
        return await self._inner.call(call)

    async def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        await self._ensure_token()
        async for event in self._inner.watch(call):
            yield event

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _ensure_token(self) -> None:
        async with self._lock:
            if self._clock.monotonic() < self._renew_at:
                return
            asked_at = self._clock.monotonic()
            request: Object = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": {"expirationSeconds": _SECONDS},
            }
            try:
                answer = await self._ask(request)
            except ApiError as refused:
                if refused.code != 404:
                    raise
                await self._make()
                answer = await self._ask(request)
            self._inner.token = answer["status"]["token"]
            self._renew_at = asked_at + _SECONDS * _RENEW_AT

    async def _ask(self, request: Object) -> Object:
        return await self._issuer.create(
            SERVICEACCOUNTS, request, namespace=self._namespace, name=self._name, subresource="token"
        )

    async def _make(self) -> None:
        account: Object = {
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": self._name, "namespace": self._namespace},
        }  # fmt: skip
        try:
            await self._issuer.create(SERVICEACCOUNTS, account)
        except ApiError as refused:
            if refused.code != 409:
                raise
