"""The RBAC authorizer: a rule index per identity, compiled when first asked for and dropped when an RBAC object
changes.

An identity is a user name with its groups. Its compiled form holds the rules of every binding that names it, by
namespace, and remembers each answer that is the same for every name, so that a repeated question costs two dictionary
look-ups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from podwright.api.objects import Object, name, namespace
from podwright.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from podwright.apiserver.authorization.rules import allows_path, allows_resource, allows_verb
from podwright.apiserver.requests import Attributes, Decision, Objects, UserInfo

SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
_REMEMBERED_IDENTITIES = 4096
_REMEMBERED_ANSWERS = 4096


@dataclass(frozen=True, slots=True)
class _Grant:
    """One rule as it reached an identity, and the sentence that says by which binding."""

    rule: Object
    why: str


@dataclass(slots=True)
class _Identity:
    """Grants by namespace ("" for those of ClusterRoleBindings), what could not be resolved, answers given."""

    grants: dict[str, list[_Grant]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    answers: dict[tuple[str, ...], Decision] = field(default_factory=dict)

    def for_namespace(self, ns: str) -> Iterator[_Grant]:
        yield from self.grants.get("", ())
        if ns:
            yield from self.grants.get(ns, ())

    def problem(self, ns: str) -> str:
        found = [*self.problems.get("", ()), *(self.problems.get(ns, ()) if ns else ())]
        if not found:
            return ""
        return "RBAC: " + (found[0] if len(found) == 1 else "[" + ", ".join(found) + "]")


def subject_keys(user: UserInfo) -> Iterator[tuple[str, str, str]]:
    """How bindings may name a user: (kind, namespace, name)."""
    yield "User", "", user.name
    for group in user.groups:
        yield "Group", "", group
    if user.name.startswith(SERVICE_ACCOUNT_PREFIX):
        ns, _, nm = user.name[len(SERVICE_ACCOUNT_PREFIX) :].partition(":")
        yield "ServiceAccount", ns, nm


class RBAC:
    """Says yes or has no opinion; RBAC never denies. Safe for use from one event loop."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._bindings: dict[tuple[str, str, str], list[Object]] | None = None
        self._identities: dict[tuple[str, tuple[str, ...]], _Identity] = {}
        self._subscriptions = [
            objects.subscribe(resource, self._changed)
            for resource in (CLUSTERROLES, CLUSTERROLEBINDINGS, ROLES, ROLEBINDINGS)
        ]

    def close(self) -> None:
        for end in self._subscriptions:
            end()

    async def authorize(self, attributes: Attributes) -> Decision:
        return self.decide(attributes)

    def decide(self, attributes: Attributes) -> Decision:
        identity = self._identity(attributes.user)
        a = attributes
        key = (a.verb, a.group, a.resource, a.subresource, a.namespace) if a.is_resource else (a.verb, a.path)
        answer = identity.answers.get(key)
        if answer is None:
            answer = self._search(identity, a)
            if answer.by_name:
                return answer
            if len(identity.answers) >= _REMEMBERED_ANSWERS:
                identity.answers.clear()
            identity.answers[key] = answer
        return answer

    def rules_for(self, user: UserInfo, ns: str) -> tuple[list[Object], str]:
        """Every rule that the user has in a namespace, and what could not be resolved ("" if all could)."""
        identity = self._identity(user)
        return [grant.rule for grant in identity.for_namespace(ns)], identity.problem(ns)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        self._bindings = None
        self._identities.clear()

    def _search(self, identity: _Identity, a: Attributes) -> Decision:
        named = False
        for grant in identity.for_namespace(a.namespace if a.is_resource else ""):
            rule = grant.rule
            if not allows_verb(rule, a.verb):
                continue
            if a.is_resource:
                if not allows_resource(rule, a.group, a.resource, a.subresource):
                    continue
                if names := rule.get("resourceNames"):
                    named = True
                    if a.name not in names:
                        continue
                    return Decision(True, reason=grant.why, by_name=True)
            elif not allows_path(rule, a.path):
                continue
            return Decision(True, reason=grant.why)
        return Decision(False, reason=identity.problem(a.namespace), by_name=named)

    def _index(self) -> dict[tuple[str, str, str], list[Object]]:
        if self._bindings is None:
            index: dict[tuple[str, str, str], list[Object]] = {}
            for resource in (CLUSTERROLEBINDINGS, ROLEBINDINGS):
                for binding in sorted(self._objects.list(resource), key=name):
                    for subject in binding.get("subjects") or ():
                        kind = subject.get("kind", "")
                        ns = (subject.get("namespace") or namespace(binding)) if kind == "ServiceAccount" else ""
                        index.setdefault((kind, ns, subject.get("name", "")), []).append(binding)
            self._bindings = index
        return self._bindings

    def _identity(self, user: UserInfo) -> _Identity:
        key = (user.name, tuple(user.groups))
        found = self._identities.get(key)
        if found is None:
            if len(self._identities) >= _REMEMBERED_IDENTITIES:
                self._identities.clear()
            found = self._identities[key] = self._compile(user)
        return found

    def _compile(self, user: UserInfo) -> _Identity:
        identity = _Identity()
        index = self._index()
        seen: set[int] = set()
        for kind, subject_ns, subject_name in subject_keys(user):
            for binding in index.get((kind, subject_ns, subject_name), ()):
                if id(binding) in seen:
                    continue
                seen.add(id(binding))
                ns = namespace(binding)
                role, missing = self._role(binding)
                if role is None:
                    identity.problems.setdefault(ns, []).append(missing)
                    continue
                subject = f"{subject_name}/{subject_ns}" if kind == "ServiceAccount" else subject_name
                ref = binding["roleRef"]
                called = f"{name(binding)}/{ns}" if ns else name(binding)
                why = (
                    f'RBAC: allowed by {"RoleBinding" if ns else "ClusterRoleBinding"} "{called}" of '
                    f'{ref["kind"]} "{ref["name"]}" to {kind} "{subject}"'
                )
                identity.grants.setdefault(ns, []).extend(_Grant(rule, why) for rule in role.get("rules") or ())
        return identity

    def _role(self, binding: Object) -> tuple[Object | None, str]:
        ref = binding.get("roleRef") or {}
        if ref.get("kind") == "ClusterRole":
            role = self._objects.get(CLUSTERROLES, "", ref.get("name", ""))
            return role, f'clusterrole.rbac.authorization.k8s.io "{ref.get("name")}" not found'
        role = self._objects.get(ROLES, namespace(binding), ref.get("name", ""))
        return role, f'role.rbac.authorization.k8s.io "{ref.get("name")}" not found'
