"""What ValidatingAdmissionPolicy and MutatingAdmissionPolicy have in common: definitions, bindings, parameters and
variables (Kubernetes documentation, "Validating Admission Policy")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from podwright.api.cel import Budget, CompileError, Lazy, LazyMap, Program, compile_expression
from podwright.api.objects import Object, labels, name
from podwright.api.resources import BUILTIN, Resource, ResourceTable
from podwright.api.selectors.labels import InvalidSelector, from_label_selector
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.expressions import NAMES, Conditions, variables_of
from podwright.apiserver.admission.matching import Match, is_exempt
from podwright.apiserver.admission.versions import Convert
from podwright.apiserver.requests import AdmissionRequest, Authorizer, Objects

_REVIEWS = ("authentication.k8s.io", "authorization.k8s.io")
"""Webhooks see reviews, policies do not: a policy about everything must not lock everybody out."""


class ConfigurationError(Exception):
    """A policy or binding that cannot be used. Whether that refuses the request is failurePolicy's."""


@dataclass(slots=True)
class Definition:
    """A compiled policy. `broken` is a compile error's text, "" if there is none."""

    policy: Object
    match: Match | None = None
    conditions: Conditions | None = None
    variables: list[tuple[str, Program]] = field(default_factory=list)
    expressions: Any = None
    broken: str = ""

    @property
    def name(self) -> str:
        return name(self.policy)

    @property
    def ignores_failure(self) -> bool:
        return bool(self.policy["spec"].get("failurePolicy") == "Ignore")


@dataclass(frozen=True, slots=True)
class Binding:
    binding: Object
    match: Match | None
    broken: str = ""

    @property
    def name(self) -> str:
        return name(self.binding)


class Policies(Plugin):
    """Keeps policies and bindings compiled; they are compiled again when one of them changes."""

    extra_names: frozenset[str] = frozenset()

    def __init__(
        self, objects: Objects, authorizer: Authorizer, policies: Resource, bindings: Resource,
        table: ResourceTable | None, convert: Convert,
    ) -> None:
        self.convert = convert
        self.objects = objects
        self.authorizer = authorizer
        self._policies = policies
        self._bindings = bindings
        self._table = table if table is not None else BUILTIN
        self._compiled: list[tuple[Definition, list[Binding]]] | None = []
        for resource in (policies, bindings):
            objects.subscribe(resource, self._changed)

    def handles(self, request: AdmissionRequest) -> bool:
        return not is_exempt(request) and request.resource.group not in _REVIEWS

    def compile_expressions(self, spec: Object, names: frozenset[str]) -> Any:
        """What a subclass evaluates. Raises CompileError."""
        raise NotImplementedError

    def _changed(self, old: Object | None, new: Object | None) -> None:
        self._compiled = None

    def bound(self) -> list[tuple[Definition, list[Binding]]]:
        """Every policy that has bindings, by name."""
        if self._compiled is None:
            by_policy: dict[str, list[Binding]] = {}
            for binding in sorted(self.objects.list(self._bindings), key=name):
                policy_name = (binding.get("spec") or {}).get("policyName") or ""
                by_policy.setdefault(policy_name, []).append(self._binding(binding))
            self._compiled = [
                (self._definition(policy), by_policy[name(policy)])
                for policy in sorted(self.objects.list(self._policies), key=name)
                if name(policy) in by_policy
            ]
        return self._compiled

    def _binding(self, binding: Object) -> Binding:
        constraints = (binding.get("spec") or {}).get("matchResources")
        try:
            match = Match(self.objects, constraints, "resourceRules", self._table) if constraints else None
            return Binding(binding, match)
        except InvalidSelector as error:
            return Binding(binding, None, str(error))

    def _definition(self, policy: Object) -> Definition:
        spec = policy.get("spec") or {}
        made = Definition({**policy, "spec": spec})
        names = NAMES | {"variables"} | self.extra_names
        if spec.get("paramKind"):
            names |= {"params"}
        try:
            made.match = Match(self.objects, spec.get("matchConstraints") or {}, "resourceRules", self._table)
            made.conditions = Conditions(spec.get("matchConditions") or (), names) or None
            made.variables = [
                (v["name"], compile_expression(v["expression"], names)) for v in spec.get("variables") or ()
            ]
            made.expressions = self.compile_expressions(spec, names)
        except (CompileError, InvalidSelector, KeyError) as error:
            made.broken = f"compilation error: {error}"
        return made

    def parameters(
        self, definition: Definition, binding: Binding, request: AdmissionRequest
    ) -> Sequence[Object | None]:
        """The objects that ``params`` stands for, in turn; one None if the policy takes none. Raises
        ConfigurationError."""
        kind = definition.policy["spec"].get("paramKind")
        reference = (binding.binding.get("spec") or {}).get("paramRef")
        if not kind or not reference:
            return (None,)
        resource = self._table.by_kind(kind.get("apiVersion") or "", kind.get("kind") or "")
        if resource is None:
            raise ConfigurationError(
                f"failed to configure policy: failed to find resource referenced by paramKind:"
                f" '{kind.get('apiVersion')}, Kind={kind.get('kind')}'"
            )
        ns = ""
        if resource.namespaced:
            ns = reference.get("namespace") or request.namespace
            if not ns:
                raise ConfigurationError(
                    "failed to configure binding: cannot use namespaced paramRef in policy binding that matches"
                    " cluster-scoped resources"
                )
        if reference.get("name"):
            one = self.objects.get(resource, ns, reference["name"])
            found = [one] if one is not None else []
        else:
            selector = from_label_selector(reference.get("selector") or {})
            found = [o for o in self.objects.list(resource, ns) if selector.matches(labels(o))]
        if found:
            return found
        if reference.get("parameterNotFoundAction") == "Allow":
            return ()
        raise ConfigurationError(
            "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        )

    def matching(self, request: AdmissionRequest) -> Iterator[tuple[Definition, Resource, list[Binding]]]:
        """Policies whose constraints the request meets, the row in whose version they see it, and those of their
        bindings that it meets too."""
        for definition, bindings in self.bound():
            version: Resource | None = request.requested or request.resource
            if definition.match is not None:
                version = definition.match.version(request)
            if version is not None and (chosen := [b for b in bindings if b.match is None or b.match(request)]):
                yield definition, version, chosen

    def scope(
        self, definition: Definition, request: AdmissionRequest, params: Object | None, budget: Budget
    ) -> dict[str, Any]:
        """The variables of one evaluation; the policy's own are worked out, and paid for, when used."""
        scope = variables_of(request, self.objects, self.authorizer)
        composed = LazyMap()
        for variable, program in definition.variables:
            composed[variable] = Lazy(_evaluation(program, scope, budget))
        scope["variables"] = composed
        if definition.policy["spec"].get("paramKind"):
            scope["params"] = params
        scope.update(dict.fromkeys(self.extra_names))
        return scope


def _evaluation(program: Program, scope: dict[str, Any], budget: Budget) -> Any:
    return lambda: program.evaluate(scope, budget)
