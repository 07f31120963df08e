"""From the claims of a token that holds to a user: by claims' names, or by expressions (Kubernetes documentation,
"Using Authentication Configuration")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podwright.api.cel import EvaluationError, Program, compile_expression
from podwright.api.objects import Object
from podwright.apiserver.requests import UserInfo

CREDENTIAL = "authentication.kubernetes.io/credential-id"


class Unacceptable(Exception):
    """Claims that give no user, and why."""


def _compiled(source: str | None, variable: str = "claims") -> Program | None:
    return compile_expression(source, (variable,)) if source else None


class ClaimsMapper:
    """`entry` is one of ``jwt`` of an AuthenticationConfiguration that has been checked."""

    def __init__(self, entry: Object) -> None:
        mappings = entry.get("claimMappings") or {}
        self._username, self._groups, self._uid = (mappings.get(f) or {} for f in ("username", "groups", "uid"))
        self._programs = {
            name: _compiled((mappings.get(name) or {}).get("expression")) for name in ("username", "groups", "uid")
        }
        self._extra = [
            (e["key"], compile_expression(e["valueExpression"], ("claims",))) for e in mappings.get("extra") or ()
        ]
        rules = entry.get("claimValidationRules") or ()
        self._required = {r["claim"]: r.get("requiredValue") or "" for r in rules if r.get("claim")}
        self._rules = _conditions(rules, "claims")
        self._user_rules = _conditions(entry.get("userValidationRules") or (), "user")

    def user(self, claims: Object) -> UserInfo:
        """Raises Unacceptable."""
        user = UserInfo(self._name(claims), self._identifier(claims), tuple(self._all_groups(claims)), {})
        extra: dict[str, tuple[str, ...]] = {}
        if isinstance(identifier := claims.get("jti"), str) and identifier:
            extra[CREDENTIAL] = (f"JTI={identifier}",)
        for key, program in self._extra:
            if values := _texts(_evaluate(program, {"claims": claims})):
                extra[key] = tuple(values)
        for claim, value in self._required.items():
            if claims.get(claim) != value:
                raise Unacceptable(f"required claim {claim} is not {value!r}")
        _check(self._rules, {"claims": claims})
        user = UserInfo(user.name, user.uid, user.groups, extra)
        if self._user_rules:
            seen = {
                "username": user.name, "uid": user.uid, "groups": list(user.groups),
                "extra": {key: list(values) for key, values in extra.items()},
            }  # fmt: skip
            _check(self._user_rules, {"user": seen})
        return user

    def _name(self, claims: Object) -> str:
        if (program := self._programs["username"]) is not None:
            name = _evaluate(program, {"claims": claims})
            if not isinstance(name, str) or not name:
                raise Unacceptable("the username's expression must return a string that is not empty")
            return name
        claim = self._username["claim"]
        name = claims.get(claim)
        if not isinstance(name, str):
            raise Unacceptable(f"claim {claim} is no string")
        if claim == "email" and claims.get("email_verified", True) is not True:
            raise Unacceptable("email not verified")
        return str(self._username.get("prefix") or "") + name

    def _all_groups(self, claims: Object) -> Sequence[str]:
        if (program := self._programs["groups"]) is not None:
            return _texts(_evaluate(program, {"claims": claims}))
        found = claims.get(self._groups.get("claim") or "", ())
        groups = (found,) if isinstance(found, str) else found
        if not isinstance(groups, Sequence) or not all(isinstance(group, str) for group in groups):
            raise Unacceptable("the groups' claim is no list of strings")
        prefix = self._groups.get("prefix") or ""
        return [prefix + group for group in groups]

    def _identifier(self, claims: Object) -> str:
        program, claim = self._programs["uid"], str(self._uid.get("claim") or "")
        if program is None and not claim:
            return ""
        uid = _evaluate(program, {"claims": claims}) if program is not None else claims.get(claim)
        if not isinstance(uid, str):
            raise Unacceptable("the uid is no string")
        return uid


def _conditions(rules: Sequence[Object], variable: str) -> list[tuple[Program, str]]:
    found = ((_compiled(rule.get("expression"), variable), rule.get("message") or "") for rule in rules)
    return [(program, message) for program, message in found if program is not None]


def _evaluate(program: Program, variables: Mapping[str, Any]) -> Any:
    try:
        return program.evaluate(variables)
    except EvaluationError as error:
        raise Unacceptable(f"expression '{program.source}' resulted in error: {error}") from None


def _check(rules: Sequence[tuple[Program, str]], variables: Mapping[str, Any]) -> None:
    for program, message in rules:
        if _evaluate(program, variables) is not True:
            raise Unacceptable(f"validation expression '{program.source}' failed: {message}")


def _texts(value: Any) -> list[str]:
    """A string or a list of strings; empty ones and null are none."""
    values = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
        raise Unacceptable("expression must return a string or a list of strings")
    return [v for v in values if v]
