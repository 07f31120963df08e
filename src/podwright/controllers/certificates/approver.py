"""Approves the client certificates of kubelets: the first, asked for with a bootstrap token, and each renewal, if an
access review says that the asker may."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CERTIFICATESIGNINGREQUESTS, SUBJECTACCESSREVIEWS
from podwright.controllers.certificates import requests
from podwright.controllers.frame import Context, Controller


class CertificateApprover(Controller):
    name = "certificatesigningrequest-approving-controller"
    account = "certificate-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.csrs = self.informer(CERTIFICATESIGNINGREQUESTS, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and new["spec"].get("signerName") == requests.KUBELET_CLIENT:
            if not requests.has_condition(new, "Approved", "Denied"):
                self.enqueue(old, new)

    async def reconcile(self, key: str) -> None:
        csr = self.csrs.get(key)
        if csr is None or requests.has_condition(csr, "Approved", "Denied"):
            return
        try:
            asked = requests.read(csr)
        except requests.BadRequest:
            # Signing says why, should somebody approve it.
            return
        if requests.kubelet_client_fault(asked, requests.usages(csr)):
            return
        renews = csr["spec"].get("username") == asked.common_name
        tries = [("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.")]
        if not renews:
            tries = []
        tries.append(("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."))
        for permission, message in tries:
            if await self._may(csr, permission):
                await self._approve(csr, message)
                return

    async def _may(self, csr: Object, subresource: str) -> bool:
        spec = csr["spec"]
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": spec.get("username", ""),
                "uid": spec.get("uid", ""),
                "groups": list(spec.get("groups") or ()),
                "extra": spec.get("extra") or {},
                "resourceAttributes": {
                    "group": "certificates.k8s.io", "version": "*", "resource": "certificatesigningrequests",
                    "verb": "create", "subresource": subresource,
                },
            },
        }  # fmt: skip
        answer = await self.client.create(SUBJECTACCESSREVIEWS, review)
        return bool((answer.get("status") or {}).get("allowed"))

    async def _approve(self, csr: Object, message: str) -> None:
        now = objects.format_time(self.clock.now())
        condition = {
            "type": "Approved", "status": "True", "reason": "AutoApproved", "message": message,
            "lastUpdateTime": now, "lastTransitionTime": now,
        }  # fmt: skip
        status = dict(csr.get("status") or {})
        status["conditions"] = [*(status.get("conditions") or ()), condition]
        await self.client.update(CERTIFICATESIGNINGREQUESTS, {**csr, "status": status}, subresource="approval")
