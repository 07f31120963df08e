"""AlwaysAdmit and AlwaysDeny: both deprecated, for tests of what is around admission."""

from __future__ import annotations

from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest


class AlwaysAdmit(Plugin):
    name = "AlwaysAdmit"

    def handles(self, request: AdmissionRequest) -> bool:
        return False


class AlwaysDeny(Plugin):
    name = "AlwaysDeny"

    def handles(self, request: AdmissionRequest) -> bool:
        return True

    async def admit(self, request: AdmissionRequest) -> None:
        raise forbidden(request, "admission control is denying all modifications")

    validate = admit
