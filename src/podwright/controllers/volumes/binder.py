"""Binds claims to volumes, both ways, and says what becomes of a volume whose claim is gone."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from podwright.api.status import ApiError
from podwright.client.events import NORMAL, WARNING
from podwright.client.informers import latest
from podwright.controllers.frame import Context, Controller
from podwright.controllers.freshness import RETRY, Freshness
from podwright.controllers.volumes import matching

_VOLUME = "volume//"


def by_claim(volume: Object) -> Iterable[str]:
    """Index function: "namespace/name" of the claim that a volume is for."""
    ref = (volume.get("spec") or {}).get("claimRef")
    return (f"{ref.get('namespace')}/{ref.get('name')}",) if ref else ()


def by_class(volume: Object) -> Iterable[str]:
    return (matching.class_of(volume),)


class PersistentVolumeBinder(Controller):
    """Keys: claims, and "volume//NAME". One worker: a volume must not be given away twice."""

    name = "persistentvolume-binder-controller"
    account = "persistent-volume-binder"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.classes = self.informer(STORAGECLASSES, self._class_changed)
        self.volumes = self.informer(PERSISTENTVOLUMES, self._volume_changed, claim=by_claim, storage_class=by_class)
        self.claims = self.informer(PERSISTENTVOLUMECLAIMS, self._claim_changed)
        self._fresh_claims = Freshness(self.claims, self.clock)
        self._fresh_volumes = Freshness(self.volumes, self.clock)
        self._waiting: set[str] = set()

    # -- news -------------------------------------------------------------------------------------------------------

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        claim = latest(old, new)
        if new is None:
            self._waiting.discard(objects.key(claim))
            for volume in self.volumes.by_index("claim", objects.key(claim)):
                self.queue.add(_VOLUME + objects.name(volume))
            return
        self.enqueue(old, new)
        if new["spec"].get("volumeName"):
            self.queue.add(_VOLUME + new["spec"]["volumeName"])

    def _volume_changed(self, old: Object | None, new: Object | None) -> None:
        volume = latest(old, new)
        if new is not None:
            self.queue.add(_VOLUME + objects.name(new))
        for key in by_claim(volume):
            self.queue.add(key)
        if old is None and not by_claim(volume):
            self._wake(matching.class_of(volume))

    def _class_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._wake(objects.name(new))
            if objects.annotations(new).get(matching.DEFAULT_CLASS) == "true":
                self._wake("")

    def _wake(self, storage_class: str) -> None:
        for key in self._waiting:
            claim = self.claims.get(key)
            if claim is not None and matching.class_of(claim) == storage_class:
                self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        if key.startswith(_VOLUME):
            name = key.removeprefix(_VOLUME)
            if self._fresh_volumes.is_stale(name):
                self.queue.add_after(key, RETRY)
                return
            volume = self.volumes.get(name)
            if volume is not None:
                await self._sync_volume(volume)
            return
        if self._fresh_claims.is_stale(key):
            self.queue.add_after(key, RETRY)
            return
        claim = self.claims.get(key)
        if claim is None:
            return
        if matching.BIND_COMPLETED in objects.annotations(claim):
            await self._sync_bound(claim)
        else:
            await self._sync_unbound(key, claim)

    # -- claims -----------------------------------------------------------------------------------------------------

    async def _sync_bound(self, claim: Object) -> None:
        name = claim["spec"].get("volumeName")
        if not name:
            await self._lose(claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the "
                                                 "volume is lost!")  # fmt: skip
            return
        volume = self.volumes.get(name)
        if volume is None:
            await self._lose(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is "
                                                 "lost!")  # fmt: skip
        elif volume["spec"].get("claimRef") is None or matching.is_claimed_by(volume, claim):
            await self._bind(volume, claim)
        else:
            await self._lose(claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound "
                                                     "incorrectly")  # fmt: skip

    async def _lose(self, claim: Object, reason: str, message: str) -> None:
        if (claim.get("status") or {}).get("phase") == "Lost":
            return
        self.events.event(claim, WARNING, reason, message)
        status = {k: v for k, v in (claim.get("status") or {}).items() if k not in ("accessModes", "capacity")}
        await self._claim_status(claim, {**status, "phase": "Lost"})

    async def _sync_unbound(self, key: str, claim: Object) -> None:
        if objects.is_deleting(claim):
            return
        name = claim["spec"].get("volumeName")
        if name:
            await self._sync_chosen(claim, name)
            return
        claim = await self._with_default_class(claim)
        reserved = [v for v in self.volumes.by_index("claim", key) if matching.is_claimed_by(v, claim)]
        storage_class = self.classes.get(matching.class_of(claim)) if matching.class_of(claim) else None
        delayed = storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"
        node = objects.annotations(claim).get(matching.SELECTED_NODE)
        chosen = next((v for v in reserved if not matching.mismatch(v, claim)), None)
        if chosen is None and not delayed:
            chosen = matching.best(self.volumes.by_index("storage_class", matching.class_of(claim)), claim)
        if chosen is not None:
            self._waiting.discard(key)
            await self._bind(chosen, claim)
            return
        self._waiting.add(key)
        if delayed and node is None:
            self.events.event(claim, NORMAL, "WaitForFirstConsumer",
                              "waiting for first consumer to be created before binding")  # fmt: skip
        elif storage_class is not None:
            await self._ask_provisioner(claim, storage_class)
        elif matching.class_of(claim):
            self.events.event(claim, WARNING, "ProvisioningFailed",
                              f'storageclass.storage.k8s.io "{matching.class_of(claim)}" not found')  # fmt: skip
        else:
            self.events.event(
                claim, NORMAL, "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set",
            )  # fmt: skip
        await self._pending(claim)

    async def _with_default_class(self, claim: Object) -> Object:
        """A claim made before there was a default class gets it later (KEP-3333)."""
        spec = claim["spec"]
        if spec.get("storageClassName") is not None or matching.BETA_CLASS in objects.annotations(claim):
            return claim
        defaults = [c for c in self.classes.items() if objects.annotations(c).get(matching.DEFAULT_CLASS) == "true"]
        if not defaults:
            return claim
        newest = max(defaults, key=lambda c: (c["metadata"].get("creationTimestamp") or "", objects.name(c)))
        changed = {**claim, "spec": {**spec, "storageClassName": objects.name(newest)}}
        return await self._put_claim(changed)

    async def _ask_provisioner(self, claim: Object, storage_class: Object) -> None:
        provisioner = storage_class["provisioner"]
        if provisioner == "kubernetes.io/no-provisioner":
            self.events.event(claim, NORMAL, "FailedBinding", "no persistent volumes available for this claim")
            return
        if objects.annotations(claim).get(matching.PROVISIONER) != provisioner:
            changed = deepcopy(claim)
            changed["metadata"]["annotations"] = {
                **objects.annotations(claim), matching.PROVISIONER: provisioner, matching.BETA_PROVISIONER: provisioner,
            }  # fmt: skip
            await self._put_claim(changed)
        self.events.event(
            claim, NORMAL, "ExternalProvisioning",
            f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
            "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
            "correctly registered.",
        )  # fmt: skip

    async def _sync_chosen(self, claim: Object, name: str) -> None:
        """The user (or the scheduler) has named the volume."""
        volume = self.volumes.get(name)
        if volume is None:
            await self._pending(claim)
            return
        if volume["spec"].get("claimRef") is None:
            why = matching.mismatch(volume, claim)
            if why:
                self.events.event(claim, WARNING, "VolumeMismatch", f'Cannot bind to requested volume "{name}": {why}')
                await self._pending(claim)
                return
            await self._bind(volume, claim)
        elif matching.is_claimed_by(volume, claim):
            await self._bind(volume, claim)
        else:
            if objects.annotations(claim).get(matching.BOUND_BY_CONTROLLER) is None:
                self.events.event(
                    claim, WARNING, "FailedBinding", f'volume "{name}" already bound to a different claim.'
                )
            await self._pending(claim)

    async def _pending(self, claim: Object) -> None:
        status = claim.get("status") or {}
        if status.get("phase") != "Pending":
            fresh = self.claims.get(objects.key(claim)) or claim
            await self._claim_status(fresh, {**status, "phase": "Pending"})

    # -- binding ----------------------------------------------------------------------------------------------------

    async def _bind(self, volume: Object, claim: Object) -> None:
        """Four writes, each only where it is missing: the volume's claimRef and phase, the claim's volumeName and
        phase. Interrupted anywhere, the next round goes on."""
        volume = await self._bind_volume(volume, claim)
        volume = await self._volume_phase(volume, "Bound")
        claim = await self._bind_claim(claim, volume)
        old = claim.get("status") or {}
        status: Object = {**old, "phase": "Bound", "accessModes": volume["spec"].get("accessModes")}
        if old.get("phase") != "Bound" or not old.get("capacity"):
            status["capacity"] = {"storage": (volume["spec"].get("capacity") or {}).get("storage")}
            if attributes := volume["spec"].get("volumeAttributesClassName"):
                status["currentVolumeAttributesClassName"] = attributes
        if status != old:
            await self._claim_status(claim, status)
        self._waiting.discard(objects.key(claim))

    async def _bind_volume(self, volume: Object, claim: Object) -> Object:
        ref = volume["spec"].get("claimRef")
        if ref is not None and ref.get("uid") == objects.uid(claim):
            return volume
        changed = deepcopy(volume)
        changed["spec"]["claimRef"] = {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": objects.namespace(claim),
            "name": objects.name(claim), "uid": objects.uid(claim),
            "resourceVersion": claim["metadata"].get("resourceVersion"),
        }  # fmt: skip
        if ref is None:
            changed["metadata"]["annotations"] = {**objects.annotations(volume), matching.BOUND_BY_CONTROLLER: "yes"}
        written = await self.client.update(PERSISTENTVOLUMES, changed)
        self._fresh_volumes.wrote(written)
        return written

    async def _bind_claim(self, claim: Object, volume: Object) -> Object:
        known = objects.annotations(claim)
        named = claim["spec"].get("volumeName") == objects.name(volume)
        if named and matching.BIND_COMPLETED in known:
            return claim
        changed = deepcopy(claim)
        annotations = {**known, matching.BIND_COMPLETED: "yes"}
        if not named:
            annotations[matching.BOUND_BY_CONTROLLER] = "yes"
        changed["metadata"]["annotations"] = annotations
        changed["spec"]["volumeName"] = objects.name(volume)
        return await self._put_claim(changed)

    async def _put_claim(self, claim: Object) -> Object:
        written = await self.client.update(PERSISTENTVOLUMECLAIMS, claim)
        self._fresh_claims.wrote(written)
        return written

    async def _claim_status(self, claim: Object, status: Object) -> None:
        self._fresh_claims.wrote(await self.client.update_status(PERSISTENTVOLUMECLAIMS, {**claim, "status": status}))

    async def _volume_phase(self, volume: Object, phase: str, message: str = "") -> Object:
        old = volume.get("status") or {}
        if old.get("phase") == phase:
            return volume
        status: Object = {"phase": phase, "lastPhaseTransitionTime": objects.format_time(self.clock.now())}
        if message:
            status["message"] = message
        written = await self.client.update_status(PERSISTENTVOLUMES, {**volume, "status": status})
        self._fresh_volumes.wrote(written)
        return written

    # -- volumes ----------------------------------------------------------------------------------------------------

    async def _sync_volume(self, volume: Object) -> None:
        ref = volume["spec"].get("claimRef")
        if ref is None or not ref.get("uid"):
            await self._volume_phase(volume, "Available")
            return
        claim = self.claims.get(f"{ref['namespace']}/{ref['name']}")
        if claim is None or objects.uid(claim) != ref["uid"]:
            if claim is None and await self._still_there(ref):
                return
            await self._release(volume)
            return
        name = claim["spec"].get("volumeName")
        if name == objects.name(volume):
            await self._volume_phase(volume, "Bound")
        elif not name:
            self.queue.add(objects.key(claim))
        elif objects.annotations(volume).get(matching.BOUND_BY_CONTROLLER):
            # The claim took another volume meanwhile: this one was chosen by us and is free again.
            changed = deepcopy(volume)
            del changed["spec"]["claimRef"]
            del changed["metadata"]["annotations"][matching.BOUND_BY_CONTROLLER]
            self._fresh_volumes.wrote(await self.client.update(PERSISTENTVOLUMES, changed))

    async def _still_there(self, ref: Object) -> bool:
        """Before a volume is let go (and perhaps deleted) the claim is looked for at the source."""
        try:
            found = await self.client.get(PERSISTENTVOLUMECLAIMS, ref["name"], namespace=ref["namespace"])
        except ApiError as refused:
            if refused.code == 404:
                return False
            raise
        return bool(objects.uid(found) == ref["uid"])

    async def _release(self, volume: Object) -> None:
        policy = volume["spec"].get("persistentVolumeReclaimPolicy") or "Retain"
        if (volume.get("status") or {}).get("phase") != "Failed":
            volume = await self._volume_phase(volume, "Released")
        if policy == "Retain" or objects.is_deleting(volume):
            return
        if policy == "Recycle":
            self.events.event(volume, WARNING, "VolumeFailedRecycle", "No recycler plugin found for the volume!")
            await self._volume_phase(volume, "Failed", "no volume plugin can recycle it")
        elif objects.annotations(volume).get(matching.PROVISIONED_BY) is None:
            self.events.event(
                volume, WARNING, "VolumeFailedDelete",
                "error getting deleter volume plugin for volume: no plugin matched",
            )  # fmt: skip
            await self._volume_phase(volume, "Failed", "no volume plugin can delete it")
