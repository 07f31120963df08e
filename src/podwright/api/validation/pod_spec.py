"""Rules for a Pod spec, in a Pod or in the template of a workload (upstream's ``ValidatePodSpec``)."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import (
    containers,
    metadata,
    names,
    pod_annotations,
    pod_os,
    pod_resources,
    scheduling,
    security_contexts,
    volumes,
)
from podwright.api.validation.field_errors import (
    duplicate,
    forbidden,
    formed,
    in_range,
    invalid,
    not_found,
    not_supported,
    one_of,
    required,
    too_long,
)

_RESTART = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION = ("PreemptLowerPriority", "Never")
_USERS_FALSE = "when `hostUsers` is false"
_MIRROR = "kubernetes.io/config.mirror"
MAX_INT32 = 2**31 - 1


def pod_spec(errs: list[FieldError], spec: Object, meta: Object | None, path: str) -> None:
    """Check a spec; `meta` is the Pod's metadata, None in a template."""
    get = spec.get
    if get("terminationGracePeriodSeconds") is None:
        errs.append(required(f"{path}.terminationGracePeriodSeconds"))
    name = (meta.get("name") or "") if meta is not None else ""
    found = volumes.volumes(errs, spec, name, f"{path}.volumes", is_pod=meta is not None) if get("volumes") else {}
    claims: frozenset[str] = frozenset()
    if listed := get("resourceClaims"):
        claims = frozenset(c["name"] for c in listed if c.get("name"))
        _resource_claims(errs, listed, meta, f"{path}.resourceClaims")
    restart = get("restartPolicy") or ""
    context = containers.PodContext(
        volumes=found,
        restart_policy=restart,
        grace=get("terminationGracePeriodSeconds"),
        os=get("os"),
        host_users=get("hostUsers") is not False,
        claims=claims,
    )
    regular, init = get("containers") or [], get("initContainers") or []
    containers.containers(errs, regular, context, f"{path}.containers")
    if init:
        containers.init_containers(errs, init, regular, context, f"{path}.initContainers")
    if ephemeral := get("ephemeralContainers"):
        others = [*regular, *init]
        containers.ephemeral_containers(errs, ephemeral, others, context, f"{path}.ephemeralContainers")
    if get("resources"):
        pod_resources.pod_level(errs, spec, path)
    if get("hostNetwork"):
        _host_network(errs, regular, meta is not None, f"{path}.containers")
    one_of(errs, restart, f"{path}.restartPolicy", _RESTART, needed=True)
    dns = get("dnsPolicy") or ""
    one_of(errs, dns, f"{path}.dnsPolicy", _DNS, needed=True)
    if selector := get("nodeSelector"):
        metadata.labels(errs, selector, f"{path}.nodeSelector")
    security_contexts.pod_context(errs, spec, path)
    if value := get("affinity"):
        scheduling.affinity(errs, value, f"{path}.affinity")
    if dns == "None" or get("dnsConfig"):
        _dns_config(errs, get("dnsConfig"), dns, f"{path}.dnsConfig")
    for i, gate in enumerate(get("readinessGates") or ()):
        kind = gate.get("conditionType") or ""
        field = f"{path}.readinessGates[{i}].conditionType"
        formed(errs, kind, field, names.qualified_name)
    if gates := get("schedulingGates"):
        scheduling.scheduling_gates(errs, gates, f"{path}.schedulingGates")
    if constraints := get("topologySpreadConstraints"):
        scheduling.topology_spread(errs, constraints, f"{path}.topologySpreadConstraints")
    pod_os.host_process(errs, spec, path)
    if get("hostUsers") is False:
        _host_users(errs, spec, path)
    _identity(errs, spec, path)
    _names(errs, spec, path)
    seconds = get("activeDeadlineSeconds")
    if seconds is not None and not 1 <= seconds <= MAX_INT32:
        errs.append(invalid(f"{path}.activeDeadlineSeconds", seconds, in_range(1, MAX_INT32)))
    if values := get("tolerations"):
        scheduling.tolerations(errs, values, f"{path}.tolerations")
    for i, alias in enumerate(get("hostAliases") or ()):
        _host_alias(errs, alias, f"{path}.hostAliases[{i}]")
    preemption = get("preemptionPolicy")
    if preemption is not None and preemption not in _PREEMPTION:
        field = f"{path}.preemptionPolicy"
        errs.append(not_supported(field, preemption, _PREEMPTION) if preemption else required(field))
    if amounts := get("overhead"):
        pod_resources.overhead(errs, amounts, f"{path}.overhead")
    if get("os") is not None:
        pod_os.pod_os(errs, spec, path)
    _file_key_volumes(errs, spec, path)


def _resource_claims(errs: list[FieldError], claims: list[Object], meta: Object | None, path: str) -> None:
    if meta is not None and _MIRROR in (meta.get("annotations") or ()):
        errs.append(forbidden("[]", "static pods do not support resource claims"))
        return
    seen: set[str] = set()
    for i, claim in enumerate(claims):
        where = f"{path}[{i}]"
        name = claim.get("name") or ""
        if not name:
            errs.append(required(f"{where}.name"))
        elif name in seen:
            errs.append(duplicate(f"{where}.name", name))
        else:
            formed(errs, name, f"{where}.name", names.dns_label)
            seen.add(name)
        direct, template = claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName")
        if direct is not None and template is not None:
            said = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            errs.append(invalid(where, claim, said))
        if direct is None and template is None:
            errs.append(invalid(where, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"))
        for field, value in (("resourceClaimName", direct), ("resourceClaimTemplateName", template)):
            if value is not None:
                formed(errs, value, f"{where}.{field}", names.dns_subdomain)


def _host_network(errs: list[FieldError], listed: list[Object], is_pod: bool, path: str) -> None:
    for i, ctr in enumerate(listed):
        for j, port in enumerate(ctr.get("ports") or ()):
            host, own = port.get("hostPort") or 0, port.get("containerPort") or 0
            if (is_pod or host) and host != own:
                said = "must match `containerPort` when `hostNetwork` is true"
                errs.append(invalid(f"{path}[{i}].ports[{j}].hostPort", host, said))


def _dns_config(errs: list[FieldError], config: Object | None, policy: str, path: str) -> None:
    config_ = config or {}
    servers, searches = config_.get("nameservers") or [], config_.get("searches") or []
    if policy == "None":
        if config is None:
            errs.append(required(path, "must provide `dnsConfig` when `dnsPolicy` is None"))
            return
        if not servers:
            said = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            errs.append(required(f"{path}.nameservers", said))
            return
    if len(servers) > 3:
        errs.append(invalid(f"{path}.nameservers", servers, "must not have more than 3 nameservers"))
    for i, server in enumerate(servers):
        formed(errs, server, f"{path}.nameservers[{i}]", names.ip)
    if len(searches) > 32:
        errs.append(invalid(f"{path}.searches", searches, "must not have more than 32 search paths"))
    if len(" ".join(searches)) > 2048:
        said = "must not have more than 2048 characters (including spaces) in the search list"
        errs.append(invalid(f"{path}.searches", searches, said))
    for i, search in enumerate(searches):
        if search != ".":
            search = search.removesuffix(".")
            problems = names.dns_subdomain_with_underscore(search)
            errs += [invalid(f"{path}.searches[{i}]", search, said) for said in problems]
    for i, option in enumerate(config_.get("options") or ()):
        if not option.get("name"):
            errs.append(required(f"{path}.options[{i}]", "must not be empty"))


def _host_users(errs: list[FieldError], spec: Object, path: str) -> None:
    for field, said in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if spec.get(field):
            errs.append(forbidden(f"{path}.{said}", _USERS_FALSE))


def _identity(errs: list[FieldError], spec: Object, path: str) -> None:
    """hostname, subdomain and hostnameOverride."""
    if (override := spec.get("hostnameOverride")) is not None:
        field = f"{path}.hostnameOverride"
        if spec.get("setHostnameAsFQDN"):
            errs.append(forbidden(field, "may not be specified when setHostnameAsFQDN is true"))
        if spec.get("hostNetwork"):
            errs.append(forbidden(field, "may not be specified when hostNetwork is true"))
        if len(override) > 64:
            errs.append(too_long(field, 64))
        formed(errs, override, field, names.dns_subdomain)
    for what in ("hostname", "subdomain"):
        if value := spec.get(what):
            formed(errs, value, f"{path}.{what}", names.dns_label)


def _names(errs: list[FieldError], spec: Object, path: str) -> None:
    for field in ("serviceAccountName", "nodeName", "priorityClassName"):
        if value := spec.get(field):
            formed(errs, value, f"{path}.{field}", names.dns_subdomain)
    if (value := spec.get("runtimeClassName")) is not None:
        formed(errs, value, f"{path}.runtimeClassName", names.dns_subdomain)


def _host_alias(errs: list[FieldError], alias: Object, path: str) -> None:
    formed(errs, alias.get("ip") or "", f"{path}.ip", names.ip)
    for i, name in enumerate(alias.get("hostnames") or ()):
        formed(errs, name, f"{path}.hostnames[{i}]", names.dns_subdomain)


def _file_key_volumes(errs: list[FieldError], spec: Object, path: str) -> None:
    by_name: dict[str, Object] | None = None
    for ctr, where in pod_os.visit(spec, path):
        for i, variable in enumerate(ctr.get("env") or ()):
            if (ref := (variable.get("valueFrom") or {}).get("fileKeyRef")) is None:
                continue
            if by_name is None:
                by_name = {v.get("name") or "": v for v in spec.get("volumes") or ()}
            name = ref.get("volumeName") or ""
            field = f"{where}.env[{i}].valueFrom.fileKeyRef.volumeName"
            volume = by_name.get(name)
            if volume is None:
                errs.append(not_found(field, name))
            elif volume.get("emptyDir") is None:
                errs.append(invalid(field, name, "referenced volume must be of type emptyDir"))


def pod_template(errs: list[FieldError], template: Object, path: str) -> None:
    """A template of Pods (upstream's ``ValidatePodTemplateSpec``)."""
    meta = template.get("metadata") or {}
    if labels := meta.get("labels"):
        metadata.labels(errs, labels, f"{path}.labels")
    if values := meta.get("annotations"):
        metadata.annotation_values(errs, values, f"{path}.annotations")
    spec = template.get("spec") or {}
    if values:
        pod_annotations.annotations_of_pod(errs, values, spec, f"{path}.annotations")
    pod_spec(errs, spec, None, f"{path}.spec")
    if values:
        pod_annotations.match_fields(errs, values, spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        said = "ephemeral containers not allowed in pod template"
        errs.append(forbidden(f"{path}.spec.ephemeralContainers", said))
