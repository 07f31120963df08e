"""On which nodes a DaemonSet's Pods belong, and how a Pod is tied to its node."""

from __future__ import annotations

from podwright.api import objects, taints
from podwright.api.node_affinity import pod_matches_node
from podwright.api.objects import Object, deepcopy
from podwright.controllers import pods

_DEFAULTS: tuple[tuple[str, str], ...] = (
    (taints.NOT_READY, taints.NO_EXECUTE),
    (taints.UNREACHABLE, taints.NO_EXECUTE),
    (taints.DISK_PRESSURE, taints.NO_SCHEDULE),
    (taints.MEMORY_PRESSURE, taints.NO_SCHEDULE),
    (taints.PID_PRESSURE, taints.NO_SCHEDULE),
    (taints.UNSCHEDULABLE, taints.NO_SCHEDULE),
)


def tolerations(spec: Object) -> list[Object]:
    """The template's, and those every daemon has: it serves its node in whatever state that is."""
    wanted = list(_DEFAULTS)
    if spec.get("hostNetwork"):
        wanted.append((taints.NETWORK_UNAVAILABLE, taints.NO_SCHEDULE))
    found = list(spec.get("tolerations") or ())
    for key, effect in wanted:
        toleration = {"key": key, "operator": "Exists", "effect": effect}
        if toleration not in found:
            found.append(toleration)
    return found


def judge(template: Object, node: Object) -> tuple[bool, bool]:
    """(a Pod should run on the node, one that runs there may go on)."""
    spec = template.get("spec") or {}
    if spec.get("nodeName") and spec["nodeName"] != objects.name(node):
        return False, False
    if not pod_matches_node(template, node):
        return False, False
    tolerated = tolerations(spec)
    if taints.untolerated(taints.of(node), tolerated) is None:
        return True, True
    evicting = taints.untolerated(taints.no_execute(node), tolerated) is not None
    return False, not evicting


def tie(pod: Object, node: str) -> Object:
    """The Pod with its node in a required node affinity (the scheduler binds it there) and a daemon's tolerations."""
    tied = deepcopy(pod)
    spec = tied["spec"]
    spec["tolerations"] = tolerations(spec)
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    fields = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    terms = [{**term, "matchFields": fields} for term in required.get("nodeSelectorTerms") or ()]
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
        "nodeSelectorTerms": terms or [{"matchFields": fields}]
    }
    return tied


def node_of(pod: Object) -> str:
    """The node that the Pod is on, or is tied to."""
    bound = pods.node_name(pod)
    if bound:
        return bound
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("operator") == "In" and len(field["values"]) == 1:
                return str(field["values"][0])
    return ""
