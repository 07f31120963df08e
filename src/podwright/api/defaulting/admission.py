"""Defaults of the admissionregistration.k8s.io group."""

from __future__ import annotations

from podwright.api.objects import Object

GROUP = "admissionregistration.k8s.io"


def _webhooks(obj: Object, *, mutating: bool) -> None:
    for hook in obj.get("webhooks") or ():
        hook.setdefault("failurePolicy", "Fail")
        hook.setdefault("matchPolicy", "Equivalent")
        hook.setdefault("namespaceSelector", {})
        hook.setdefault("objectSelector", {})
        hook.setdefault("timeoutSeconds", 10)
        if mutating:
            hook.setdefault("reinvocationPolicy", "Never")
        service = (hook.get("clientConfig") or {}).get("service")
        if service is not None:
            service.setdefault("port", 443)
        _scopes(hook.get("rules"))


def _scopes(rules: list[Object] | None) -> None:
    for rule in rules or ():
        rule.setdefault("scope", "*")


def mutating_webhooks(obj: Object) -> None:
    _webhooks(obj, mutating=True)


def validating_webhooks(obj: Object) -> None:
    _webhooks(obj, mutating=False)


def _match_resources(resources: Object | None) -> None:
    if resources is not None:
        resources.setdefault("matchPolicy", "Equivalent")
        resources.setdefault("namespaceSelector", {})
        resources.setdefault("objectSelector", {})
        _scopes(resources.get("resourceRules"))
        _scopes(resources.get("excludeResourceRules"))


def policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    _match_resources(spec.get("matchConstraints"))


def policy_binding(obj: Object) -> None:
    _match_resources((obj.get("spec") or {}).get("matchResources"))


DEFAULTERS = {
    (GROUP, "", "MutatingAdmissionPolicy"): policy,
    (GROUP, "", "MutatingAdmissionPolicyBinding"): policy_binding,
    (GROUP, "", "MutatingWebhookConfiguration"): mutating_webhooks,
    (GROUP, "", "ValidatingAdmissionPolicy"): policy,
    (GROUP, "", "ValidatingAdmissionPolicyBinding"): policy_binding,
    (GROUP, "", "ValidatingWebhookConfiguration"): validating_webhooks,
}
