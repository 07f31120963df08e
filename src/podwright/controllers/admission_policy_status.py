"""Checks the expressions of ValidatingAdmissionPolicies against the types that they match, and warns in the status:
what does not fit is refused when an object comes, not when the policy is written (Kubernetes documentation,
"Validating Admission Policy", "Type checking")."""

from __future__ import annotations

from collections.abc import Iterator

from podwright.api import objects, schema
from podwright.api.cel.checking import check
from podwright.api.cel.declarations import DYN, DeclType, declared
from podwright.api.cel.variables import composed, variables
from podwright.api.objects import Object
from podwright.api.resources import BUILTIN, CUSTOMRESOURCEDEFINITIONS
from podwright.controllers.frame import Context, Controller

_POLICIES = BUILTIN.by_path("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")
_MOST_TYPES = 10
Kind = tuple[str, str, str]
"""Group, version and kind."""


class AdmissionPolicyStatusController(Controller):
    name = "validatingadmissionpolicy-status-controller"
    account = "validatingadmissionpolicy-status-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        assert _POLICIES is not None
        self._resource = _POLICIES
        self.policies = self.informer(_POLICIES, self._changed)
        self.definitions = self.informer(CUSTOMRESOURCEDEFINITIONS)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and not _is_seen(new):
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> None:
        policy = self.policies.get(key)
        if policy is None or _is_seen(policy):
            return
        warnings = list(self._warnings(policy["spec"]))
        status = {
            **(policy.get("status") or {}),
            "observedGeneration": policy["metadata"].get("generation", 0),
            "typeChecking": {"expressionWarnings": warnings} if warnings else {},
        }
        await self.client.update_status(self._resource, {**policy, "status": status})

    def _warnings(self, spec: Object) -> Iterator[Object]:
        kinds = self._matched(spec)
        params = self._params(spec)
        for i, validation in enumerate(spec.get("validations") or ()):
            for field in ("expression", "messageExpression"):
                if not (source := validation.get(field)):
                    continue
                found = []
                for (group, version, kind), of in kinds.items():
                    if problems := check(source, _variables(spec, of, params)).problems:
                        found.append(f"{group}/{version}, Kind={kind}: " + "\n".join(problems) + "\n")
                if found:
                    yield {"fieldRef": f"spec.validations[{i}].{field}", "warning": "\n".join(found)}

    def _matched(self, spec: Object) -> dict[Kind, DeclType]:
        """The types that rules name without wildcards."""
        found: dict[Kind, DeclType] = {}
        for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
            groups, versions = (sorted(rule.get(field) or ()) for field in ("apiGroups", "apiVersions"))
            plurals = sorted(r for r in rule.get("resources") or () if "*" not in r and "/" not in r)
            if any("*" in name for name in (*groups, *versions)):
                continue
            named = ((group, version, plural) for group in groups for version in versions for plural in plurals)
            for place in list(named)[:_MOST_TYPES]:
                found |= self._types(*place)
        return dict(sorted(found.items()))

    def _types(self, group: str, version: str, plural: str) -> dict[Kind, DeclType]:
        row = BUILTIN.by_path(group, version, plural)
        if row is not None:
            kind = declared(schema.for_resource(row), root=True)
            return {(group, version, row.kind): kind} if kind is not None else {}
        definition = self.definitions.get(f"{plural}.{group}")
        for served in (definition or {}).get("spec", {}).get("versions") or ():
            raw = (served.get("schema") or {}).get("openAPIV3Schema")
            if definition is not None and served["name"] == version and raw:
                kind = declared(schema.from_structural(raw), root=True)
                return {(group, version, definition["spec"]["names"]["kind"]): kind} if kind is not None else {}
        return {}

    def _params(self, spec: Object) -> DeclType | None:
        kind = spec.get("paramKind")
        if not kind:
            return None
        group, _, version = str(kind.get("apiVersion") or "").rpartition("/")
        row = BUILTIN.by_group_kind(group, str(kind.get("kind")))
        plurals = [row.plural] if row is not None else [
            d["spec"]["names"]["plural"]
            for d in self.definitions.items()
            if d["spec"]["group"] == group and d["spec"]["names"]["kind"] == kind.get("kind")
        ]
        return next((t for plural in plurals for t in self._types(group, version, plural).values()), DYN)


def _variables(spec: Object, of: DeclType, params: DeclType | None) -> dict[str, DeclType]:
    known = variables(of=of, params=params)
    kinds: dict[str, DeclType] = {}
    for variable in spec.get("variables") or ():
        known["variables"] = composed(kinds)
        kinds[variable["name"]] = check(variable["expression"], known).type
    return known | {"variables": composed(kinds)}


def _is_seen(policy: Object) -> bool:
    seen = (policy.get("status") or {}).get("observedGeneration", 0)
    return bool(seen >= policy["metadata"].get("generation", 0)) or objects.is_deleting(policy)
