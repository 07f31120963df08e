"""Makes ResourceClaims from the templates that Pods name, and gives claims back that no Pod uses (KEP-4381)."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.api import objects
from podwright.api.objects import Object, deepcopy
from podwright.api.resources import PODS, RESOURCECLAIMS, RESOURCECLAIMTEMPLATES
from podwright.api.status import ApiError
from podwright.client.events import WARNING
from podwright.client.informers import latest
from podwright.controllers import pods, refs
from podwright.controllers.frame import Context, Controller, ignore_not_found, is_terminating_namespace

POD_CLAIM_NAME = "resource.kubernetes.io/pod-claim-name"
FINALIZER = "resource.kubernetes.io/delete-protection"
_CLAIM = "claim//"


def by_pod_uid(claim: Object) -> Iterable[str]:
    """Index function: uids of the Pods that a claim is reserved for."""
    reserved = (claim.get("status") or {}).get("reservedFor") or ()
    return [c["uid"] for c in reserved if c.get("resource") == "pods" and not c.get("apiGroup")]


class ResourceClaimController(Controller):
    """Keys: Pods, and "claim//CLAIM"."""

    name = "resourceclaim-controller"
    account = "resource-claim-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.templates = self.informer(RESOURCECLAIMTEMPLATES)
        self.claims = self.informer(RESOURCECLAIMS, self._claim_changed, controller=refs.by_controller_or_orphan,
                                    reserved_for=by_pod_uid)  # fmt: skip
        self.pods = self.informer(PODS, self._pod_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = latest(old, new)
        if not (pod.get("spec") or {}).get("resourceClaims"):
            return
        if new is None or pods.is_finished(new):
            uid = objects.uid(pod)
            for claim in (*self.claims.by_index("reserved_for", uid), *self.claims.by_index(refs.CHILDREN, uid)):
                self.queue.add(_CLAIM + objects.key(claim))
        elif not objects.is_deleting(new):
            self.enqueue(old, new)

    def _claim_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.queue.add(_CLAIM + objects.key(new))
        elif old is not None:
            owner = objects.controller_of(old)
            if owner is not None and owner.get("kind") == "Pod":
                self.queue.add(f"{objects.namespace(old)}/{owner['name']}")

    async def reconcile(self, key: str) -> None:
        if key.startswith(_CLAIM):
            claim = self.claims.get(key.removeprefix(_CLAIM))
            if claim is not None:
                await self._sync_claim(claim)
            return
        pod = self.pods.get(key)
        if pod is not None and not objects.is_deleting(pod) and not pods.is_finished(pod):
            await self._make_claims(pod)

    # -- making -----------------------------------------------------------------------------------------------------

    async def _make_claims(self, pod: Object) -> None:
        known = {s["name"]: s.get("resourceClaimName") for s in (pod.get("status") or {}).get("resourceClaimStatuses")
                 or ()}  # fmt: skip
        made = dict(known)
        mine = {
            objects.annotations(c).get(POD_CLAIM_NAME): objects.name(c)
            for c in self.claims.by_index(refs.CHILDREN, objects.uid(pod))
            if not objects.is_deleting(c)
        }
        for entry in pod["spec"].get("resourceClaims") or ():
            name = entry["name"]
            if not entry.get("resourceClaimTemplateName"):
                continue
            standing = known.get(name)
            if standing and self.claims.get(f"{objects.namespace(pod)}/{standing}") is not None:
                continue
            found = mine.get(name) or await self._make(pod, entry)
            if found is None:
                return
            made[name] = found
        if made != known:
            statuses = [{"name": n, "resourceClaimName": c} for n, c in sorted(made.items()) if c]
            patch = {"metadata": {"uid": objects.uid(pod)}, "status": {"resourceClaimStatuses": statuses}}
            await self.client.patch(
                PODS, objects.name(pod), patch, namespace=objects.namespace(pod), subresource="status"
            )

    async def _make(self, pod: Object, entry: Object) -> str | None:
        namespace = objects.namespace(pod)
        template = self.templates.get(f"{namespace}/{entry['resourceClaimTemplateName']}")
        if template is None:
            message = f"resource claim template {entry['resourceClaimTemplateName']!r}: not found"
            self.events.event(
                pod, WARNING, "FailedResourceClaimCreation", f"PodResourceClaim {entry['name']}: {message}"
            )
            raise LookupError(message)
        source = template["spec"].get("metadata") or {}
        metadata: Object = {
            "generateName": f"{objects.name(pod)}-{entry['name']}-",
            "namespace": namespace,
            "annotations": {**(source.get("annotations") or {}), POD_CLAIM_NAME: entry["name"]},
            "ownerReferences": [objects.owner_reference(pod)],
        }
        if source.get("labels"):
            metadata["labels"] = dict(source["labels"])
        claim = {
            "apiVersion": RESOURCECLAIMS.api_version, "kind": RESOURCECLAIMS.kind, "metadata": metadata,
            "spec": deepcopy(template["spec"]["spec"]),
        }
        try:
            return objects.name(await self.client.create(RESOURCECLAIMS, claim))
        except ApiError as refused:
            if is_terminating_namespace(refused):
                return None
            self.events.event(
                pod, WARNING, "FailedResourceClaimCreation", f"PodResourceClaim {entry['name']}: {refused}"
            )
            raise

    # -- giving back ------------------------------------------------------------------------------------------------

    async def _sync_claim(self, claim: Object) -> None:
        namespace, status = objects.namespace(claim), claim.get("status") or {}
        consumers = status.get("reservedFor") or []
        valid = [c for c in consumers if await self._is_valid(c, namespace)]
        if len(valid) != len(consumers):
            changed = deepcopy(status)
            changed["reservedFor"] = valid
            if not valid:
                changed.pop("reservedFor")
                if changed.get("allocation"):
                    changed.pop("allocation")
                    changed.pop("devices", None)
            claim = await self.client.update_status(RESOURCECLAIMS, {**claim, "status": changed})
            status = claim.get("status") or {}
        finalizers = claim["metadata"].get("finalizers") or []
        if not status.get("allocation") and FINALIZER in finalizers:
            meta = {**claim["metadata"], "finalizers": [f for f in finalizers if f != FINALIZER]}
            claim = await self.client.update(RESOURCECLAIMS, {**claim, "metadata": meta})
        owner = objects.controller_of(claim)
        if owner is None or owner.get("kind") != "Pod" or valid or objects.is_deleting(claim):
            return
        pod = self.pods.get(f"{namespace}/{owner['name']}")
        if pod is not None and objects.uid(pod) == owner["uid"] and pods.is_finished(pod):
            await ignore_not_found(
                self.client.delete(RESOURCECLAIMS, objects.name(claim), namespace=namespace, uid=objects.uid(claim))
            )

    async def _is_valid(self, consumer: Object, namespace: str) -> bool:
        """What is no Pod is not judged. A Pod that the cache lacks is asked for."""
        if consumer.get("resource") != "pods" or consumer.get("apiGroup"):
            return True
        pod = self.pods.get(f"{namespace}/{consumer['name']}")
        if pod is None:
            pod = await ignore_not_found(self.client.get(PODS, consumer["name"], namespace=namespace))
        return pod is not None and objects.uid(pod) == consumer["uid"] and not pods.is_finished(pod)
