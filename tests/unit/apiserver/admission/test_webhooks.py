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
Answer = Callable[[Object], Object]


class Hooks:
    """A webhook server; each path has an answer of its own."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, Object]] = []
        self.port = 0
        self.bundle = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        review = orjson.loads(await request.read())
        self.asked.append((request.path, review["request"]))
        if request.path == "/slow":
            await asyncio.sleep(30)
        response = {"uid": review["request"]["uid"], **self.answers[request.path](review["request"])}
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})

    def hook(self, path: str, **more: Any) -> Object:
        return {
            "name": f"{path}.example.com",
            "clientConfig": {"url": f"https://127.0.0.1:{self.port}/{path}", "caBundle": self.bundle},
            "rules": [RULE],
            "sideEffects": "None",
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


async def test_failures_follow_the_failure_policy(hooks: Hooks) -> None:
    gone = {**hooks.hook("gone"), "clientConfig": {"url": "https://127.0.0.1:1/x", "caBundle": hooks.bundle}}
    error = await refused("Validating", request(), gone)
    assert error.code == 500
    assert 'failed calling webhook "gone.example.com": failed to call webhook: Post' in str(error)
    await run("Validating", request(), {**gone, "failurePolicy": "Ignore"})
    error = await refused("Mutating", request(), hooks.hook("slow", timeoutSeconds=1))
    assert "context deadline exceeded" in str(error)
    hooks.answers["/odd"] = lambda _: {"uid": "other", "allowed": True}
    assert "expected response.uid" in str(await refused("Validating", request(), hooks.hook("odd")))


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


