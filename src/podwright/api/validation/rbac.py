"""Roles and their bindings."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names, ratcheting
from podwright.api.validation.field_errors import formed, invalid, named, not_supported, required
from podwright.api.validation.label_selectors import label_selector
from podwright.api.validation.rules import Kinds, Rules

GROUP = "rbac.authorization.k8s.io"


def _rules(errs: list[FieldError], obj: Object, *, namespaced: bool) -> None:
    for i, rule in enumerate(obj.get("rules") or ()):
        where = f"rules[{i}]"
        urls = rule.get("nonResourceURLs")
        if not rule.get("verbs"):
            errs.append(required(f"{where}.verbs", "verbs must contain at least one value"))
        if urls:
            field = f"{where}.nonResourceURLs"
            if namespaced:
                errs.append(invalid(field, urls, "namespaced rules cannot apply to non-resource URLs"))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                errs.append(invalid(field, urls, "rules cannot apply to both regular resources and non-resource URLs"))
            continue
        if not rule.get("apiGroups"):
            errs.append(required(f"{where}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            errs.append(required(f"{where}.resources", "resource rules must supply at least one resource"))


def role(errs: list[FieldError], obj: Object) -> None:
    _rules(errs, obj, namespaced=True)


def cluster_role(errs: list[FieldError], obj: Object) -> None:
    _rules(errs, obj, namespaced=False)
    if (aggregation := obj.get("aggregationRule")) is None:
        return
    field = "aggregationRule.clusterRoleSelectors"
    selectors = aggregation.get("clusterRoleSelectors") or []
    if not selectors:
        errs.append(required(field, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
    for i, selector in enumerate(selectors):
        label_selector(errs, selector, f"{field}[{i}]")


def _binding(errs: list[FieldError], obj: Object, kinds: tuple[str, ...], *, namespaced: bool) -> None:
    ref = obj.get("roleRef") or {}
    if ref.get("apiGroup") != GROUP:
        errs.append(not_supported("roleRef.apiGroup", ref.get("apiGroup") or "", (GROUP,)))
    if ref.get("kind") not in kinds:
        errs.append(not_supported("roleRef.kind", ref.get("kind") or "", kinds))
    name = ref.get("name") or ""
    named(errs, name, "roleRef.name", names.path_segment_name)
    for i, subject in enumerate(obj.get("subjects") or ()):
        _subject(errs, subject, f"subjects[{i}]", namespaced)


def _subject(errs: list[FieldError], subject: Object, path: str, namespaced: bool) -> None:
    name, kind, group = subject.get("name") or "", subject.get("kind") or "", subject.get("apiGroup") or ""
    if not name:
        errs.append(required(f"{path}.name"))
    if kind == "ServiceAccount":
        if name:
            formed(errs, name, f"{path}.name", names.dns_subdomain)
        if group:
            errs.append(not_supported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            errs.append(required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != GROUP:
            errs.append(not_supported(f"{path}.apiGroup", group, (GROUP,)))
    else:
        errs.append(not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group")))


def role_binding(errs: list[FieldError], obj: Object) -> None:
    _binding(errs, obj, ("Role", "ClusterRole"), namespaced=True)


def cluster_role_binding(errs: list[FieldError], obj: Object) -> None:
    _binding(errs, obj, ("ClusterRole",), namespaced=False)


def _kept_role(errs: list[FieldError], new: Object, old: Object) -> None:
    if new.get("roleRef") != old.get("roleRef"):
        errs.append(invalid("roleRef", new.get("roleRef"), "cannot change roleRef"))


def _role_binding_update(errs: list[FieldError], new: Object, old: Object) -> None:
    role_binding(errs, new)
    _kept_role(errs, new, old)


def _cluster_role_binding_update(errs: list[FieldError], new: Object, old: Object) -> None:
    cluster_role_binding(errs, new)
    _kept_role(errs, new, old)


_NAME = names.path_segment_name
_RATCHET = (
    ratcheting.SELECTOR_VALUES,
    ratcheting.unchanged(r"(?:rules\[\]\.verbs|roleRef\.name|subjects\[\]\.name): Required"),
)

KINDS: Kinds = {
    (GROUP, kind): Rules(name=_NAME, ratchet=_RATCHET, create=create, update=update)
    for kind, create, update in (
        ("ClusterRole", cluster_role, None),
        ("ClusterRoleBinding", cluster_role_binding, _cluster_role_binding_update),
        ("Role", role, None),
        ("RoleBinding", role_binding, _role_binding_update),
    )
}
