"""Admission plugins that do not run by default, and the settings of those that have some, on a live server."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from podwright.apiserver import admission
from podwright.apiserver.admission import event_rate_limit, pod_node_selector, pod_toleration_restriction
from podwright.apiserver.admission.configuration import Settings

from .conftest import BOB, Answer, Api, Pki, config_for, config_map, pod, running, service_account
from .hook_server import https_server

NS = "/api/v1/namespaces/default"
PODS = f"{NS}/pods"


def settings(path: Path, **plugins: Any) -> Path:
    listed = [{"name": name, "configuration": given} for name, given in plugins.items()]
    document = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": listed}
    path.write_text(json.dumps(document))
    return path


@asynccontextmanager
async def plugged(pki: Pki, *names: str, **more: Any) -> AsyncIterator[Api]:
    async with running(config_for(pki, enabled_admission_plugins=names, **more)) as api:
        await service_account(api)
        yield api


def refusal(answer: Answer, code: int = 403) -> str:
    assert answer.status == code, answer.text
    return str(answer.json["message"])


async def annotate(api: Api, key: str, value: str | None) -> None:
    answer = await api.patch("/api/v1/namespaces/default", {"metadata": {"annotations": {key: value}}})
    assert answer.status == 200


async def test_names_of_plugins(pki: Pki) -> None:
    upstream = """
        AlwaysAdmit NamespaceAutoProvision NamespaceLifecycle NamespaceExists LimitPodHardAntiAffinityTopology
        LimitRanger ServiceAccount NodeRestriction TaintNodesByCondition AlwaysPullImages ImagePolicyWebhook
        PodSecurity PodNodeSelector Priority DefaultTolerationSeconds PodTolerationRestriction EventRateLimit
        ExtendedResourceToleration DefaultStorageClass StorageObjectInUseProtection PodGroupProtection
        OwnerReferencesPermissionEnforcement PersistentVolumeClaimResize RuntimeClass CertificateApproval
        CertificateSigning ClusterTrustBundleAttest CertificateSubjectRestriction DefaultIngressClass
        DenyServiceExternalIPs PodTopologyLabels PodGroupWorkloadExists NodeDeclaredFeatureValidator JobValidation
        PodResizeValidator MutatingAdmissionPolicy MutatingAdmissionWebhook ValidatingAdmissionPolicy
        ValidatingAdmissionWebhook ResourceQuota AlwaysDeny
    """.split()  # noqa: SIM905
    ours = [plugin.name for plugin, _ in admission._PLUGINS]
    assert ours == [name for name in upstream if name not in admission._WITHOUT_RULES]
    assert set(upstream) == {*ours, *admission._WITHOUT_RULES}
    for enabled, disabled, said in (
        (["Nothing"], [], "unknown admission plugin 'Nothing'"), (["AlwaysAdmit"], ["AlwaysAdmit"], "overlapped"),
    ):
        config = config_for(pki, enabled_admission_plugins=enabled, disabled_admission_plugins=disabled)
        with pytest.raises(ValueError, match=said):
            async with running(config):
                raise AssertionError


async def test_plugins_of_pods(pki: Pki) -> None:
    names = ("AlwaysPullImages", "ExtendedResourceToleration", "LimitPodHardAntiAffinityTopology", "PodNodeSelector",
             "PodTolerationRestriction")
    async with plugged(pki, *names) as api:
        container = {"name": "c", "image": "busybox", "imagePullPolicy": "Never"}
        asking = {**container, "resources": {"limits": {"example.com/gpu": "1"}, "requests": {"example.com/gpu": "1"}}}
        volumes = [{"name": "v", "image": {"reference": "data", "pullPolicy": "IfNotPresent"}}]
        await annotate(api, pod_node_selector.ANNOTATION, "disk=ssd, zone=a")
        default = [{"key": "team", "operator": "Equal", "value": "x", "effect": "NoSchedule"}]
        await annotate(api, pod_toleration_restriction.DEFAULTS, json.dumps(default))
        made = pod("a", containers=[asking], initContainers=[{**container, "name": "i"}], volumes=volumes,
                   nodeSelector={"own": "1"})
        spec = (await api.post(PODS, made)).json["spec"]
        assert {c["imagePullPolicy"] for c in (*spec["containers"], *spec["initContainers"])} == {"Always"}
        assert spec["volumes"][0]["image"]["pullPolicy"] == "Always"
        assert spec["nodeSelector"] == {"disk": "ssd", "zone": "a", "own": "1"}
        assert {"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
        assert default[0] in spec["tolerations"]
        changed = await api.patch(f"{PODS}/a", {"spec": {"containers": [{"name": "c", "image": "other"}]}},
                                  "strategic-merge-patch+json")
        assert changed.status == 200 and changed.json["spec"]["containers"][0]["imagePullPolicy"] == "Always"

        said = refusal(await api.post(PODS, pod("b", nodeSelector={"disk": "hdd"})))
        assert said == 'pods "b" is forbidden: pod node label selector conflicts with its namespace node label selector'
        term = {"labelSelector": {}, "topologyKey": "zone"}
        spread = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        assert refusal(await api.post(PODS, pod("b", affinity=spread))) == (
            'pods "b" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only '
            "key kubernetes.io/hostname is allowed"
        )
        term["topologyKey"] = "kubernetes.io/hostname"
        assert (await api.post(PODS, pod("b", affinity=spread))).status == 201
        allowed = [*default, {"operator": "Exists", "effect": "NoExecute"}]
        await annotate(api, pod_toleration_restriction.ALLOWED, json.dumps(allowed))
        assert (await api.post(PODS, pod("c"))).status == 201
        other = [{"key": "other", "operator": "Exists", "effect": "NoSchedule"}]
        assert refusal(await api.post(PODS, pod("d", tolerations=other))) == (
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"
        )
        burstable = {**container, "resources": {"requests": {"cpu": "1"}}}
        refusal(await api.post(PODS, pod("d", containers=[burstable])))
        await annotate(api, pod_toleration_restriction.ALLOWED, None)
        spec = (await api.post(PODS, pod("d", containers=[burstable]))).json["spec"]
        memory = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}
        assert memory in spec["tolerations"]
        await annotate(api, pod_node_selector.ANNOTATION, "no selector")
        assert "invalid selector" in refusal(await api.post(PODS, pod("e")), 500)


async def test_plugins_of_namespaces_services_and_owners(pki: Pki) -> None:
    names = ("NamespaceAutoProvision", "NamespaceExists", "DenyServiceExternalIPs",
             "OwnerReferencesPermissionEnforcement")
    async with plugged(pki, *names) as api:
        answer = await api.post("/api/v1/namespaces/fresh/configmaps?dryRun=All", config_map("a"))
        assert answer.status == 404, "a trial makes no namespace"
        assert (await api.post("/api/v1/namespaces/fresh/configmaps", config_map("a"))).status == 201
        assert (await api.get("/api/v1/namespaces/fresh")).json["status"]["phase"] == "Active"
        assert (await api.delete("/api/v1/namespaces/none/configmaps/a")).status == 404

        def service(*addresses: str) -> dict[str, Any]:
            spec = {"ports": [{"port": 80}], "externalIPs": list(addresses)}
            return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}

        denied = 'services "s" is forbidden: Use of external IPs is denied by admission control'
        assert refusal(await api.post(f"{NS}/services", service("192.0.2.1"))) == denied
        assert (await api.post(f"{NS}/services", service())).status == 201
        assert refusal(await api.patch(f"{NS}/services/s", {"spec": {"externalIPs": ["192.0.2.1"]}})) == denied

        rules = [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "update", "patch", "get"]},
            {"apiGroups": ["apps"], "resources": ["deployments/finalizers"], "verbs": ["update"]},
        ]
        rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}, "rules": rules}
        assert (await api.post(f"{rbac}/roles", role)).status == 201
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "r"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}],
        }
        assert (await api.post(f"{rbac}/rolebindings", binding)).status == 201

        def owned(name: str, version: str, kind: str, **more: Any) -> dict[str, Any]:
            owner = {"apiVersion": version, "kind": kind, "name": "o", "uid": "u", **more}
            return {**config_map(name), "metadata": {"name": name, "ownerReferences": [owner]}}

        maps = f"{NS}/configmaps"
        assert (await api.post(maps, owned("a", "v1", "Pod"), token=BOB)).status == 201
        blocking = {"blockOwnerDeletion": True}
        assert (await api.post(maps, owned("b", "apps/v1", "Deployment", **blocking), token=BOB)).status == 201
        for version, kind, said in (
            ("v1", "Pod", "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set"),
            ("v1", "Nothing", "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for"),
        ):
            assert said in refusal(await api.post(maps, owned("c", version, kind, **blocking), token=BOB))
        assert (await api.post(maps, config_map("c"), token=BOB)).status == 201
        change = {"metadata": owned("c", "v1", "Pod")["metadata"]}
        said = refusal(await api.patch(f"{maps}/c", change, token=BOB))
        assert "cannot set an ownerRef on a resource you can't delete" in said
        assert (await api.patch(f"{maps}/c", {"data": {"x": "y"}}, token=BOB)).status == 200
        assert (await api.patch(f"{maps}/c", change)).status == 200


async def test_everything_is_denied(pki: Pki) -> None:
    async with running(config_for(pki, enabled_admission_plugins=("AlwaysDeny",))) as api:
        said = refusal(await api.post(f"{NS}/configmaps", config_map("a")))
        assert said == 'configmaps "a" is forbidden: admission control is denying all modifications'
        assert (await api.get(f"{NS}/configmaps")).status == 200


async def test_settings_of_selectors_tolerations_quotas_and_events(pki: Pki, tmp_path: Path) -> None:
    toleration = {"key": "all", "operator": "Exists"}
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": ["system-cluster-critical"]}
    path = settings(
        tmp_path / "admission.yaml",
        PodNodeSelector={
            "podNodeSelectorPluginConfig": {"clusterDefaultNodeSelector": "pool=general", "default": "pool=general,x=y"}
        },
        PodTolerationRestriction={
            "apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1", "kind": "Configuration",
            "default": [toleration],
        },
        ResourceQuota={
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "ResourceQuotaConfiguration",
            "limitedResources": [
                {"resource": "persistentvolumeclaims", "matchContains": ["requests.storage"]},
                {"resource": "pods", "matchScopes": [scope]},
            ],
        },
        EventRateLimit={
            "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1", "kind": "Configuration",
            "limits": [{"type": "Namespace", "qps": 1, "burst": 3}],
        },
        AlwaysPullImages=None,
    )
    names = ("PodNodeSelector", "PodTolerationRestriction", "EventRateLimit")
    async with plugged(pki, *names, admission_config=path) as api:
        spec = (await api.post(PODS, pod("a"))).json["spec"]
        assert spec["nodeSelector"] == {"pool": "general"} and toleration in spec["tolerations"]
        said = refusal(await api.post(PODS, pod("b", nodeSelector={"other": "z"})))
        assert said.endswith("pod node label selector labels conflict with its namespace whitelist")

        claim = {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        claims = f"{NS}/persistentvolumeclaims"
        said = refusal(await api.post(claims, claim))
        assert said == 'persistentvolumeclaims "c" is forbidden: insufficient quota to consume: requests.storage'
        critical = pod("p", priorityClassName="system-cluster-critical")
        assert refusal(await api.post(PODS, critical)) == (
            "insufficient quota to match these scopes: [{PriorityClass In [system-cluster-critical]}]"
        )
        for name, quota in (
            ("claims", {"hard": {"requests.storage": "1Gi"}}),
            ("critical", {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [scope]}}),
        ):
            body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": quota}
            assert (await api.post(f"{NS}/resourcequotas", body)).status == 201
        assert (await api.post(claims, claim)).status == 201
        assert (await api.post(PODS, critical)).status == 201

        def event(name: str) -> dict[str, Any]:
            involved = {"kind": "Pod", "namespace": "default", "name": "a"}
            return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "involvedObject": involved}

        answers = [await api.post(f"{NS}/events", event(f"e{i}")) for i in range(30)]
        refused = [answer for answer in answers if answer.status != 201]
        assert len(refused) < 28 and refusal(refused[0], 429) == "limit reached on type Namespace for key default"


def test_events_are_let_in_by_rate_and_burst(tmp_path: Path) -> None:
    now = [100.0]
    limit = event_rate_limit._Limit({"type": "User", "qps": 2, "burst": 3, "cacheSize": 2}, lambda: now[0])
    assert [limit.take("a") for _ in range(4)] == [True, True, True, False]
    now[0] += 0.5
    assert [limit.take("a") for _ in range(2)] == [True, False]
    assert limit.take("b") and limit.take("c")
    assert [limit.take("a") for _ in range(4)] == [True, True, True, False], "it was forgotten for others"
    limits = [{"type": "Source", "qps": 0, "burst": 1}, {"type": "User", "qps": 1, "burst": 1, "cacheSize": -1}]
    assert [e.field for e in event_rate_limit._errors({"limits": limits})] == [
        "limits[0].type", "limits[0].qps", "limits[1].cacheSize",
    ]


@pytest.mark.parametrize(("name", "given", "said"), [
    ("EventRateLimit", {"apiVersion": "eventratelimit.admission.k8s.io/v1alpha1", "kind": "Configuration"}, "limits"),
    ("EventRateLimit", {"kind": "Configuration"}, "no Configuration"),
    ("PodNodeSelector", {"podNodeSelectorPluginConfig": {"a": "no selector"}}, "invalid selector"),
    ("PodNodeSelector", {"podNodeSelectorPluginConfig": {"a": 1}}, "must be a string"),
    ("ResourceQuota", {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "ResourceQuotaConfiguration",
                       "limitedResources": [{}]}, r"limitedResources\[0\]\.resource: Required value"),
    ("ValidatingAdmissionWebhook", {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration",
                                    "kubeConfigFile": "here"}, "must be an absolute file path"),
    ("ImagePolicyWebhook", {"imagePolicy": {"allowTTL": 4000}}, "allowTTL: valid value is between"),
    ("Nothing", {}, "there is no plugin 'Nothing'"),
])  # fmt: skip
async def test_settings_that_are_refused(pki: Pki, tmp_path: Path, name: str, given: Any, said: str) -> None:
    path = settings(tmp_path / "admission.yaml", **{name: given})
    enabled = (name,) if name != "Nothing" else ()
    with pytest.raises(ValueError, match=said):
        async with running(config_for(pki, enabled_admission_plugins=enabled, admission_config=path)):
            raise AssertionError


def test_the_old_files_of_two_plugins(tmp_path: Path) -> None:
    path = tmp_path / "admission.yaml"
    path.write_text(
        "podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: a=b}\nimagePolicy: {defaultAllow: true}\n"
    )
    found = Settings(path, ())
    assert pod_node_selector.selectors_of(found) == {"clusterDefaultNodeSelector": {"a": "b"}}
    assert found.of("ImagePolicyWebhook", {}, {"imagePolicy": None}) == {"imagePolicy": {"defaultAllow": True}}


def kubeconfig(path: Path, pki: Pki, server: str, user: str = "u") -> Path:
    pair = {f"client-{part}-data": base64.b64encode(pki.path(f"admin.{end}").read_bytes()).decode()
            for part, end in (("certificate", "crt"), ("key", "key"))}
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": str(pki.path("ca.crt"))}}],
        "users": [{"name": user, "user": {**pair, "token": "shown"}}],
    }))  # fmt: skip
    return path


def shown(request: web.BaseRequest) -> tuple[str, bool]:
    """The token and whether the administrator's certificate came with it."""
    assert request.transport is not None
    tls: ssl.SSLObject = request.transport.get_extra_info("ssl_object")
    certificate = tls.getpeercert() or {}
    return request.headers.get("Authorization", ""), "kubernetes-admin" in str(certificate.get("subject"))


@pytest.mark.parametrize("default", [False, True])
async def test_an_outside_service_judges_images(pki: Pki, tmp_path: Path, default: bool) -> None:
    asked: list[Any] = []

    async def judge(request: web.BaseRequest) -> web.StreamResponse:
        review = json.loads(await request.read())
        asked.append((review["spec"], shown(request)))
        images = {container["image"] for container in review["spec"]["containers"]}
        if "broken" in images:
            return web.Response(status=400)
        status = {"allowed": "evil" not in images, "reason": "no evil", "auditAnnotations": {"seen": "yes"}}
        return web.json_response({**review, "status": status})

    async with https_server(pki, judge, client_ca=str(pki.path("ca.crt"))) as port:
        file = kubeconfig(tmp_path / "kubeconfig", pki, f"https://127.0.0.1:{port}/judge")
        policy = {"imagePolicy": {"kubeConfigFile": str(file), "defaultAllow": default, "retryBackoff": 1}}
        path = settings(tmp_path / "admission.yaml", ImagePolicyWebhook=policy)
        async with plugged(pki, "ImagePolicyWebhook", admission_config=path) as api:

            def of(image: str) -> dict[str, Any]:
                made = pod(image, containers=[{"name": "c", "image": image}])
                made["metadata"]["annotations"] = {"a.image-policy.k8s.io/b": "c", "other": "d"}
                return made

            assert (await api.post(PODS, of("good"))).status == 201
            said = refusal(await api.post(PODS, of("evil")))
            assert said == (
                'pods "evil" is forbidden: image policy webhook backend denied one or more images: no evil'
            )
            refusal(await api.post(PODS, of("evil")))
            assert (await api.post(PODS, of("broken"))).status == (201 if default else 403)
    spec = {"containers": [{"image": "good"}], "annotations": {"a.image-policy.k8s.io/b": "c"}, "namespace": "default"}
    assert asked[0] == (spec, ("Bearer shown", True))
    assert len(asked) == 3, "an answer is remembered, a failure is not, and no client's fault is asked of again"


async def test_who_the_server_is_to_webhooks(pki: Pki, tmp_path: Path) -> None:
    asked: list[tuple[str, bool]] = []

    async def allow(request: web.BaseRequest) -> web.StreamResponse:
        review = json.loads(await request.read())
        asked.append(shown(request))
        return web.json_response({**review, "response": {"uid": review["request"]["uid"], "allowed": True}})

    async with https_server(pki, allow, client_ca=str(pki.path("ca.crt"))) as port:
        file = kubeconfig(tmp_path / "kubeconfig", pki, "https://unused", f"localhost:{port}")
        given = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration",
                 "kubeConfigFile": str(file)}
        path = settings(tmp_path / "admission.yaml", ValidatingAdmissionWebhook=given)
        async with running(config_for(pki, admission_config=path)) as api:
            bundle = base64.b64encode(pki.path("ca.crt").read_bytes()).decode()
            for host in ("localhost", "127.0.0.1"):
                hook = {
                    "name": "a.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "clientConfig": {"url": f"https://{host}:{port}/", "caBundle": bundle},
                    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                               "resources": ["configmaps"]}],
                }
                body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                        "metadata": {"name": "h"}, "webhooks": [hook]}
                hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
                assert (await api.post(hooks, body)).status == 201
                assert (await api.post(f"{NS}/configmaps", config_map(host))).status == 201
                assert (await api.delete(f"{hooks}/h")).status == 200
    assert asked == [("Bearer shown", True), ("", False)], "only where the kubeconfig has a user for the host"
