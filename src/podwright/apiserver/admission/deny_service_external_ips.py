"""DenyServiceExternalIPs: no Service takes addresses that it did not have (CVE-2020-8554)."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest


def _addresses(service: Object | None) -> set[str]:
    return set(((service or {}).get("spec") or {}).get("externalIPs") or ())


class DenyServiceExternalIPs(Plugin):
    name = "DenyServiceExternalIPs"

    def handles(self, request: AdmissionRequest) -> bool:
        resource = (request.resource.group, request.resource.plural)
        return resource == ("", "services") and not request.subresource and request.operation in ("CREATE", "UPDATE")

    async def validate(self, request: AdmissionRequest) -> None:
        if not _addresses(request.object) <= _addresses(request.old_object):
            raise forbidden(request, "Use of external IPs is denied by admission control")
