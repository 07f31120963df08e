"""Which requests a webhook or an admission policy looks at: rules, namespace and object selectors (Kubernetes
documentation, "Dynamic Admission Control", "Matching requests")."""

from __future__ import annotations

from collections.abc import Iterable

from podwright.api.objects import Object, labels, name
from podwright.api.resources import BUILTIN, NAMESPACES, Resource, ResourceTable
from podwright.api.selectors.labels import LabelSelector, from_label_selector
from podwright.apiserver.requests import AdmissionRequest, Objects

_ADMISSION_GROUP = "admissionregistration.k8s.io"


def is_exempt(request: AdmissionRequest) -> bool:
    """Objects that configure admission are never subject to it: a cluster could not be repaired."""
    return request.resource.group == _ADMISSION_GROUP


def rule_matches(rule: Object, request: AdmissionRequest, resource: Resource) -> bool:
    """Whether one of ``rules`` names the request, taken as one for `resource`."""
    operations = rule.get("operations") or ()
    if "*" not in operations and request.operation not in operations:
        return False
    scope = rule.get("scope") or "*"
    namespaced = resource.namespaced and bool(request.namespace)
    if scope != "*" and (scope == "Namespaced") != namespaced:
        return False
    groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
    if "*" not in groups and resource.group not in groups:
        return False
    if "*" not in versions and resource.version not in versions:
        return False
    return any(_names(wanted, resource.plural, request.subresource) for wanted in rule.get("resources") or ())


def _storage(table: ResourceTable, row: Resource) -> str:
    return row.storage_path if row.custom else table.storage_row(row).storage_path


def _names(wanted: str, plural: str, subresource: str) -> bool:
    resource, _, sub = wanted.partition("/")
    return resource in ("*", plural) and sub in ("*", subresource)


def _named(rule: Object, request: AdmissionRequest) -> bool:
    names = rule.get("resourceNames")
    return not names or (request.name or name(request.object or {})) in names


class Match:
    """Compiled constraints of a webhook, or of a policy's ``matchConstraints`` or a binding's ``matchResources``."""

    def __init__(
        self, objects: Objects, constraints: Object, rules: str = "rules", table: ResourceTable = BUILTIN
    ) -> None:
        """`table` knows which versions are of one resource. Raises InvalidSelector."""
        self._objects = objects
        self._table = table
        self._rules: list[Object] = list(constraints.get(rules) or ())
        self._excluded: list[Object] = list(constraints.get("excludeResourceRules") or ())
        self._exact = constraints.get("matchPolicy") == "Exact"
        self._everything = rules != "rules" and not self._rules
        self._namespaces = _selector(constraints.get("namespaceSelector"))
        self._selected = _selector(constraints.get("objectSelector"))

    def __call__(self, request: AdmissionRequest) -> bool:
        return self.version(request) is not None

    def version(self, request: AdmissionRequest) -> Resource | None:
        """The row in whose version the request is looked at: the requested one, or with matchPolicy Equivalent the
        first of the others that the rules name. None: not at all."""
        asked = request.requested or request.resource
        found: Resource | None = asked
        if not self._everything and not self._any(self._rules, request, asked):
            others = () if self._exact else self._equivalents(asked)
            found = next((row for row in others if self._any(self._rules, request, row)), None)
        return found if found is not None and self._selects(request, asked) else None

    def _equivalents(self, asked: Resource) -> Iterable[Resource]:
        """Other versions and groups in which the same objects can be reached."""
        path = _storage(self._table, asked)
        return (
            row for row in self._table
            if row is not asked and row.plural == asked.plural and _storage(self._table, row) == path
        )

    def _selects(self, request: AdmissionRequest, asked: Resource) -> bool:
        if self._excluded:
            versions = (asked,) if self._exact else (asked, *self._equivalents(asked))
            if any(self._any(self._excluded, request, version) for version in versions):
                return False
        if self._namespaces is not None and not self._in_namespace(request):
            return False
        return self._selected is None or any(
            obj is not None and self._selected.matches(labels(obj)) for obj in (request.object, request.old_object)
        )

    @staticmethod
    def _any(rules: Iterable[Object], request: AdmissionRequest, resource: Resource) -> bool:
        return any(rule_matches(rule, request, resource) and _named(rule, request) for rule in rules)

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
