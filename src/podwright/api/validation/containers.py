"""Rules for containers, init containers, sidecars and ephemeral containers."""

from __future__ import annotations

from dataclasses import dataclass, field

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names, paths, pod_env, pod_handlers, pod_resources, security_contexts
from podwright.api.validation.field_errors import (
    duplicate,
    forbidden,
    formed,
    invalid,
    named,
    not_found,
    not_supported,
    one_of,
    required,
    too_many,
)
from podwright.api.validation.volumes import Volumes, pull_policy

PROTOCOLS = ("SCTP", "TCP", "UDP")
_PROPAGATION = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")
_BIND_OPTIONS = ("nodev", "noexec", "nosuid")
_RESTART = ("Always", "Never", "OnFailure")
_RULE_ACTIONS = ("Restart", "RestartAllContainers")
_NOT_INIT = "may not be set for init containers without restartPolicy=Always"
_NOT_EPHEMERAL = "cannot be set for an Ephemeral Container"
_ONLY_OTHERS = (
    "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe",
    "startupProbe", "lifecycle",
)


_VALUES = ("ports", "resources", "resizePolicy", "restartPolicyRules")
"""Of them, those that upstream does not hold behind a pointer: empty is not there."""


@dataclass(slots=True)
class PodContext:
    """What the rules of a container need to know of its Pod."""

    volumes: Volumes
    restart_policy: str = "Always"
    grace: int | None = None
    os: Object | None = None
    host_users: bool = True
    claims: frozenset[str] = field(default_factory=frozenset)


def containers(errs: list[FieldError], listed: list[Object], pod: PodContext, path: str) -> None:
    if not listed:
        errs.append(required(path))
        return
    seen: set[str] = set()
    for i, ctr in enumerate(listed):
        where = f"{path}[{i}]"
        _any(errs, ctr, pod, where)
        name = ctr.get("name") or ""
        if name in seen:
            errs.append(duplicate(f"{where}.name", name))
        seen.add(name)
        if (hooks := ctr.get("lifecycle")) is not None:
            pod_handlers.lifecycle(errs, hooks, pod.grace, pod.os, f"{where}.lifecycle")
        pod_handlers.probes(errs, ctr, where)
        if ctr.get("restartPolicy") is not None or ctr.get("restartPolicyRules"):
            _restart_policy(errs, ctr, where)
    _host_ports(errs, listed, path)


def init_containers(
    errs: list[FieldError], listed: list[Object], regular: list[Object], pod: PodContext, path: str
) -> None:
    seen = {ctr.get("name") or "" for ctr in regular}
    for i, ctr in enumerate(listed):
        where = f"{path}[{i}]"
        _any(errs, ctr, pod, where)
        policy = ctr.get("restartPolicy")
        sidecar = policy == "Always"
        if policy is not None or ctr.get("restartPolicyRules"):
            _restart_policy(errs, ctr, where)
        name = ctr.get("name") or ""
        if name in seen:
            errs.append(duplicate(f"{where}.name", name))
        elif name:
            seen.add(name)
        _host_ports(errs, [ctr], path)
        if sidecar:
            if (hooks := ctr.get("lifecycle")) is not None:
                pod_handlers.lifecycle(errs, hooks, pod.grace, pod.os, f"{where}.lifecycle")
            pod_handlers.probes(errs, ctr, where)
        else:
            for what in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
                if ctr.get(what) is not None:
                    errs.append(forbidden(f"{where}.{what}", _NOT_INIT))
            for j, resize in enumerate(ctr.get("resizePolicy") or ()):
                if (restart := resize.get("restartPolicy")) == "RestartContainer":
                    said = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                    errs.append(invalid(f"{where}.resizePolicy[{j}].restartPolicy", restart, said))


def ephemeral_containers(
    errs: list[FieldError], listed: list[Object], others: list[Object], pod: PodContext, path: str
) -> None:
    targets = {ctr.get("name") or "" for ctr in others}
    seen = set(targets)
    for i, ctr in enumerate(listed):
        where = f"{path}[{i}]"
        _any(errs, ctr, pod, where)
        image_spaces(errs, ctr, where)
        name = ctr.get("name") or ""
        if name in seen:
            errs.append(duplicate(f"{where}.name", name))
        seen.add(name)
        target = ctr.get("targetContainerName")
        if target and target not in targets:
            errs.append(not_found(f"{where}.targetContainerName", target))
        for what in _ONLY_OTHERS:
            if ctr.get(what) if what in _VALUES else ctr.get(what) is not None:
                errs.append(forbidden(f"{where}.{what}", _NOT_EPHEMERAL))
        for j, mount in enumerate(ctr.get("volumeMounts") or ()):
            for what in ("subPath", "subPathExpr"):
                if mount.get(what):
                    errs.append(forbidden(f"{where}.volumeMounts[{j}].{what}", _NOT_EPHEMERAL))


def image_spaces(errs: list[FieldError], ctr: Object, path: str) -> None:
    """Only Pods are held to this: a template may still be mended."""
    image = ctr.get("image") or ""
    if image != image.strip():
        errs.append(invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))


def _any(errs: list[FieldError], ctr: Object, pod: PodContext, path: str) -> None:
    name = ctr.get("name")
    named(errs, name, f"{path}.name", names.dns_label)
    if not ctr.get("image"):
        errs.append(required(f"{path}.image"))
    policy = ctr.get("terminationMessagePolicy")
    if policy not in ("File", "FallbackToLogsOnError"):
        field = f"{path}.terminationMessagePolicy"
        errs.append(not_supported(field, policy, ("File", "FallbackToLogsOnError")) if policy else required(field))
    if ports := ctr.get("ports"):
        _ports(errs, ports, f"{path}.ports")
    if variables := ctr.get("env"):
        pod_env.env(errs, variables, f"{path}.env")
    if sources := ctr.get("envFrom"):
        pod_env.env_from(errs, sources, f"{path}.envFrom")
    mounts, devices = ctr.get("volumeMounts") or [], ctr.get("volumeDevices") or []
    if mounts:
        _mounts(errs, mounts, devices, ctr, pod.volumes, f"{path}.volumeMounts")
    if devices:
        _devices(errs, devices, mounts, pod.volumes, f"{path}.volumeDevices")
        if not pod.host_users:
            errs.append(forbidden(f"{path}.volumeDevices", "when `hostUsers` is false"))
    if ctr.get("imagePullPolicy") not in ("Always", "IfNotPresent", "Never"):
        pull_policy(errs, ctr.get("imagePullPolicy") or "", f"{path}.imagePullPolicy")
    if resources := ctr.get("resources"):
        pod_resources.container_requirements(errs, resources, pod.claims, f"{path}.resources")
    if resize := ctr.get("resizePolicy"):
        _resize_policy(errs, resize, pod.restart_policy, f"{path}.resizePolicy")
    if context := ctr.get("securityContext"):
        security_contexts.container_context(errs, context, f"{path}.securityContext", host_users=pod.host_users)


def _ports(errs: list[FieldError], ports: list[Object], path: str) -> None:
    seen: set[str] = set()
    for i, port in enumerate(ports):
        if name := port.get("name"):
            if problems := names.port_name(name):
                errs += [invalid(f"{path}[{i}].name", name, said) for said in problems]
            elif name in seen:
                errs.append(duplicate(f"{path}[{i}].name", name))
            seen.add(name)
        number = port.get("containerPort")
        named(errs, number, f"{path}[{i}].containerPort", names.port_number)
        if number := port.get("hostPort"):
            formed(errs, number, f"{path}[{i}].hostPort", names.port_number)
        protocol = port.get("protocol")
        one_of(errs, protocol, f"{path}[{i}].protocol", PROTOCOLS, needed=True)


def _host_ports(errs: list[FieldError], listed: list[Object], path: str) -> None:
    seen: set[str] = set()
    for i, ctr in enumerate(listed):
        for j, port in enumerate(ctr.get("ports") or ()):
            if number := port.get("hostPort"):
                key = f"{port.get('protocol') or ''}/{port.get('hostIP') or ''}/{number}"
                if key in seen:
                    errs.append(duplicate(f"{path}[{i}].ports[{j}].hostPort", key))
                seen.add(key)


def _mounts(
    errs: list[FieldError], mounts: list[Object], devices: list[Object], ctr: Object, volumes: Volumes, path: str
) -> None:
    device_paths = {d.get("name") or "": d.get("devicePath") or "" for d in devices}
    seen: set[str] = set()
    for i, mount in enumerate(mounts):
        name, target = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errs.append(required(f"{path}[{i}].name"))
        if name not in volumes:
            errs.append(not_found(f"{path}[{i}].name", name))
        if not target:
            errs.append(required(f"{path}[{i}].mountPath"))
        if target in seen:
            errs.append(invalid(f"{path}[{i}].mountPath", target, "must be unique"))
        seen.add(target)
        if device_paths:
            if name in device_paths:
                errs.append(invalid(f"{path}[{i}].name", name, "must not already exist in volumeDevices"))
            if target in device_paths.values():
                said = "must not already exist as a path in volumeDevices"
                errs.append(invalid(f"{path}[{i}].mountPath", target, said))
        sub, expression = mount.get("subPath"), mount.get("subPathExpr")
        if sub:
            paths.local_descending(errs, sub, f"{path}.subPath")
        if expression:
            if sub:
                said = "subPathExpr and subPath are mutually exclusive"
                errs.append(invalid(f"{path}[{i}].subPathExpr", expression, said))
            paths.local_descending(errs, expression, f"{path}.subPathExpr")
        _mount_modes(errs, mount, ctr, path, f"{path}[{i}]")


def _mount_modes(errs: list[FieldError], mount: Object, ctr: Object, path: str, where: str) -> None:
    if (propagation := mount.get("mountPropagation")) is not None:
        field = f"{path}.mountPropagation"
        one_of(errs, propagation, field, _PROPAGATION)
        if propagation == "Bidirectional" and not (ctr.get("securityContext") or {}).get("privileged"):
            errs.append(forbidden(field, "Bidirectional mount propagation is available only to privileged containers"))
    recursive = mount.get("recursiveReadOnly")
    if recursive in ("Enabled", "IfPossible"):
        field = f"{path}.recursiveReadOnly"
        if not mount.get("readOnly"):
            errs.append(forbidden(field, "may only be specified when readOnly is true"))
        if propagation not in (None, "None"):
            errs.append(forbidden(field, "may only be specified when mountPropagation is None or not specified"))
    elif recursive is not None and recursive != "Disabled":
        errs.append(not_supported(f"{path}.recursiveReadOnly", recursive, _RECURSIVE))
    for i, option in enumerate(mount.get("bindMountOptions") or ()):
        one_of(errs, option, f"{where}.bindMountOptions[{i}]", _BIND_OPTIONS)


def _devices(errs: list[FieldError], devices: list[Object], mounts: list[Object], volumes: Volumes, path: str) -> None:
    mount_paths = {m.get("name") or "": m.get("mountPath") or "" for m in mounts}
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for i, device in enumerate(devices):
        name, target = device.get("name") or "", device.get("devicePath") or ""
        name_field, path_field = f"{path}[{i}].name", f"{path}[{i}].devicePath"
        volume = volumes.get(name)
        if not name:
            errs.append(required(name_field))
        if name in seen_names:
            errs.append(invalid(name_field, name, "must be unique"))
        if volume is None:
            errs.append(not_found(name_field, name))
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            said = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            errs.append(invalid(name_field, name, said))
        if not target:
            errs.append(required(path_field))
        if target in seen_paths:
            errs.append(invalid(path_field, target, "must be unique"))
        if ".." in target.split("/"):
            errs.append(invalid(path_field, target, "can not contain backsteps ('..')"))
        else:
            seen_paths.add(target)
        if name in mount_paths:
            errs.append(invalid(name_field, name, "must not already exist in volumeMounts"))
        if target in mount_paths.values():
            errs.append(invalid(path_field, target, "must not already exist as a path in volumeMounts"))
        if name:
            seen_names.add(name)


def _resize_policy(errs: list[FieldError], policies: list[Object], restart_policy: str, path: str) -> None:
    seen: set[str] = set()
    for i, policy in enumerate(policies):
        resource, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if resource in seen:
            errs.append(duplicate(f"{path}[{i}]", resource))
        seen.add(resource)
        if not resource:
            errs.append(required(path))
        elif resource not in ("cpu", "memory") and not resource.startswith("podwright.io/disk-"):
            errs.append(not_supported(path, resource, ("cpu", "memory")))
        one_of(errs, restart, path, ("NotRequired", "RestartContainer"), needed=True)
        if restart_policy == "Never" and restart != "NotRequired":
            errs.append(invalid(path, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"))


def _restart_policy(errs: list[FieldError], ctr: Object, path: str) -> None:
    """restartPolicy and restartPolicyRules of one container (KEP-5307)."""
    policy, rules = ctr.get("restartPolicy"), ctr.get("restartPolicyRules") or ()
    if policy is None:
        errs.append(required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used"))
    elif policy not in _RESTART:
        errs.append(not_supported(f"{path}.restartPolicy", policy, _RESTART))
    if len(rules) > 20:
        errs.append(too_many(f"{path}.restartPolicyRules", len(rules), 20))
    for i, rule in enumerate(rules):
        where = f"{path}.restartPolicyRules[{i}]"
        action = rule.get("action") or ""
        one_of(errs, action, f"{where}.action", _RULE_ACTIONS)
        if (codes := rule.get("exitCodes")) is None:
            errs.append(required(f"{where}.exitCodes", "must be specified"))
            continue
        operator = codes.get("operator") or ""
        one_of(errs, operator, f"{where}.exitCodes.operator", ("In", "NotIn"))
        if (count := len(codes.get("values") or ())) > 255:
            errs.append(too_many(f"{where}.exitCodes.values", count, 255))
