"""Defaults of Pods."""

from __future__ import annotations

from podwright.api.defaulting import quantities
from podwright.api.defaulting.pod_resources import DISK_IO_PREFIX, aggregate, supported_at_pod_level
from podwright.api.defaulting.pod_spec import pod_spec
from podwright.api.objects import Object
from podwright.api.quantity import QuantityError


def pod(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    pod_spec(spec)
    if spec["terminationGracePeriodSeconds"] < 0:  # of Pods only: a template keeps what it says
        spec["terminationGracePeriodSeconds"] = 1
    for group in ("containers", "initContainers"):
        for ctr in spec.get(group) or ():
            _requests_from_limits(ctr)
    if spec.get("resources"):
        _pod_level(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    if spec.get("hostNetwork"):
        for group in ("containers", "initContainers"):
            for ctr in spec.get(group) or ():
                for port in ctr.get("ports") or ():
                    if not port.get("hostPort") and port.get("containerPort"):
                        port["hostPort"] = port["containerPort"]
    if status := obj.get("status"):
        _status(status)


def _requests_from_limits(ctr: Object) -> None:
    resources = ctr.get("resources")
    if not resources:
        return
    limits = resources.get("limits")
    if limits:
        requests = resources.get("requests")
        if requests is None:
            resources["requests"] = dict(limits)
        else:
            for key, value in limits.items():
                if key not in requests:
                    requests[key] = value


def _pod_level(spec: Object) -> None:
    """KEP-2837: requests of the Pod default to the sum of its containers' or to its limits; its huge page limits to
    the sum of its containers', and so do its limits if it has requests alone and every container has a limit."""
    resources = spec["resources"]
    limits = resources.get("limits") or {}
    requests = resources.get("requests") or {}
    try:
        total_limits, total_requests = aggregate(spec, "limits"), aggregate(spec, "requests")
    except QuantityError:
        # Validation names the field.
        return
    if limits or requests:
        for key, amount in total_limits.items():
            if key.startswith("hugepages-") and key not in requests and key not in limits:
                limits[key] = amount
        if limits:
            resources["limits"] = limits
    if any(map(supported_at_pod_level, limits)):
        for key, amount in total_requests.items():
            if key not in requests and _overcommitted(key):
                requests[key] = amount
        for key, amount in limits.items():
            if key not in requests and supported_at_pod_level(key):
                requests[key] = amount
        if requests:
            resources["requests"] = requests
    if any(map(supported_at_pod_level, requests)) and not any(map(supported_at_pod_level, limits)):
        every = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        for key, amount in total_limits.items():
            if _overcommitted(key) and all(key in ((c.get("resources") or {}).get("limits") or ()) for c in every):
                resources["limits"] = limits = limits | {key: amount}


def _overcommitted(key: str) -> bool:
    return key in ("cpu", "memory") or key.startswith(DISK_IO_PREFIX)


def _status(status: Object) -> None:
    for group in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(group) or ():
            quantities.resource_list(entry, "allocatedResources")
            quantities.requirements(entry.get("resources"))
