from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import jwt
import orjson
import pytest
from apiserver_fakes import FakeObjects
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from podwright.api.objects import Object
from podwright.api.resources import BUILTIN
from podwright.api.status import ApiError
from podwright.apiserver import authentication, authorization
from podwright.apiserver.requests import Credentials, UserInfo
from podwright.apiserver.reviews import Reviews
from podwright.apiserver.tokens import TokenIssuer

ISSUER = "https://kubernetes.default.svc"
ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa", "namespace": "ns", "uid": "u-sa"}}
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "uid": "u-n"}}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "ns", "uid": "u-p"},
    "spec": {"serviceAccountName": "sa", "nodeName": "n"},
}
TO_POD = {"apiVersion": "v1", "kind": "Pod", "name": "p"}


@pytest.fixture
def server(tmp_path: Path) -> SimpleNamespace:
    key = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "sa.key"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    config = SimpleNamespace(
        service_account_signing_key=file, service_account_keys=(), service_account_issuer=ISSUER, api_audiences=(),
        service_account_max_token_seconds=0, token_file=None, bootstrap_tokens=False,
        authentication_config=None, client_ca=None, requestheader_client_ca=None,
    )
    objects = FakeObjects(ACCOUNT, POD, NODE)
    now = SimpleNamespace(seconds=1_000_000.0)
    issuer = TokenIssuer(config, objects, clock=lambda: now.seconds)  # type: ignore[arg-type]
    authenticator = authentication.build(config, objects, clock=lambda: now.seconds)  # type: ignore[arg-type]
    return SimpleNamespace(issuer=issuer, authenticator=authenticator, objects=objects, now=now)


def token_request(**spec: object) -> Object:
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec}


async def test_a_token_made_is_a_token_accepted_until_it_expires(server: SimpleNamespace) -> None:
    made = server.issuer.create("ns", "sa", token_request(boundObjectRef=TO_POD))
    token = made["status"]["token"]
    assert made["spec"]["expirationSeconds"] == 3600 and made["spec"]["audiences"] == [ISSUER]
    credentials = Credentials({"authorization": f"Bearer {token}"})
    user = await server.authenticator.authenticate(credentials)
    assert user.name == "system:serviceaccount:ns:sa"
    assert user.extra["authentication.kubernetes.io/node-name"] == ("n",)
    assert "system:authenticated" in user.groups
    server.now.seconds += 3601
    with pytest.raises(ApiError):
        await server.authenticator.authenticate(credentials)


def test_kubelet_tokens_outlive_their_warning(server: SimpleNamespace) -> None:
    token = server.issuer.create("ns", "sa", token_request(expirationSeconds=3607))["status"]["token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 365 * 24 * 3600
    assert claims["kubernetes.io"]["warnafter"] == claims["iat"] + 3607


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        ({"expirationSeconds": 10}, 422, "may not specify a duration less than 10 minutes"),
        ({"boundObjectRef": {**TO_POD, "name": "x"}}, 404, 'pods "x" not found'),
        ({"boundObjectRef": {**TO_POD, "uid": "z"}}, 409, "does not match the UID"),
        ({"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}}, 400, "cannot bind token"),
    ],
)
def test_requests_that_get_no_token(server: SimpleNamespace, spec: Object, code: int, text: str) -> None:
    with pytest.raises(ApiError) as error:
        server.issuer.create("ns", "sa", token_request(**spec))
    assert error.value.code == code and text in str(error.value)


def test_the_published_keys_verify_tokens(server: SimpleNamespace) -> None:
    token = server.issuer.create("ns", "sa", token_request())["status"]["token"]
    keys = jwt.PyJWKSet.from_json(server.issuer.jwks().decode())
    kid = jwt.get_unverified_header(token)["kid"]
    assert jwt.decode(token, keys[kid], algorithms=["ES256"], audience=ISSUER, options={"verify_exp": False})
    document = orjson.loads(server.issuer.openid_configuration("1.2.3.4:6443"))
    assert document["issuer"] == ISSUER and document["jwks_uri"] == "https://1.2.3.4:6443/openid/v1/jwks"


def reviews(server: SimpleNamespace) -> Reviews:
    objects = server.objects
    rbac = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
    objects.put(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
        }
    )
    objects.put(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "b", "namespace": "ns"}, "roleRef": rbac,
            "subjects": [{"kind": "User", "name": "alice"}],
        }
    )
    union = authorization.Union([rbac_ := authorization.RBAC(objects)], rbac_)
    return Reviews(server.authenticator, union, (ISSUER,))


def row(kind: str) -> object:
    group = "authentication.k8s.io/v1" if kind in ("TokenReview", "SelfSubjectReview") else "authorization.k8s.io/v1"
    return BUILTIN.by_kind(group, kind)


async def ask(made: Reviews, kind: str, spec: Object, ns: str = "") -> Object:
    answer = await made.create(row(kind), UserInfo("alice", "7", ("g",)), ns, {"kind": kind, "spec": spec})  # type: ignore[arg-type]
    return answer["status"]


async def test_reviews(server: SimpleNamespace) -> None:
    made = reviews(server)
    token = server.issuer.create("ns", "sa", token_request(audiences=["vault"]))["status"]["token"]
    status = await ask(made, "TokenReview", {"token": token, "audiences": ["vault"]})
    assert status["authenticated"] and status["user"]["username"] == "system:serviceaccount:ns:sa"
    assert status["audiences"] == ["vault"]
    assert "authenticated" not in await ask(made, "TokenReview", {"token": token})
    assert await ask(made, "SelfSubjectReview", {}) == {"userInfo": {"username": "alice", "uid": "7", "groups": ["g"]}}
    get = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "ns"}}
    assert (await ask(made, "SelfSubjectAccessReview", get))["allowed"] is True
    assert (await ask(made, "SubjectAccessReview", {**get, "user": "bob"}))["allowed"] is False
    rules = await ask(made, "SelfSubjectRulesReview", {"namespace": "ns"})
    assert rules["resourceRules"] == [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]
    with pytest.raises(ApiError) as error:
        await ask(made, "LocalSubjectAccessReview", {**get, "user": "bob"}, "other")
    assert error.value.code == 422
    with pytest.raises(ApiError) as error:
        await ask(made, "SelfSubjectAccessReview", {})
    assert error.value.code == 422
