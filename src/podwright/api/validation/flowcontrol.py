"""FlowSchemas and PriorityLevelConfigurations."""

from __future__ import annotations

import math

from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names, ratcheting
from podwright.api.validation.field_errors import duplicate, forbidden, formed, invalid, not_supported, required
from podwright.api.validation.rules import Kinds, Rules, spec_of

GROUP = "flowcontrol.apiserver.k8s.io"
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_METHODS = ("ByNamespace", "ByUser")
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_MAX_PRECEDENCE = 10000
_MAX_QUEUES = 10_000_000
_MAX_HASH_BITS = 60
_NAMESPACES = "each member of this list must be '*' or a DNS-1123 label; "


def flow_schema(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    precedence = spec.get("matchingPrecedence") or 0
    if precedence <= 0:
        errs.append(invalid("spec.matchingPrecedence", precedence, "must be a positive value"))
    if precedence > _MAX_PRECEDENCE:
        errs.append(invalid("spec.matchingPrecedence", precedence, f"must not be greater than {_MAX_PRECEDENCE}"))
    name = (obj.get("metadata") or {}).get("name")
    if precedence == 1 and name != "exempt":
        said = "only the schema named 'exempt' may have matchingPrecedence 1"
        errs.append(invalid("spec.matchingPrecedence", precedence, said))
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _METHODS:
        errs.append(not_supported("spec.distinguisherMethod.type", method.get("type") or "", _METHODS))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
    field = "spec.priorityLevelConfiguration.name"
    if level:
        formed(errs, level, field, names.dns_subdomain)
    else:
        errs.append(required(field, "must reference a priority level"))
    for i, rule in enumerate(spec.get("rules") or ()):
        _rule(errs, rule, f"spec.rules[{i}]")
    _conditions(errs, obj)


def _conditions(errs: list[FieldError], obj: Object) -> None:
    seen: set[str] = set()
    for i, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        kind, where = condition.get("type") or "", f"status.conditions[{i}].type"
        if kind in seen:
            errs.append(duplicate(where, kind))
        seen.add(kind)
        if not kind:
            errs.append(required(where, "must not be empty"))


def _status(errs: list[FieldError], new: Object, old: Object) -> None:
    _conditions(errs, new)


def _rule(errs: list[FieldError], rule: Object, path: str) -> None:
    subjects = rule.get("subjects") or []
    if not subjects:
        errs.append(required(f"{path}.subjects", "subjects must contain at least one value"))
    for i, subject in enumerate(subjects):
        _subject(errs, subject, f"{path}.subjects[{i}]")
    resources, urls = rule.get("resourceRules") or [], rule.get("nonResourceRules") or []
    if not resources and not urls:
        errs.append(required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for i, entry in enumerate(resources):
        _resource_rule(errs, entry, f"{path}.resourceRules[{i}]")
    for i, entry in enumerate(urls):
        _url_rule(errs, entry, f"{path}.nonResourceRules[{i}]")


def _subject(errs: list[FieldError], subject: Object, path: str) -> None:
    kind = subject.get("kind") or ""
    field = _SUBJECTS.get(kind)
    if field is None:
        errs.append(not_supported(f"{path}.kind", kind, tuple(_SUBJECTS)))
        return
    for other_kind, other in _SUBJECTS.items():
        if other != field and subject.get(other) is not None:
            errs.append(forbidden(f"{path}.{other}", f"{other} is forbidden when subject kind is not '{other_kind}'"))
    entry = subject.get(field)
    if entry is None:
        errs.append(required(f"{path}.{field}", f"{field} is required when subject kind is '{kind}'"))
        return
    name = entry.get("name") or ""
    if not name:
        errs.append(required(f"{path}.{field}.name"))
    elif kind == "ServiceAccount" and name != "*":
        formed(errs, name, f"{path}.{field}.name", names.dns_subdomain)
    if kind == "ServiceAccount":
        namespace = entry.get("namespace") or ""
        if not namespace:
            errs.append(required(f"{path}.{field}.namespace", "must specify namespace for service account"))
        else:
            formed(errs, namespace, f"{path}.{field}.namespace", names.dns_label)


def _wild(errs: list[FieldError], values: list[str], field: str, said: str) -> None:
    if "*" in values and len(values) > 1:
        errs.append(invalid(field, values, f"if '*' is present, must not specify other {said}"))


def _verbs(errs: list[FieldError], rule: Object, path: str) -> None:
    verbs = rule.get("verbs") or []
    if not verbs:
        errs.append(required(f"{path}.verbs", "verbs must contain at least one value"))
    elif "*" in verbs:
        _wild(errs, verbs, f"{path}.verbs", "verbs")
    elif not set(verbs) <= set(_VERBS):
        errs.append(not_supported(f"{path}.verbs", verbs, _VERBS))


def _resource_rule(errs: list[FieldError], rule: Object, path: str) -> None:
    _verbs(errs, rule, path)
    groups, resources = rule.get("apiGroups") or [], rule.get("resources") or []
    if not groups:
        errs.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
    _wild(errs, groups, f"{path}.apiGroups", "api groups")
    if not resources:
        errs.append(required(f"{path}.resources", "resource rules must supply at least one resource"))
    _wild(errs, resources, f"{path}.resources", "resources")
    namespaces = rule.get("namespaces") or []
    if not namespaces and not rule.get("clusterScope"):
        said = "resource rules that are not cluster scoped must supply at least one namespace"
        errs.append(required(f"{path}.namespaces", said))
    elif "*" in namespaces:
        _wild(errs, namespaces, f"{path}.namespaces", "namespaces")
    else:
        for i, namespace in enumerate(namespaces):
            for said in names.dns_label(namespace):
                errs.append(invalid(f"{path}.namespaces[{i}]", namespace, _NAMESPACES + said))


def _url_rule(errs: list[FieldError], rule: Object, path: str) -> None:
    _verbs(errs, rule, path)
    urls = rule.get("nonResourceURLs") or []
    field = f"{path}.nonResourceURLs"
    if not urls:
        errs.append(required(field, "nonResourceURLs must contain at least one value"))
    elif "*" in urls:
        _wild(errs, urls, field, "non-resource URLs")
    else:
        for i, url in enumerate(urls):
            where = f"{field}[{i}]"
            if not url:
                errs.append(invalid(where, url, "must not be empty"))
            elif not url.startswith("/"):
                errs.append(invalid(where, url, "must start with slash"))
            elif url != "/" and " " in url:
                errs.append(invalid(where, url, "must not contain white-space"))
            elif "//" in url:
                errs.append(invalid(where, url, "must not contain double slash"))
            elif "*" in url and (url.count("*") > 1 or not url.endswith("/*")):
                errs.append(invalid(where, url, "wildcard can only do suffix matching"))


def priority_level(errs: list[FieldError], obj: Object) -> None:
    spec, name = spec_of(obj), (obj.get("metadata") or {}).get("name")
    kind, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
    if (name == "exempt") != (kind == "Exempt"):
        errs.append(invalid("spec.type", kind, "type must be 'Exempt' if and only if name is 'exempt'"))
    if kind == "Exempt":
        if limited is not None:
            errs.append(forbidden("spec.limited", "must be nil if the type is not Limited"))
        if exempt is not None:
            _shares(errs, exempt, "spec.exempt", 0)
    elif kind == "Limited":
        if exempt is not None:
            errs.append(forbidden("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            errs.append(required("spec.limited", "must not be empty when type is Limited"))
        else:
            _shares(errs, limited, "spec.limited", 0)
            _response(errs, limited.get("limitResponse") or {}, "spec.limited.limitResponse")
    else:
        errs.append(not_supported("spec.type", kind, ("Exempt", "Limited")))


def _shares(errs: list[FieldError], level: Object, path: str, least: int) -> None:
    shares = level.get("nominalConcurrencyShares", 0)
    if shares < least:
        errs.append(invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer"))
    lendable = level.get("lendablePercent")
    if lendable is not None and not 0 <= lendable <= 100:
        errs.append(invalid(f"{path}.lendablePercent", lendable, "must be between 0 and 100, inclusive"))
    borrowing = level.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        errs.append(invalid(f"{path}.borrowingLimitPercent", borrowing, "if specified, must be a non-negative integer"))


def _response(errs: list[FieldError], response: Object, path: str) -> None:
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            errs.append(forbidden(f"{path}.queuing", "must be nil if limited.limitResponse.type is not Limited"))
    elif kind == "Queue":
        if queuing is None:
            errs.append(required(f"{path}.queuing", "must not be empty if limited.limitResponse.type is Limited"))
            return
        queues, hand = queuing.get("queues") or 0, queuing.get("handSize") or 0
        length = queuing.get("queueLengthLimit") or 0
        if length <= 0:
            errs.append(invalid(f"{path}.queuing.queueLengthLimit", length, "must be positive"))
        if queues <= 0:
            errs.append(invalid(f"{path}.queuing.queues", queues, "must be positive"))
        elif queues > _MAX_QUEUES:
            errs.append(invalid(f"{path}.queuing.queues", queues, f"must not be greater than {_MAX_QUEUES}"))
        if hand <= 0:
            errs.append(invalid(f"{path}.queuing.handSize", hand, "must be positive"))
        elif hand > queues:
            errs.append(invalid(f"{path}.queuing.handSize", hand, f"should not be greater than queues ({queues})"))
        elif queues > 0 and math.ceil(math.log2(queues) * hand) > _MAX_HASH_BITS:
            said = (
                f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than "
                f"{_MAX_HASH_BITS}"
            )
            errs.append(invalid(f"{path}.queuing.handSize", hand, said))
    else:
        errs.append(not_supported(f"{path}.type", kind, ("Queue", "Reject")))


KINDS: Kinds = {
    (GROUP, "FlowSchema"): Rules(
        create=flow_schema, subresources={"status": _status}, generation=True, status_keeps_metadata=True
    ),
    (GROUP, "PriorityLevelConfiguration"): Rules(
        create=priority_level,
        subresources={"status": _status},
        generation=True,
        status_keeps_metadata=True,
        ratchet=(ratcheting.unchanged(r"spec\.(?:limited\.limitResponse\.)?(?:type|limited|exempt|queuing): "),),
    ),
}
