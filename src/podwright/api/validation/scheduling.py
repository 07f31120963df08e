"""Rules for what steers a Pod's placement: affinity, topology spread, tolerations, gates."""

from __future__ import annotations

from podwright.api import taints
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import metadata, names
from podwright.api.validation.field_errors import duplicate, forbidden, formed, invalid, not_supported, one_of, required
from podwright.api.validation.label_selectors import label_selector

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")
_INCLUSION = ("Honor", "Ignore")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_SELECTOR_AND_KEYS = "exists in both matchLabelKeys and labelSelector"
_NO_SELECTOR = "must not be specified when labelSelector is not set"


def affinity(errs: list[FieldError], value: Object, path: str) -> None:
    if (node := value.get("nodeAffinity")) is not None:
        where = f"{path}.nodeAffinity"
        if (selector := node.get(_REQUIRED)) is not None:
            node_selector(errs, selector, f"{where}.{_REQUIRED}")
        for i, term in enumerate(node.get(_PREFERRED) or ()):
            field = f"{where}.{_PREFERRED}[{i}]"
            _weight(errs, term, field)
            _node_term(errs, term.get("preference") or {}, f"{field}.preference", check_values=False)
    for kind in ("podAffinity", "podAntiAffinity"):
        if (pods := value.get(kind)) is None:
            continue
        where = f"{path}.{kind}"
        for i, term in enumerate(pods.get(_REQUIRED) or ()):
            _pod_term(errs, term, f"{where}.{_REQUIRED}[{i}]")
        for i, term in enumerate(pods.get(_PREFERRED) or ()):
            field = f"{where}.{_PREFERRED}[{i}]"
            _weight(errs, term, field)
            _pod_term(errs, term.get("podAffinityTerm") or {}, f"{field}.podAffinityTerm")


def _weight(errs: list[FieldError], term: Object, path: str) -> None:
    weight = term.get("weight") or 0
    if not 0 < weight <= 100:
        errs.append(invalid(f"{path}.weight", weight, "must be in the range 1-100"))


def node_selector(errs: list[FieldError], selector: Object, path: str) -> None:
    terms = selector.get("nodeSelectorTerms")
    if not terms:
        errs.append(required(f"{path}.nodeSelectorTerms", "must have at least one node selector term"))
        return
    for i, term in enumerate(terms):
        _node_term(errs, term, f"{path}.nodeSelectorTerms[{i}]", check_values=True)


def _node_term(errs: list[FieldError], term: Object, path: str, *, check_values: bool) -> None:
    for i, requirement in enumerate(term.get("matchExpressions") or ()):
        _node_expression(errs, requirement, f"{path}.matchExpressions[{i}]", check_values)
    for i, requirement in enumerate(term.get("matchFields") or ()):
        _node_field(errs, requirement, f"{path}.matchFields[{i}]")


def _node_expression(errs: list[FieldError], requirement: Object, path: str, check_values: bool) -> None:
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    field = f"{path}.values"
    if operator in ("In", "NotIn"):
        if not values:
            errs.append(required(field, "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errs.append(forbidden(field, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            errs.append(required(field, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
    else:
        errs.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    metadata.label_name(errs, requirement.get("key") or "", f"{path}.key")
    if check_values:
        for i, value in enumerate(values):
            formed(errs, value, f"{field}[{i}]", names.label_value)


def _node_field(errs: list[FieldError], requirement: Object, path: str) -> None:
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            said = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            errs.append(required(f"{path}.values", said))
    else:
        errs.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    key = requirement.get("key") or ""
    if key != "metadata.name":
        errs.append(invalid(f"{path}.key", key, "not a valid field selector key"))
        return
    for i, value in enumerate(values):
        formed(errs, value, f"{path}.values[{i}]", names.dns_subdomain)


def _pod_term(errs: list[FieldError], term: Object, path: str) -> None:
    label_selector(errs, term.get("labelSelector"), f"{path}.labelSelector")
    label_selector(errs, term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for name in term.get("namespaces") or ():
        formed(errs, name, f"{path}.namespace", names.dns_label)
    if term.get("matchLabelKeys") or term.get("mismatchLabelKeys"):
        _label_keys(errs, term, path)
    key = term.get("topologyKey") or ""
    if not key:
        errs.append(required(f"{path}.topologyKey", "can not be empty"))
    metadata.label_name(errs, key, f"{path}.topologyKey")


def _label_keys(errs: list[FieldError], holder: Object, path: str) -> None:
    """matchLabelKeys and mismatchLabelKeys: labels of the new Pod itself that join the selector. The server writes
    what it joined into the selector, so a key may stand there once, but not be contradicted."""
    selector = holder.get("labelSelector")
    match = holder.get("matchLabelKeys") or ()
    mismatch = holder.get("mismatchLabelKeys") or ()
    for field, keys in (("matchLabelKeys", match), ("mismatchLabelKeys", mismatch)):
        if not keys:
            continue
        if selector is None:
            errs.append(forbidden(f"{path}.{field}", _NO_SELECTOR))
            continue
        for i, key in enumerate(keys):
            metadata.label_name(errs, key, f"{path}.{field}[{i}]")
    if selector is not None:
        seen = set(selector.get("matchLabels") or ())
        for expression in selector.get("matchExpressions") or ():
            key = expression.get("key")
            if key in match and key in seen:
                errs.append(invalid(f"{path}[{list(match).index(key)}]", key, _SELECTOR_AND_KEYS))
            seen.add(key)
    for i, key in enumerate(match):
        if key in mismatch:
            said = "exists in both matchLabelKeys and mismatchLabelKeys"
            errs.append(invalid(f"{path}.matchLabelKeys[{i}]", key, said))


def topology_spread(errs: list[FieldError], constraints: list[Object], path: str) -> None:
    for i, constraint in enumerate(constraints):
        where = f"{path}[{i}]"
        skew = constraint.get("maxSkew") or 0
        if skew <= 0:
            errs.append(invalid(f"{where}.maxSkew", skew, "must be greater than zero"))
        key = constraint.get("topologyKey") or ""
        if not key:
            errs.append(required(f"{where}.topologyKey", "can not be empty"))
        action = constraint.get("whenUnsatisfiable") or ""
        one_of(errs, action, f"{where}.whenUnsatisfiable", _UNSATISFIABLE)
        if any(
            (c.get("topologyKey") or "") == key and (c.get("whenUnsatisfiable") or "") == action
            for c in constraints[i + 1 :]
        ):
            errs.append(duplicate(f"{where}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        if (domains := constraint.get("minDomains")) is not None:
            if domains <= 0:
                errs.append(invalid(f"{where}.minDomains", domains, "must be greater than zero"))
            if action != "DoNotSchedule":
                said = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                errs.append(invalid(f"{where}.minDomains", domains, said))
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if (policy := constraint.get(field)) is not None:
                one_of(errs, policy, f"{where}.{field}", _INCLUSION)
        if constraint.get("matchLabelKeys"):
            _label_keys(errs, constraint, where)
        label_selector(errs, constraint.get("labelSelector"), f"{where}.labelSelector")


def tolerations(errs: list[FieldError], values: list[Object], path: str) -> None:
    for i, toleration in enumerate(values):
        where = f"{path}[{i}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        value, effect = toleration.get("value") or "", toleration.get("effect") or ""
        if key:
            metadata.label_name(errs, key, f"{where}.key")
        elif operator != "Exists":
            said = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errs.append(invalid(f"{where}.operator", operator, said))
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            said = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            errs.append(invalid(f"{where}.effect", effect, said))
        if operator in ("", "Equal"):
            if problems := names.label_value(value):
                errs.append(invalid(f"{where}.operator", value, ";".join(problems)))
        elif operator == "Exists":
            if value:
                errs.append(invalid(f"{where}.operator", value, "value must be empty when `operator` is 'Exists'"))
        elif operator in ("Gt", "Lt"):
            if taints.integer(value) is None:
                errs.append(invalid(f"{where}.value", value, "must be a valid decimal integer in canonical form"))
        else:
            errs.append(not_supported(f"{where}.operator", operator, ("Equal", "Exists")))
        if effect and effect not in EFFECTS:
            errs.append(not_supported(f"{where}.effect", effect, EFFECTS))


def scheduling_gates(errs: list[FieldError], gates: list[Object], path: str) -> None:
    seen: set[str] = set()
    for i, gate in enumerate(gates):
        name = gate.get("name") or ""
        formed(errs, name, f"{path}[{i}]", names.qualified_name)
        if name in seen:
            errs.append(duplicate(f"{path}[{i}]", name))
        seen.add(name)
