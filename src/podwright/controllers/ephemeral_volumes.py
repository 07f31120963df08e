"""Makes the claim of each generic ephemeral volume, owned by its Pod (KEP-1698)."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import PERSISTENTVOLUMECLAIMS, PODS
from podwright.api.status import ApiError
from podwright.client.events import WARNING
from podwright.controllers import pods
from podwright.controllers.frame import Context, Controller, is_terminating_namespace


class EphemeralVolumeController(Controller):
    name = "ephemeral-volume-controller"
    account = "ephemeral-volume-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.claims = self.informer(PERSISTENTVOLUMECLAIMS, self._claim_changed)
        self.pods = self.informer(PODS, self._pod_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None and not objects.is_deleting(new):
            if any("ephemeral" in v for v in (new.get("spec") or {}).get("volumes") or ()):
                self.enqueue(old, new)

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        """A claim lost by mistake is made anew."""
        if new is None and old is not None:
            owner = objects.controller_of(old)
            if owner is not None and owner.get("kind") == "Pod":
                self.queue.add(f"{objects.namespace(old)}/{owner['name']}")

    async def reconcile(self, key: str) -> None:
        pod = self.pods.get(key)
        if pod is None or objects.is_deleting(pod) or pods.is_finished(pod):
            return
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            if volume.get("ephemeral"):
                await self._ensure(pod, volume)

    async def _ensure(self, pod: Object, volume: Object) -> None:
        name = f"{objects.name(pod)}-{volume['name']}"
        standing = self.claims.get(f"{objects.namespace(pod)}/{name}")
        if standing is not None:
            owner = objects.controller_of(standing)
            if owner is None or owner["uid"] != objects.uid(pod):
                self.events.event(
                    pod, WARNING, "FailedBinding",
                    f"ephemeral volume {volume['name']}: PVC {objects.key(standing)} was not created for pod "
                    f"{objects.key(pod)} (pod is not owner)",
                )  # fmt: skip
            return
        template = volume["ephemeral"].get("volumeClaimTemplate") or {}
        source = template.get("metadata") or {}
        metadata: Object = {
            "name": name, "namespace": objects.namespace(pod), "ownerReferences": [objects.owner_reference(pod)],
        }
        for field in ("labels", "annotations"):
            if source.get(field):
                metadata[field] = dict(source[field])
        claim = {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata,
            "spec": deepcopy(template.get("spec") or {}),
        }
        try:
            await self.client.create(PERSISTENTVOLUMECLAIMS, claim)
        except ApiError as refused:
            if refused.reason == "AlreadyExists" or is_terminating_namespace(refused):
                return
            self.events.event(
                pod, WARNING, "FailedCreate", f"ephemeral volume {volume['name']}: create PVC {name}: {refused}"
            )
            raise
