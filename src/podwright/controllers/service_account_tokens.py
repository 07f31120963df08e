"""Fills Secrets of type kubernetes.io/service-account-token, the older way to get a token that does not expire, and
removes them with their ServiceAccount."""

from __future__ import annotations

import base64

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import SECRETS, SERVICEACCOUNTS
from podwright.client.informers import latest
from podwright.controllers.frame import Context, Controller, ignore_not_found

TYPE = "kubernetes.io/service-account-token"
NAME = "kubernetes.io/service-account.name"
UID = "kubernetes.io/service-account.uid"
_SECONDS = 10 * 365 * 86400
"""As long as a token bound to its Secret may live; it ends with the Secret."""


class ServiceAccountTokenController(Controller):
    """Writes as the controller manager itself: no service account may make tokens for others."""

    name = "serviceaccount-token-controller"
    account = "service-account-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._writer = context.informers_client
        self.accounts = self.informer(SERVICEACCOUNTS, self._account_changed)
        self.secrets = self.own_informer(SECRETS, self.enqueue, field_selector=f"type={TYPE}")
        self.secrets.add_index("account", _account_key)

    def _account_changed(self, old: Object | None, new: Object | None) -> None:
        account = latest(old, new)
        if old is None or new is None:
            for secret in self.secrets.by_index("account", objects.key(account)):
                self.queue.add(objects.key(secret))

    async def reconcile(self, key: str) -> None:
        secret = self.secrets.get(key)
        if secret is None or objects.is_deleting(secret):
            return
        name, namespace = objects.annotations(secret).get(NAME), objects.namespace(secret)
        if not name:
            return
        account = self.accounts.get(f"{namespace}/{name}")
        if account is None:
            # A Secret must not go because the cache lags behind its ServiceAccount.
            account = await ignore_not_found(self._writer.get(SERVICEACCOUNTS, name, namespace=namespace))
        wanted_uid = objects.annotations(secret).get(UID)
        if account is None or (wanted_uid and wanted_uid != objects.uid(account)):
            await ignore_not_found(self._writer.delete(
                SECRETS, objects.name(secret), namespace=namespace, uid=objects.uid(secret)
            ))
            return
        await self._fill(secret, account)

    async def _fill(self, secret: Object, account: Object) -> None:
        data = dict(secret.get("data") or {})
        namespace = objects.namespace(secret)
        data["namespace"] = base64.b64encode(namespace.encode()).decode()
        if self.config.root_ca:
            data["ca.crt"] = base64.b64encode(self.config.root_ca.encode()).decode()
        if not data.get("token"):
            request = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {
                    "expirationSeconds": _SECONDS,
                    "boundObjectRef": {
                        "apiVersion": "v1", "kind": "Secret", "name": objects.name(secret), "uid": objects.uid(secret),
                    },
                },
            }  # fmt: skip
            answer = await self._writer.create(
                SERVICEACCOUNTS, request, namespace=namespace, name=objects.name(account), subresource="token"
            )
            data["token"] = base64.b64encode(answer["status"]["token"].encode()).decode()
        annotations = {**objects.annotations(secret), UID: objects.uid(account)}
        if data != (secret.get("data") or {}) or annotations != objects.annotations(secret):
            meta = {**secret["metadata"], "annotations": annotations}
            await self._writer.update(SECRETS, {**secret, "metadata": meta, "data": data})


def _account_key(secret: Object) -> list[str]:
    name = objects.annotations(secret).get(NAME)
    return [f"{objects.namespace(secret)}/{name}"] if name else []
