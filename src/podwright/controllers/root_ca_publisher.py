"""Publishes the CA of the API server as ConfigMap kube-root-ca.crt in every namespace: Pods trust the server by it."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, NAMESPACES
from podwright.api.status import ApiError
from podwright.controllers.frame import Context, Controller, is_terminating_namespace

CONFIG_MAP = "kube-root-ca.crt"
_DESCRIPTION = {
    "kubernetes.io/description": "The CA bundle by which Pods of this namespace verify the API server of the cluster."
}


class RootCAPublisher(Controller):
    name = "root-ca-certificate-publisher-controller"
    account = "root-ca-cert-publisher"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.maps = self.own_informer(CONFIGMAPS, self._map_changed, field_selector=f"metadata.name={CONFIG_MAP}")
        self.namespaces = self.informer(NAMESPACES, self.enqueue)

    def _map_changed(self, old: Object | None, new: Object | None) -> None:
        if old is not None:
            self.queue.add(objects.namespace(old))

    async def reconcile(self, key: str) -> None:
        namespace = self.namespaces.get(key)
        if not self.config.root_ca or namespace is None or objects.is_deleting(namespace):
            return
        data = {"ca.crt": self.config.root_ca}
        current = self.maps.get(f"{key}/{CONFIG_MAP}")
        if current is None:
            made = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": CONFIG_MAP, "namespace": key, "annotations": dict(_DESCRIPTION)},
                "data": data,
            }
            try:
                await self.client.create(CONFIGMAPS, made)
            except ApiError as refused:
                if refused.reason != "AlreadyExists" and not is_terminating_namespace(refused):
                    raise
        elif current.get("data") != data:
            await self.client.update(CONFIGMAPS, {**current, "data": data})
