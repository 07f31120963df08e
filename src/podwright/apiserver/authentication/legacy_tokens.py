"""When tokens in Secrets were last used: a label on the Secret, by the day, from which the controllers tell what may go
(Kubernetes documentation, "Managing Service Accounts", "Auto-generated legacy ServiceAccount token clean up")."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, SECRETS
from podwright.api.status import ApiError
from podwright.apiserver.requests import Objects, Writer

_log = logging.getLogger(__name__)

TYPE = "kubernetes.io/service-account-token"
LAST_USED = "kubernetes.io/legacy-token-last-used"
_TRACKING = "kube-apiserver-legacy-service-account-token-tracking"
_DAY = 86400.0


class LegacyTokens:
    """`now` gives seconds since the epoch."""

    def __init__(self, found: Objects, writer: Writer, now: Callable[[], float]) -> None:
        self._objects = found
        self._writer = writer
        self._now = now
        self._due: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()

    def used(self, secret: Object) -> None:
        """Somebody came with its token. A label of tomorrow is another server's, whose clock is ahead."""
        today = (self._date(self._now()), self._date(self._now() + _DAY))
        if secret.get("type") == TYPE and objects.labels(secret).get(LAST_USED) not in today:
            self._due.add((objects.namespace(secret), objects.name(secret)))
            self._wake.set()

    @staticmethod
    def _date(seconds: float) -> str:
        return objects.format_time(seconds)[:10]

    async def ensure_tracking(self) -> None:
        """The ConfigMap that says since when uses are noted."""
        if self._objects.get(CONFIGMAPS, "kube-system", _TRACKING) is None:
            since: Object = {
                "metadata": {"name": _TRACKING, "namespace": "kube-system"}, "data": {"since": self._date(self._now())},
            }
            try:
                await self._writer.create(CONFIGMAPS, since)
            except ApiError as refused:
                if refused.code != 409:
                    raise

    async def run(self) -> None:
        """Writes the labels, until cancelled. One that could not be written is due again when the token is used."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                secret = self._objects.get(SECRETS, *self._due.pop())
                if secret is None:
                    continue
                marked = {**objects.labels(secret), LAST_USED: self._date(self._now())}
                try:
                    await self._writer.update(SECRETS, {**secret, "metadata": {**secret["metadata"], "labels": marked}})
                except ApiError as refused:
                    _log.info("last use of the token in %s not noted: %s", objects.key(secret), refused)
