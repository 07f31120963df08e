"""AuthenticationConfiguration: issuers of tokens, and who is anonymous (Kubernetes documentation, "Using Authentication
Configuration")."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from podwright.api.cel.declarations import DYN, map_of
from podwright.api.cel.syntax import Ident, Node, Select, parse
from podwright.api.cel.variables import USER_INFO
from podwright.api.objects import Object
from podwright.api.status import FieldError
from podwright.api.validation import names
from podwright.api.validation.expressions import compiles
from podwright.api.validation.field_errors import duplicate, invalid, required, too_many
from podwright.apiserver import config_files

VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1")
_MAPPING = {"claim": str, "prefix": str, "expression": str}
_SHAPE = {
    "jwt": [
        {
            "issuer": {
                "url": str, "discoveryURL": str, "certificateAuthority": str, "audiences": [str],
                "audienceMatchPolicy": str, "egressSelectorType": str,
            },
            "claimValidationRules": [{"claim": str, "requiredValue": str, "expression": str, "message": str}],
            "claimMappings": {
                "username": _MAPPING, "groups": _MAPPING, "uid": {"claim": str, "expression": str},
                "extra": [{"key": str, "valueExpression": str}],
            },
            "userValidationRules": [{"expression": str, "message": str}],
        }
    ],
    "anonymous": {"enabled": bool, "conditions": [{"path": str}]},
}  # fmt: skip
_CLAIMS = {"claims": map_of(DYN)}
_USER = {"user": USER_INFO}
_MOST_ISSUERS = 64
_BOTH = "claim and expression can't both be set"
_RESERVED = re.compile(r"(.*\.)?(kubernetes|k8s)\.io")


def read(path: Path | None, own_issuer: str = "") -> Object:
    """Empty without a file. Raises OSError; ValueError for what upstream refuses: all of it, a line each."""
    if path is None:
        return {}
    found = config_files.read(path, "AuthenticationConfiguration", VERSIONS, _SHAPE)
    if errs := errors_of(found, own_issuer):
        raise ValueError("\n".join(f"{path}: {e.field}: {e.message}" for e in errs))
    return found


def errors_of(found: Object, own_issuer: str = "") -> list[FieldError]:
    errs: list[FieldError] = []
    entries = found.get("jwt") or []
    if len(entries) > _MOST_ISSUERS:
        return [too_many("jwt", len(entries), _MOST_ISSUERS)]
    for i, entry in enumerate(entries):
        path = f"jwt[{i}]"
        _issuer(errs, entry.get("issuer") or {}, f"{path}.issuer", own_issuer)
        for field in ("url", "discoveryURL"):
            value = (entry.get("issuer") or {}).get(field)
            if value and value in [(other.get("issuer") or {}).get(field) for other in entries[:i]]:
                errs.append(duplicate(f"{path}.issuer.{field}", value))
        _rules(errs, entry.get("claimValidationRules") or [], f"{path}.claimValidationRules")
        _mappings(errs, entry, f"{path}.claimMappings")
        _user_rules(errs, entry.get("userValidationRules") or [], f"{path}.userValidationRules")
    anonymous = found.get("anonymous") or {}
    if anonymous.get("conditions") and not anonymous.get("enabled"):
        said = "enabled should be set to true when conditions are defined"
        errs.append(invalid("anonymous.conditions", anonymous["conditions"], said))
    return errs


def _url(errs: list[FieldError], url: str, path: str) -> None:
    parts = urlsplit(url)
    for wrong, said in (
        (parts.scheme != "https", "URL scheme must be https"),
        (parts.username is not None, "URL must not contain a username or password"),
        (parts.query, "URL must not contain a query"),
        (parts.fragment, "URL must not contain a fragment"),
    ):
        if wrong:
            errs.append(invalid(path, url, said))


def _issuer(errs: list[FieldError], issuer: Object, path: str, own: str) -> None:
    url, discovery = issuer.get("url") or "", issuer.get("discoveryURL") or ""
    if not url:
        errs.append(required(f"{path}.url"))
    else:
        if url == own:
            errs.append(invalid(f"{path}.url", url, f"URL must not overlap with disallowed issuers: [{own}]"))
        _url(errs, url, f"{path}.url")
    if discovery:
        if url.rstrip("/") == discovery.rstrip("/"):
            errs.append(invalid(f"{path}.discoveryURL", discovery, "discoveryURL must be different from URL"))
        _url(errs, discovery, f"{path}.discoveryURL")
    audiences, policy = issuer.get("audiences") or [], issuer.get("audienceMatchPolicy") or ""
    if not audiences:
        errs.append(required(f"{path}.audiences", f"at least one {path}.audiences is required"))
    for i, audience in enumerate(audiences):
        if not audience:
            errs.append(required(f"{path}.audiences[{i}]"))
        if audience in audiences[:i]:
            errs.append(duplicate(f"{path}.audiences[{i}]", audience))
    if len(audiences) > 1 and policy != "MatchAny":
        said = "audienceMatchPolicy must be MatchAny for multiple audiences"
        errs.append(invalid(f"{path}.audienceMatchPolicy", policy, said))
    elif policy not in ("", "MatchAny"):
        said = "audienceMatchPolicy must be empty or MatchAny for single audience"
        errs.append(invalid(f"{path}.audienceMatchPolicy", policy, said))
    if authority := issuer.get("certificateAuthority"):
        try:
            ssl.create_default_context(cadata=authority)
        except (ssl.SSLError, ValueError, TypeError) as error:
            errs.append(invalid(f"{path}.certificateAuthority", "<omitted>", str(error)))


def _rules(errs: list[FieldError], rules: Sequence[Object], path: str) -> None:
    seen: set[tuple[str, str]] = set()
    for i, rule in enumerate(rules):
        where = f"{path}[{i}]"
        claim, expression = rule.get("claim") or "", rule.get("expression") or ""
        field, value = ("claim", claim) if claim else ("expression", expression)
        forbidden = "message" if claim else "requiredValue"
        if claim and expression:
            errs.append(invalid(where, claim, _BOTH))
        elif not value:
            errs.append(required(where, "claim or expression is required"))
        else:
            if given := rule.get(forbidden):
                errs.append(invalid(f"{where}.{forbidden}", given, f"may not be specified when {field} is set"))
            if (field, value) in seen:
                errs.append(duplicate(f"{where}.{field}", value))
            elif expression:
                compiles(errs, expression, f"{where}.expression", _CLAIMS, "bool")
            seen.add((field, value))


def _mapping(errs: list[FieldError], mapping: Object, path: str, *, needed: bool) -> None:
    claim, expression = mapping.get("claim") or "", mapping.get("expression") or ""
    if claim and expression:
        errs.append(invalid(path, "", _BOTH))
    elif not claim and not expression and needed:
        errs.append(required(path, "claim or expression is required"))
    elif expression:
        if mapping.get("prefix") is not None:
            errs.append(invalid(f"{path}.prefix", mapping["prefix"], "may not be specified when expression is set"))
        compiles(errs, expression, f"{path}.expression", _CLAIMS)
    elif claim and mapping.get("prefix") is None:
        said = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
        errs.append(required(f"{path}.prefix", said))


def _mappings(errs: list[FieldError], entry: Object, path: str) -> None:
    mappings = entry.get("claimMappings") or {}
    username, uid = mappings.get("username") or {}, mappings.get("uid") or {}
    before = len(errs)
    _mapping(errs, username, f"{path}.username", needed=True)
    by_email = len(errs) == before and _selects(username.get("expression") or "", "email")
    _mapping(errs, mappings.get("groups") or {}, f"{path}.groups", needed=False)
    if uid.get("claim") and uid.get("expression"):
        errs.append(invalid(f"{path}.uid", "", _BOTH))
    elif uid.get("expression"):
        compiles(errs, uid["expression"], f"{path}.uid.expression", _CLAIMS)
    extra = mappings.get("extra") or []
    for i, mapped in enumerate(extra):
        _extra(errs, mapped, f"{path}.extra[{i}]", [other.get("key") for other in extra[:i]])
    verifying = [
        username.get("expression"), *(e.get("valueExpression") for e in extra),
        *(rule.get("expression") for rule in entry.get("claimValidationRules") or ()),
    ]  # fmt: skip
    if by_email and not any(_selects(source or "", "email_verified") for source in verifying):
        said = (
            "claims.email_verified must be used in claimMappings.username.expression or "
            "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in "
            "claimMappings.username.expression"
        )
        errs.append(invalid(f"{path}.username.expression", username["expression"], said))


def _extra(errs: list[FieldError], mapped: Object, path: str, before: Sequence[str | None]) -> None:
    key, expression = mapped.get("key") or "", mapped.get("valueExpression") or ""
    domain, slash, rest = key.partition("/")
    if not key:
        errs.append(required(f"{path}.key"))
    elif not slash or not domain or not rest:
        said = 'must be a domain-prefixed path (such as "acme.io/foo")'
        errs.append(invalid(f"{path}.key", key, said))
    else:
        errs += [invalid(f"{path}.key", domain, said) for said in names.dns_subdomain(domain)]
    if key != key.lower():
        errs.append(invalid(f"{path}.key", key, "must be lowercase"))
    if slash and _RESERVED.fullmatch(domain):
        said = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
        errs.append(invalid(f"{path}.key", key, said))
    if key in before:
        errs.append(duplicate(f"{path}.key", key))
    elif not expression:
        errs.append(required(f"{path}.valueExpression"))
    else:
        compiles(errs, expression, f"{path}.valueExpression", _CLAIMS)


def _user_rules(errs: list[FieldError], rules: Sequence[Object], path: str) -> None:
    for i, rule in enumerate(rules):
        expression = rule.get("expression") or ""
        if not expression:
            errs.append(required(f"{path}[{i}].expression"))
        elif expression in [other.get("expression") for other in rules[:i]]:
            errs.append(duplicate(f"{path}[{i}].expression", expression))
        else:
            compiles(errs, expression, f"{path}[{i}].expression", _USER, "bool")


def _selects(source: str, claim: str) -> bool:
    """Whether an expression that compiles asks for ``claims.CLAIM``."""
    return bool(source) and any(
        isinstance(node, Select) and node.field == claim and node.of == Ident(node.of.at, "claims")
        for node in _nodes(parse(source))
    )


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, tuple):
        for part in value:
            yield from _nodes(part)
    elif isinstance(value, Node):
        yield value
        for field in fields(value):
            yield from _nodes(getattr(value, field.name))
