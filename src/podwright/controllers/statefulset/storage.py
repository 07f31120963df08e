"""The claims of a StatefulSet's Pods: made before the Pod, kept or let go as the retention policy says (KEP-1847)."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PERSISTENTVOLUMECLAIMS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.events import NORMAL, WARNING, EventRecorder
from podwright.client.informers import Informer
from podwright.controllers.statefulset import identity


class ClaimControl:
    def __init__(self, client: Client, events: EventRecorder, claims: Informer) -> None:
        self._client = client
        self._events = events
        self._claims = claims

    async def ensure(self, owner: Object, ordinal: int) -> None:
        """Makes what is missing.

        Raises:
            ApiError: a create was refused.
            ClaimTerminating: a claim of that name is being deleted: the Pod must wait for a new one.
        """
        for claim in identity.claims(owner, ordinal).values():
            standing = self._claims.get(objects.key(claim))
            if standing is not None:
                if objects.is_deleting(standing):
                    raise ClaimTerminating(f"pvc {objects.name(claim)} is being deleted")
                continue
            owners = identity.claim_owners(owner, None, claim, condemned=False)
            if owners:
                claim["metadata"]["ownerReferences"] = owners
            name = objects.name(claim)
            pod = f"{objects.name(owner)}-{ordinal}"
            try:
                await self._client.create(PERSISTENTVOLUMECLAIMS, claim)
            except ApiError as refused:
                if refused.reason == "AlreadyExists":
                    continue
                self._events.event(
                    owner, WARNING, "FailedCreate",
                    f"create Claim {name} for Pod {pod} in StatefulSet {objects.name(owner)} failed error: {refused}",
                )  # fmt: skip
                raise
            self._events.event(
                owner, NORMAL, "SuccessfulCreate",
                f"create Claim {name} Pod {pod} in StatefulSet {objects.name(owner)} success",
            )  # fmt: skip

    async def retain(self, owner: Object, pod: Object | None, ordinal: int, *, condemned: bool) -> None:
        """Brings the ownerReferences of the Pod's claims in line with the policy."""
        for wanted in identity.claims(owner, ordinal).values():
            claim = self._claims.get(objects.key(wanted))
            if claim is None or objects.is_deleting(claim):
                continue
            owners = identity.claim_owners(owner, pod, claim, condemned=condemned)
            if owners == list(claim["metadata"].get("ownerReferences") or ()):
                continue
            meta = {**claim["metadata"], "ownerReferences": owners}
            if not owners:
                del meta["ownerReferences"]
            await self._client.update(PERSISTENTVOLUMECLAIMS, {**claim, "metadata": meta})


class ClaimTerminating(Exception):
    """The name of a claim is still taken by one that goes."""
