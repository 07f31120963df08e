"""The admissionregistration.k8s.io group. Expressions are compiled, and so checked, by the API server."""

from __future__ import annotations

from collections.abc import Mapping

from podwright.api.cel.declarations import DYN, DeclType
from podwright.api.cel.syntax import RESERVED
from podwright.api.cel.variables import AUTHORIZER, composed, variables
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import conditions, expressions, names, ratcheting
from podwright.api.validation.field_errors import (
    duplicate,
    forbidden,
    formed,
    invalid,
    items,
    named,
    one_of,
    required,
    too_many,
)
from podwright.api.validation.label_selectors import label_selector
from podwright.api.validation.rules import Kinds, Rules, spec_of
from podwright.api.validation.webhooks import client_config

GROUP = "admissionregistration.k8s.io"
_FAILURE = ("Fail", "Ignore")
_MATCH = ("Equivalent", "Exact")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_REINVOCATION = ("IfNeeded", "Never")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_ACTIONS = ("Audit", "Deny", "Warn")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_REVIEW_VERSIONS = frozenset({"v1", "v1beta1"})
_MAX_CONDITIONS = 64
_MAX_AUDIT = 20
_MAX_AUDIT_EXPRESSION = 5 * 1024
_CEL_WORDS = RESERVED | {"true", "false", "null", "in"}
_VARIABLES = variables()
_WEBHOOKS_RATCHET = (
    ratcheting.SELECTOR_VALUES, r"^webhooks\[\]\.name: Duplicate", r"^webhooks\[\]\.sideEffects",
    "must include at least one of v1, v1beta1", ratcheting.unchanged(r"webhooks\[\]\.matchConditions"),
)
_POLICY_RATCHET = (ratcheting.unchanged(r"spec\.matchConditions", r"spec\..*xpression: Invalid"),)


def _optional(errs: list[FieldError], holder: Object, path: str, field: str, allowed: tuple[str, ...]) -> None:
    if (value := holder.get(field)) is not None:
        one_of(errs, value, f"{path}.{field}", allowed)


def _unique(errs: list[FieldError], listed: list[Object], path: str, field: str = "name") -> None:
    seen: set[str] = set()
    for i, item in enumerate(listed):
        if (value := item.get(field) or "") in seen:
            errs.append(duplicate(f"{path}[{i}].{field}", value))
        if value:
            seen.add(value)


def _webhooks(errs: list[FieldError], obj: Object) -> None:
    hooks = obj.get("webhooks") or []
    items(errs, hooks, "webhooks", _webhook)
    _unique(errs, hooks, "webhooks")


def _webhook(errs: list[FieldError], hook: Object, path: str) -> None:
    named(errs, hook.get("name"), f"{path}.name", names.fully_qualified_name)
    items(errs, hook.get("rules") or [], f"{path}.rules", _rule)
    _optional(errs, hook, path, "failurePolicy", _FAILURE)
    _optional(errs, hook, path, "matchPolicy", _MATCH)
    if (effects := hook.get("sideEffects")) is None:
        errs.append(required(f"{path}.sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}"))
    else:
        one_of(errs, effects, f"{path}.sideEffects", _SIDE_EFFECTS)
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        errs.append(invalid(f"{path}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds"))
    label_selector(errs, hook.get("namespaceSelector"), f"{path}.namespaceSelector")
    label_selector(errs, hook.get("objectSelector"), f"{path}.objectSelector")
    _optional(errs, hook, path, "reinvocationPolicy", _REINVOCATION)
    client_config(errs, hook.get("clientConfig") or {}, f"{path}.clientConfig")
    _conditions(errs, hook.get("matchConditions") or [], f"{path}.matchConditions")
    _review_versions(errs, hook.get("admissionReviewVersions") or [], f"{path}.admissionReviewVersions")


def _review_versions(errs: list[FieldError], versions: list[str], field: str) -> None:
    if not versions:
        errs.append(required(field, "must specify one of v1, v1beta1"))
        return
    for i, version in enumerate(versions):
        if version in versions[:i]:
            errs.append(invalid(f"{field}[{i}]", version, "duplicate version"))
            continue
        formed(errs, version, f"{field}[{i}]", names.dns_1035_label)
    if not _REVIEW_VERSIONS & set(versions):
        errs.append(invalid(field, versions, "must include at least one of v1, v1beta1"))


def _rule(errs: list[FieldError], rule: Object, path: str) -> None:
    operations = rule.get("operations") or []
    if not operations:
        errs.append(required(f"{path}.operations"))
    if "*" in operations and len(operations) > 1:
        errs.append(invalid(f"{path}.operations", operations, "if '*' is present, must not specify other operations"))
    for i, operation in enumerate(operations):
        one_of(errs, operation, f"{path}.operations[{i}]", _OPERATIONS)
    for field, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(field) or []
        if not values:
            errs.append(required(f"{path}.{field}"))
        if "*" in values and len(values) > 1:
            errs.append(invalid(f"{path}.{field}", values, f"if '*' is present, must not specify other {what}"))
    errs += [required(f"{path}.apiVersions[{i}]") for i, v in enumerate(rule.get("apiVersions") or ()) if not v]
    _resources(errs, rule.get("resources") or [], f"{path}.resources")
    _optional(errs, rule, path, "scope", _SCOPES)


def _resources(errs: list[FieldError], resources: list[str], field: str) -> None:
    if not resources:
        errs.append(required(field))
    wild_subs: set[str] = set()
    wild_parents: set[str] = set()
    plain = False
    for i, resource in enumerate(resources):
        where = f"{field}[{i}]"
        if not resource:
            errs.append(required(where))
            continue
        parent, slash, sub = resource.partition("/")
        if not slash:
            plain = resource != "*"
            continue
        if parent in wild_parents:
            errs.append(invalid(where, resource, f"if '{parent}/*' is present, must not specify {resource}"))
        if sub in wild_subs:
            errs.append(invalid(where, resource, f"if '*/{sub}' is present, must not specify {resource}"))
        if sub == "*":
            wild_parents.add(parent)
        if parent == "*":
            wild_subs.add(sub)
    if "*/*" in resources and len(resources) > 1:
        errs.append(invalid(field, resources, "if '*/*' is present, must not specify other resources"))
    if "*" in resources and plain:
        said = "if '*' is present, must not specify other resources without subresources"
        errs.append(invalid(field, resources, said))


def _without_authorizer(known: Mapping[str, DeclType]) -> dict[str, DeclType]:
    return {name: kind for name, kind in known.items() if name not in AUTHORIZER}


def _conditions(
    errs: list[FieldError], listed: list[Object], path: str, known: Mapping[str, DeclType] = _VARIABLES
) -> None:
    if len(listed) > _MAX_CONDITIONS:
        errs.append(too_many(path, len(listed), _MAX_CONDITIONS))
    for i, condition in enumerate(listed):
        where, source = f"{path}[{i}]", (condition.get("expression") or "").strip()
        if not source:
            errs.append(required(f"{where}.expression"))
        expressions.compiles(errs, source, f"{where}.expression", known, "bool")
        named(errs, condition.get("name"), f"{where}.name", names.qualified_name)
    _unique(errs, listed, path)


def _match_resources(errs: list[FieldError], match: Object, path: str) -> None:
    for field in ("matchPolicy", "namespaceSelector", "objectSelector"):
        if match.get(field) is None:
            errs.append(required(f"{path}.{field}"))
    _optional(errs, match, path, "matchPolicy", _MATCH)
    label_selector(errs, match.get("namespaceSelector"), f"{path}.namespaceSelector")
    label_selector(errs, match.get("objectSelector"), f"{path}.objectSelector")
    for kind in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(match.get(kind) or ()):
            where = f"{path}.{kind}[{i}]"
            listed = rule.get("resourceNames") or []
            items(errs, listed, f"{where}.resourceNames", _resource_name, key=str)
            _rule(errs, rule, where)


def _resource_name(errs: list[FieldError], name: str, path: str) -> None:
    formed(errs, name, path, names.path_segment_name)


def _param_kind(errs: list[FieldError], kind: Object, path: str) -> None:
    version, name, field = kind.get("apiVersion") or "", kind.get("kind") or "", f"{path}.apiVersion"
    if not version:
        errs.append(required(field))
    elif version.count("/") > 1:
        errs.append(invalid(field, version, f"unexpected GroupVersion string: {version}"))
    else:
        group, _, number = version.rpartition("/")
        if group and (problems := names.dns_subdomain(group)):
            errs.append(invalid(field, group, ",".join(problems)))
        if not number:
            errs.append(invalid(field, version, "version must be specified"))
        elif problems := names.dns_1035_label(number):
            errs.append(invalid(field, number, ",".join(problems)))
    if not name:
        errs.append(required(f"{path}.kind"))
    elif problems := names.dns_1035_label(name.lower()):
        said = "may have mixed case, but should otherwise match: " + ",".join(problems)
        errs.append(invalid(f"{path}.kind", name, said))


def _policy(errs: list[FieldError], spec: Object) -> dict[str, DeclType]:
    """Gives what the policy's expressions see."""
    one_of(errs, spec.get("failurePolicy"), "spec.failurePolicy", _FAILURE, needed=spec.get("failurePolicy") is None)
    if (kind := spec.get("paramKind")) is not None:
        _param_kind(errs, kind, "spec.paramKind")
    if (match := spec.get("matchConstraints")) is None:
        errs.append(required("spec.matchConstraints"))
    else:
        _match_resources(errs, match, "spec.matchConstraints")
        if not match.get("resourceRules"):
            errs.append(required("spec.matchConstraints.resourceRules"))
    known = variables(params=DYN if spec.get("paramKind") else None)
    _conditions(errs, spec.get("matchConditions") or [], "spec.matchConditions", known)
    kinds: dict[str, DeclType] = {}
    for i, variable in enumerate(spec.get("variables") or ()):
        where, name = f"spec.variables[{i}]", variable.get("name") or ""
        if not name.strip():
            errs.append(required(f"{where}.name", "name is not specified"))
        elif name in _CEL_WORDS or names.c_identifier(name):
            errs.append(invalid(f"{where}.name", name, "name is not a valid CEL identifier"))
        if not (variable.get("expression") or "").strip():
            errs.append(required(f"{where}.expression", "expression is not specified"))
        known["variables"] = composed(kinds)
        kinds[name] = expressions.compiles(errs, variable.get("expression") or "", f"{where}.expression", known).type
    return known | {"variables": composed(kinds)}


def validating_policy(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    known = _policy(errs, spec)
    validations, audit = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not validations and not audit:
        said = "validations or auditAnnotations must contain at least one item"
        errs += [required(f"spec.{field}", said) for field in ("validations", "auditAnnotations")]
    for i, validation in enumerate(validations):
        where = f"spec.validations[{i}]"
        expression, message = (validation.get("expression") or "").strip(), validation.get("message") or ""
        if not expression:
            errs.append(required(f"{where}.expression", "expression is not specified"))
        if message and not message.strip():
            errs.append(invalid(f"{where}.message", message, "message must be non-empty if specified"))
        elif {"\n", "\r"} & set(message.strip()):
            errs.append(invalid(f"{where}.message", message, "message must not contain line breaks"))
        given = validation.get("messageExpression") or ""
        if given and not given.strip():
            errs.append(invalid(f"{where}.messageExpression", given, "must be non-empty if specified"))
        else:
            told = _without_authorizer(known)
            expressions.compiles(errs, given, f"{where}.messageExpression", told, "string")
        expressions.compiles(errs, expression, f"{where}.expression", known, "bool")
        _optional(errs, validation, where, "reason", _REASONS)
    if len(audit) > _MAX_AUDIT:
        errs.append(invalid("spec.auditAnnotations", audit, f"must not have more than {_MAX_AUDIT} auditAnnotations"))
    _audit(errs, audit, (obj.get("metadata") or {}).get("name") or "", known)


def _audit(errs: list[FieldError], annotations: list[Object], policy: str, known: Mapping[str, DeclType]) -> None:
    for i, annotation in enumerate(annotations):
        where, key = f"spec.auditAnnotations[{i}]", annotation.get("key") or ""
        if policy:
            formed(errs, f"{policy}/{key}", f"{where}.key", names.qualified_name)
        else:
            errs.append(invalid(f"{where}.key", key, "requires metadata.name be non-empty"))
        value, field = annotation.get("valueExpression") or "", f"{where}.valueExpression"
        if not value.strip():
            errs.append(required(field, "valueExpression is not specified"))
        elif len(value.strip().encode()) > _MAX_AUDIT_EXPRESSION:
            errs.append(required(field, f"must not exceed {_MAX_AUDIT_EXPRESSION} bytes in length"))
        else:
            expressions.compiles(errs, value, field, known, "string", "null")
    _unique(errs, annotations, "spec.auditAnnotations", "key")


def _policy_status(errs: list[FieldError], new: Object, old: Object) -> None:
    status, path = new.get("status") or {}, "status.typeChecking.expressionWarnings"
    for i, warning in enumerate((status.get("typeChecking") or {}).get("expressionWarnings") or ()):
        for field in ("warning", "fieldRef"):
            if not (warning.get(field) or "").strip():
                errs.append(required(f"{path}[{i}].{field}"))
    conditions.conditions(errs, status.get("conditions") or [], "status.conditions")


def mutating_policy(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    known = _policy(errs, spec) | {"Object": DYN, "JSONPatch": DYN}
    given = spec.get("reinvocationPolicy")
    one_of(errs, given, "spec.reinvocationPolicy", _REINVOCATION, needed=given is None)
    mutations = spec.get("mutations") or []
    if not mutations:
        errs.append(required("spec.mutations", "mutations must contain at least one item"))
    for i, mutation in enumerate(mutations):
        where, kind = f"spec.mutations[{i}]", mutation.get("patchType") or ""
        fields = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
        one_of(errs, kind, f"{where}.patchType", tuple(fields), needed=True)
        if kind not in fields:
            continue
        for other, field in fields.items():
            given = mutation.get(field)
            if other != kind and given is not None:
                errs.append(invalid(f"{where}.{field}", given, f"{field} is not allowed when patchType is {kind}"))
            elif other == kind and given is None:
                errs.append(required(f"{where}.{field}"))
            elif other == kind and not (given or {}).get("expression", "").strip():
                errs.append(required(f"{where}.{field}.expression", "expression is not specified"))
            elif other == kind:
                expressions.compiles(errs, given["expression"], f"{where}.{field}.expression", known)


def _binding(errs: list[FieldError], spec: Object) -> None:
    named(errs, spec.get("policyName"), "spec.policyName", names.dns_subdomain)
    if (ref := spec.get("paramRef")) is not None:
        _param_ref(errs, ref)
    if (match := spec.get("matchResources")) is not None:
        _match_resources(errs, match, "spec.matchResources")


def _param_ref(errs: list[FieldError], ref: Object) -> None:
    field = "spec.paramRef"
    name, selector = ref.get("name") or "", ref.get("selector")
    if name:
        formed(errs, name, f"{field}.name", names.path_segment_name)
        if selector is not None:
            errs.append(forbidden(f"{field}.name", "name and selector are mutually exclusive"))
    if selector is not None:
        label_selector(errs, selector, f"{field}.selector")
        if name:
            errs.append(forbidden(f"{field}.selector", "name and selector are mutually exclusive"))
    elif not name:
        errs.append(required(field, "one of name or selector must be specified"))
    one_of(errs, ref.get("parameterNotFoundAction"), f"{field}.parameterNotFoundAction", ("Deny", "Allow"), needed=True)


def validating_binding(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    _binding(errs, spec)
    actions = spec.get("validationActions") or []
    field = "spec.validationActions"
    for i, action in enumerate(actions):
        one_of(errs, action, f"{field}[{i}]", _ACTIONS)
    items(errs, actions, field, None, key=str)
    if {"Deny", "Warn"} <= set(actions):
        said = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        errs.append(invalid(field, actions, said))
    if not actions:
        errs.append(required(field, "at least one validation action is required"))


def mutating_binding(errs: list[FieldError], obj: Object) -> None:
    _binding(errs, spec_of(obj))


_HOOKS = Rules(create=_webhooks, generation=True, ratchet=_WEBHOOKS_RATCHET)
KINDS: Kinds = {
    (GROUP, "MutatingAdmissionPolicy"): Rules(create=mutating_policy, generation=True, ratchet=_POLICY_RATCHET),
    (GROUP, "MutatingAdmissionPolicyBinding"): Rules(create=mutating_binding, generation=True),
    (GROUP, "MutatingWebhookConfiguration"): _HOOKS,
    (GROUP, "ValidatingAdmissionPolicy"): Rules(
        create=validating_policy,
        ratchet=_POLICY_RATCHET,
        subresources={"status": _policy_status},
        generation=True,
        status_keeps_metadata=True,
    ),
    (GROUP, "ValidatingAdmissionPolicyBinding"): Rules(
        create=validating_binding,
        generation=True,
        ratchet=(ratcheting.unchanged(r"spec\.(?:policyName|validationActions): Required"),),
    ),
    (GROUP, "ValidatingWebhookConfiguration"): _HOOKS,
}
