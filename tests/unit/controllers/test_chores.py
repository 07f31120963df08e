"""The small controllers: aggregation, tokens, annotations, Leases, resource claims."""

from __future__ import annotations

import base64

import jwt
import pytest
from controller_harness import Harness, make_node, make_pod

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import (
    BUILTIN,
    CLUSTERROLES,
    CONFIGMAPS,
    IPADDRESSES,
    LEASES,
    NODES,
    PODS,
    RESOURCECLAIMS,
    RESOURCECLAIMTEMPLATES,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICECIDRS,
)
from podwright.controllers.admission_policy_status import AdmissionPolicyStatusController
from podwright.controllers.bootstrap import BootstrapSigner, TokenCleaner
from podwright.controllers.clusterrole_aggregation import ClusterRoleAggregationController
from podwright.controllers.config import ControllerConfig
from podwright.controllers.flow_schema_status import FlowSchemaStatusController
from podwright.controllers.lease_cleanup import LeaseCleanupController
from podwright.controllers.legacy_token_cleaner import INVALID_SINCE, LAST_USED, TRACKING, LegacyTokenCleaner
from podwright.controllers.node_ttl import ANNOTATION, NodeTTLController
from podwright.controllers.resource_claims import ResourceClaimController
from podwright.controllers.service_account_tokens import TYPE, UID, ServiceAccountTokenController
from podwright.controllers.service_cidrs import FINALIZER, ServiceCIDRController


def encoded(**data: str) -> dict[str, str]:
    return {k.replace("_", "-"): base64.b64encode(v.encode()).decode() for k, v in data.items()}


def rule(verb: str) -> Object:
    return {"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}


async def test_cluster_roles_are_aggregated_and_follow() -> None:
    async with Harness().running(ClusterRoleAggregationController) as h:
        selectors = [{"matchLabels": {"to": "view"}}]
        h.api.add(CLUSTERROLES, {"metadata": {"name": "view"}, "aggregationRule": {"clusterRoleSelectors": selectors}})
        for name, verb in (("b", "get"), ("a", "list"), ("c", "get")):
            h.api.add(CLUSTERROLES, {"metadata": {"name": name, "labels": {"to": "view"}}, "rules": [rule(verb)]})
        await h.settle()
        assert h.api.read(CLUSTERROLES, "view")["rules"] == [rule("list"), rule("get")]
        h.api.remove(CLUSTERROLES, "a")
        await h.settle()
        assert h.api.read(CLUSTERROLES, "view")["rules"] == [rule("get")]


def bootstrap_token(name: str, **more: str) -> Object:
    return {
        "metadata": {"name": f"bootstrap-token-{name}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": encoded(token_id=name, token_secret="0123456789abcdef", usage_bootstrap_signing="true", **more),
    }


async def test_expired_bootstrap_tokens_go() -> None:
    async with Harness().running(TokenCleaner) as h:
        h.api.add(SECRETS, bootstrap_token("aaaaaa", expiration="2025-01-01T02:00:00Z"))
        h.api.add(SECRETS, bootstrap_token("bbbbbb"))
        await h.advance(7190)
        assert len(h.api.objects(SECRETS)) == 2
        await h.advance(20)
        assert [objects.name(s) for s in h.api.objects(SECRETS)] == ["bootstrap-token-bbbbbb"]


@pytest.mark.filterwarnings("ignore:The HMAC key")
async def test_cluster_info_is_signed_by_each_token() -> None:
    async with Harness().running(BootstrapSigner) as h:
        h.api.add(SECRETS, bootstrap_token("aaaaaa"))
        h.api.add(CONFIGMAPS, {"metadata": {"name": "cluster-info", "namespace": "kube-public"},
                               "data": {"kubeconfig": "KC"}})  # fmt: skip
        await h.settle()
        proof = h.api.read(CONFIGMAPS, "cluster-info", "kube-public")["data"]["jws-kubeconfig-aaaaaa"]
        header, empty, signature = proof.split(".")
        assert empty == ""
        payload = base64.urlsafe_b64encode(b"KC").decode().rstrip("=")
        whole = f"{header}.{payload}.{signature}"
        assert jwt.api_jws.decode(whole, "aaaaaa.0123456789abcdef", algorithms=["HS256"]) == b"KC"
        assert jwt.get_unverified_header(whole)["kid"] == "aaaaaa"
        h.api.remove(SECRETS, "bootstrap-token-aaaaaa", "kube-system")
        await h.settle()
        assert h.api.read(CONFIGMAPS, "cluster-info", "kube-public")["data"] == {"kubeconfig": "KC"}


async def test_token_secrets_are_filled_and_go_with_their_account() -> None:
    async with Harness(ControllerConfig(root_ca="PEM")).running(ServiceAccountTokenController) as h:
        account = h.api.add(SERVICEACCOUNTS, {"metadata": {"name": "sa", "namespace": "default"}})
        secret = {"metadata": {"name": "s", "namespace": "default",
                               "annotations": {"kubernetes.io/service-account.name": "sa"}}, "type": TYPE}  # fmt: skip
        h.api.add(SECRETS, secret)
        await h.settle()
        filled = h.api.read(SECRETS, "s")
        assert filled["data"] == encoded(token="token-of-sa", namespace="default", **{"ca.crt": "PEM"})
        assert filled["metadata"]["annotations"][UID] == objects.uid(account)
        h.api.remove(SERVICEACCOUNTS, "sa")
        await h.settle()
        assert h.api.find(SECRETS, "s", "default") is None


async def test_tokens_that_nobody_uses_go_after_two_years() -> None:
    """Of those that the cluster made: listed by their account, named by no Pod."""
    day, kept = 86400.0, {"mounted", "by-hand", "in-use", "garbled"}
    async with Harness().running(LegacyTokenCleaner) as h:
        h.api.add(CONFIGMAPS, {"metadata": {"name": TRACKING, "namespace": "kube-system"},
                               "data": {"since": "2025-01-01"}})  # fmt: skip
        listed = [{"name": name} for name in ("unused", *kept - {"by-hand"})]
        h.api.add(SERVICEACCOUNTS, {"metadata": {"name": "sa", "namespace": "default"}, "secrets": listed})
        for name in ("unused", *kept):
            meta = {"name": name, "namespace": "default", "annotations": {"kubernetes.io/service-account.name": "sa"}}
            h.api.add(SECRETS, {"metadata": meta, "type": TYPE})
        h.api.change(SECRETS, "garbled", {"metadata": {"labels": {LAST_USED: "once"}}})
        volumes = [{"name": "t", "secret": {"secretName": "mounted"}}]
        h.api.add(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": {"volumes": volumes}})

        async def year(days: float) -> dict[str, str | None]:
            for _ in range(2):
                today = objects.format_time(h.clock.now())[:10]
                h.api.change(SECRETS, "in-use", {"metadata": {"labels": {LAST_USED: today}}})
                await h.advance(days / 2 * day)
            return {objects.name(s): objects.labels(s).get(INVALID_SINCE) for s in h.api.objects(SECRETS)}

        assert await year(365) == dict.fromkeys(("unused", *kept))
        assert await year(4) == {**dict.fromkeys(kept), "unused": "2026-01-02"}
        assert "unused" in await year(361)
        assert await year(4) == dict.fromkeys(kept)


async def test_nodes_are_told_a_ttl_that_grows_with_the_cluster() -> None:
    async with Harness().running(NodeTTLController) as h:
        for index in range(101):
            h.api.add(NODES, make_node(f"n{index}"))
            if index == 2:
                await h.settle()
                assert objects.annotations(h.api.read(NODES, "n0"))[ANNOTATION] == "0"
        await h.settle()
        assert {objects.annotations(n)[ANNOTATION] for n in h.api.objects(NODES)} == {"15"}


async def test_identity_leases_of_dead_servers_go() -> None:
    async with Harness().running(LeaseCleanupController) as h:
        labels = {"apiserver.kubernetes.io/identity": "kube-apiserver"}
        for name in ("dead", "alive"):
            h.api.add(LEASES, {"metadata": {"name": name, "namespace": "kube-system", "labels": labels},
                               "spec": {"leaseDurationSeconds": 3600}})  # fmt: skip
        for index in range(8):
            await h.advance(600)
            h.api.change(LEASES, "alive", {"spec": {"renewTime": f"{index}"}}, "kube-system")
        assert [objects.name(x) for x in h.api.objects(LEASES)] == ["alive"]


async def test_resource_claims_come_from_templates_and_are_given_back() -> None:
    async with Harness().running(ResourceClaimController) as h:
        spec = {"devices": {"requests": [{"name": "g", "exactly": {"deviceClassName": "gpu"}}]}}
        h.api.add(RESOURCECLAIMTEMPLATES, {"metadata": {"name": "t", "namespace": "default"}, "spec": {"spec": spec}})
        pod = h.api.add(PODS, make_pod("p", resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "t"}]))
        await h.settle()
        (claim,) = h.api.objects(RESOURCECLAIMS)
        assert claim["spec"] == spec
        assert claim["metadata"]["ownerReferences"] == [objects.owner_reference(pod)]
        assert h.api.read(PODS, "p")["status"]["resourceClaimStatuses"] == [
            {"name": "gpu", "resourceClaimName": objects.name(claim)}
        ]
        reserved = [{"resource": "pods", "name": "p", "uid": objects.uid(pod)}]
        status = {"allocation": {"x": 1}, "reservedFor": reserved}
        h.api.set_status(RESOURCECLAIMS, objects.name(claim), status)
        await h.settle()
        assert h.api.objects(RESOURCECLAIMS)[0]["status"]["reservedFor"] == reserved
        h.api.set_status(PODS, "p", {"phase": "Succeeded"})
        await h.settle()
        assert h.api.objects(RESOURCECLAIMS) == []


async def test_a_missing_claim_template_is_an_event() -> None:
    async with Harness().running(ResourceClaimController) as h:
        h.api.add(PODS, make_pod("p", resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "t"}]))
        await h.settle()
        assert "FailedResourceClaimCreation" in h.event_reasons("p")
        before = h.api.total
        await h.advance(60)
        assert h.api.total - before < 30


async def test_expressions_of_admission_policies_are_checked_against_the_types_they_match() -> None:
    policies = BUILTIN.by_path("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")
    assert policies is not None

    def policy(name: str, *expressions: str, resources: tuple[str, ...] = ("deployments", "replicasets")) -> Object:
        rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": [*resources], "operations": ["*"]}
        return {
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [rule]}, "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
                "variables": [{"name": "images", "expression": "object.spec.template.spec.containers.map(c, c.image)"}],
                "validations": [{"expression": text} for text in expressions],
            },
        }

    async with Harness().running(AdmissionPolicyStatusController) as h:
        right = "variables.images.all(i, i.startsWith(params.data['registry'])) && object.spec.replicas > 1"
        h.api.add(policies, policy("right", right))
        h.api.add(policies, policy("any", "object.nothing", resources=("*",)))
        h.api.add(policies, policy("wrong", right, "object.spec.replicsa > 1", "object.spec.strategy.type == 5"))
        await h.settle()
        for name in ("right", "any"):
            assert h.api.read(policies, name)["status"] == {"observedGeneration": 1, "typeChecking": {}}
        place = "ERROR: <input>:1:12: undefined field 'replicsa'\n | object.spec.replicsa > 1\n | ...........^\n"
        assert h.api.read(policies, "wrong")["status"]["typeChecking"]["expressionWarnings"] == [
            {
                "fieldRef": "spec.validations[1].expression",
                "warning": f"apps/v1, Kind=Deployment: {place}\napps/v1, Kind=ReplicaSet: {place}",
            },
            {
                "fieldRef": "spec.validations[2].expression",
                "warning": (
                    "apps/v1, Kind=Deployment: ERROR: <input>:1:27: found no matching overload for '_==_' applied to "
                    "'(string, int)'\n | object.spec.strategy.type == 5\n | ..........................^\n\n"
                    "apps/v1, Kind=ReplicaSet: ERROR: <input>:1:12: undefined field 'strategy'\n"
                    " | object.spec.strategy.type == 5\n | ...........^\n"
                ),
            },
        ]


async def test_a_flow_schema_says_whether_its_priority_level_exists() -> None:
    schemas = BUILTIN.by_path("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
    levels = BUILTIN.by_path("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations")
    assert schemas is not None and levels is not None

    def said() -> Object:
        found = objects.condition(h.api.read(schemas, "s"), "Dangling")
        assert found is not None
        return found

    async with Harness().running(FlowSchemaStatusController) as h:
        h.api.add(schemas, {"metadata": {"name": "s"}, "spec": {"priorityLevelConfiguration": {"name": "gone"}}})
        await h.settle()
        assert (said()["status"], said()["reason"]) == ("True", "NotFound")
        h.api.add(levels, {"metadata": {"name": "gone"}, "spec": {"type": "Exempt"}})
        await h.settle()
        text = 'This FlowSchema references the PriorityLevelConfiguration object named "gone" and it exists'
        assert (said()["status"], said()["reason"], said()["message"]) == ("False", "Found", text)


def service_cidr(name: str, cidr: str, **metadata: object) -> Object:
    return {"metadata": {"name": name, **metadata}, "spec": {"cidrs": [cidr]}}


async def test_a_service_cidr_stays_while_addresses_need_it() -> None:
    async with Harness().running(ServiceCIDRController) as h:
        going = {"finalizers": [FINALIZER], "deletionTimestamp": "2025-01-01T00:00:00Z"}
        h.api.add(SERVICECIDRS, service_cidr("a", "10.0.0.0/24", **going))
        h.api.add(SERVICECIDRS, service_cidr("b", "10.1.0.0/24"))
        labels = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
        h.api.add(IPADDRESSES, {"metadata": {"name": "10.0.0.9", "labels": labels}})
        await h.advance(30)
        fresh = h.api.read(SERVICECIDRS, "b")
        assert fresh["metadata"]["finalizers"] == [FINALIZER]
        assert fresh["status"]["conditions"][0]["status"] == "True"
        blocked = h.api.read(SERVICECIDRS, "a")
        assert blocked["status"]["conditions"][0]["reason"] == "Terminating"
        assert blocked["metadata"]["finalizers"] == [FINALIZER]
        h.api.add(SERVICECIDRS, service_cidr("wider", "10.0.0.0/16"))
        await h.settle()
        assert "a" not in {objects.name(o) for o in h.api.objects(SERVICECIDRS) if o["metadata"].get("finalizers")}
