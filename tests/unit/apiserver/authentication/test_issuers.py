"""AuthenticationConfiguration's JWT authenticators: what is refused, and who tokens of an issuer are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from podwright.api.status import ApiError
from podwright.apiserver.authentication import configuration
from podwright.apiserver.authentication.oidc import OpenIDConnect
from podwright.apiserver.requests import UserInfo

URL = "https://issuer.example"
KEY = rsa.generate_private_key(65537, 2048)


def entry(**more: Any) -> dict[str, Any]:
    mappings = {"username": {"claim": "sub", "prefix": "oidc:"}}
    return {"issuer": {"url": URL, "audiences": ["cluster"]}, "claimMappings": mappings, **more}


async def user_of(jwt_entry: dict[str, Any], **claims: Any) -> UserInfo | None:
    """Through an authenticator that knows the issuer's key."""
    assert configuration.errors_of({"jwt": [jwt_entry]}) == []
    authenticator = OpenIDConnect(jwt_entry)
    authenticator._keys = {"k": KEY.public_key()}
    said = {"iss": URL, "aud": "cluster", "exp": time.time() + 600, "sub": "jane", **claims}
    return await authenticator.authenticate_token(jwt.encode(said, KEY, "RS256", {"kid": "k"}), ())


BY_EXPRESSIONS = entry(
    claimMappings={
        "username": {"expression": "claims.email_verified ? claims.email.split('@')[0] : ''"},
        "groups": {"expression": "claims.roles.split(',')"},
        "uid": {"expression": "'uid-' + claims.sub"},
        "extra": [{"key": "example.org/tenant", "valueExpression": "claims.?tenant.orValue('')"}],
    },
    claimValidationRules=[
        {"claim": "hd", "requiredValue": "example.org"},
        {"expression": "claims.exp - claims.iat <= 86400", "message": "tokens last a day at most"},
    ],
    userValidationRules=[{"expression": "!user.username.startsWith('system:')", "message": "reserved"}],
)
RIGHT: dict[str, Any] = {
    "email": "jane@example.org", "email_verified": True, "roles": "dev,,ops", "hd": "example.org", "tenant": "blue",
    "iat": time.time(), "jti": "7",
}


async def test_users_by_claims() -> None:
    assert await user_of(entry()) == UserInfo("oidc:jane", extra={})
    username, groups = {"claim": "email", "prefix": ""}, {"claim": "g", "prefix": "g:"}
    by_email = entry(claimMappings={"username": username, "groups": groups})
    assert await user_of(by_email, email="a@b", g="one") == UserInfo("a@b", groups=("g:one",), extra={})
    unusable: list[dict[str, Any]] = [
        {"email": "a@b", "email_verified": False}, {"email": 5}, {"email": "a@b", "g": [1]}, {},
    ]  # fmt: skip
    for wrong in unusable:
        with pytest.raises(ApiError):
            await user_of(by_email, **wrong)
    invalid: list[dict[str, Any]] = [{"aud": "other"}, {"exp": time.time() - 1}, {"nbf": time.time() + 600}]
    for wrong in invalid:
        with pytest.raises(ApiError):
            await user_of(entry(), **wrong)
    assert await user_of(entry(), iss="https://other.example") is None


async def test_users_by_expressions() -> None:
    assert await user_of(BY_EXPRESSIONS, **RIGHT) == UserInfo(
        "jane", "uid-jane", ("dev", "ops"),
        {"authentication.kubernetes.io/credential-id": ("JTI=7",), "example.org/tenant": ("blue",)},
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"email_verified": False}, {"roles": ["dev"]}, {"hd": "example.net"}, {"iat": time.time() - 100_000},
        {"email": "system:admin@example.org"}, {"tenant": 5},
    ],
)
async def test_claims_that_give_no_user(wrong: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        await user_of(BY_EXPRESSIONS, **{**RIGHT, **wrong})
    assert refused.value.code == 401


def changed(path: str, value: Any) -> dict[str, Any]:
    made = entry()
    *way, last = path.split(".")
    part = made
    for step in way:
        part = part.setdefault(step, {})
    part[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("issuer.url", "http://a", "issuer.url", 'Invalid value: "http://a": URL scheme must be https'),
        ("issuer.url", "https://own", "issuer.url", "URL must not overlap with disallowed issuers: [https://own]"),
        ("issuer.discoveryURL", f"{URL}/", "issuer.discoveryURL", "discoveryURL must be different from URL"),
        ("issuer.audiences", [], "issuer.audiences", "at least one jwt[0].issuer.audiences is required"),
        ("issuer.audiences", ["a", "b"], "issuer.audienceMatchPolicy", "must be MatchAny for multiple audiences"),
        ("issuer.certificateAuthority", "x", "issuer.certificateAuthority", 'Invalid value: "<omitted>"'),
        ("claimMappings.username", {}, "claimMappings.username", "claim or expression is required"),
        ("claimMappings.username", {"claim": "sub"}, "claimMappings.username.prefix", "prefix is required when claim"),
        ("claimMappings.username", {"expression": "claims.email"}, "claimMappings.username.expression",
         "claims.email_verified must be used in"),
        ("claimMappings.username", {"expression": "claimz"}, "claimMappings.username.expression",
         "compilation failed: ERROR: <input>:1:1: undeclared reference to 'claimz'"),
        ("claimMappings.uid", {"claim": "a", "expression": "'b'"}, "claimMappings.uid", "can't both be set"),
        ("claimMappings.extra", [{"key": "x", "valueExpression": "'v'"}], "claimMappings.extra[0].key",
         "domain-prefixed"),
        ("claimMappings.extra", [{"key": "k8s.io/x", "valueExpression": "''"}], "claimMappings.extra[0].key",
         "reserved for Kubernetes use"),
        ("claimValidationRules", [{"expression": "claims.sub"}], "claimValidationRules[0].expression",
         "must evaluate to bool"),
        ("claimValidationRules", [{"claim": "a", "message": "m"}], "claimValidationRules[0].message",
         "may not be specified when claim is set"),
        ("userValidationRules", [{"expression": "user.name == ''"}], "userValidationRules[0].expression",
         "undefined field 'name'"),
    ],
)
def test_configurations_that_are_refused(path: str, value: Any, field: str, message: str) -> None:
    (error,) = configuration.errors_of({"jwt": [changed(path, value)]}, "https://own")
    assert error.field == f"jwt[0].{field}" and message in error.message


def test_a_file_that_is_refused_says_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "authentication.yaml"
    path.write_text("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: [{}]\n")
    with pytest.raises(ValueError, match=r"jwt\[0\]\.issuer\.url: Required value") as refused:
        configuration.read(path)
    assert len(str(refused.value).splitlines()) == 3
    path.write_text(path.read_text().replace("[{}]", "[{claimValidationRule: [], issuer: {audiences: all}}]"))
    with pytest.raises(ValueError, match="strict decoding error") as refused:
        configuration.read(path)
    assert [line.partition("error: ")[2] for line in str(refused.value).splitlines()] == [
        'unknown field "jwt[0].claimValidationRule"', 'field "jwt[0].issuer.audiences" must be a list',
    ]
    for text in ("- a", "jwt: [", "kind: AuthenticationConfiguration"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"authentication\.yaml"):
            configuration.read(path)
