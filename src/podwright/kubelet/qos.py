"""What the kernel's OOM killer is told of a Pod, by its quality of service.

The rules are those of the documentation pages "Pod Quality of Service Classes" and "Node-pressure Eviction".
"""

from __future__ import annotations

from podwright.api import pods, quantity
from podwright.api.objects import Object
from podwright.api.pods import BEST_EFFORT, GUARANTEED, qos_class

_GUARANTEED_OOM = -997
_BEST_EFFORT_OOM = 1000


def oom_score_adj(pod: Object, ctr: Object, memory_capacity: int) -> int:
    """Guaranteed Pods and those of system-node-critical priority last (-997), BestEffort first (1000), Burstable by the
    share of the node's memory that was requested: 3 to 999."""
    if pods.is_critical(pod) and pod["spec"].get("priorityClassName") == "system-node-critical":
        return _GUARANTEED_OOM
    kind = qos_class(pod)
    if kind == GUARANTEED:
        return _GUARANTEED_OOM
    if kind == BEST_EFFORT:
        return _BEST_EFFORT_OOM
    requests = (ctr.get("resources") or {}).get("requests") or {}
    memory = quantity.value(requests.get("memory", "0"))
    level = ((pod["spec"].get("resources") or {}).get("requests") or {}).get("memory")
    if level is not None:
        memory += _share_of_pod_memory(pod, quantity.value(level))
    score = 1000 - (1000 * memory) // memory_capacity if memory_capacity > 0 else 999
    if pods.is_init(pod, ctr["name"]) and pods.is_sidecar(ctr):
        score = min(score, _least_of_mains(pod, memory_capacity))
    if score < 1000 + _GUARANTEED_OOM:
        return 1000 + _GUARANTEED_OOM
    return _BEST_EFFORT_OOM - 1 if score == _BEST_EFFORT_OOM else int(score)


def _share_of_pod_memory(pod: Object, level: int) -> int:
    """What the Pod requests beyond its containers' sum is theirs in equal parts."""
    mains = pods.containers(pod)
    total = sum(
        quantity.value(((c.get("resources") or {}).get("requests") or {}).get("memory", "0")) for c in mains
    )
    return max(0, level - total) // max(1, len(mains))


def _least_of_mains(pod: Object, memory_capacity: int) -> int:
    return min((oom_score_adj(pod, c, memory_capacity) for c in pods.containers(pod)), default=999)
