"""Approves the client certificates of kubelets: the first, asked for with a bootstrap token, and each renewal, if an
access review says that the asker may. Beyond upstream it approves their serving certificates too, if the node asks for
itself and for no other name or address than its Node object has."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CERTIFICATESIGNINGREQUESTS, NODES, SUBJECTACCESSREVIEWS
from podwright.api.status import ApiError
from podwright.controllers.certificates import requests
from podwright.controllers.frame import Context, Controller


class CertificateApprover(Controller):
    name = "certificatesigningrequest-approving-controller"
    account = "certificate-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.csrs = self.informer(CERTIFICATESIGNINGREQUESTS, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and new["spec"].get("signerName") in (requests.KUBELET_CLIENT, requests.KUBELET_SERVING):
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
        if csr["spec"]["signerName"] == requests.KUBELET_SERVING:
            if await self._is_of_the_node(csr, asked):
                await self._approve(csr, "Auto approving kubelet serving certificate for the node's own addresses.")
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

    async def _is_of_the_node(self, csr: Object, asked: requests.Asked) -> bool:
        try:
            requests.check(csr, asked)
        except requests.BadRequest:
            return False
        if csr["spec"].get("username") != asked.common_name:
            return False
        name = asked.common_name.removeprefix("system:node:")
        try:
            node = await self.client.get(NODES, name)
        except ApiError as refused:
            if refused.code == 404:
                return False
            raise
        addresses = {a["address"] for a in (node.get("status") or {}).get("addresses") or ()}
        return {*asked.dns, *asked.ips} <= addresses | {name}

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
