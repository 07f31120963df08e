"""Grows claims. Volumes of the built-in provisioner are directories: growing them is a matter of bookkeeping."""

from __future__ import annotations

from podwright.api import objects, quantity
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from podwright.client.events import NORMAL
from podwright.controllers.frame import Context, Controller
from podwright.controllers.volumes import matching


class VolumeExpansionController(Controller):
    name = "persistentvolume-expander-controller"
    account = "expand-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.volumes = self.informer(PERSISTENTVOLUMES)
        self.claims = self.informer(PERSISTENTVOLUMECLAIMS, self._claim_changed)

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and _wants_more(new):
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> None:
        claim = self.claims.get(key)
        if claim is None or not _wants_more(claim):
            return
        volume = self.volumes.get(claim["spec"].get("volumeName") or "")
        if volume is None or not matching.is_claimed_by(volume, claim):
            return
        if objects.annotations(volume).get(matching.PROVISIONED_BY) != matching.LOCAL_PATH:
            self.events.event(claim, NORMAL, "ExternalExpanding",
                              "waiting for an external controller to expand this PVC")  # fmt: skip
            return
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        if matching.capacity(volume) < matching.requested(claim):
            changed = deepcopy(volume)
            changed["spec"]["capacity"] = {**changed["spec"].get("capacity", {}), "storage": wanted}
            await self.client.update(PERSISTENTVOLUMES, changed)
        capacity = {**((claim.get("status") or {}).get("capacity") or {}), "storage": wanted}
        patch = {"metadata": {"uid": objects.uid(claim)}, "status": {"capacity": capacity}}
        await self.client.patch(
            PERSISTENTVOLUMECLAIMS, objects.name(claim), patch, namespace=objects.namespace(claim),
            subresource="status",
        )  # fmt: skip
        self.events.event(claim, NORMAL, "VolumeResizeSuccessful",
                          f"ExpandVolume succeeded for volume {objects.key(claim)}")  # fmt: skip


def _wants_more(claim: Object) -> bool:
    status = claim.get("status") or {}
    has = (status.get("capacity") or {}).get("storage")
    return status.get("phase") == "Bound" and has is not None and matching.requested(claim) > quantity.value(has)
