from __future__ import annotations

import asyncio
import base64
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from apiserver_fakes import FakeObjects, namespace_object
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS
from podwright.api.status import ApiError
from podwright.apiserver.admission.chain import Chain, Plugin
from podwright.apiserver.admission.webhooks import MutatingAdmissionWebhook, ValidatingAdmissionWebhook
from podwright.apiserver.authorization import RBAC, Union
from podwright.apiserver.requests import AdmissionRequest, UserInfo

API = "admissionregistration.k8s.io/v1"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
Answer = Callable[[Object], Any]


class Hooks:
    """A webhook server; each path has an answer of its own."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, Object]] = []
        self.versions: list[str] = []
        self.port = 0
        self.bundle = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        review = orjson.loads(await request.read())
        self.asked.append((request.path, review["request"]))
        self.versions.append(review["apiVersion"])
        if request.path == "/slow":
            await asyncio.sleep(30)
        answer = self.answers[request.path](review["request"])
        if isinstance(answer, web.StreamResponse):
            return answer
        response = {"uid": review["request"]["uid"], **answer}
        envelope = response.pop("envelope", {k: review[k] for k in ("apiVersion", "kind")})
        return web.json_response({**envelope, "response": response})

    def hook(self, path: str, **more: Any) -> Object:
        return {
            "name": f"{path}.example.com",
            "clientConfig": {"url": f"https://127.0.0.1:{self.port}/{path}", "caBundle": self.bundle},
            "rules": [RULE],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 5,
            **more,
        }


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[Hooks]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hook")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("svc.ns.svc")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "cert.pem").write_bytes(pem)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    made = Hooks()
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    made.port, made.bundle = runner.addresses[0][1], base64.b64encode(pem).decode()
    yield made
    await runner.cleanup()


def configuration(kind: str, *webhooks: Object, name: str = "w") -> Object:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "webhooks": list(webhooks)}


def request(**more: Any) -> AdmissionRequest:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "ns"}, "data": {"a": "b"}}
    fields = {
        "user": UserInfo("u", groups=("g",)), "operation": "CREATE", "resource": CONFIGMAPS, "subresource": "",
        "namespace": "ns", "name": "c", "object": obj, "old_object": None, **more,
    }
    return AdmissionRequest(**fields)


async def run(
    kind: str, req: AdmissionRequest, *webhooks: Object, objects: tuple[Object, ...] = ()
) -> AdmissionRequest:
    fake = FakeObjects(namespace_object("ns"), configuration(f"{kind}WebhookConfiguration", *webhooks), *objects)
    rbac = RBAC(fake)
    plugin = {"Mutating": MutatingAdmissionWebhook, "Validating": ValidatingAdmissionWebhook}[kind]
    chain = Chain([plugin(fake, Union([rbac], rbac))])
    try:
        await chain.admit(req)
        await chain.validate(req)
    finally:
        await chain.close()
    return req


async def refused(kind: str, req: AdmissionRequest, *webhooks: Object) -> ApiError:
    with pytest.raises(ApiError) as error:
        await run(kind, req, *webhooks)
    return error.value


def patch(*operations: Object) -> Answer:
    encoded = base64.b64encode(orjson.dumps(operations)).decode()
    return lambda _: {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


async def test_a_validating_webhook_sees_the_request_and_may_refuse(hooks: Hooks) -> None:
    hooks.answers["/no"] = lambda _: {
        "allowed": False, "status": {"message": "not today", "code": 418, "reason": "Tea"}, "warnings": ["careful"],
    }
    req = request()
    error = await refused("Validating", req, hooks.hook("no"))
    assert str(error) == 'admission webhook "no.example.com" denied the request: not today'
    assert (error.code, error.reason, req.warnings) == (418, "Tea", ["careful"])
    asked = hooks.asked[0][1]
    assert asked["operation"] == "CREATE" and asked["object"]["data"] == {"a": "b"} and asked["oldObject"] is None
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert asked["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert asked["userInfo"] == {"username": "u", "groups": ["g"]}
    hooks.answers["/bare"] = lambda _: {"allowed": False}
    error = await refused("Validating", request(), hooks.hook("bare"))
    assert error.code == 400
    assert str(error) == 'admission webhook "bare.example.com" denied the request without explanation'


async def test_rules_selectors_and_conditions_choose(hooks: Hooks) -> None:
    other = {**RULE, "resources": ["pods"]}
    await run(
        "Validating",
        request(),
        hooks.hook("a", rules=[other]),
        hooks.hook("b", namespaceSelector={"matchLabels": {"x": "y"}}),
        hooks.hook("c", objectSelector={"matchLabels": {"x": "y"}}),
        hooks.hook("d", matchConditions=[{"name": "n", "expression": "request.userInfo.username != 'u'"}]),
    )
    assert not hooks.asked


async def test_a_mutating_webhook_patches_and_is_called_again_if_it_asks(hooks: Hooks) -> None:
    hooks.answers["/first"] = patch({"op": "add", "path": "/data/first", "value": "1"})
    hooks.answers["/second"] = patch({"op": "add", "path": "/data/second", "value": "2"})
    req = await run("Mutating", request(), hooks.hook("first", reinvocationPolicy="IfNeeded"), hooks.hook("second"))
    assert req.object is not None and req.object["data"] == {"a": "b", "first": "1", "second": "2"}
    assert [path for path, _ in hooks.asked] == ["/first", "/second", "/first"]
    assert hooks.asked[2][1]["object"]["data"]["second"] == "2"


async def test_other_plugins_see_what_a_webhook_changed(hooks: Hooks) -> None:
    hooks.answers["/x"] = patch({"op": "add", "path": "/data/x", "value": "1"})
    fake = FakeObjects(configuration("MutatingWebhookConfiguration", hooks.hook("x")))
    rbac = RBAC(fake)
    seen: list[list[str]] = []

    class Look(Plugin):
        def handles(self, request: AdmissionRequest) -> bool:
            return True

        async def admit(self, request: AdmissionRequest) -> None:
            seen.append(sorted((request.object or {})["data"]))

    chain = Chain([Look(), MutatingAdmissionWebhook(fake, Union([rbac], rbac))])
    await chain.admit(request())
    await chain.close()
    assert seen == [["a"], ["a", "x"]]
    assert len(hooks.asked) == 1

    class Follow(Plugin):
        """Adds what goes with what a webhook added; a webhook that asks for it sees that too."""

        def handles(self, request: AdmissionRequest) -> bool:
            return True

        async def admit(self, request: AdmissionRequest) -> None:
            data = (request.object or {})["data"]
            if "x" in data:
                data["followed"] = "1"

    for policy, calls in (("IfNeeded", 2), ("Never", 1)):
        hooks.asked.clear()
        fake = FakeObjects(configuration("MutatingWebhookConfiguration", hooks.hook("x", reinvocationPolicy=policy)))
        chain = Chain([Follow(), MutatingAdmissionWebhook(fake, Union([rbac], rbac))])
        await chain.admit(request())
        await chain.close()
        assert len(hooks.asked) == calls and ("followed" in hooks.asked[-1][1]["object"]["data"]) is (calls == 2)


async def test_failures_follow_the_failure_policy(hooks: Hooks) -> None:
    gone = {**hooks.hook("gone"), "clientConfig": {"url": "https://127.0.0.1:1/x", "caBundle": hooks.bundle}}
    error = await refused("Validating", request(), gone)
    assert (error.code, error.reason) == (500, "InternalError")
    assert str(error) == (
        'Internal error occurred: failed calling webhook "gone.example.com": failed to call webhook: Post'
        ' "https://127.0.0.1:1/x?timeout=5s": dial tcp 127.0.0.1:1: connect: connection refused'
    )
    req = await run("Validating", request(), {**gone, "failurePolicy": "Ignore"})
    assert req.audit == {"failed-open.validating.webhook.admission.k8s.io/round_0_index_0": "gone.example.com"}
    error = await refused("Mutating", request(), hooks.hook("slow", timeoutSeconds=1))
    assert str(error).endswith(f'Post "https://127.0.0.1:{hooks.port}/slow?timeout=1s": context deadline exceeded')


def status_answer(code: int, text: str = "", **status: Any) -> Answer:
    if status:
        return lambda _: web.json_response({"kind": "Status", "apiVersion": "v1", **status}, status=code)
    return lambda _: web.Response(text=text, status=code)


def encoded(text: bytes, **more: Any) -> Answer:
    return lambda _: {"allowed": True, "patch": base64.b64encode(text).decode(), **more}


@pytest.mark.parametrize(
    ("kind", "answer", "told"),
    [
        ("Validating", lambda _: {"uid": "other", "allowed": True},
         "received invalid webhook response: expected response.uid="),
        ("Validating", lambda _: {"envelope": {}, "allowed": True},
         "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview,"
         " got /, Kind="),
        ("Validating",
         lambda _: {"envelope": {"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}, "allowed": True},
         "failed to call webhook: converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): unknown conversion"),
        ("Validating", lambda _: web.json_response({"kind": "AdmissionReview"}),
         "received invalid webhook response: webhook response was absent"),
        ("Validating", encoded(b"[]"),
         "received invalid webhook response: validating webhook may not return response.patch"),
        ("Mutating", encoded(b"[]"),
         "received invalid webhook response: webhook returned response.patch but not response.patchType"),
        ("Mutating", lambda _: {"allowed": True, "patchType": "JSONPatch"},
         "received invalid webhook response: webhook returned response.patchType but not response.patch"),
        ("Mutating", encoded(b'[{"op":"x"}]', patchType="Merge"), 'unsupported patch type "Merge"'),
        ("Mutating", encoded(b"{", patchType="JSONPatch"), "received undecodable patch in webhook response: "),
        ("Mutating", status_answer(404), "failed to call webhook: the server could not find the requested resource"),
        ("Mutating", status_answer(500, "oh no\n"),
         'failed to call webhook: an error on the server ("oh no") has prevented the request from succeeding'),
        ("Mutating", status_answer(403, status="Failure", message="not you"), "failed to call webhook: not you"),
        ("Mutating", status_answer(503),
         "failed to call webhook: the server is currently unable to handle the request"),
        ("Mutating", status_answer(418),
         "failed to call webhook: the server responded with the status code 418 but did not return more information"),
        ("Mutating", status_answer(200, "no"), "failed to call webhook: couldn't get version/kind; json parse error: "),
    ],
)
async def test_answers_that_are_none_are_failures_in_upstreams_words(
    hooks: Hooks, kind: str, answer: Answer, told: str
) -> None:
    hooks.answers["/odd"] = answer
    error = await refused(kind, request(), hooks.hook("odd"))
    assert error.code == 500
    assert str(error).startswith(f'Internal error occurred: failed calling webhook "odd.example.com": {told}')
    await run(kind, request(), hooks.hook("odd", failurePolicy="Ignore"))


async def test_who_is_not_trusted_is_not_called(hooks: Hooks) -> None:
    for bundle, told in (
        ("", "tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        (hooks.bundle, "tls: failed to verify certificate: x509: certificate is not valid for any names, but wanted to"
                       " match localhost"),
    ):
        config = {"url": f"https://localhost:{hooks.port}/x", "caBundle": bundle}
        assert str(await refused("Validating", request(), hooks.hook("x", clientConfig=config))).endswith(told)
    config = {"url": f"https://127.0.0.1:{hooks.port}/x", "caBundle": base64.b64encode(b"nonsense").decode()}
    assert "could not get REST client: unable to load root certificates" in str(
        await refused("Validating", request(), hooks.hook("x", clientConfig=config))
    )
    assert not hooks.asked


async def test_reviews_of_the_first_version_that_is_known(hooks: Hooks) -> None:
    """v1beta1 is neither held to the request's uid nor to a patchType."""
    operations = orjson.dumps([{"op": "add", "path": "/data/x", "value": "1"}])
    hooks.answers["/old"] = encoded(operations, uid="", envelope={})
    req = await run("Mutating", request(), hooks.hook("old", admissionReviewVersions=["v2", "v1beta1", "v1"]))
    assert req.object is not None and req.object["data"] == {"a": "b", "x": "1"}
    assert hooks.versions == ["admission.k8s.io/v1beta1"]
    error = await refused("Mutating", request(), hooks.hook("old", admissionReviewVersions=["v2"]))
    assert str(error).endswith(
        "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
    )


async def test_what_webhooks_did_is_kept_for_the_audit(hooks: Hooks) -> None:
    operation = {"op": "add", "path": "/data/x", "value": "1"}
    hooks.answers["/x"] = patch(operation)
    hooks.answers["/y"] = lambda _: {"allowed": True}
    req = await run("Mutating", request(), hooks.hook("x"), hooks.hook("y"))
    found = {key: orjson.loads(value) for key, value in req.audit.items()}
    who = {"configuration": "w", "webhook": "x.example.com"}
    assert found == {
        "mutation.webhook.admission.k8s.io/round_0_index_0": {**who, "mutated": True},
        "patch.webhook.admission.k8s.io/round_0_index_0": {**who, "patch": [operation], "patchType": "JSONPatch"},
        "mutation.webhook.admission.k8s.io/round_0_index_1": {**who, "webhook": "y.example.com", "mutated": False},
    }


async def test_dry_run_needs_webhooks_without_side_effects(hooks: Hooks) -> None:
    error = await refused("Validating", request(dry_run=True), hooks.hook("x", sideEffects="Some"))
    assert str(error) == 'admission webhook "x.example.com" does not support dry run'
    hooks.answers["/x"] = lambda _: {"allowed": True}
    await run("Validating", request(dry_run=True), hooks.hook("x", sideEffects="NoneOnDryRun"))


async def test_a_service_is_reached_by_its_endpoint_under_its_own_name(hooks: Hooks) -> None:
    hooks.answers["/svc"] = lambda _: {"allowed": True, "auditAnnotations": {"k": "v"}}
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc", "namespace": "ns"},
        "spec": {"ports": [{"port": 443}]},
    }
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "svc-1", "namespace": "ns", "labels": {"kubernetes.io/service-name": "svc"}},
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}], "ports": [{"port": hooks.port}],
    }
    config = {"service": {"namespace": "ns", "name": "svc", "path": "/svc"}, "caBundle": hooks.bundle}
    req = await run("Validating", request(), hooks.hook("svc", clientConfig=config), objects=(service, slice_))
    assert req.audit == {"svc.example.com/k": "v"}
    error = await refused("Validating", request(), hooks.hook("svc", clientConfig=config))
    assert 'service "svc" not found' in str(error)


