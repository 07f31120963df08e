"""Rules for what kubelets and controllers write into a Pod's status."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names, pod_annotations
from podwright.api.validation.field_errors import (
    duplicate,
    forbidden,
    formed,
    invalid,
    named,
    one_of,
    required,
    too_long,
)
from podwright.api.validation.rules import spec_of

_SYSTEM_CONDITIONS = frozenset({"PodScheduled", "Ready", "Initialized"})
_RESTARTED = "may not be transitioned to non-terminated state"
_HEALTH = ("Healthy", "Unhealthy", "Unknown")
_MAX_MESSAGE = 1024
_GROUPS = ("initContainers", "containers")
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


def status_change(errs: list[FieldError], new: Object, old: Object) -> None:
    meta, old_meta = new.get("metadata") or {}, old.get("metadata") or {}
    annotations, old_annotations = meta.get("annotations") or {}, old_meta.get("annotations") or {}
    spec = spec_of(new)
    if annotations or old_annotations:
        pod_annotations.changes(errs, annotations, old_annotations, "metadata.annotations")
        pod_annotations.annotations_of_pod(errs, annotations, spec, "metadata.annotations")
    status, before = new.get("status") or {}, old.get("status") or {}
    for i, condition in enumerate(status.get("conditions") or ()):
        if (condition.get("observedGeneration") or 0) < 0:
            field = f"status.conditions[{i}].observedGeneration"
            errs.append(invalid(field, condition["observedGeneration"], "must be a non-negative integer"))
        kind = condition.get("type") or ""
        if kind not in _SYSTEM_CONDITIONS:
            formed(errs, kind, f"status.conditions[{i}].Type", names.qualified_name)
    if (spec.get("nodeName") or "") != (spec_of(old).get("nodeName") or ""):
        errs.append(forbidden("status.nodeName", "may not be changed directly"))
    _nominated(errs, status.get("nominatedNodeName") or "", before.get("nominatedNodeName") or "", old)
    if (status.get("observedGeneration") or 0) < 0:
        said = "must be a non-negative integer"
        errs.append(invalid("status.observedGeneration", status["observedGeneration"], said))
    metadata.same(errs, status.get("qosClass") or "", before.get("qosClass") or "", "status.qosClass")
    _transitions(errs, status, before, spec_of(old))
    if claims := status.get("resourceClaimStatuses"):
        _claims(errs, claims, spec.get("resourceClaims") or [])
    if (extended := status.get("extendedResourceClaimStatus")) is not None:
        _extended(errs, extended, spec)
    _addresses(errs, status.get("podIPs") or [], "status.podIPs")
    _host_addresses(errs, status)
    for field in _STATUSES:
        if listed := status.get(field):
            _users_and_devices(errs, listed, spec, field)


def _nominated(errs: list[FieldError], new: str, old: str, pod: Object) -> None:
    if not new or new == old:
        return
    formed(errs, new, "status.nominatedNodeName", names.dns_subdomain)
    if spec_of(pod).get("nodeName"):
        errs.append(forbidden("status.nominatedNodeName", "may not be set on pods that are already bound to a node"))


def _transitions(errs: list[FieldError], new: Object, old: Object, spec: Object) -> None:
    """What ended for good does not run again."""
    ruled = [rule for g in _GROUPS for c in spec.get(g) or () for rule in c.get("restartPolicyRules") or ()]
    all_again = any(rule.get("action") == "RestartAllContainers" for rule in ruled)
    for field, group in zip(_STATUSES, ("containers", "initContainers", "ephemeralContainers"), strict=True):
        earlier = old.get(field)
        if not earlier or (all_again and group != "ephemeralContainers"):
            continue
        now = {s.get("name"): s for s in new.get(field) or ()}
        for i, status in enumerate(earlier):
            if (ended := (status.get("state") or {}).get("terminated")) is None:
                continue
            name = status.get("name")
            later = now.get(name)
            if later is None or (later.get("state") or {}).get("terminated") is not None:
                continue
            ctr = next((c for c in spec.get(group) or () if c.get("name") == name), None)
            if not _may_restart(ctr, group, spec.get("restartPolicy"), ended.get("exitCode") or 0):
                errs.append(forbidden(f"status.{field}[{i}].state", _RESTARTED))


def _may_restart(ctr: Object | None, group: str, policy: str | None, exit_code: int) -> bool:
    if group == "ephemeralContainers":
        return False
    if ctr is None:
        return False
    for rule in ctr.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        inside = exit_code in (codes.get("values") or ())
        if inside == (codes.get("operator") == "In"):
            return True
    own = ctr.get("restartPolicy") or policy
    return own == "Always" or (own == "OnFailure" and exit_code != 0)


def _claims(errs: list[FieldError], statuses: list[Object], claims: list[Object]) -> None:
    known = {claim.get("name") for claim in claims}
    seen: set[str] = set()
    for i, status in enumerate(statuses):
        field = f"status.resourceClaimStatuses[{i}].name"
        name = status.get("name") or ""
        if name not in known:
            errs.append(invalid(field, name, "must match the name of an entry in `spec.resourceClaims`"))
        if name in seen:
            errs.append(duplicate(field, name))
        seen.add(name)
        if (claim := status.get("resourceClaimName")) is not None:
            formed(errs, claim, f"status.resourceClaimStatuses[{i}].resourceClaimName", names.dns_subdomain)


def _extended(errs: list[FieldError], status: Object, spec: Object) -> None:
    path = "status.extendedResourceClaimStatus"
    containers = {c.get("name"): c for g in ("initContainers", "containers") for c in spec.get(g) or ()}
    mappings = status.get("requestMappings") or []
    if not mappings:
        errs.append(required(f"{path}.requestMappings", "at least one request mapping is required"))
    seen: set[tuple[str, str, str]] = set()
    for i, mapping in enumerate(mappings):
        where = f"{path}.requestMappings[{i}]"
        name, resource = mapping.get("containerName") or "", mapping.get("resourceName") or ""
        ctr = containers.get(name)
        if ctr is None:
            said = "must match the name of an entry in spec.initContainers.name or spec.containers.name"
            errs.append(invalid(f"{where}.containerName", name, said))
        elif resource not in ((ctr.get("resources") or {}).get("requests") or {}):
            said = (
                "must match the extended resource name of an entry in spec.initContainers.resources.requests or "
                "spec.containers.resources.requests"
            )
            errs.append(invalid(f"{where}.resourceName", resource, said))
        request = mapping.get("requestName") or ""
        formed(errs, request, f"{path}.requestName", names.dns_label)
        if (name, resource, request) in seen:
            errs.append(duplicate(f"{where}.containerName", name))
            errs.append(duplicate(f"{where}.resourceName", resource))
            errs.append(duplicate(f"{where}.requestName", request))
        seen.add((name, resource, request))
    named(errs, status.get("resourceClaimName"), f"{path}.resourceClaimName", names.dns_subdomain)


def _addresses(errs: list[FieldError], addresses: list[Object], path: str) -> None:
    listed = [a.get("ip") or "" for a in addresses]
    for i, address in enumerate(listed):
        formed(errs, address, f"{path}[{i}]", names.ip)
    if len(listed) > 1:
        families = {parsed.version for parsed in map(names.parse_ip, listed) if parsed is not None}
        if len(families) != len(listed):
            errs.append(invalid(path, addresses, "may specify no more than one IP for each IP family"))


def _host_addresses(errs: list[FieldError], status: Object) -> None:
    addresses = status.get("hostIPs") or []
    if not addresses:
        return
    first = addresses[0].get("ip") or ""
    if (status.get("hostIP") or "") != first:
        errs.append(invalid("status.hostIPs[0].ip", first, "must be equal to `hostIP`"))
    _addresses(errs, addresses, "status.hostIPs")


def _users_and_devices(errs: list[FieldError], listed: list[Object], spec: Object, field: str) -> None:
    windows = (spec.get("os") or {}).get("name") == "windows"
    group = field.removesuffix("Statuses") + "s"
    for i, status in enumerate(listed):
        where = f"status.{field}[{i}]"
        if (user := (status.get("user") or {}).get("linux")) is not None:
            if windows:
                errs.append(forbidden(f"{where}.user.linux", "cannot be set for a windows pod"))
            else:
                _user(errs, user, f"{where}.user.linux")
        devices = status.get("allocatedResourcesStatus")
        if not devices:
            continue
        if field == "ephemeralContainerStatuses":
            errs.append(forbidden(f"{where}.allocatedResourcesStatus", "must not be specified in container status"))
            continue
        ctr = next((c for c in spec.get(group) or () if c.get("name") == status.get("name")), None)
        for j, device in enumerate(devices):
            _device(errs, device, ctr, f"{where}.allocatedResourcesStatus[{j}]")


def _user(errs: list[FieldError], user: Object, path: str) -> None:
    for what in ("uid", "gid"):
        formed(errs, user.get(what) or 0, f"{path}.{what}", names.user_or_group_id)
    for i, group in enumerate(user.get("supplementalGroups") or ()):
        for said in names.user_or_group_id(group):
            errs.append(invalid(f"{path}.supplementalGroups[{i}]", group, said))


def _device(errs: list[FieldError], device: Object, ctr: Object | None, path: str) -> None:
    name = device.get("name") or ""
    if ctr is not None:
        resources = ctr.get("resources") or {}
        if name.startswith("claim:"):
            known = {
                "claim:" + c.get("name", "") + (f"/{c['request']}" if c.get("request") else "")
                for c in resources.get("claims") or ()
            }
            said = (
                "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or "
                "'claim:<claimName>' if request is empty"
            )
        else:
            known = set(resources.get("requests") or ())
            said = "must match one of the container's resource requests"
        if name not in known:
            errs.append(invalid(f"{path}.name", name, said))
    seen: set[str] = set()
    for i, resource in enumerate(device.get("resources") or ()):
        health = resource.get("health") or ""
        one_of(errs, health, f"{path}.resources[{i}].health", _HEALTH)
        if (message := resource.get("message")) == "":
            errs.append(required(f"{path}.resources[{i}].message", "must be non-empty if specified"))
        elif len(message or "") > _MAX_MESSAGE:
            errs.append(too_long(f"{path}.resources[{i}].message", _MAX_MESSAGE))
        identity = resource.get("resourceID") or ""
        if identity in seen:
            errs.append(duplicate(f"{path}.resources[{i}].resourceID", identity))
        seen.add(identity)
