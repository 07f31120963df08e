"""RuntimeClass: a Pod takes overhead and node selection from the class it names (Kubernetes documentation, "Runtime
Class", "Pod Overhead")."""

from __future__ import annotations

from podwright.api.objects import Object, deepcopy
from podwright.api.quantity import parse
from podwright.api.resources import RUNTIMECLASSES
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest, Objects


class RuntimeClass(Plugin):
    name = "RuntimeClass"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.resource
        return (
            resource.plural == "pods"
            and not resource.group
            and not request.subresource
            and request.operation == "CREATE"
        )

    async def admit(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or not pod["spec"].get("runtimeClassName"):
            return
        spec = pod["spec"]
        runtime_class = self._class(request, spec)
        fixed = (runtime_class.get("overhead") or {}).get("podFixed")
        if fixed:
            given = spec.get("overhead")
            if given and not _same(given, fixed):
                raise forbidden(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            spec["overhead"] = dict(fixed)
        scheduling = runtime_class.get("scheduling") or {}
        _schedule(request, spec, scheduling)

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None:
            return
        spec = pod["spec"]
        overhead = spec.get("overhead")
        fixed = None
        if spec.get("runtimeClassName"):
            fixed = (self._class(request, spec).get("overhead") or {}).get("podFixed")
        if overhead and not fixed:
            raise forbidden(
                request, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )
        if overhead and fixed and not _same(overhead, fixed):
            raise forbidden(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")

    def _class(self, request: AdmissionRequest, spec: Object) -> Object:
        called = spec["runtimeClassName"]
        found = self._objects.get(RUNTIMECLASSES, "", called)
        if found is None:
            raise forbidden(request, f'pod rejected: RuntimeClass "{called}" not found')
        return found


def _same(first: Object, second: Object) -> bool:
    return {k: parse(v) for k, v in first.items()} == {k: parse(v) for k, v in second.items()}


def _schedule(request: AdmissionRequest, spec: Object, scheduling: Object) -> None:
    wanted = scheduling.get("nodeSelector") or {}
    own = spec.get("nodeSelector") or {}
    for key, value in wanted.items():
        if key in own and own[key] != value:
            raise forbidden(
                request,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value};"
                f" pod.spec.nodeSelector[{key}] = {own[key]}",
            )
    if wanted:
        spec["nodeSelector"] = {**own, **wanted}
    tolerations = spec.get("tolerations") or []
    more = [deepcopy(t) for t in scheduling.get("tolerations") or () if t not in tolerations]
    if more:
        spec["tolerations"] = [*tolerations, *more]
