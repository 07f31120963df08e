"""Ingresses and IngressClasses."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names, ratcheting
from podwright.api.validation.field_errors import (
    forbidden,
    formed,
    invalid,
    named,
    not_supported,
    one_of,
    required,
    too_long,
)
from podwright.api.validation.jobs import domain_path
from podwright.api.validation.load_balancers import load_balancer_status
from podwright.api.validation.rules import Rules, spec_of

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")
_NOT_ADDRESS = "must be a DNS name, not an IP address"


def _host(errs: list[FieldError], host: str, field: str) -> None:
    formed(errs, host, field, names.wildcard_dns_subdomain if "*" in host else names.dns_subdomain)


def ingress(errs: list[FieldError], obj: Object, *, wild: bool = False) -> None:
    """`wild`: paths of hosts with a wildcard may be wrong."""
    spec = spec_of(obj)
    rules, default = spec.get("rules") or [], spec.get("defaultBackend")
    if not rules and default is None:
        errs.append(invalid("spec", rules or None, "either `defaultBackend` or `rules` must be specified"))
    if default is not None:
        _backend(errs, default, "spec.defaultBackend")
    for i, rule in enumerate(rules):
        _rule(errs, rule, f"spec.rules[{i}]")
        if not wild or "*" not in (rule.get("host") or ""):
            _paths(errs, rule.get("http"), f"spec.rules[{i}].http")
    for i, tls in enumerate(spec.get("tls") or ()):
        for j, host in enumerate(tls.get("hosts") or ()):
            _host(errs, host, f"spec.tls[{i}].hosts[{j}]")
        if secret := tls.get("secretName"):
            formed(errs, secret, f"spec.tls[{i}].secretName", names.dns_subdomain)
    if (name := spec.get("ingressClassName")) is not None:
        formed(errs, name, "spec.ingressClassName", names.dns_subdomain)


def _create(errs: list[FieldError], obj: Object) -> None:
    ingress(errs, obj)
    annotated = ((obj.get("metadata") or {}).get("annotations") or {}).get(_CLASS_ANNOTATION)
    name = spec_of(obj).get("ingressClassName")
    if annotated is not None and name is not None and annotated != name:
        said = "must match `ingressClassName` when both are specified"
        errs.append(invalid(f"annotations.{_CLASS_ANNOTATION}", annotated, said))


def _update(errs: list[FieldError], new: Object, old: Object) -> None:
    """Paths of hosts with a wildcard were once not checked."""
    stored: list[FieldError] = []
    for rule in spec_of(old).get("rules") or ():
        if "*" in (rule.get("host") or ""):
            _paths(stored, rule.get("http"), "")
    ingress(errs, new, wild=bool(stored))


def _rule(errs: list[FieldError], rule: Object, path: str) -> None:
    if host := rule.get("host"):
        if names.parse_ip(host) is not None:
            errs.append(invalid(f"{path}.host", host, _NOT_ADDRESS))
        _host(errs, host, f"{path}.host")


def _paths(errs: list[FieldError], http: Object | None, path: str) -> None:
    if http is None:
        return
    paths = http.get("paths") or []
    if not paths:
        errs.append(required(f"{path}.paths"))
    for i, entry in enumerate(paths):
        where = f"{path}.paths[{i}]"
        kind, target = entry.get("pathType"), entry.get("path") or ""
        if kind is None:
            errs.append(required(f"{where}.pathType", "pathType must be specified"))
            continue
        if kind not in _PATH_TYPES:
            errs.append(not_supported(f"{where}.pathType", kind, _PATH_TYPES))
        elif not target.startswith("/") and (target or kind != "ImplementationSpecific"):
            errs.append(invalid(f"{where}.path", target, "must be an absolute path"))
        if kind in ("Exact", "Prefix"):
            for part in _BAD_PARTS:
                if part in target:
                    errs.append(invalid(f"{where}.path", target, f"must not contain '{part}'"))
            for end in _BAD_ENDS:
                if target.endswith(end):
                    errs.append(invalid(f"{where}.path", target, f"cannot end with '{end}'"))
        _backend(errs, entry.get("backend") or {}, f"{where}.backend")


def _backend(errs: list[FieldError], backend: Object, path: str) -> None:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        errs.append(invalid(path, "", "cannot set both resource and service backends"))
    elif resource is not None:
        _reference(errs, resource, f"{path}.resource")
    elif service is not None:
        named(errs, service.get("name"), f"{path}.service.name", names.dns_label)
        port = service.get("port") or {}
        port_name, number = port.get("name"), port.get("number")
        if port_name and number:
            errs.append(invalid(path, "", "cannot set both port name & port number"))
        elif port_name:
            formed(errs, port_name, f"{path}.service.port.name", names.port_name)
        elif number:
            formed(errs, number, f"{path}.service.port.number", names.port_number)
        else:
            errs.append(required(path, "port name or number is required"))
    else:
        errs.append(invalid(path, "", "resource or service backend is required"))


def _reference(errs: list[FieldError], ref: Object, path: str) -> None:
    if (group := ref.get("apiGroup")) is not None:
        formed(errs, group, f"{path}.apiGroup", names.dns_subdomain)
    for field in ("kind", "name"):
        named(errs, ref.get(field), f"{path}.{field}", names.path_segment_name, f"{field} is required")


def _status(errs: list[FieldError], new: Object, old: Object) -> None:
    status = (new.get("status") or {}).get("loadBalancer") or {}
    load_balancer_status(errs, status, "status.loadBalancer", modes=False)


def ingress_class(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    controller = spec.get("controller") or ""
    if len(controller) > 250:
        errs.append(too_long("spec.controller", 250))
    domain_path(errs, controller, "spec.controller")
    if (parameters := spec.get("parameters")) is None:
        return
    path = "spec.parameters"
    _reference(errs, parameters, path)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        errs.append(required(f"{path}.scope"))
        return
    one_of(errs, scope, f"{path}.scope", ("Cluster", "Namespace"))
    if scope == "Namespace":
        if namespace is None:
            errs.append(required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
        else:
            formed(errs, namespace, f"{path}.namespace", names.dns_label)
    elif scope == "Cluster" and namespace is not None:
        errs.append(forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))


def _class_update(errs: list[FieldError], new: Object, old: Object) -> None:
    metadata.same(errs, spec_of(new).get("controller"), spec_of(old).get("controller"), "spec.controller")
    ingress_class(errs, new)


INGRESS = Rules(
    create=_create,
    update=_update,
    subresources={"status": _status},
    generation=True,
    initial_status={"loadBalancer": {}},
    ratchet=(r"^spec\.tls\[\]\.secretName",),
)
INGRESS_CLASS = Rules(
    create=ingress_class,
    update=_class_update,
    generation=True,
    ratchet=(ratcheting.unchanged(r"spec\.parameters\.(?:kind|name): Required"),),
)
