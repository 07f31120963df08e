"""AuthorizationConfiguration and AuthenticationConfiguration, on a live server with a real webhook."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from podwright.apiserver.authorization import configuration

from .conftest import BOB, Pki, config_for, running
from .hook_server import https_server

MAPS = "/api/v1/namespaces/default/configmaps"


def authorization(directory: Path, port: int, policy: str, conditions: str = "[]", cached: str = "true") -> Path:
    (directory / "webhook").write_text(f"""
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{}}}}]
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{port}/", insecure-skip-tls-verify: true}}}}]
""")
    path = directory / "authorization.yaml"
    path.write_text(f"""
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: outside
  webhook:
    timeout: 3s
    cacheUnauthorizedRequests: {cached}
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: {policy}
    connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {directory}/webhook}}
    matchConditions: {conditions}
- {{type: Node, name: node}}
- {{type: RBAC, name: rbac}}
""")
    return path


async def test_a_webhook_with_conditions_before_the_others(pki: Pki, tmp_path: Path) -> None:
    asked: list[str] = []

    async def decide(request: web.BaseRequest) -> web.StreamResponse:
        review = json.loads(await request.read())
        verb = review["spec"]["resourceAttributes"]["verb"]
        asked.append(verb)
        return web.json_response({**review, "status": {"allowed": verb == "list", "denied": verb == "delete"}})

    conditions = (
        "[{expression: \"has(request.resourceAttributes) && request.user == 'bob'\"}, {expression: "
        "\"request.resourceAttributes.subresource == '' && (!has(request.resourceAttributes.labelSelector) || "
        "request.resourceAttributes.labelSelector.requirements.all(r, r.key == 'app' && r.operator == 'In'))\"}]"
    )
    async with https_server(pki, decide) as port:
        path = authorization(tmp_path, port, "NoOpinion", conditions, cached="false")
        config = config_for(pki, authorization_config=path)
        async with running(config) as api:
            for _ in range(2):
                assert (await api.get(MAPS, token=BOB)).status == 200
            assert (await api.get(f"{MAPS}?labelSelector=app%3Dx", token=BOB)).status == 200
            assert (await api.get(f"{MAPS}?labelSelector=app%21%3Dx", token=BOB)).status == 403
            for _ in range(2):
                assert (await api.get(f"{MAPS}/x", token=BOB)).status == 403
            assert (await api.delete(f"{MAPS}/x", token=BOB)).status == 403
            assert (await api.get(MAPS)).status == 200
            metrics = (await api.get("/metrics")).text
    for line in (
        'decisions_total{decision="denied",name="outside",type="Webhook"} 1.0',
        'webhook_evaluations_total{name="outside",result="success"} 5.0',
        'webhook_duration_seconds_count{name="outside",result="success"} 5.0',
        'match_condition_exclusions_total{name="outside",type="Webhook"} 1.0',
        'match_condition_evaluation_seconds_count{name="outside",type="Webhook"} 7.0',
    ):
        assert f"apiserver_authorization_{line}\n" in metrics
    told = "a yes is remembered, a no as the file says, and of administrators nobody asks"
    assert asked == ["list", "list", "get", "get", "delete"], told


@pytest.mark.parametrize(("policy", "status"), [("Deny", 403), ("NoOpinion", 201)])
async def test_a_webhook_that_cannot_be_asked(pki: Pki, tmp_path: Path, policy: str, status: int) -> None:
    async with running(config_for(pki, authorization_config=authorization(tmp_path, 1, policy))) as api:
        review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        assert (await api.post(path, review, token=BOB)).status == status
        metrics = (await api.get("/metrics")).text
        assert 'apiserver_authorization_webhook_evaluations_total{name="outside",result="error"}' in metrics
        open_ = 'apiserver_authorization_webhook_evaluations_fail_open_total{name="outside",result="error"}'
        assert (open_ in metrics) is (policy == "NoOpinion")


def test_files_that_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for text in ("kind: X", "kind: AuthorizationConfiguration\napiVersion: apiserver.config.k8s.io/v1",
                 "kind: AuthorizationConfiguration\napiVersion: apiserver.config.k8s.io/v1\n"
                 "authorizers: [{type: RBAC, name: a}, {type: RBAC, name: b}]"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"AuthorizationConfiguration|authorizers"):
            configuration.read(path)
    assert (configuration.seconds("1h2m3s"), configuration.seconds("1.5s")) == (3723.0, 1.5)


def test_a_webhook_is_checked_field_by_field() -> None:
    settings = {
        "timeout": "31s", "unauthorizedTTL": "-1ms", "failurePolicy": "Maybe", "subjectAccessReviewVersion": "v1",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "here"},
        "matchConditions": [{"expression": "request.usr == ''"}, {"expression": "request.user"}, {"expression": " "}],
    }
    entries = [{"type": "Webhook", "name": "a", "webhook": settings}, {"type": "ABAC", "name": "b"}]
    errs = configuration.errors_of(entries)
    assert [(e.field.removeprefix("authorizers[0]."), e.message.partition(":")[0]) for e in errs] == [
        ("timeout", "Invalid value"), ("unauthorizedTTL", "Invalid value"),
        ("matchConditionSubjectAccessReviewVersion", "Required value"), ("failurePolicy", "Unsupported value"),
        ("connectionInfo.kubeConfigFile", "Invalid value"), ("matchConditions[0].expression", "Invalid value"),
        ("matchConditions[1].expression", "Invalid value"), ("matchConditions[2].expression", "Required value"),
        ("authorizers[1].type", "Unsupported value"),
    ]
    settings["connectionInfo"] = {"type": "InClusterConfig"}
    (refused,) = [e for e in configuration.errors_of(entries) if "connectionInfo" in e.field]
    assert refused.message == 'Invalid value: "InClusterConfig": this mode is not allowed for kube-apiserver'
    assert "undefined field 'usr'" in errs[5].message and "must evaluate to bool" in errs[6].message


async def test_who_is_nobody(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "authentication.yaml"
    for setting, health, other in (
        ("{enabled: false}", 401, 401), ("{enabled: true}", 200, 403),
        ("{enabled: true, conditions: [{path: /livez}]}", 200, 401),
    ):
        path.write_text(
            f"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {setting}\n"
        )
        async with running(config_for(pki, authentication_config=path)) as api:
            assert (await api.get("/livez", token="")).status == health, setting
            assert (await api.get("/api/v1/nodes", token="")).status == other, setting
