"""Which requests a webhook or an admission policy looks at: rules, namespace and object selectors (Kubernetes
documentation, "Dynamic Admission Control", "Matching requests")."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.api.objects import Object, labels, name
from podwright.api.resources import NAMESPACES
from podwright.api.selectors.labels import LabelSelector, from_label_selector
from podwright.apiserver.requests import AdmissionRequest, Objects

_ADMISSION_GROUP = "admissionregistration.k8s.io"


def is_exempt(request: AdmissionRequest) -> bool:
    """Objects that configure admission are never subject to it: a cluster could not be repaired."""
    return request.resource.group == _ADMISSION_GROUP


def rule_matches(rule: Object, request: AdmissionRequest, *, exact_version: bool) -> bool:
    """Whether one of ``rules`` names the request. Unless `exact_version`, any version of the resource is meant
    (matchPolicy Equivalent)."""
    operations = rule.get("operations") or ()
    if "*" not in operations and request.operation not in operations:
        return False
    resource = request.resource
    scope = rule.get("scope") or "*"
    namespaced = resource.namespaced and bool(request.namespace)
    if scope != "*" and (scope == "Namespaced") != namespaced:
        return False
    groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
    if "*" not in groups and resource.group not in groups:
        return False
    if exact_version and "*" not in versions and resource.version not in versions:
        return False
    return any(_names(wanted, resource.plural, request.subresource) for wanted in rule.get("resources") or ())


def _names(wanted: str, plural: str, subresource: str) -> bool:
    resource, _, sub = wanted.partition("/")
    return resource in ("*", plural) and sub in ("*", subresource)


def _named(rule: Object, request: AdmissionRequest) -> bool:
    names = rule.get("resourceNames")
    return not names or (request.name or name(request.object or {})) in names


class Match:
    """Compiled constraints of a webhook, or of a policy's ``matchConstraints`` or a binding's ``matchResources``."""

    def __init__(self, objects: Objects, constraints: Object, rules: str = "rules") -> None:
        """Raises InvalidSelector."""
        self._objects = objects
        self._rules: list[Object] = list(constraints.get(rules) or ())
        self._excluded: list[Object] = list(constraints.get("excludeResourceRules") or ())
        self._exact = constraints.get("matchPolicy") == "Exact"
        self._everything = rules != "rules" and not self._rules
        self._namespaces = _selector(constraints.get("namespaceSelector"))
        self._selected = _selector(constraints.get("objectSelector"))

    def __call__(self, request: AdmissionRequest) -> bool:
        if not self._everything and not self._any(self._rules, request):
            return False
        if self._excluded and self._any(self._excluded, request):
            return False
        if self._namespaces is not None and not self._in_namespace(request):
            return False
        return self._selected is None or any(
            obj is not None and self._selected.matches(labels(obj)) for obj in (request.object, request.old_object)
        )

    def _any(self, rules: Iterable[Object], request: AdmissionRequest) -> bool:
        return any(
            rule_matches(rule, request, exact_version=self._exact) and _named(rule, request) for rule in rules
        )

    def _in_namespace(self, request: AdmissionRequest) -> bool:
        assert self._namespaces is not None
        if request.resource.plural == "namespaces" and not request.resource.group:
            if request.subresource or request.operation == "DELETE" or request.object is None:
                found = self._objects.get(NAMESPACES, "", request.name)
            else:
                found = request.object
        elif not request.namespace:
            return True
        else:
            found = self._objects.get(NAMESPACES, "", request.namespace)
        return self._namespaces.matches(labels(found or {}))


def _selector(selector: Object | None) -> LabelSelector | None:
    """None for a selector that chooses everything."""
    if not selector or not (selector.get("matchLabels") or selector.get("matchExpressions")):
        return None
    return from_label_selector(selector)
