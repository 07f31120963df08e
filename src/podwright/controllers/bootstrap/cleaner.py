"""Removes bootstrap tokens that have expired."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.resources import SECRETS
from podwright.controllers.bootstrap import tokens
from podwright.controllers.frame import Context, Controller, ignore_not_found

_LOOK_AGAIN = 3600.0


class TokenCleaner(Controller):
    name = "token-cleaner-controller"
    account = "token-cleaner"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.secrets = self.own_informer(
            SECRETS, self.enqueue, namespace=tokens.NAMESPACE, field_selector=tokens.FIELD_SELECTOR
        )

    async def reconcile(self, key: str) -> None:
        secret = self.secrets.get(key)
        expiry = tokens.expires_at(secret) if secret is not None else None
        if secret is None or expiry is None:
            return
        left = expiry - self.clock.now()
        if left > 0:
            self.queue.add_after(key, min(left, _LOOK_AGAIN))
            return
        await ignore_not_found(
            self.client.delete(SECRETS, objects.name(secret), namespace=tokens.NAMESPACE, uid=objects.uid(secret))
        )
