"""Removes requests that have served: an hour after a decision, a day without one, or once the certificate expired."""

from __future__ import annotations

import base64

from cryptography import x509

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CERTIFICATESIGNINGREQUESTS
from podwright.controllers import pods
from podwright.controllers.frame import Context, Controller, ignore_not_found

_DECIDED, _PENDING = 3600.0, 86400.0


class CertificateCleaner(Controller):
    name = "certificatesigningrequest-cleaner-controller"
    account = "certificate-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.csrs = self.informer(CERTIFICATESIGNINGREQUESTS, self.enqueue)

    async def reconcile(self, key: str) -> None:
        csr = self.csrs.get(key)
        if csr is None:
            return
        left = _ends_at(csr) - self.clock.now()
        if left > 0:
            self.queue.add_after(key, min(left, _PENDING))
            return
        await ignore_not_found(self.client.delete(CERTIFICATESIGNINGREQUESTS, key, uid=objects.uid(csr)))


def _ends_at(csr: Object) -> float:
    status = csr.get("status") or {}
    decided = [
        objects.parse_time(stamp)
        for c in status.get("conditions") or ()
        if c.get("type") in ("Approved", "Denied", "Failed")
        and (stamp := c.get("lastUpdateTime") or c.get("lastTransitionTime"))
    ]
    ends = [max(decided) + _DECIDED] if decided else [pods.creation_time(csr) + _PENDING]
    if status.get("certificate"):
        try:
            certificate = x509.load_pem_x509_certificate(base64.b64decode(status["certificate"]))
            ends.append(certificate.not_valid_after_utc.timestamp())
        except ValueError:
            pass
    return min(ends)
