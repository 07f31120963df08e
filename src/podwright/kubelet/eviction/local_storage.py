"""Pods that use more disk than their own manifest allows."""

from __future__ import annotations

from podwright.api import pods, quantity
from podwright.kubelet.stats.pod_usage import PodUsage


def complaint(usage: PodUsage) -> str:
    """Why the Pod must go: an emptyDir over its sizeLimit, the Pod or a container over its ephemeral-storage limit; ""
    if it keeps to all."""
    for volume in usage.pod["spec"].get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        size = usage.volumes.get(volume["name"], (0, 0))[0]
        if limit is not None and quantity.value(limit) > 0 and size > quantity.value(limit):
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". '
    total = pods.limits(usage.pod).get("ephemeral-storage")
    if total and usage.disk > total:
        text = quantity.from_value(total, quantity.BINARY_SI)
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {text}. "
    for ctr in pods.containers(usage.pod):
        limit = ((ctr.get("resources") or {}).get("limits") or {}).get("ephemeral-storage")
        if limit is not None and usage.disk_of(ctr["name"]) > quantity.value(limit):
            return f'Container {ctr["name"]} exceeded its local ephemeral storage limit "{limit}". '
    return ""
