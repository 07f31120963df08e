"""Priority: the name of a PriorityClass becomes the number by which Pods are scheduled (Kubernetes documentation,
"Pod Priority and Preemption")."""

from __future__ import annotations

from podwright.api.objects import Object, name
from podwright.api.resources import PRIORITYCLASSES
from podwright.api.status import ApiError
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest, Objects, Writer

SYSTEM_CLASSES: dict[str, tuple[int, str]] = {
    "system-node-critical": (
        2000001000, "Used for system critical pods that must not be moved from their current node."
    ),
    "system-cluster-critical": (
        2000000000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
}
"""What every cluster has: value and description."""


class Priority(Plugin):
    name = "Priority"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._default: Object | None = None
        objects.subscribe(PRIORITYCLASSES, self._changed)

    def handles(self, request: AdmissionRequest) -> bool:
        if request.subresource or request.operation not in ("CREATE", "UPDATE"):
            return False
        resource = (request.resource.group, request.resource.plural)
        return resource in (("", "pods"), ("scheduling.k8s.io", "priorityclasses"))

    async def admit(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or request.resource.plural != "pods":
            return
        spec = pod["spec"]
        if request.operation == "UPDATE":
            old = (request.old_object or {}).get("spec") or {}
            for field in ("priority", "preemptionPolicy"):
                if spec.get(field) is None and old.get(field) is not None:
                    spec[field] = old[field]
            return
        wanted = spec.get("priorityClassName")
        if wanted:
            found = self._objects.get(PRIORITYCLASSES, "", wanted)
            if found is None and wanted in SYSTEM_CLASSES:
                found = {"value": SYSTEM_CLASSES[wanted][0]}
            if found is None:
                raise forbidden(request, f"no PriorityClass with name {wanted} was found")
        else:
            found = self._default
            if found is not None:
                spec["priorityClassName"] = name(found)
        value = int((found or {}).get("value") or 0)
        policy = (found or {}).get("preemptionPolicy") or "PreemptLowerPriority"
        if spec.get("priority") is not None and spec["priority"] != value:
            raise forbidden(
                request,
                f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority"
                f" admission controller computed {value} from the given PriorityClass name",
            )
        spec["priority"] = value
        if spec.get("preemptionPolicy") is not None and spec["preemptionPolicy"] != policy:
            raise forbidden(
                request,
                f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec;"
                f" priority admission controller computed {policy} from the given PriorityClass name",
            )
        spec["preemptionPolicy"] = policy

    async def validate(self, request: AdmissionRequest) -> None:
        obj = request.object
        if obj is None or request.resource.plural != "priorityclasses" or not obj.get("globalDefault"):
            return
        default = self._default
        if default is not None and name(default) != name(obj):
            raise forbidden(
                request, f"PriorityClass {name(default)} is already marked as default. Only one default can exist"
            )

    def _changed(self, old: Object | None, new: Object | None) -> None:
        defaults = [c for c in self._objects.list(PRIORITYCLASSES) if c.get("globalDefault")]
        self._default = min(defaults, key=lambda c: int(c.get("value") or 0), default=None)


async def ensure_classes(writer: Writer, objects: Objects) -> None:
    """Makes the system's PriorityClasses where they are missing."""
    for nm, (value, description) in SYSTEM_CLASSES.items():
        if objects.get(PRIORITYCLASSES, "", nm) is None:
            wanted: Object = {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": nm},
                "value": value,
                "globalDefault": False,
                "description": description,
                "preemptionPolicy": "PreemptLowerPriority",
            }
            try:
                await writer.create(PRIORITYCLASSES, wanted)
            except ApiError as error:
                if error.code != 409:
                    raise
