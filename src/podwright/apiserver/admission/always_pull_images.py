"""AlwaysPullImages: who has no credentials for an image does not get it because it is on the node already."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.pods import all_containers
from podwright.api.validation.field_errors import not_supported
from podwright.apiserver.admission.chain import PodPlugin
from podwright.apiserver.admission.refusals import aggregated, forbidden
from podwright.apiserver.requests import AdmissionRequest

_LISTS = ("containers", "initContainers", "ephemeralContainers")


def _images(pod: Object | None) -> set[str]:
    return {container.get("image") or "" for _, container in all_containers(pod or {})}


class AlwaysPullImages(PodPlugin):
    name = "AlwaysPullImages"

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None or self._has_no_new(request):
            return
        for _, container in all_containers(request.object):
            container["imagePullPolicy"] = "Always"
        for volume in request.object["spec"].get("volumes") or ():
            if volume.get("image") is not None:
                volume["image"]["pullPolicy"] = "Always"

    async def validate(self, request: AdmissionRequest) -> None:
        if request.object is None or self._has_no_new(request):
            return
        problems = []
        for part in _LISTS:
            for i, container in enumerate(request.object["spec"].get(part) or ()):
                policy = container.get("imagePullPolicy") or ""
                if policy != "Always":
                    found = not_supported(f"spec.{part}[{i}].imagePullPolicy", policy, ("Always",))
                    problems.append(f"{found.field}: {found.message}")
        if problems:
            raise forbidden(request, aggregated(problems))

    @staticmethod
    def _has_no_new(request: AdmissionRequest) -> bool:
        return request.operation == "UPDATE" and _images(request.object) <= _images(request.old_object)
