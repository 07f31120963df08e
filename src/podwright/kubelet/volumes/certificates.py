"""podCertificate in projected volumes: a key made here, a certificate from whoever signs PodCertificateRequests
(KEP-4317)."""

from __future__ import annotations

import asyncio
import base64
import random
import re
from dataclasses import dataclass

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import PODCERTIFICATEREQUESTS, SERVICEACCOUNTS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.transport import ServerUnreachable
from podwright.kubelet.referenced_objects import ReferencedObjects
from podwright.kubelet.volumes.mounted import Credential, VolumeFailure, VolumePending

_JITTER = 300.0
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

@dataclass(slots=True)
class _Issuance:
    """`key` (PEM) belongs to the request of name `request`, which is under way unless it is ""; `credential` is what
    was issued last. Times are seconds since the epoch."""

    key: bytes = b""
    request: str = ""
    credential: Credential | None = None
    renew_at: float = 0.0
    refusal: str = ""


class PodCertificates:
    """One credential for each podCertificate source of a Pod's volumes, renewed when its signer said it should be."""

    def __init__(self, client: Client, referenced: ReferencedObjects, node_name: str, clock: Clock) -> None:
        self._client = client
        self._objects = referenced
        self._node_name = node_name
        self._clock = clock
        self._random = random.Random()
        self._issued: dict[tuple[str, str, int], _Issuance] = {}
        self.node_uid = ""

    async def get(self, pod: Object, place: tuple[str, int], source: Object) -> Credential:
        """The credential for a source, told by its volume's name and its index there.

        Raises:
            VolumePending: the signer has not spoken yet; the Pod is woken when it has.
            VolumeFailure: it was refused for good, or the request could not be made.
        """
        issuance = self._issued.setdefault((objects.uid(pod), *place), _Issuance())
        try:
            if issuance.request:
                await self._look(pod, issuance)
            elif not issuance.refusal and (issuance.credential is None or self._clock.now() >= issuance.renew_at):
                await self._request(pod, issuance, source)
        except (ApiError, ServerUnreachable) as failed:
            if issuance.credential is None:
                raise VolumeFailure(f"cannot request a certificate: {failed}") from failed
        if issuance.credential is not None:
            return issuance.credential
        if issuance.refusal:
            raise VolumeFailure(issuance.refusal)
        raise VolumePending(f"PodCertificateRequest {issuance.request} is not issued yet")

    async def _request(self, pod: Object, issuance: _Issuance, source: Object) -> None:
        account = str(pod["spec"].get("serviceAccountName") or "default")
        namespace = objects.namespace(pod)
        found = await self._client.get(SERVICEACCOUNTS, account, namespace=namespace)
        from podwright.kubelet.volumes import keys  # Most nodes never need what makes keys.

        key, stub = await asyncio.to_thread(keys.make, source["keyType"])
        spec: Object = {
            "signerName": source["signerName"],
            "podName": objects.name(pod),
            "podUID": objects.uid(pod),
            "serviceAccountName": account,
            "serviceAccountUID": objects.uid(found),
            "nodeName": self._node_name,
            "nodeUID": self.node_uid,
            "stubPKCS10Request": base64.b64encode(stub).decode(),
        }
        if source.get("maxExpirationSeconds"):
            spec["maxExpirationSeconds"] = source["maxExpirationSeconds"]
        if source.get("userAnnotations"):
            spec["unverifiedUserAnnotations"] = dict(source["userAnnotations"])
        made = await self._client.create(PODCERTIFICATEREQUESTS, {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "PodCertificateRequest",
            "metadata": {"generateName": "req-", "namespace": namespace},
            "spec": spec,
        })  # fmt: skip
        issuance.key = key
        issuance.request = objects.name(made)
        self._objects.follow(objects.uid(pod), PODCERTIFICATEREQUESTS, namespace, issuance.request)

    async def _look(self, pod: Object, issuance: _Issuance) -> None:
        found = await self._objects.find(PODCERTIFICATEREQUESTS, objects.namespace(pod), issuance.request)
        if found is None:
            # Deleted before it was answered: the next look makes another one.
            issuance.request = ""
            return
        status = found.get("status") or {}
        for condition in status.get("conditions") or ():
            if condition["type"] == "Issued":
                chain = "\n".join([*_BLOCK.findall(status.get("certificateChain") or ""), ""])
                issuance.credential = Credential(issuance.key, chain.encode())
                early = self._random.random() * _JITTER
                issuance.renew_at = objects.parse_time(status["beginRefreshAt"]) + early
                issuance.request = ""
            elif condition["type"] in ("Denied", "Failed"):
                how = "was denied" if condition["type"] == "Denied" else "failed"
                issuance.refusal = (
                    f"PodCertificateRequest {objects.key(found)} {how}, "
                    f'reason="{condition.get("reason", "")}", message="{condition.get("message", "")}"'
                )
                issuance.request = ""

    def next_renewal(self, uid: str) -> float | None:
        """When the first certificate of the Pod is due (seconds since the epoch), None if it has none."""
        return min(
            (i.renew_at for key, i in self._issued.items() if key[0] == uid and i.credential and not i.request),
            default=None,
        )

    def forget(self, uid: str) -> None:
        for key in [k for k in self._issued if k[0] == uid]:
            del self._issued[key]
