from __future__ import annotations

import asyncio
import base64
import datetime as dt
from collections.abc import Callable

import jwt
import pytest
from apiserver_fakes import FakeObjects
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from podwright.api.objects import Object
from podwright.api.resources import PODS, SECRETS, SERVICEACCOUNTS
from podwright.api.status import ApiError
from podwright.apiserver.authentication import Union, bearer_token
from podwright.apiserver.authentication.anonymous import user_for
from podwright.apiserver.authentication.bootstrap_tokens import BootstrapTokens
from podwright.apiserver.authentication.impersonation import impersonate
from podwright.apiserver.authentication.legacy_tokens import LAST_USED, TYPE, LegacyTokens
from podwright.apiserver.authentication.service_account import INVALID_SINCE, ServiceAccountTokens, key_id
from podwright.apiserver.authentication.static_tokens import StaticTokens
from podwright.apiserver.authentication.x509 import ClientCertificates
from podwright.apiserver.requests import Attributes, Credentials, Decision, UserInfo

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(cn: str, groups: list[str], usage: x509.ObjectIdentifier | None = None) -> bytes:
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, cn)] if cn else []
    subject += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in groups]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=1))
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def at(days: float) -> ClientCertificates:
    return ClientCertificates(clock=(NOW + dt.timedelta(days=days)).timestamp)


def test_a_certificate_gives_user_and_groups() -> None:
    user = at(0.5).authenticate_certificate(certificate("alice", ["dev", "ops"], ExtendedKeyUsageOID.CLIENT_AUTH))
    assert user is not None
    assert (user.name, list(user.groups)) == ("alice", ["dev", "ops", "system:authenticated"])


@pytest.mark.parametrize("days", [-1, 2])
def test_a_certificate_outside_its_time_is_refused(days: int) -> None:
    with pytest.raises(ApiError) as error:
        at(days).authenticate_certificate(certificate("alice", []))
    assert error.value.code == 401


def test_a_serving_certificate_and_rubbish_are_refused() -> None:
    for der in (certificate("alice", [], ExtendedKeyUsageOID.SERVER_AUTH), b"rubbish"):
        with pytest.raises(ApiError):
            at(0.5).authenticate_certificate(der)


ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa", "namespace": "ns", "uid": "u-sa"}}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns", "uid": "u-p"}, "spec": {}}
ISSUER = "https://issuer"


def claims(**more: object) -> dict[str, object]:
    private = {"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "u-sa"}, "pod": {"name": "p", "uid": "u-p"}}
    return {"iss": ISSUER, "aud": [ISSUER], "exp": 1000, "nbf": 0, "jti": "j", "kubernetes.io": private, **more}


def signed(payload: dict[str, object], key: object = KEY, algorithm: str = "ES256") -> str:
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": key_id(KEY.public_key())})  # type: ignore[arg-type]


def tokens(
    objects: FakeObjects, now: float = 500, used: Callable[[Object], None] = lambda secret: None
) -> ServiceAccountTokens:
    key = KEY.public_key()
    return ServiceAccountTokens(
        {key_id(key): key}, issuer=ISSUER, audiences=(ISSUER,), objects=objects, clock=lambda: now, used=used
    )


async def test_a_bound_token_names_account_and_pod() -> None:
    user = await tokens(FakeObjects(ACCOUNT, POD)).authenticate_token(signed(claims()), ())
    assert user is not None and user.name == "system:serviceaccount:ns:sa" and user.uid == "u-sa"
    assert "system:serviceaccounts:ns" in user.groups
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)


async def test_a_token_dies_with_what_it_is_bound_to() -> None:
    for resource, name in ((PODS, "p"), (SERVICEACCOUNTS, "sa")):
        objects = FakeObjects(ACCOUNT, POD)
        authenticator = tokens(objects)
        assert await authenticator.authenticate_token(signed(claims()), ())
        objects.remove(resource, "ns", name)
        with pytest.raises(ApiError):
            await authenticator.authenticate_token(signed(claims()), ())


@pytest.mark.parametrize(
    "token",
    [
        signed(claims(exp=400)),
        signed(claims(nbf=900)),
        signed(claims(aud=["other"])),
        signed(claims(), ec.generate_private_key(ec.SECP256R1())),
        signed({k: v for k, v in claims().items() if k != "exp"}),
        jwt.encode(claims(), None, algorithm="none"),
        jwt.encode(claims(), "x" * 40, algorithm="HS256"),
        signed(claims()) + "x",
    ],
    ids=["expired", "early", "audience", "key", "no-expiry", "none", "hmac", "signature"],
)
async def test_bad_tokens_are_401(token: str) -> None:
    union = Union(ClientCertificates(), [tokens(FakeObjects(ACCOUNT, POD))])
    with pytest.raises(ApiError) as error:
        await union.authenticate(Credentials({"authorization": f"Bearer {token}"}))
    assert error.value.code == 401


async def test_tokens_of_other_audiences_are_reviewed_for_these() -> None:
    user = await tokens(FakeObjects(ACCOUNT, POD)).authenticate_token(signed(claims(aud=["vault"])), ["vault"])
    assert user is not None


async def test_a_legacy_token_lives_as_long_as_its_secret() -> None:
    prefix = "kubernetes.io/serviceaccount/"
    token = signed(
        {
            "iss": "kubernetes/serviceaccount",
            "sub": "system:serviceaccount:ns:sa",
            prefix + "namespace": "ns",
            prefix + "secret.name": "t",
            prefix + "service-account.name": "sa",
            prefix + "service-account.uid": "u-sa",
        }
    )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "t", "namespace": "ns"},
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }
    objects = FakeObjects(ACCOUNT, secret | {"type": TYPE})
    legacy = LegacyTokens(objects, objects, lambda: 86400.0)
    authenticator = tokens(objects, used=legacy.used)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        noting = group.create_task(legacy.run())
        assert await authenticator.authenticate_token(token, ())
        while not (marks := (objects.get(SECRETS, "ns", "t") or {})["metadata"].get("labels")):
            await asyncio.sleep(0)
        assert marks == {LAST_USED: "1970-01-02"}
        assert await authenticator.authenticate_token(token, ())
        await asyncio.sleep(0)
        assert len(objects.writes) == 1, "once a day"
        noting.cancel()
    marked = secret | {"metadata": {"name": "t", "namespace": "ns", "labels": {INVALID_SINCE: "1970-01-01"}}}
    objects.put(marked)
    with pytest.raises(ApiError):
        await authenticator.authenticate_token(token, ())
    objects.put(secret)
    assert await authenticator.authenticate_token(token, ())
    objects.remove(SECRETS, "ns", "t")
    with pytest.raises(ApiError):
        await authenticator.authenticate_token(token, ())


async def test_static_tokens() -> None:
    found = await StaticTokens([["tok", "bob", "7", "a, b"]]).authenticate_token("tok", ())
    assert found == UserInfo("bob", "7", ("a", "b"))
    assert await StaticTokens([["tok", "bob", "7"]]).authenticate_token("tik", ()) is None
    with pytest.raises(ValueError, match="line 1"):
        StaticTokens([["tok", "bob"]])


def bootstrap_secret(**data: str) -> dict[str, object]:
    values = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:workers",
        **data,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "data": {k: base64.b64encode(v.encode()).decode() for k, v in values.items()},
    }


async def test_bootstrap_tokens() -> None:
    token = "abcdef.0123456789abcdef"
    user = await BootstrapTokens(FakeObjects(bootstrap_secret())).authenticate_token(token, ())
    assert user == UserInfo("system:bootstrap:abcdef", groups=("system:bootstrappers", "system:bootstrappers:workers"))
    for bad in (
        bootstrap_secret(expiration="2020-01-01T00:00:00Z"),
        bootstrap_secret(**{"usage-bootstrap-authentication": "false"}),
        bootstrap_secret(**{"token-secret": "fedcba9876543210"}),
        bootstrap_secret(**{"auth-extra-groups": "system:masters"}),
    ):
        assert await BootstrapTokens(FakeObjects(bad)).authenticate_token(token, ()) is None


async def test_no_credentials_are_nobody_and_only_health_is_open() -> None:
    assert await Union(ClientCertificates(), []).authenticate(Credentials({})) is None
    assert user_for("/readyz/ping") is not None and user_for("/version") is not None
    assert user_for("/api") is None


def test_a_websocket_may_carry_its_token_in_a_subprotocol() -> None:
    text = base64.urlsafe_b64encode(b"tok").rstrip(b"=").decode()
    headers = {
        "upgrade": "websocket",
        "sec-websocket-protocol": f"base64url.bearer.authorization.k8s.io.{text}, v5.channel.k8s.io",
    }
    assert bearer_token(Credentials(headers)) == "tok"


class Asked:
    def __init__(self, allowed: bool) -> None:
        self.allowed = allowed
        self.asked: list[Attributes] = []

    async def authorize(self, attributes: Attributes) -> Decision:
        self.asked.append(attributes)
        return Decision(self.allowed)


async def test_impersonation_asks_for_each_thing_taken_on() -> None:
    asked = Asked(True)
    headers = [
        ("Impersonate-User", "bob"), ("Impersonate-Group", "g1"), ("Impersonate-Group", "g2"),
        ("Impersonate-Uid", "7"), ("Impersonate-Extra-Scopes", "view"),
    ]
    user = await impersonate(UserInfo("root"), headers, asked)
    assert user == UserInfo("bob", "7", ("g1", "g2", "system:authenticated"), {"scopes": ["view"]})
    assert [(a.resource, a.name) for a in asked.asked] == [
        ("users", "bob"), ("groups", "g1"), ("groups", "g2"), ("userextras", "view"), ("uids", "7"),
    ]


async def test_impersonation_without_permission_is_403() -> None:
    with pytest.raises(ApiError) as error:
        await impersonate(UserInfo("eve"), [("Impersonate-User", "root")], Asked(False))
    assert error.value.code == 403
    assert 'User "eve" cannot impersonate resource "users" in API group "" at the cluster scope' in str(error.value)
    assert await impersonate(UserInfo("eve"), [], Asked(False)) is None
