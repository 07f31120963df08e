"""Services."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names
from podwright.api.validation.containers import PROTOCOLS
from podwright.api.validation.endpoints import endpoint_ip
from podwright.api.validation.field_errors import (
    duplicate,
    forbidden,
    formed,
    invalid,
    named,
    not_supported,
    one_of,
    required,
)
from podwright.api.validation.load_balancers import load_balancer_status
from podwright.api.validation.pod_handlers import port_or_name
from podwright.api.validation.rules import Rules, spec_of

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES = ("ClientIP", "None")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_TRAFFIC = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_MAX_AFFINITY = 86400
_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"
_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_ONLY_BALANCER = "may only be used when `type` is 'LoadBalancer'"
_ONCE = "may not change once set"


def _addresses(spec: Object) -> list[str]:
    return list(spec.get("clusterIPs") or ())


def _headless(spec: Object) -> bool:
    return _addresses(spec) == ["None"]


def _needs_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _external(spec: Object) -> bool:
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def service(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    if _HINTS in annotations and _MODE in annotations and annotations[_HINTS] != annotations[_MODE]:
        said = f"must match annotations[{_HINTS}] when both are specified"
        errs.append(invalid(f"metadata.annotations[{_MODE}]", annotations[_MODE], said))
    kind, ports = spec.get("type") or "", spec.get("ports") or []
    if not ports and not _headless(spec) and kind != "ExternalName":
        errs.append(required("spec.ports"))
    _by_type(errs, spec, kind)
    seen: set[str] = set()
    for i, port in enumerate(ports):
        _port(errs, port, len(ports) > 1, seen, f"spec.ports[{i}]")
    if selector := spec.get("selector"):
        metadata.labels(errs, selector, "spec.selector")
    _affinity(errs, spec)
    if kind != "ExternalName":
        cluster_ip_fields(errs, spec)
    for i, address in enumerate(spec.get("externalIPs") or ()):
        field = f"spec.externalIPs[{i}]"
        if problems := names.ip(address):
            errs += [invalid(field, address, said) for said in problems]
        else:
            endpoint_ip(errs, address, field)
    one_of(errs, kind, "spec.type", _TYPES, needed=True)
    _port_uniqueness(errs, ports, kind)
    _load_balancer(errs, spec, annotations, kind)
    _traffic(errs, spec, kind)


def _by_type(errs: list[FieldError], spec: Object, kind: str) -> None:
    if kind in ("LoadBalancer", "NodePort"):
        if _headless(spec):
            errs.append(invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    elif kind == "ExternalName":
        said = "may not be set for ExternalName services"
        for field in ("clusterIPs", "ipFamilies"):
            if spec.get(field):
                errs.append(forbidden(f"spec.{field}", said))
        if spec.get("ipFamilyPolicy") is not None:
            errs.append(forbidden("spec.ipFamilyPolicy", said))
        name = (spec.get("externalName") or "").removesuffix(".")
        named(errs, name, "spec.externalName", names.dns_subdomain)


def _port(errs: list[FieldError], port: Object, named: bool, seen: set[str], path: str) -> None:
    name = port.get("name") or ""
    if not name:
        if named:
            errs.append(required(f"{path}.name"))
    else:
        formed(errs, name, f"{path}.name", names.dns_label)
        if name in seen:
            errs.append(duplicate(f"{path}.name", name))
        seen.add(name)
    formed(errs, port.get("port") or 0, f"{path}.port", names.port_number)
    protocol = port.get("protocol") or ""
    one_of(errs, protocol, f"{path}.protocol", PROTOCOLS, needed=True)
    port_or_name(errs, port.get("targetPort", 0), f"{path}.targetPort")
    if (application := port.get("appProtocol")) is not None:
        formed(errs, application, f"{path}.appProtocol", names.qualified_name)


def _affinity(errs: list[FieldError], spec: Object) -> None:
    kind, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    one_of(errs, kind, "spec.sessionAffinity", _AFFINITIES, needed=True)
    field = "spec.sessionAffinityConfig"
    if kind == "None" and config is not None:
        errs.append(forbidden(field, "must not be set when session affinity is None"))
    if kind != "ClientIP":
        return
    when = "when session affinity type is ClientIP"
    if config is None:
        errs.append(required(field, when))
    elif config.get("clientIP") is None:
        errs.append(required(f"{field}.clientIP", when))
    elif (seconds := config["clientIP"].get("timeoutSeconds")) is None:
        errs.append(required(f"{field}.clientIP.timeoutSeconds", when))
    elif not 0 < seconds <= _MAX_AFFINITY:
        said = f"must be greater than 0 and less than {_MAX_AFFINITY}"
        errs.append(invalid(f"{field}.clientIP.timeoutSeconds", seconds, said))


def cluster_ip_fields(errs: list[FieldError], spec: Object) -> None:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy, by themselves and with each other."""
    first, listed = spec.get("clusterIP") or "", _addresses(spec)
    field = "spec.clusterIPs"
    if first:
        if not listed:
            errs.append(required(field))
        elif listed[0] != first:
            errs.append(invalid(field, listed, "first value must match `clusterIP`"))
    elif listed:
        errs.append(invalid(field, listed, "must be empty when `clusterIP` is not specified"))
    families = spec.get("ipFamilies") or []
    for i, family in enumerate(families):
        one_of(errs, family, f"spec.ipFamilies[{i}]", _FAMILIES)
        if family in families[:i]:
            errs.append(duplicate(f"spec.ipFamilies[{i}]", family))
    if (policy := spec.get("ipFamilyPolicy")) is not None:
        one_of(errs, policy, "spec.ipFamilyPolicy", _FAMILY_POLICIES)
    wrong = False
    for i, address in enumerate(listed):
        if i == 0 and address == "None":
            if len(listed) > 1:
                wrong = True
                errs.append(invalid(field, listed, "'None' must be the first and only value"))
            continue
        problems = names.ip(address)
        wrong |= bool(problems)
        errs += [invalid(f"{field}[{i}]", address, said) for said in problems]
    if len(listed) > 2:
        errs.append(invalid(field, listed, "may only hold up to 2 values"))
    if wrong or _headless(spec):
        return
    versions = [parsed.version for parsed in map(names.parse_ip, listed) if parsed is not None]
    if len(listed) > 1 and len(set(versions)) != len(versions):
        errs.append(invalid(field, listed, "may specify no more than one IP for each IP family"))
    for i, (family, version) in enumerate(zip(families, versions, strict=False)):
        if family in _FAMILIES and family != f"IPv{version}":
            said = f"expected an {family} value as indicated by `ipFamilies[{i}]`"
            errs.append(invalid(f"{field}[{i}]", listed[i], said))


def _port_uniqueness(errs: list[FieldError], ports: list[Object], kind: str) -> None:
    if kind == "ClusterIP":
        for i, port in enumerate(ports):
            if port.get("nodePort"):
                errs.append(forbidden(f"spec.ports[{i}].nodePort", "may not be used when `type` is 'ClusterIP'"))
    seen: set[tuple[str, int]] = set()
    for i, port in enumerate(ports):
        number = port.get("nodePort")
        if number:
            key = (port.get("protocol") or "", number)
            if key in seen:
                errs.append(duplicate(f"spec.ports[{i}].nodePort", number))
            seen.add(key)
    seen = set()
    for i, port in enumerate(ports):
        key = (port.get("protocol") or "", port.get("port") or 0)
        if key in seen:
            value = {"Name": "", "Protocol": key[0], "Port": key[1], "TargetPort": 0, "NodePort": 0}
            errs.append(duplicate(f"spec.ports[{i}]", value))
        seen.add(key)


def _load_balancer(errs: list[FieldError], spec: Object, annotations: Object, kind: str) -> None:
    ranges = spec.get("loadBalancerSourceRanges") or []
    field = "spec.LoadBalancerSourceRanges"
    if ranges:
        if kind != "LoadBalancer":
            errs.append(forbidden(field, _ONLY_BALANCER))
        for i, value in enumerate(ranges):
            value = value.strip()
            formed(errs, value, f"{field}[{i}]", names.cidr)
    elif _RANGES in annotations:
        field = f"metadata.annotations[{_RANGES}]"
        if kind != "LoadBalancer":
            errs.append(forbidden(field, _ONLY_BALANCER))
        for value in filter(None, map(str.strip, annotations[_RANGES].split(","))):
            formed(errs, value, field, names.cidr)
    allocate = spec.get("allocateLoadBalancerNodePorts")
    if allocate is not None and kind != "LoadBalancer":
        errs.append(forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCER))
    if allocate is None and kind == "LoadBalancer":
        errs.append(required("allocateLoadBalancerNodePorts"))
    if (name := spec.get("loadBalancerClass")) is not None:
        field = "spec.loadBalancerClass"
        if kind == "LoadBalancer":
            formed(errs, name, field, names.qualified_name)
        else:
            errs.append(forbidden(field, _ONLY_BALANCER))


def _traffic(errs: list[FieldError], spec: Object, kind: str) -> None:
    policy = spec.get("externalTrafficPolicy") or ""
    field = "spec.externalTrafficPolicy"
    if not _external(spec):
        if policy:
            errs.append(invalid(field, policy, "may only be set for externally-accessible services"))
    elif policy not in _TRAFFIC:
        errs.append(not_supported(field, policy, _TRAFFIC) if policy else required(field))
    port = spec.get("healthCheckNodePort") or 0
    field = "spec.healthCheckNodePort"
    if not _needs_health_check(spec):
        if port:
            said = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            errs.append(invalid(field, port, said))
    elif not port:
        errs.append(required(field))
    else:
        formed(errs, port, field, names.port_number)
    if (internal := spec.get("internalTrafficPolicy")) is None:
        if kind in ("ClusterIP", "LoadBalancer", "NodePort"):
            errs.append(required("spec.internalTrafficPolicy"))
    elif internal not in _TRAFFIC:
        errs.append(not_supported("spec.internalTrafficPolicy", internal, _TRAFFIC))
    if (distribution := spec.get("trafficDistribution")) is not None:
        one_of(errs, distribution, "spec.trafficDistribution", _DISTRIBUTIONS)


def service_update(errs: list[FieldError], new: Object, old: Object) -> None:
    spec, before = spec_of(new), spec_of(old)
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        if not (_headless(spec) and _headless(before)):
            _kept_addresses(errs, spec, before)
        if not _headless(spec) and not _headless(before):
            _kept_families(errs, spec, before)
    if spec.get("type") == before.get("type") == "LoadBalancer":
        if spec.get("loadBalancerClass") != before.get("loadBalancerClass"):
            errs.append(invalid("spec.loadBalancerClass", spec.get("loadBalancerClass"), _ONCE))
    if _needs_health_check(spec) and _needs_health_check(before):
        if (spec.get("healthCheckNodePort") or 0) != (before.get("healthCheckNodePort") or 0):
            errs.append(forbidden("spec.healthCheckNodePort", "field is immutable"))
    service(errs, new)


def _kept_addresses(errs: list[FieldError], spec: Object, before: Object) -> None:
    new, old = _addresses(spec), _addresses(before)
    if len(new) == len(old):
        for i, address in enumerate(old):
            if address != new[i]:
                errs.append(invalid(f"spec.clusterIPs[{i}]", new, _ONCE))
        return
    if len(old) > len(new) and not new:
        errs.append(invalid("spec.clusterIPs[0]", new, "primary clusterIP can not be unset"))
    if old and new and new[0] != old[0]:
        errs.append(invalid("spec.clusterIPs[0]", new, _ONCE))
    if len(old) > len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        said = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        errs.append(invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), said))


def _kept_families(errs: list[FieldError], spec: Object, before: Object) -> None:
    new, old = spec.get("ipFamilies") or [], before.get("ipFamilies") or []
    field = "spec.ipFamilies[0]"
    if len(new) == len(old):
        errs += [invalid(field, new, _ONCE) for i, family in enumerate(old) if family != new[i]]
        return
    if len(old) > len(new) and not _addresses(spec):
        errs.append(invalid(field, new, "primary ipFamily can not be unset"))
    if old and new and new[0] != old[0]:
        errs.append(invalid(field, _addresses(spec), _ONCE))
    if len(old) > len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        said = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        errs.append(invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), said))


def _status(errs: list[FieldError], new: Object, old: Object) -> None:
    status = (new.get("status") or {}).get("loadBalancer") or {}
    if spec_of(new).get("type") != "LoadBalancer" and status.get("ingress"):
        errs.append(forbidden("status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'"))
    else:
        load_balancer_status(errs, status, "status.loadBalancer")


def _prepare(obj: Object) -> None:
    """clusterIP and clusterIPs say the same for the first address, whichever the client wrote."""
    spec = obj.setdefault("spec", {})
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def _prepare_update(new: Object, old: Object, subresource: str) -> None:
    """Carry over what the server gave an old Service and the client left out, and drop it where the new type has
    none (upstream's ``patchAllocatedValues`` and ``dropTypeDependentFields``)."""
    if subresource:
        return
    spec, before = new.setdefault("spec", {}), spec_of(old)
    kind, old_kind = spec.get("type"), before.get("type")
    if kind != "ExternalName" and old_kind != "ExternalName":
        if not spec.get("clusterIP") and not spec.get("clusterIPs"):
            for field in ("clusterIP", "clusterIPs"):
                if field in before:
                    spec[field] = before[field]
        elif spec.get("clusterIP") != before.get("clusterIP") and spec.get("clusterIPs") == before.get("clusterIPs"):
            # A client that knows clusterIP only changed it.
            spec["clusterIPs"] = [spec["clusterIP"]] if spec.get("clusterIP") else []
        elif not spec.get("clusterIPs") and spec.get("clusterIP"):
            same = spec["clusterIP"] == before.get("clusterIP")
            spec["clusterIPs"] = list(before["clusterIPs"]) if same else [spec["clusterIP"]]
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if not spec.get(field) and before.get(field):
                spec[field] = before[field]
    if kind in ("NodePort", "LoadBalancer") and old_kind in ("NodePort", "LoadBalancer"):
        _carry_node_ports(spec, before)
    if kind == "ExternalName" and old_kind != "ExternalName":
        for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
    if kind in ("ClusterIP", "ExternalName") and old_kind in ("NodePort", "LoadBalancer"):
        _drop_node_ports(spec, before)
    if _needs_health_check(spec) and _needs_health_check(before) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before.get("healthCheckNodePort")
    if not _needs_health_check(spec) and _needs_health_check(before):
        if spec.get("healthCheckNodePort") == before.get("healthCheckNodePort"):
            spec.pop("healthCheckNodePort", None)
    if kind != "LoadBalancer" and old_kind == "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(field) == before.get(field):
                spec.pop(field, None)
        new.setdefault("status", {})
        new["status"] = {**new["status"], "loadBalancer": {}}
    if not _external(spec) and _external(before):
        if spec.get("externalTrafficPolicy") == before.get("externalTrafficPolicy"):
            spec.pop("externalTrafficPolicy", None)


def _carry_node_ports(spec: Object, before: Object) -> None:
    taken = {(p.get("protocol"), p.get("nodePort")) for p in spec.get("ports") or () if p.get("nodePort")}
    given = {(p.get("protocol"), p.get("port")): p.get("nodePort") for p in before.get("ports") or ()}
    for port in spec.get("ports") or ():
        number = given.get((port.get("protocol"), port.get("port")))
        if not port.get("nodePort") and number and (port.get("protocol"), number) not in taken:
            port["nodePort"] = number


def _drop_node_ports(spec: Object, before: Object) -> None:
    """Only if the client did not say other ones: then validation tells it."""
    numbers = [p.get("nodePort") for p in spec.get("ports") or ()]
    if all(n in {p.get("nodePort") for p in before.get("ports") or ()} for n in numbers if n):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)


def _warnings(new: Object, _old: Object | None) -> list[str]:
    spec, said = spec_of(new), []
    if _HINTS in ((new.get("metadata") or {}).get("annotations") or ()):
        said.append(f"annotation {_HINTS} is deprecated, please use {_MODE} instead")
    kind = spec.get("type")
    if kind == "ClusterIP" and spec.get("clusterIP") == "None":
        if spec.get("loadBalancerIP"):
            said.append("spec.loadBalancerIP is ignored for headless services")
        if spec.get("externalIPs"):
            said.append("spec.externalIPs is ignored for headless services")
        if spec.get("sessionAffinity") not in (None, "", "None"):
            said.append("spec.SessionAffinity is ignored for headless services")
    if kind == "ExternalName" and spec.get("externalIPs"):
        said.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if kind != "ExternalName" and spec.get("externalName"):
        said.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    return said


SERVICE = Rules(
    name=names.label_name,
    create=service,
    update=service_update,
    subresources={"status": _status},
    prepare_create=_prepare,
    prepare_update=_prepare_update,
    warnings=_warnings,
    initial_status={"loadBalancer": {}},
)
