"""What one object counts for in a ResourceQuota, and which quotas speak of it (Kubernetes documentation, "Resource
Quotas")."""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import Decimal

from podwright.api.objects import Object, parse_time
from podwright.api.pods import total
from podwright.api.quantity import parse
from podwright.api.resources import Resource

Amounts = dict[str, Decimal]
ONE = Decimal(1)
ZERO = Decimal(0)
COMPUTE = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_PLAIN_COUNTS = frozenset(
    {"configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services"}
)
_STORAGE_CLASS = ".storageclass.storage.k8s.io/"
_DEVICE_CLASS = ".deviceclass.resource.k8s.io/devices"
_DISK = "podwright.io/disk-"


def count_name(resource: Resource) -> str:
    """ "count/deployments.apps": how a quota counts objects of a resource."""
    return f"count/{resource.plural}.{resource.group}" if resource.group else f"count/{resource.plural}"


def names_resource(hard: Iterable[str], resource: Resource) -> bool:
    """Whether a quota with these names can speak of objects of the resource at all."""
    counted = count_name(resource)
    core = not resource.group
    for key in hard:
        if key == counted:
            return True
        if core and resource.plural == "pods" and _is_pod_name(key):
            return True
        if core and resource.plural == "persistentvolumeclaims":
            if key in ("persistentvolumeclaims", "requests.storage") or _STORAGE_CLASS in key:
                return True
        if core and resource.plural == "services" and (key == "services" or key.startswith("services.")):
            return True
        if core and key == resource.plural and key in _PLAIN_COUNTS:
            return True
        if resource.group == "resource.k8s.io" and resource.plural == "resourceclaims" and key.endswith(_DEVICE_CLASS):
            return True
    return False


def _is_pod_name(key: str) -> bool:
    if key in ("pods", "cpu", "memory", "ephemeral-storage") or key.startswith("hugepages-"):
        return True
    return key.startswith(("requests.", "limits.")) and key != "requests.storage"


def is_terminal(pod: Object, now: float) -> bool:
    """Whether a Pod no longer holds compute resources: finished, or overdue in its deletion."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return True
    metadata = pod["metadata"]
    deletion, grace = metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")
    return bool(deletion) and grace is not None and now > parse_time(deletion) + float(grace)


def usage(resource: Resource, obj: Object, now: float | None = None) -> Amounts:
    """The amounts under every name that a quota may use."""
    used: Amounts = {count_name(resource): ONE}
    if resource.group:
        if resource.group == "resource.k8s.io" and resource.plural == "resourceclaims":
            _claim_devices(obj, used)
        return used
    if resource.plural == "pods":
        if not is_terminal(obj, time.time() if now is None else now):
            _pod(obj, used)
    elif resource.plural == "persistentvolumeclaims":
        _volume_claim(obj, used)
    elif resource.plural == "services":
        _service(obj, used)
    elif resource.plural in _PLAIN_COUNTS:
        used[resource.plural] = ONE
    return used


def _pod(pod: Object, used: Amounts) -> None:
    used["pods"] = ONE
    for key, amount in total(pod, "requests", with_status=True).items():
        used[f"requests.{key}"] = amount
        if key in ("cpu", "memory", "ephemeral-storage") or key.startswith("hugepages-"):
            used[key] = amount
    for key, amount in total(pod, "limits", with_status=True).items():
        if key in ("cpu", "memory", "ephemeral-storage") or key.startswith(_DISK):
            used[f"limits.{key}"] = amount


def _volume_claim(claim: Object, used: Amounts) -> None:
    used["persistentvolumeclaims"] = ONE
    spec = claim.get("spec") or {}
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    storage = parse(asked) if asked is not None else ZERO
    allocated = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
    if allocated is not None:
        storage = max(storage, parse(allocated))
    used["requests.storage"] = storage
    annotations = claim["metadata"].get("annotations") or {}
    name = annotations.get("volume.beta.kubernetes.io/storage-class") or spec.get("storageClassName")
    if name:
        used[f"{name}{_STORAGE_CLASS}requests.storage"] = storage
        used[f"{name}{_STORAGE_CLASS}persistentvolumeclaims"] = ONE


def _service(service: Object, used: Amounts) -> None:
    used["services"] = ONE
    spec = service.get("spec") or {}
    kind, ports = spec.get("type"), spec.get("ports") or ()
    if kind == "NodePort":
        used["services.nodeports"] = Decimal(len(ports))
    elif kind == "LoadBalancer":
        used["services.loadbalancers"] = ONE
        if spec.get("allocateLoadBalancerNodePorts") is False:
            used["services.nodeports"] = Decimal(sum(1 for port in ports if port.get("nodePort")))
        else:
            used["services.nodeports"] = Decimal(len(ports))


def _claim_devices(claim: Object, used: Amounts) -> None:
    for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        exact = request.get("exactly")
        choices = [exact] if exact else request.get("firstAvailable") or ()
        for choice in choices:
            key = f"{choice.get('deviceClassName')}{_DEVICE_CLASS}"
            used[key] = used.get(key, ZERO) + Decimal(int(choice.get("count") or 1))


def unnamed_compute(pod: Object, hard: Iterable[str]) -> str:
    """What a quota on compute resources misses in a Pod: "" if every container says how much, else upstream's
    "must specify limits.cpu for: a; requests.memory for: a,b"."""
    wanted = sorted(COMPUTE.intersection(hard))
    if not wanted:
        return ""
    spec = pod.get("spec") or {}
    pod_level = spec.get("resources") or {}
    missing: dict[str, list[str]] = {}
    for part in ("containers", "initContainers"):
        for container in spec.get(part) or ():
            resources = container.get("resources") or {}
            for key in wanted:
                field, _, plain = key.rpartition(".")
                field = field or "requests"
                if plain in (pod_level.get(field) or {}) or plain in (resources.get(field) or {}):
                    continue
                missing.setdefault(key, []).append(container.get("name") or "")
    if not missing:
        return ""
    return "must specify " + "; ".join(f"{key} for: {','.join(sorted(missing[key]))}" for key in sorted(missing))


def scopes_of(quota: Object) -> list[Object]:
    """A quota's scopes and what its scopeSelector requires, all as requirements."""
    spec = quota.get("spec") or {}
    scopes = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    return [*scopes, *((spec.get("scopeSelector") or {}).get("matchExpressions") or ())]


def in_scope(quota: Object, resource: Resource, obj: Object) -> bool:
    """Whether an object falls under a quota's scopes and scopeSelector."""
    return all(selected(resource, obj, scope) for scope in scopes_of(quota))


def _has_scope(resource: Resource, obj: Object, scope: str) -> bool:
    spec = obj.get("spec") or {}
    if scope == "VolumeAttributesClass":
        return resource.plural == "persistentvolumeclaims" and bool(_attributes_classes(obj))
    if resource.plural != "pods":
        return False
    if scope in ("Terminating", "NotTerminating"):
        return (spec.get("activeDeadlineSeconds") is not None) == (scope == "Terminating")
    if scope in ("BestEffort", "NotBestEffort"):
        return _is_best_effort(spec) == (scope == "BestEffort")
    if scope == "PriorityClass":
        return bool(spec.get("priorityClassName"))
    if scope == "CrossNamespacePodAffinity":
        return _crosses_namespaces(spec)
    return False


def selected(resource: Resource, obj: Object, expression: Object) -> bool:
    """Whether an object meets a scope's requirement."""
    if resource.group or resource.plural not in ("pods", "persistentvolumeclaims"):
        return False
    scope, operator = expression.get("scopeName"), expression.get("operator")
    if scope in ("PriorityClass", "VolumeAttributesClass"):
        if (resource.plural == "pods") != (scope == "PriorityClass"):
            return False
        pod_class = (obj.get("spec") or {}).get("priorityClassName")
        classes = ({pod_class} - {None, ""}) if scope == "PriorityClass" else _attributes_classes(obj)
        values = set(expression.get("values") or ())
        if operator == "In":
            return bool(classes & values)
        if operator == "NotIn":
            return not classes or bool(classes - values)
        return bool(classes) == (operator == "Exists")
    has = _has_scope(resource, obj, str(scope))
    return has if operator in ("Exists", "In", None) else not has


def _attributes_classes(claim: Object) -> set[str]:
    """The one it asks for, the one it has, and the one that it is being changed to: each counts."""
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    names = (
        spec.get("volumeAttributesClassName"), status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return {name for name in names if name}


def _is_best_effort(spec: Object) -> bool:
    for part in ("containers", "initContainers"):
        for container in spec.get(part) or ():
            resources = container.get("resources") or {}
            for field in ("requests", "limits"):
                if any(k in ("cpu", "memory") and parse(v) for k, v in (resources.get(field) or {}).items()):
                    return False
    resources = spec.get("resources") or {}
    return not any(resources.get(field) for field in ("requests", "limits"))


def _crosses_namespaces(spec: Object) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        terms += [
            t.get("podAffinityTerm") or {} for t in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False
