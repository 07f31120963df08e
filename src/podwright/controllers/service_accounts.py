"""Gives every namespace its ServiceAccounts: "default", without which no Pod starts."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NAMESPACES, SERVICEACCOUNTS
from podwright.api.status import ApiError
from podwright.controllers.frame import Context, Controller, is_terminating_namespace


class ServiceAccountController(Controller):
    name = "serviceaccount-controller"
    account = "service-account-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.accounts = self.informer(SERVICEACCOUNTS, self._account_changed)
        self.namespaces = self.informer(NAMESPACES, self.enqueue)

    def _account_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None and old is not None:
            self.queue.add(objects.namespace(old))

    async def reconcile(self, key: str) -> None:
        namespace = self.namespaces.get(key)
        if namespace is None or objects.is_deleting(namespace):
            return
        for name in self.config.service_account_names:
            if self.accounts.get(f"{key}/{name}") is not None:
                continue
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": key}}
            try:
                await self.client.create(SERVICEACCOUNTS, account)
            except ApiError as refused:
                if refused.reason != "AlreadyExists" and not is_terminating_namespace(refused):
                    raise
