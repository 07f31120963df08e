"""OwnerReferencesPermissionEnforcement: who gives an object an owner may as well delete the object, and who has it
block the owner's deletion may hold that up."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.resources import ResourceTable
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest, Attributes, Authorizer


def _owners(obj: Object | None) -> list[Object]:
    return ((obj or {}).get("metadata") or {}).get("ownerReferences") or []


class OwnerReferencesPermissionEnforcement(Plugin):
    name = "OwnerReferencesPermissionEnforcement"

    def __init__(self, authorizer: Authorizer, table: ResourceTable) -> None:
        self._authorizer = authorizer
        self._table = table

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.resource
        # The status of a Pod cannot change its owners, and old kubelets send wrong ones.
        is_pod_status = (resource.group, resource.plural, request.subresource) == ("", "pods", "status")
        return request.operation in ("CREATE", "UPDATE") and not is_pod_status

    async def validate(self, request: AdmissionRequest) -> None:
        new, old = _owners(request.object), _owners(request.old_object)
        if new == old:
            return
        resource = request.resource
        if request.operation != "CREATE":
            wanted = Attributes(
                request.user, "delete", resource.group, resource.version, resource.plural, request.subresource,
                request.namespace, request.name,
            )
            await self._allowed(request, wanted, "cannot set an ownerRef on a resource you can't delete")
        blocked = {owner.get("uid") for owner in old if owner.get("blockOwnerDeletion")}
        for owner in new:
            if owner.get("blockOwnerDeletion") and owner.get("uid") not in blocked:
                await self._may_block(request, owner)

    async def _may_block(self, request: AdmissionRequest, owner: Object) -> None:
        version, kind = owner.get("apiVersion") or "", owner.get("kind") or ""
        row = self._table.by_kind(version, kind)
        if row is None:
            why = f'no matches for kind "{kind}" in version "{version}"'
            raise forbidden(
                request,
                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion "
                f"{version} Kind {kind}: {why}",
            )
        wanted = Attributes(
            request.user, "update", row.group, row.version, row.plural, "finalizers",
            request.namespace if row.namespaced else "", owner.get("name") or "",
        )
        said = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"
        await self._allowed(request, wanted, said)

    async def _allowed(self, request: AdmissionRequest, wanted: Attributes, said: str) -> None:
        decision = await self._authorizer.authorize(wanted)
        if not decision.allowed:
            raise forbidden(request, f"{said}: {decision.reason}, <nil>")
