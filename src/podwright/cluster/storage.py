"""The StorageClass that every cluster has: directories on the node that runs the Pod, made when they are first used."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import STORAGECLASSES
from podwright.apiserver.server import ApiServer
from podwright.cluster.layout import Layout

_CLASS: Object = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": "local-path",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "podwright.io/local-path",
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": True,
}


async def ensure(server: ApiServer, layout: Layout) -> None:
    """Makes the class in a new cluster. One that was deleted later stays away."""
    made = layout.data / "storage-class-made"
    if made.exists():
        return
    if server.objects.get(STORAGECLASSES, "", objects.name(_CLASS)) is None:
        await server.writer.create(STORAGECLASSES, objects.deepcopy(_CLASS))
    made.touch()
