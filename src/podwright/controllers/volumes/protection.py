"""Finalizers that keep a claim while a Pod uses it, a volume while it is bound, and a VolumeAttributesClass while a
claim or a volume names it."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, VOLUMEATTRIBUTESCLASSES, Resource
from podwright.client.client import Client
from podwright.client.informers import latest
from podwright.controllers import pods
from podwright.controllers.frame import Context, Controller, ignore_not_found

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
CLASS_FINALIZER = "kubernetes.io/vac-protection"


def claims_of(pod: Object) -> Iterable[str]:
    """Index function: keys of the claims that a Pod uses."""
    found = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append(f"{objects.namespace(pod)}/{volume['persistentVolumeClaim']['claimName']}")
        elif volume.get("ephemeral"):
            found.append(f"{objects.namespace(pod)}/{objects.name(pod)}-{volume['name']}")
    return found


def _needs_change(obj: Object, finalizer: str) -> bool:
    """It is deleted and still has the finalizer, or stands without it."""
    return objects.is_deleting(obj) == (finalizer in (obj["metadata"].get("finalizers") or ()))


async def set_finalizer(client: Client, resource: Resource, obj: Object, finalizer: str, *, present: bool) -> None:
    """Raises ApiError (409) if the object changed meanwhile."""
    current = obj["metadata"].get("finalizers") or []
    if (finalizer in current) == present:
        return
    wanted = [*current, finalizer] if present else [f for f in current if f != finalizer]
    await ignore_not_found(client.update(resource, {**obj, "metadata": {**obj["metadata"], "finalizers": wanted}}))


class ClaimProtectionController(Controller):
    name = "persistentvolumeclaim-protection-controller"
    account = "pvc-protection-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.pods = self.informer(PODS, self._pod_changed, claims=claims_of)
        self.claims = self.informer(PERSISTENTVOLUMECLAIMS, self._claim_changed)

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _needs_change(new, CLAIM_FINALIZER):
            self.enqueue(old, new)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A Pod that ends may have been the last to use its claims."""
        gone = new is None or pods.is_finished(new)
        pod = latest(old, new)
        if gone:
            for key in claims_of(pod):
                claim = self.claims.get(key)
                if claim is not None and objects.is_deleting(claim):
                    self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        claim = self.claims.get(key)
        if claim is None:
            return
        if not objects.is_deleting(claim):
            await set_finalizer(self.client, PERSISTENTVOLUMECLAIMS, claim, CLAIM_FINALIZER, present=True)
            return
        if CLAIM_FINALIZER not in (claim["metadata"].get("finalizers") or ()):
            return
        if any(_uses(p) for p in self.pods.by_index("claims", key)):
            return
        # The cache may lag behind a Pod just bound: ask once for certain.
        for pod in await self.client.items(PODS, namespace=objects.namespace(claim)):
            if _uses(pod) and key in claims_of(pod):
                return
        await set_finalizer(self.client, PERSISTENTVOLUMECLAIMS, claim, CLAIM_FINALIZER, present=False)


def _uses(pod: Object) -> bool:
    """Scheduled and not ended: one that was never scheduled holds no claim."""
    return bool(pods.node_name(pod)) and not pods.is_finished(pod)


class VolumeProtectionController(Controller):
    name = "persistentvolume-protection-controller"
    account = "pv-protection-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.volumes = self.informer(PERSISTENTVOLUMES, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _needs_change(new, VOLUME_FINALIZER):
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> None:
        volume = self.volumes.get(key)
        if volume is None:
            return
        bound = (volume.get("status") or {}).get("phase") == "Bound"
        if not objects.is_deleting(volume):
            await set_finalizer(self.client, PERSISTENTVOLUMES, volume, VOLUME_FINALIZER, present=True)
        elif not bound:
            await set_finalizer(self.client, PERSISTENTVOLUMES, volume, VOLUME_FINALIZER, present=False)


def classes_of(obj: Object) -> Iterable[str]:
    """Index function: the VolumeAttributesClasses that a claim asks for, has or is on its way to, or a volume has."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    names = (
        spec.get("volumeAttributesClassName"), status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )  # fmt: skip
    return {str(name) for name in names if name}


class AttributesClassProtectionController(Controller):
    """KEP-3751."""

    name = "volumeattributesclass-protection-controller"
    account = "volumeattributesclass-protection-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.users = [
            self.informer(row, self._user_changed, attributes_class=classes_of)
            for row in (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES)
        ]
        self.classes = self.informer(VOLUMEATTRIBUTESCLASSES, self._class_changed)

    def _class_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _needs_change(new, CLASS_FINALIZER):
            self.enqueue(old, new)

    def _user_changed(self, old: Object | None, new: Object | None) -> None:
        """A class that is let go may have waited for it."""
        if old is not None:
            for name in set(classes_of(old)) - set(classes_of(new) if new is not None else ()):
                self.queue.add(name)

    async def reconcile(self, key: str) -> None:
        found = self.classes.get(key)
        if found is None:
            return
        deleting = objects.is_deleting(found)
        if not deleting or not any(users.by_index("attributes_class", key) for users in self.users):
            await set_finalizer(self.client, VOLUMEATTRIBUTESCLASSES, found, CLASS_FINALIZER, present=not deleting)
