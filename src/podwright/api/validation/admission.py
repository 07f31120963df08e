"""The admissionregistration.k8s.io group. Expressions are compiled, and so checked, by the API server."""

from __future__ import annotations

from collections.abc import Mapping

from podwright.api.cel.declarations import DYN, DeclType
from podwright.api.cel.variables import AUTHORIZER, composed, variables
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import expressions, names
from podwright.api.validation.field_errors import duplicate, forbidden, invalid, not_supported, required, too_many
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
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_REVIEW_VERSIONS = frozenset({"v1", "v1beta1"})
_MAX_CONDITIONS = 64
_MAX_AUDIT = 20
_VARIABLES = variables()


def _one_of(errs: list[FieldError], value: str | None, allowed: tuple[str, ...], field: str) -> None:
    if value is not None and value not in allowed:
        errs.append(not_supported(field, value, allowed))


def _webhooks(errs: list[FieldError], obj: Object) -> None:
    seen: set[str] = set()
    for i, hook in enumerate(obj.get("webhooks") or ()):
        where = f"webhooks[{i}]"
        _webhook(errs, hook, where)
        name = hook.get("name") or ""
        if name in seen:
            errs.append(duplicate(f"{where}.name", name))
        seen.add(name)


def _webhook(errs: list[FieldError], hook: Object, path: str) -> None:
    name = hook.get("name") or ""
    if not name:
        errs.append(required(f"{path}.name"))
    else:
        errs += [invalid(f"{path}.name", name, said) for said in names.fully_qualified_name(name)]
    _review_versions(errs, hook.get("admissionReviewVersions") or [], f"{path}.admissionReviewVersions")
    for i, rule in enumerate(hook.get("rules") or ()):
        _rule(errs, rule, f"{path}.rules[{i}]")
    _one_of(errs, hook.get("failurePolicy"), _FAILURE, f"{path}.failurePolicy")
    _one_of(errs, hook.get("matchPolicy"), _MATCH, f"{path}.matchPolicy")
    effects = hook.get("sideEffects")
    if effects is None:
        errs.append(required(f"{path}.sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}"))
    else:
        _one_of(errs, effects, _SIDE_EFFECTS, f"{path}.sideEffects")
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        said = "the timeout value must be between 1 and 30 seconds"
        errs.append(invalid(f"{path}.timeoutSeconds", seconds, said))
    label_selector(errs, hook.get("namespaceSelector"), f"{path}.namespaceSelector")
    label_selector(errs, hook.get("objectSelector"), f"{path}.objectSelector")
    _one_of(errs, hook.get("reinvocationPolicy"), _REINVOCATION, f"{path}.reinvocationPolicy")
    client_config(errs, hook.get("clientConfig") or {}, f"{path}.clientConfig")
    _conditions(errs, hook.get("matchConditions") or [], f"{path}.matchConditions")


def _review_versions(errs: list[FieldError], versions: list[str], field: str) -> None:
    if not versions:
        errs.append(required(field, "must specify one of v1, v1beta1"))
        return
    for i, version in enumerate(versions):
        if version in versions[:i]:
            errs.append(invalid(f"{field}[{i}]", version, "duplicate version"))
            continue
        errs += [invalid(f"{field}[{i}]", version, said) for said in names.dns_1035_label(version)]
    if not _REVIEW_VERSIONS & set(versions):
        errs.append(invalid(field, versions, "must include at least one of v1, v1beta1"))


def _rule(errs: list[FieldError], rule: Object, path: str) -> None:
    operations = rule.get("operations") or []
    if not operations:
        errs.append(required(f"{path}.operations"))
    if "*" in operations and len(operations) > 1:
        errs.append(invalid(f"{path}.operations", operations, "if '*' is present, must not specify other operations"))
    for i, operation in enumerate(operations):
        _one_of(errs, operation, _OPERATIONS, f"{path}.operations[{i}]")
    for field, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(field) or []
        if not values:
            errs.append(required(f"{path}.{field}"))
        if "*" in values and len(values) > 1:
            errs.append(invalid(f"{path}.{field}", values, f"if '*' is present, must not specify other {what}"))
    errs += [required(f"{path}.apiVersions[{i}]") for i, v in enumerate(rule.get("apiVersions") or ()) if not v]
    _resources(errs, rule.get("resources") or [], f"{path}.resources")
    _one_of(errs, rule.get("scope"), _SCOPES, f"{path}.scope")


def _resources(errs: list[FieldError], resources: list[str], field: str) -> None:
    if not resources:
        errs.append(required(field))
    wild_subs = {r[2:] for r in resources if r.startswith("*/")}
    wild_parents = {r[:-2] for r in resources if r.endswith("/*")}
    for i, resource in enumerate(resources):
        where = f"{field}[{i}]"
        if not resource:
            errs.append(required(where))
            continue
        if resource == "*/*" and len(resources) > 1:
            said = "if '*/*' is present, must not specify other resources"
            errs.append(invalid(field, resources, said))
        if resource == "*" and any("/" not in r for r in resources if r != "*"):
            said = "if '*' is present, must not specify other resources without subresources"
            errs.append(invalid(field, resources, said))
        parent, slash, sub = resource.partition("/")
        if slash and sub != "*" and parent in wild_parents:
            errs.append(invalid(where, resource, f"if '{parent}/*' is present, must not specify {resource}"))
        if slash and parent != "*" and sub in wild_subs:
            errs.append(invalid(where, resource, f"if '*/{sub}' is present, must not specify {resource}"))


def _without_authorizer(known: Mapping[str, DeclType]) -> dict[str, DeclType]:
    return {name: kind for name, kind in known.items() if name not in AUTHORIZER}


def _conditions(
    errs: list[FieldError], conditions: list[Object], path: str, known: Mapping[str, DeclType] = _VARIABLES
) -> None:
    if len(conditions) > _MAX_CONDITIONS:
        errs.append(too_many(path, len(conditions), _MAX_CONDITIONS))
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        name = condition.get("name") or ""
        if not (condition.get("expression") or "").strip():
            errs.append(required(f"{path}[{i}].expression"))
        expressions.compiles(errs, condition.get("expression") or "", f"{path}[{i}].expression", known, "bool")
        if not name:
            errs.append(required(f"{path}[{i}].name"))
        else:
            errs += [invalid(f"{path}[{i}].name", name, said) for said in names.qualified_name(name)]
        if name in seen:
            errs.append(duplicate(f"{path}[{i}].name", name))
        seen.add(name)


def _match_resources(errs: list[FieldError], match: Object, path: str) -> None:
    _one_of(errs, match.get("matchPolicy"), _MATCH, f"{path}.matchPolicy")
    label_selector(errs, match.get("namespaceSelector"), f"{path}.namespaceSelector")
    label_selector(errs, match.get("objectSelector"), f"{path}.objectSelector")
    for kind in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(match.get(kind) or ()):
            where = f"{path}.{kind}[{i}]"
            _rule(errs, rule, where)
            listed = rule.get("resourceNames") or []
            for j, name in enumerate(listed):
                for said in names.path_segment_name(name):
                    errs.append(invalid(f"{where}.resourceNames[{j}]", name, said))
                if name in listed[:j]:
                    errs.append(duplicate(f"{where}.resourceNames[{j}]", name))


def _policy(errs: list[FieldError], spec: Object) -> dict[str, DeclType]:
    """Gives what the policy's expressions see."""
    _one_of(errs, spec.get("failurePolicy"), _FAILURE, "spec.failurePolicy")
    kind = spec.get("paramKind")
    if kind is not None:
        version = kind.get("apiVersion") or ""
        if not version:
            errs.append(required("spec.paramKind.apiVersion"))
        elif version.count("/") > 1:
            said = f"unexpected GroupVersion string: {version}"
            errs.append(invalid("spec.paramKind.apiVersion", version, said))
        else:
            group, _, number = version.rpartition("/")
            if group:
                errs += [invalid("spec.paramKind.apiVersion", group, said) for said in names.dns_subdomain(group)]
            errs += [invalid("spec.paramKind.apiVersion", number, said) for said in names.dns_1035_label(number)]
        name = kind.get("kind") or ""
        if not name:
            errs.append(required("spec.paramKind.kind"))
        elif problems := names.dns_1035_label(name.lower()):
            said = "may have mixed case, but should otherwise match: " + ",".join(problems)
            errs.append(invalid("spec.paramKind.kind", name, said))
    match = spec.get("matchConstraints")
    if match is None:
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
        else:
            for problem in names.c_identifier(name):
                errs.append(invalid(f"{where}.name", name, f"name is not a valid CEL identifier: {problem}"))
        if not (variable.get("expression") or "").strip():
            errs.append(required(f"{where}.expression", "expression is not specified"))
        known["variables"] = composed(kinds)
        found = expressions.compiles(errs, variable.get("expression") or "", f"{where}.expression", known)
        if name in kinds:
            errs.append(duplicate(f"{where}.name", name))
        kinds[name] = found
    return known | {"variables": composed(kinds)}


def validating_policy(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    known = _policy(errs, spec)
    validations, audit = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not validations and not audit:
        errs.append(required("spec.validations", "validations or auditAnnotations must contain at least one item"))
    for i, validation in enumerate(validations):
        where = f"spec.validations[{i}]"
        expression, message = (validation.get("expression") or "").strip(), validation.get("message") or ""
        if not expression:
            errs.append(required(f"{where}.expression", "expression is not specified"))
        if message and not message.strip():
            errs.append(invalid(f"{where}.message", message, "message must be non-empty if specified"))
        elif "\n" in message.strip():
            errs.append(invalid(f"{where}.message", message, "message must not contain line breaks"))
        elif "\n" in expression and not message:
            errs.append(required(f"{where}.message", "message must be specified if expression contains line breaks"))
        given = validation.get("messageExpression") or ""
        if given and not given.strip():
            errs.append(invalid(f"{where}.messageExpression", given, "must be non-empty if specified"))
        else:
            told = _without_authorizer(known)
            expressions.compiles(errs, given, f"{where}.messageExpression", told, "string")
        expressions.compiles(errs, expression, f"{where}.expression", known, "bool")
        _one_of(errs, validation.get("reason"), _REASONS, f"{where}.reason")
    if len(audit) > _MAX_AUDIT:
        said = f"must not have more than {_MAX_AUDIT} auditAnnotations"
        errs.append(invalid("spec.auditAnnotations", audit, said))
    _audit(errs, audit, (obj.get("metadata") or {}).get("name") or "", known)


def _audit(errs: list[FieldError], annotations: list[Object], policy: str, known: Mapping[str, DeclType]) -> None:
    seen: set[str] = set()
    for i, annotation in enumerate(annotations):
        where, key = f"spec.auditAnnotations[{i}]", annotation.get("key") or ""
        if key in seen:
            errs.append(duplicate(f"{where}.key", key))
        seen.add(key)
        if problems := names.qualified_name(f"{policy}/{key}"):
            said = f"annotation key must be of the form 'policyName/key': {','.join(problems)}"
            errs.append(invalid(f"{where}.key", key, said))
        if not (annotation.get("valueExpression") or "").strip():
            errs.append(required(f"{where}.valueExpression", "valueExpression is not specified"))
        value = annotation.get("valueExpression") or ""
        expressions.compiles(errs, value, f"{where}.valueExpression", known, "string", "null")


def mutating_policy(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    known = _policy(errs, spec) | {"Object": DYN, "JSONPatch": DYN}
    reinvocation = spec.get("reinvocationPolicy")
    if reinvocation is None:
        errs.append(required("spec.reinvocationPolicy"))
    else:
        _one_of(errs, reinvocation, _REINVOCATION, "spec.reinvocationPolicy")
    mutations = spec.get("mutations") or []
    if not mutations:
        errs.append(required("spec.mutations", "mutations must contain at least one item"))
    for i, mutation in enumerate(mutations):
        where, kind = f"spec.mutations[{i}]", mutation.get("patchType") or ""
        fields = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
        if kind not in fields:
            allowed = tuple(fields)
            errs.append(not_supported(f"{where}.patchType", kind, allowed) if kind else required(f"{where}.patchType"))
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
    name = spec.get("policyName") or ""
    if not name:
        errs.append(required("spec.policyName"))
    else:
        errs += [invalid("spec.policyName", name, said) for said in names.dns_subdomain(name)]
    ref = spec.get("paramRef")
    if ref is not None:
        _param_ref(errs, ref)
    if (match := spec.get("matchResources")) is not None:
        _match_resources(errs, match, "spec.matchResources")


def _param_ref(errs: list[FieldError], ref: Object) -> None:
    field = "spec.paramRef"
    name, selector = ref.get("name") or "", ref.get("selector")
    if name:
        errs += [invalid(f"{field}.name", name, said) for said in names.path_segment_name(name)]
        if selector is not None:
            errs.append(forbidden(f"{field}.name", "name and selector are mutually exclusive"))
    if selector is not None:
        label_selector(errs, selector, f"{field}.selector")
        if name:
            errs.append(forbidden(f"{field}.selector", "name and selector are mutually exclusive"))
    elif not name:
        errs.append(required(field, "one of name or selector must be specified"))
    action = ref.get("parameterNotFoundAction")
    if action is None:
        errs.append(required(f"{field}.parameterNotFoundAction"))
    elif action not in ("Allow", "Deny"):
        errs.append(not_supported(f"{field}.parameterNotFoundAction", action, ("Deny", "Allow")))


def validating_binding(errs: list[FieldError], obj: Object) -> None:
    spec = spec_of(obj)
    _binding(errs, spec)
    actions = spec.get("validationActions") or []
    field = "spec.validationActions"
    if not actions:
        errs.append(required(field, "at least one validation action is required"))
    for i, action in enumerate(actions):
        _one_of(errs, action, _ACTIONS, f"{field}[{i}]")
        if action in actions[:i]:
            errs.append(duplicate(f"{field}[{i}]", action))
    if {"Deny", "Warn"} <= set(actions):
        said = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        errs.append(invalid(field, actions, said))


def mutating_binding(errs: list[FieldError], obj: Object) -> None:
    _binding(errs, spec_of(obj))


KINDS: Kinds = {
    (GROUP, "MutatingAdmissionPolicy"): Rules(create=mutating_policy, generation=True),
    (GROUP, "MutatingAdmissionPolicyBinding"): Rules(create=mutating_binding, generation=True),
    (GROUP, "MutatingWebhookConfiguration"): Rules(create=_webhooks, generation=True),
    (GROUP, "ValidatingAdmissionPolicy"): Rules(
        create=validating_policy, generation=True, status_keeps_metadata=True
    ),
    (GROUP, "ValidatingAdmissionPolicyBinding"): Rules(create=validating_binding, generation=True),
    (GROUP, "ValidatingWebhookConfiguration"): Rules(create=_webhooks, generation=True),
}
